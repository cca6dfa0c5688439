"""Checks of the exercises on advantages (notebook 06)."""

from typing import Any

import numpy as np
import torch

from rlvr_lab.checks.kit import Case, Mistake, call, checking, function_name, judge, tensor

__all__ = ["check_group_advantages", "check_leave_one_out_advantages"]

SIZES = ((3, 4), (2, 8), (4, 5), (5, 2))  # questions and answers a question, never alike


def _rewards(rng: np.random.Generator, questions: int, group_size: int) -> np.ndarray:
    """Rewards [N, G] whose groups have a std of .25 or more, so that a small ε does not matter."""
    apart = np.arange(group_size) + rng.uniform(0, 0.5, (questions, group_size))
    rewards = rng.permuted(apart, axis=1) + rng.uniform(-1, 1, (questions, 1))
    return rewards.astype(np.float32).astype(np.float64)


def _shapes(questions: int, group_size: int) -> dict[tuple[int, ...], str]:
    return {
        (questions, group_size): "one advantage a row is wanted, groups side by side: flatten it",
        (questions,): "there should be one number for each answer, not for each question",
        (questions * group_size, 1): "a plain vector is wanted, without an axis of size 1",
        (1, questions * group_size): "a plain vector is wanted, without an axis of size 1",
        (group_size, questions): "a question's answers lie side by side, question by question",
    }


def _cases(fn: Any, rng: np.random.Generator, oracle: Any, mistakes: Any) -> list[Case]:
    cases = []
    for questions, group_size in SIZES:
        groups = _rewards(rng, questions, group_size)
        flat = torch.tensor(groups.ravel(), dtype=torch.float32)
        result, _ = call(fn, rewards=flat, group_size=group_size)
        value = tensor(function_name(fn), result, [flat.numel()], _shapes(questions, group_size))
        given = f"rewards {[round(r, 2) for r in flat.tolist()]}, group_size {group_size}"
        named = {sentence: wrong(groups).ravel() for sentence, wrong in mistakes.items()}
        cases.append(Case(given, value, oracle(groups).ravel(), named))
    return cases


def _centred(groups: np.ndarray) -> np.ndarray:
    return groups - groups.mean(axis=1, keepdims=True)


def _z(groups: np.ndarray, ddof: int = 0) -> np.ndarray:
    return _centred(groups) / groups.std(axis=1, ddof=ddof, keepdims=True)


def _by_columns(groups: np.ndarray, score: Any) -> np.ndarray:
    """What comes out when B rows are cut into [G, N] and scored down the columns."""
    return score(groups.reshape(groups.shape[::-1]).T).T.reshape(groups.shape)


GROUP_MISTAKES = {
    "the sign is flipped: an answer better than its group must get a positive advantage": (
        lambda g: -_z(g)
    ),
    "your standard deviation divides by G − 1 (the sample std, ddof=1, which torch.std computes "
    "unless told otherwise); the exercise asks for the population std": lambda g: _z(g, 1),
    "mean and std are taken over the whole batch; compare an answer only with its own group": (
        lambda g: (g - g.mean()) / g.std()
    ),
    "mean and std (with ddof=1) are taken over the whole batch instead of within each group": (
        lambda g: (g - g.mean()) / g.std(ddof=1)
    ),
    "mean and std run over the wrong axis, across the questions instead of within a group": (
        lambda g: _z(g.T).T
    ),
    "the wrong axis: the reshape mixes different questions into one group": (
        lambda g: _by_columns(g, _z)
    ),
    "centred, but not divided by the standard deviation yet": _centred,
    "divided by the variance; a z-score divides by its square root": (
        lambda g: _centred(g) / g.var(axis=1, keepdims=True)
    ),
    "divided by the std, but the group's mean is not subtracted": (
        lambda g: g / g.std(axis=1, keepdims=True)
    ),
    "each group has its own mean, but the std is that of the whole batch": (
        lambda g: _centred(g) / g.std()
    ),
}
for epsilon in (1.0, 0.1, 0.01, 0.001):
    GROUP_MISTAKES[
        f"the ε of about {epsilon:g} in the denominator is too large to be harmless; take 1e-4 or less"
    ] = lambda g, epsilon=epsilon: _centred(g) / (g.std(axis=1, keepdims=True) + epsilon)


def check_group_advantages(fn: Any, seed: int | None = None) -> None:
    """Check ``group_advantages(rewards [B], group_size) -> [B]``, the z-score within a group."""
    with checking(
        "group_advantages: z-scores within groups, and silent groups stay silent", seed
    ) as rng:
        judge(function_name(fn), _cases(fn, rng, _z, GROUP_MISTAKES), tolerance=3e-3)
        for size in range(3, 13):
            for reward in (0.0, 1.0, 0.1):
                _must_be_silent(fn, size, reward)


def _must_be_silent(fn: Any, size: int, reward: float) -> None:
    """A group of equal rewards (and an ordinary one behind it).

    In float32 the mean of equal rewards of 0.1 is off by up to 1e-8, which a denominator of about
    the same size would turn into an advantage.
    """
    name, group = function_name(fn), f"a group of zero spread ({size} rewards of {reward:g})"
    rewards = torch.cat([torch.full((size,), reward), torch.arange(size) % 2.0])
    result, _ = call(fn, rewards=rewards, group_size=size)
    if bool(torch.isnan(result).any()):
        raise Mistake(
            f"{name}: nan for {group}. Its std is 0, and 0/0 is nan; it should teach nothing"
        )
    silent = float(tensor(name, result, [2 * size], _shapes(2, size))[:size].abs().max())
    if silent > 0.05:
        why = ": rounding leaves about 1e-8 above, and your ε below is no larger" if reward else ""
        raise Mistake(f"{name}: {group} should teach nothing but gets {silent:.2f}{why}")


def _loo(groups: np.ndarray) -> np.ndarray:
    """In plain loops, straight from the sentence that defines it."""
    out = np.empty_like(groups)
    for row, rewards in enumerate(groups.tolist()):
        for i, own in enumerate(rewards):
            others = rewards[:i] + rewards[i + 1 :]
            out[row, i] = own - sum(others) / len(others)
    return out


def _total(groups: np.ndarray) -> np.ndarray:
    return groups.sum(axis=1, keepdims=True)


LOO_MISTAKES = {
    "the sign is flipped: an answer better than the others must get a positive advantage": (
        lambda g: -_loo(g)
    ),
    "the baseline still contains the answer itself: that is the group mean": _centred,
    "the others' rewards are added up without the answer itself, but divided by G; how many others "
    "are there?": lambda g: g - (_total(g) - g) / g.shape[1],
    "the sum still contains the answer itself, although you divide by the number of the others": (
        lambda g: g - _total(g) / (g.shape[1] - 1)
    ),
    "this is the baseline alone; the advantage compares the answer's reward with it": (
        lambda g: g - _loo(g)
    ),
    "the others are summed, not averaged": lambda g: g - (_total(g) - g),
    "the baseline is the mean over the whole batch; other questions say nothing about this one": (
        lambda g: g - (g.sum() - g) / (g.size - 1)
    ),
    "the sum runs over the wrong axis, across the questions instead of within a group": (
        lambda g: _loo(g.T).T
    ),
    "the wrong axis: the reshape mixes different questions into one group": (
        lambda g: _by_columns(g, _loo)
    ),
    "leave-one-out does not divide by a standard deviation": (
        lambda g: _loo(g) / g.std(axis=1, keepdims=True)
    ),
    "the factor is upside down: leaving the answer out makes advantages larger, not smaller": (
        lambda g: _centred(g) * (g.shape[1] - 1) / g.shape[1]
    ),
}


def check_leave_one_out_advantages(fn: Any, seed: int | None = None) -> None:
    """Check ``leave_one_out_advantages(rewards [B], group_size) -> [B]``, RLOO's baseline."""
    with checking("leave_one_out_advantages: nobody is compared with themselves", seed) as rng:
        judge(function_name(fn), _cases(fn, rng, _loo, LOO_MISTAKES), tolerance=1e-4)
