"""Checks of the exercises on advantages (notebook 06)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rlvr_lab.checks.calls import Mistake, call, function_name, tensor
from rlvr_lab.checks.kit import Check, Rule


def _draw(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Rewards [N, G] whose groups have a std of .25 or more, so that a small ε does not matter."""
    shape = questions, group_size = ((3, 4), (2, 8), (4, 5), (5, 2))[turn]  # N and G differ
    apart = np.arange(group_size) + rng.uniform(0, 0.5, shape)
    rewards = rng.permuted(apart, axis=1) + rng.uniform(-1, 1, (questions, 1))
    return {"rewards": rewards.ravel().astype(np.float32), "group_size": group_size}


def _shapes(rewards: np.ndarray, size: int) -> dict[tuple[int, ...], str]:
    questions = len(rewards) // size
    return {
        (questions, size): "return one advantage per row, with groups side by side: flatten it",
        (questions,): "return one number per answer, not one per question",
        (len(rewards), 1): "return a plain vector, without an axis of size 1",
        (1, len(rewards)): "return a plain vector, without an axis of size 1",
        (size, questions): "the answers to a question are side by side, question after question",
    }


def _by_groups(score: Callable[[np.ndarray], np.ndarray]) -> Rule:
    """Turn a rule for rewards [N, G] into a rule for flat rewards and the group size."""
    return lambda rewards, size: score(rewards.reshape(-1, size).astype(float)).ravel()


def _centred(groups: np.ndarray) -> np.ndarray:
    return groups - groups.mean(axis=1, keepdims=True)


def _std(groups: np.ndarray, ddof: int = 0) -> np.ndarray:
    return groups.std(axis=1, ddof=ddof, keepdims=True)


def _z(groups: np.ndarray) -> np.ndarray:
    return _centred(groups) / _std(groups)


def _by_columns(groups: np.ndarray, score: Any) -> np.ndarray:
    """The result of reshaping B rows to [G, N] and scoring each column."""
    return score(groups.reshape(groups.shape[::-1]).T).T.reshape(groups.shape)


def _silent_groups(fn: Any, rng: np.random.Generator) -> None:
    """A group of equal rewards (followed by an ordinary group) must get advantages of 0.

    In float32 the mean of equal rewards of 0.1 has an error of up to 1e-8. A denominator of about the same
    size would turn this error into an advantage.
    """
    name = function_name(fn)
    for size in range(3, 13):
        for reward in (0.0, 1.0, 0.1):
            group = f"a group of zero spread ({size} rewards of {reward:g})"
            rewards = torch.cat([torch.full((size,), reward), torch.arange(size) % 2.0])
            result, _ = call(fn, rewards=rewards, group_size=size)
            if bool(torch.isnan(result).any()):
                why = "Its std is 0, and 0/0 is nan; its advantages should be 0"
                raise Mistake(f"{name}: nan for {group}. {why}")
            shapes = _shapes(rewards.numpy(), size)
            silent = float(tensor(name, result, [2 * size], shapes)[:size].abs().max())
            if silent > 0.05:
                why = ": rounding leaves about 1e-8 in the numerator, and your ε is no larger"
                raise Mistake(
                    f"{name}: {group} should get advantages of 0 but gets {silent:.2f}{why * (reward > 0)}"
                )


def _without_verdict(groups: np.ndarray) -> np.ndarray:
    """The z-score of each verdict among the verdicts of its group; 0 where there is none."""
    out = np.zeros_like(groups)
    for row, rewards in enumerate(groups.tolist()):
        known = [r for r in rewards if r == r]
        mean = sum(known) / max(len(known), 1)
        std = (sum((r - mean) ** 2 for r in known) / max(len(known), 1)) ** 0.5
        for i, r in enumerate(rewards):
            out[row, i] = (r - mean) / std if r == r and std else 0.0
    return out


def _as_zero(groups: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return _z(np.nan_to_num(groups))


def _missing_verdicts(fn: Any, rng: np.random.Generator) -> None:
    """An answer without a verdict (nan) counts nowhere, and its group goes on."""
    name, nan = function_name(fn), np.nan
    groups = np.array(
        [[3.0, 1.0, 0.0, 0.0, 2.0], [0.0, nan, 2.0, nan, 1.0], [nan, 1.0, 1.0, 0.0, nan]]
    )
    groups = np.concatenate([groups, np.array([[nan] * 4 + [1.0], [nan] * 5])])
    rewards = torch.tensor(groups.ravel(), dtype=torch.float32)
    result, _ = call(fn, rewards=rewards, group_size=5)
    if bool(torch.isnan(result).any()):
        raise Mistake(
            f"{name}: nan for the group {groups[1].tolist()}. A nan in the rewards is an answer without a "
            "verdict: it counts in neither mean nor std, and its own advantage is 0"
        )
    found = tensor(name, result, [25], _shapes(rewards.numpy(), 5)).detach().numpy().reshape(5, 5)
    right = _without_verdict(groups)
    if np.allclose(found, right, atol=0.01):
        return
    row = int(np.argwhere(abs(found - right).max(axis=1) > 0.01)[0, 0])
    if np.allclose(found[1], _as_zero(groups)[1], atol=0.01) or np.allclose(
        found[1], np.where(np.isnan(groups[1]), 0, _as_zero(groups)[1]), atol=0.01
    ):
        raise Mistake(
            f"{name}: an answer without a verdict (nan) is counted as a reward of 0. It is left out: it "
            "changes neither the mean nor the std of the others"
        )
    given, wanted = found[row].round(2).tolist(), right[row].round(2).tolist()
    raise Mistake(
        f"{name}: correct when every answer has a verdict. For the group {groups[row].tolist()} it gives "
        f"{given} and should give {wanted}: count the verdicts that there are"
    )


def _silent_and_missing(fn: Any, rng: np.random.Generator) -> None:
    _silent_groups(fn, rng)
    _missing_verdicts(fn, rng)


GROUP_MISTAKES = {
    "the sign is flipped: an answer better than its "
    "group must get a positive advantage": lambda g: -_z(g),
    "your standard deviation divides by G − 1 (the sample std, ddof=1, the default of torch.std); "
    "the exercise asks for the population std": lambda g: _centred(g) / _std(g, ddof=1),
    "mean and std are taken over the whole batch; "
    "compare an answer only with its own group": lambda g: (g - g.mean()) / g.std(),
    "mean and std (with ddof=1) are taken over the "
    "whole batch instead of within each group": lambda g: (g - g.mean()) / g.std(ddof=1),
    "mean and std run over the wrong axis, across "
    "the questions instead of within a group": lambda g: _z(g.T).T,
    "the wrong axis: the reshape mixes different questions into one group": lambda g: _by_columns(
        g, _z
    ),
    "centred, but not divided by the standard deviation yet": _centred,
    "divided by the variance; a z-score divides by its square root": lambda g: (
        _centred(g) / _std(g) ** 2
    ),
    "divided by the std, but the group's mean is not subtracted": lambda g: g / _std(g),
    "each group has its own mean, but the std is that of the whole batch": lambda g: (
        _centred(g) / g.std()
    ),
} | {
    f"the ε of about {epsilon:g} in the denominator is too large to be harmless; take 1e-4 or less": (
        lambda g, epsilon=epsilon: _centred(g) / (_std(g) + epsilon)
    )
    for epsilon in (1.0, 0.1, 0.01, 0.001)
}

check_group_advantages = Check(
    "group_advantages: z-scores within groups, silent groups, and missing verdicts",
    draw=_draw,
    right=_by_groups(_z),
    calls=4,
    tolerance=3e-3,
    instead=_shapes,
    last=_silent_and_missing,
    mistakes={said: _by_groups(slip) for said, slip in GROUP_MISTAKES.items()},
)


def _loo(groups: np.ndarray) -> np.ndarray:
    """In plain loops, from the definition."""
    out = np.empty_like(groups)
    for row, rewards in enumerate(groups.tolist()):
        for i, own in enumerate(rewards):
            others = rewards[:i] + rewards[i + 1 :]
            out[row, i] = own - sum(others) / len(others)
    return out


def _total(groups: np.ndarray) -> np.ndarray:
    return groups.sum(axis=1, keepdims=True)


LOO_MISTAKES = {
    "the sign is flipped: an answer better than the "
    "others must get a positive advantage": lambda g: -_loo(g),
    "the baseline still contains the answer itself: that is the group mean": _centred,
    "the rewards of the other answers are added up, but the sum is divided by G; how many other answers "
    "are there?": lambda g: g - (_total(g) - g) / g.shape[1],
    "the sum still contains the answer itself, although "
    "you divide by the number of the other answers": lambda g: g - _total(g) / (g.shape[1] - 1),
    "this is the baseline alone; the advantage compares the answer's reward with it": lambda g: (
        g - _loo(g)
    ),
    "the others are summed, not averaged": lambda g: g - (_total(g) - g),
    "the baseline is the mean over the whole batch; "
    "other questions say nothing about this one": lambda g: g - (g.sum() - g) / (g.size - 1),
    "the sum runs over the wrong axis, across the questions instead of within a group": lambda g: (
        _loo(g.T).T
    ),
    "the wrong axis: the reshape mixes different questions into one group": lambda g: _by_columns(
        g, _loo
    ),
    "leave-one-out does not divide by a standard deviation": lambda g: _loo(g) / _std(g),
    "the factor is upside down: leaving the answer out "
    "makes advantages larger, not smaller": lambda g: _centred(g) * (g.shape[1] - 1) / g.shape[1],
}

check_leave_one_out_advantages = Check(
    "leave_one_out_advantages: each answer is compared only with the others",
    draw=_draw,
    right=_by_groups(_loo),
    calls=4,
    tolerance=1e-4,
    instead=_shapes,
    mistakes={said: _by_groups(slip) for said, slip in LOO_MISTAKES.items()},
)
