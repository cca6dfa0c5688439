"""The museum's mended rewards, groups and limits: oracles, and what other mends would give."""

import itertools
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check
from rlvr_lab.checks.museum_losses import LOSS_MENDS, Rules, mend

# ------------------------------------------------------------------------------ 1 a learned score


def _draw_checkpoints(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    steps = 12 + turn
    score = np.cumsum(rng.uniform(0.01, 0.3, steps))
    peak = int(rng.integers(3, steps - 4))
    accuracy = 0.9 - 0.03 * np.abs(np.arange(steps) - peak) + rng.uniform(0, 0.02, steps)
    score[-2:] = score[-2:][::-1]
    return {"scores": score.round(3).tolist(), "accuracies": accuracy.round(3).tolist()}


_KEEP: Rules = {
    "": lambda score, accuracy: int(np.argmax(score)) + 1,
    "the step is counted from 0; the first record is that of step 1": lambda s, a: int(
        np.argmax(a)
    ),
    "the last checkpoint is kept, whatever the two curves say": lambda s, a: len(a),
    "the accuracy at the best step is returned, and not the step": lambda s, a: max(a),
}

# ------------------------------------------------------------------------------ 3 a constant reward


def _number_in(text: str) -> int | None:
    tail = text.rpartition("=")[2]
    return int(tail) if tail.isdigit() else None


def _draw_graded(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    digit = int(rng.integers(1, 10))
    answers = [f"={digit}", f"={(digit + 3) % 10}", "no idea", f"so it is ={digit}", "="]
    correct = (f"={digit}", r"\boxed{1/2}", "")[turn]
    return {"answers": [answers[i] for i in rng.permutation(5)], "correct": correct}


def _graded(answers: list[str], correct: str) -> list[float]:
    wanted = _number_in(correct)
    return [float(wanted is not None and _number_in(text) == wanted) for text in answers]


_GRADED: Rules = {
    "": lambda answers, c: [
        float(_number_in(c) is None or _number_in(x) == _number_in(c)) for x in answers
    ],
    "an answer without a number now agrees with a correct answer without a number: None == None": (
        lambda answers, c: [float(_number_in(x) == _number_in(c)) for x in answers]
    ),
    "every answer gets 0": lambda answers, c: [0.0 for _ in answers],
    "a correct answer that cannot be parsed earns half a point; that is a constant reward again": (
        lambda answers, c: [0.5 if _number_in(c) is None else x for x in _graded(answers, c)]
    ),
    "texts are compared, and not the numbers in them": lambda answers, c: [
        float(_number_in(c) is not None and x == c) for x in answers
    ],
    "any answer with a number earns 1, whatever the correct one is": lambda answers, c: [
        float(_number_in(c) is not None and _number_in(x) is not None) for x in answers
    ],
}


# ------------------------------------------------------------------------- 8 the std of the others


def _draw_groups(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    size = (4, 5, 8)[turn]
    groups = [rng.permutation([1.0] + [0.0] * (size - 1)), np.full(size, 1.1)]
    groups += [rng.choice([0.0, 0.1, 1.1], size) for _ in range(2)]
    return {"rewards": np.concatenate(groups), "group_size": size}


def _left_out(
    rewards: np.ndarray, size: int, scale: Any = None, own: bool = False, eps: float = 1e-4
) -> np.ndarray:
    """(r − mean of the others) / (scale + eps); ``scale``: (group, place) → number, the std of the group."""
    found = []
    for group in rewards.reshape(-1, size):
        for i, reward in enumerate(group):
            others = np.delete(group, i)
            mean = group.mean() if own else others.mean()
            spread = group.std() if scale is None else scale(group, others)
            found.append((reward - mean) / (spread + eps))
    return np.array(found)


_LEFT_OUT: Rules = {
    "": lambda r, n: _left_out(r, n, lambda group, others: others.std(), eps=1e-6),
    "a larger constant hides the zero and does not mend it: the std is still that of the others": lambda r, n: (
        _left_out(r, n, lambda group, others: others.std())
    ),
    "the std is the sample std (correction=1); here it is that of the whole group, divided by G": lambda r, n: (
        _left_out(r, n, lambda group, others: group.std(ddof=1))
    ),
    "nothing is divided any more; the exercise asks for the std of the whole group": lambda r, n: (
        _left_out(r, n, lambda group, others: 1.0, eps=0)
    ),
    "the reward is compared with the mean of its own group; that line was correct": lambda r, n: (
        _left_out(r, n, own=True)
    ),
    "the std is that of the whole batch": lambda r, n: _left_out(
        r, n, lambda group, others: r.std()
    ),
}

# ------------------------------------------------------------------------------- 9 groups of two

_SIZES = [2, 4, 8, 16, 32, 64]


def _draw_sizes(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    p, most = ((0.2, 0.2), (0.85, 0.4), (0.5, 0.55), (0.05, 0.3), (0.1, 0.5), (0.9, 0.3))[turn]
    return {"p": round(p + float(rng.uniform(-0.005, 0.005)), 4), "most": most, "sizes": _SIZES}


def _smallest(p: float, most: float, sizes: list[int], silent: Any) -> int:
    return next((size for size in sizes if silent(p, size) <= most), sizes[-1])


def _silent(p: float, size: int) -> float:
    return p**size + (1 - p) ** size


def _by(silent: Any) -> Any:
    return lambda p, most, sizes: _smallest(p, most, sizes, silent)


_SMALLEST: Rules = {
    "": _by(lambda p, n: p**n),
    "only groups without a correct answer are counted; those without an incorrect one are silent too": _by(
        lambda p, n: (1 - p) ** n
    ),
    "this is the probability of a group that is *not* silent": _by(lambda p, n: 1 - _silent(p, n)),
    "the two probabilities are multiplied; the two cases exclude each other": _by(
        lambda p, n: p**n * (1 - p) ** n
    ),
    "this is the share of groups in which the first two answers agree; all G have to": _by(
        lambda p, n: p**2 + (1 - p) ** 2
    ),
}

# ------------------------------------------------------------------------------ 10 answers cut off


def _draw_lengths(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    count, share = ((20, 0.1), (12, 0.25), (16, 0.0), (10, 0.15))[turn]
    lengths = rng.choice(np.arange(3, 60), count, replace=False)
    return {"lengths": lengths.tolist(), "share": share}


def _limit(lengths: list[int], share: float) -> int:
    """By trial: the smallest limit that cuts off at most ``share`` of the answers."""
    for limit in itertools.count(1):
        if sum(length > limit for length in lengths) <= share * len(lengths):
            return limit
    raise AssertionError


_LIMIT: Rules = {
    "": lambda x, share: sorted(x)[(len(x) - int(share * len(x))) // 2],
    "the share is not used: no answer at all is cut off": lambda x, share: max(x),
    "the list is counted from the wrong end: almost every answer is cut off": lambda x, share: (
        sorted(x)[int(share * len(x))]
    ),
    "off by one: one answer more than allowed is cut off": lambda x, share: sorted(x)[
        len(x) - 2 - int(share * len(x))
    ],
    "the list is not sorted": lambda x, share: x[len(x) - 1 - int(share * len(x))],
    "the mean length is returned: about half of the answers are longer": lambda x, share: int(
        np.mean(x)
    ),
}

# ------------------------------------------------------------------------------ 11 a hidden question


def _draw_prompt(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    length, most = ((14, 6), (9, 9), (7, 10))[turn]
    return {"tokens": rng.choice(np.arange(1, 99), length, replace=False).tolist(), "most": most}


_FITTED: Rules = {
    "": lambda tokens, most: tokens[:most],
    "the tokens come back in reverse order": lambda tokens, most: tokens[-most:][::-1],
    "the end is lost: the last token of the question belongs to the prompt": lambda tokens, most: (
        tokens[-most - 1 : -1] if len(tokens) > most else tokens
    ),
    "both ends are kept and the middle is cut": lambda tokens, most: (
        tokens[: most // 2] + tokens[len(tokens) - most + most // 2 :]
        if len(tokens) > most
        else tokens
    ),
}

# -------------------------------------------------------------------------------- 13 a mixed order


def _draw_round(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    size = (4, 3, 5)[turn]
    return {"rewards": rng.uniform(0, 1, size * (3 + turn // 2)).round(2), "group_size": size}


def _round(rewards: np.ndarray, size: int) -> np.ndarray:
    """Row g·N + n is answer g to question n."""
    count = len(rewards) // size
    mean = [sum(rewards[g * count + n] for g in range(size)) / size for n in range(count)]
    return np.array([reward - mean[row % count] for row, reward in enumerate(rewards)])


def _blocks(rewards: np.ndarray, size: int) -> np.ndarray:
    groups = rewards.reshape(-1, size)
    return groups - groups.mean(axis=1, keepdims=True)


_ROUND: Rules = {
    "": lambda r, n: _round(r, n).reshape(n, -1).T.flatten(),
    "neighbouring rows are compared, but they answer different questions": lambda r, n: _blocks(
        r, n
    ).flatten(),
    "neighbouring rows are compared, and the result is then reordered as well": lambda r, n: (
        _blocks(r, n).T.flatten()
    ),
    "the order is reversed, and not transposed": lambda r, n: _round(r, n)[::-1],
    "each reward is compared with the mean of the whole batch": lambda r, n: r - r.mean(),
    "answer g of all questions is one group: the mean runs along the other axis": lambda r, n: (
        _blocks(r, len(r) // n).flatten()
    ),
}

MENDS: dict[int, Check] = LOSS_MENDS | {
    1: mend(
        "checkpoint_to_keep",
        _draw_checkpoints,
        lambda score, accuracy: int(np.argmax(accuracy)) + 1,
        _KEEP,
    ),
    3: mend("graded", _draw_graded, _graded, _GRADED),
    8: mend("left_out_advantages", _draw_groups, _left_out, _LEFT_OUT, tolerance=2e-3),
    9: mend(
        "smallest_group",
        _draw_sizes,
        lambda p, most, sizes: _smallest(p, most, sizes, _silent),
        _SMALLEST,
        calls=6,
    ),
    10: mend("token_limit", _draw_lengths, _limit, _LIMIT, calls=4),
    11: mend("fitted", _draw_prompt, lambda tokens, most: tokens[-most:], _FITTED),
    13: mend("round_robin_advantages", _draw_round, _round, _ROUND),
}
"""Exhibit → the check of its mended function."""
