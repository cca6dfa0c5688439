"""Checks of the exercises on the case study of DeepSeek R1 (notebook 08)."""

import itertools
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, Series, ragged

# ------------------------------------------------------------------------------ language consistency

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NUMBER = re.compile("[0-9]|" + "|".join(WORDS))
_ANSWER = re.compile(rf"<think>((?:{_NUMBER.pattern}|,|wait)*)</think>=[0-9]{{3}}")


def _numbers(text: str, form: bool = True) -> list[str]:
    """The numbers of the chain of a well-formed answer, one by one."""
    match = _ANSWER.fullmatch(text)
    if match or form:
        return _NUMBER.findall(match[1]) if match else []
    return _NUMBER.findall(text.split("=")[0])


def _share(numbers: list[str], target: str, pick: Callable[..., float] = max) -> float:
    """Share of one language, or of the more frequent one for the target "majority"."""
    if not numbers:
        return 0.0
    digits = sum(number.isdigit() for number in numbers)
    counts = {"digits": digits, "words": len(numbers) - digits}
    counts["majority"] = pick(digits, len(numbers) - digits)
    return counts[target] / len(numbers)


def _consistency(text: str, target: str) -> float:
    return _share(_numbers(text), target)


def _draw_answer(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Answers of all kinds, with ``words`` of the nine numbers in words."""
    target = ("words", "majority", "majority", "digits", "digits", "majority", "words", "words")[
        turn
    ]
    words = (3, 7, 2, 3, 4, 9, 6, 9)[turn]
    values = rng.integers(0, 10, 9).tolist()
    flags = rng.permutation([1] * words + [0] * (9 - words))
    flags[0] = flags[0] if words < 9 else 1
    signs = [WORDS[v] if flag else str(v) for v, flag in zip(values, flags, strict=True)]
    groups = ["".join(signs[i : i + 3]) for i in (0, 3, 6)]
    chain = ("wait" if turn == 6 else ",").join(groups)
    answer = f"={rng.integers(0, 1000):03d}"
    if turn in (3, 7):  # a direct answer, an empty chain
        return {"text": answer if turn == 3 else f"<think></think>{answer}", "target": target}
    if turn == 4:  # the block is left open
        return {"text": f"<think>{chain}{answer}", "target": target}
    return {"text": f"<think>{chain}</think>{answer}", "target": target}


def _lenient(text: str, target: str) -> float:
    """Every text earns the share, whatever its form."""
    return _share(_numbers(text, form=False), target)


def _of_tokens(text: str, target: str) -> float:
    """Commas and ``wait`` are counted with the numbers."""
    match = _ANSWER.fullmatch(text)
    found = _numbers(text)
    others = len(re.findall(",|wait", match[1])) if match else 0
    return _share(found, target) * len(found) / max(1, len(found) + others)


def _of_letters(text: str, target: str) -> float:
    """Each letter of a number word counts."""
    return _share([sign for number in _numbers(text) for sign in number], target)


def _with_answer(text: str, target: str) -> float:
    found = _numbers(text)
    return _share(found + list(text[-3:]), target) if found else 0.0


check_language_consistency = Check(
    "language_consistency: share of the chain's numbers, answers of every form",
    draw=_draw_answer,
    right=_consistency,
    calls=8,
    tolerance=1e-9,
    mistakes={
        "the digits of the answer after `=` are counted; the reward reads the chain only": _with_answer,
        "commas and `wait` are counted as if they were numbers": _of_tokens,
        "characters are counted: a number word is one number, not three to five": _of_letters,
        "a malformed answer earns the reward. Then the policy can leave out the closing tag": _lenient,
        "an answer without numbers in a chain earns 1. Then the policy stops to think: a direct "
        "answer has perfect consistency": lambda text, target: (
            _consistency(text, target)
            if _numbers(text) or (not _ANSWER.fullmatch(text) and not text.startswith("="))
            else 1.0
        ),
        "the count is returned; divide it by the number of numbers": lambda text, target: (
            _consistency(text, target) * len(_numbers(text))
        ),
        "all or nothing: a chain with one foreign number earns a little less, not 0": lambda text, target: (
            float(_consistency(text, target) == 1)
        ),
        "this is the share of the other language": lambda text, target: _share(
            _numbers(text), {"digits": "words", "words": "digits"}.get(target, target), min
        ),
        "the target is ignored: the more frequent language always counts": lambda text, target: (
            _consistency(text, "majority")
        ),
        '"majority" means the language that this chain uses more often; yours is always digits': (
            lambda text, target: _share(_numbers(text), target, lambda d, w: d)
        ),
        '"majority" means the language that this chain uses more often; yours is always words': (
            lambda text, target: _share(_numbers(text), target, lambda d, w: w)
        ),
    },
)


# ---------------------------------------------------------------------------------- process rewards

_PARTS: dict[str, Callable[[Any], float]] = {
    "sum": sum,
    "mean": np.mean,
    "min": min,
    "prod": np.prod,
}


def _process(scores: Any, mask: Any, how: str, empty: float = 0.0) -> np.ndarray:
    """Row by row, over the steps that exist."""
    rows = [
        [x for x, real in zip(*row, strict=True) if real] for row in zip(scores, mask, strict=True)
    ]
    return np.array([float(_PARTS[how](row)) if row else empty for row in rows])


def _draw_scores(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    mask = ragged(rng, 5, 4)
    if turn > 2:
        mask[rng.integers(5)] = False  # an answer without a step
    scores = np.where(mask, rng.uniform(0.1, 0.9, mask.shape), np.nan if turn else 5.0)
    return {
        "scores": scores,
        "mask": mask,
        "how": ("mean", "sum", "min", "mean", "min", "sum")[turn],
    }


def _padded(scores: Any, mask: Any, how: str) -> np.ndarray:
    """Padding counts as zeros."""
    return _process(np.where(mask, scores, 0.0), np.ones_like(mask), how)


_process_reward = Check(
    "process_reward",
    draw=_draw_scores,
    right=_process,
    calls=6,
    label=" (first function)",
    instead=lambda scores, mask, how: {
        (): "one reward for each answer, not for the whole batch",
        scores.shape: "one reward for each answer, not for each step",
    },
    mistakes={
        "padding counts as steps with score 0: use the mask in the mean and in the minimum": _padded,
        "the sum is always returned": lambda s, m, how: _process(s, m, "sum"),
        "the mean is always returned": lambda s, m, how: _process(s, m, "mean"),
        "the minimum is the maximum: one incorrect step should spoil the answer": lambda s, m, how: (
            -_process(-s, m, "min") if how == "min" else _process(s, m, how)
        ),
        "the mean is divided by the width of the batch": lambda s, m, how: (
            _padded(s, m, how) if how == "mean" else _process(s, m, how)
        ),
        "padding counts as 0 in the minimum": lambda s, m, how: (
            _padded(s, m, how) if how == "min" else _process(s, m, how)
        ),
        "an answer without steps earns 1; it should earn 0": partial(_process, empty=1.0),
        "the scores of an answer are multiplied": lambda s, m, how: _process(
            s, m, "prod" if how == "min" else how
        ),
    },
)


def _gain(scores: list[float], extra: float, count: int, how: str) -> float:
    return float(_PARTS[how]([*scores, *[extra] * count]) - _PARTS[how](scores))


def _draw_gain(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    extra = float(rng.uniform(0.4, 0.6) if turn % 2 else rng.uniform(0.05, 0.1))
    scores = rng.uniform(0.15, 0.35, int(rng.integers(2, 5))).tolist()
    how = ("sum", "sum", "mean", "mean", "min", "min")[turn]
    return {"scores": scores, "extra": extra, "count": int(rng.integers(2, 6)), "how": how}


check_process_rewards = Series(
    "process_reward and gain_of_padding: sum, mean and minimum over the steps",
    (
        _process_reward,
        Check(
            "gain_of_padding",
            draw=_draw_gain,
            right=_gain,
            calls=6,
            tolerance=1e-6,
            label=" (second function)",
            mistakes={
                "the sign is reversed: longer minus shorter": lambda *given: -_gain(*given),
                "one step is appended; there are `count` of them": lambda s, e, n, how: _gain(
                    s, e, 1, how
                ),
                "this is the reward of the longer answer; the gain is a difference": lambda s, e, n, how: (
                    float(_PARTS[how]([*s, *[e] * n]))
                ),
                "this is the reward of the appended steps alone": lambda s, e, n, how: float(
                    _PARTS[how]([e] * n)
                ),
                "the gain is divided by the number of steps that are appended": lambda s, e, n, how: (
                    _gain(s, e, n, how) / n
                ),
                "the gain does not depend on `how`: this is that of the sum": lambda s, e, n, how: (
                    n * e
                ),
                "the mean changes too: its denominator grows with the appended steps": (
                    lambda s, e, n, how: n * e / len(s) if how == "mean" else _gain(s, e, n, how)
                ),
                "a decrease is reported as 0: mean and minimum can fall": lambda *given: max(
                    0.0, _gain(*given)
                ),
            },
        ),
    ),
    functions=2,
)


# --------------------------------------------------------------------------------------- sharpening


def _pass(q: float, only_a: float, only_b: float, both: float, k: int) -> float:
    """By listing which of the two ways each of k answers takes."""
    total = 0.0
    for ways in itertools.product("ab", repeat=k):
        chance = math.prod(q if way == "a" else 1 - q for way in ways)
        total += chance * (both + only_a * ("a" in ways) + only_b * ("b" in ways))
    return total


PASS_MISTAKES = {  # of q, the three classes and k
    "the two classes are exchanged: q is the probability of the way A": lambda q, a, b, c, k: _pass(
        1 - q, a, b, c, k
    ),
    "this is 1 − (1 − pass@1)^k: k answers to *one* problem share its class, so average over the "
    "problems last": lambda q, a, b, c, k: 1 - (1 - _pass(q, a, b, c, 1)) ** k,
    "this is pass@1: k is not used": lambda q, a, b, c, k: _pass(q, a, b, c, 1),
    "this is the probability that all k answers are correct": lambda q, a, b, c, k: (
        c + a * q**k + b * (1 - q) ** k
    ),
    "this is the probability that none is correct": lambda q, a, b, c, k: 1 - _pass(q, a, b, c, k),
    "the problems that both ways solve are missing": lambda q, a, b, c, k: _pass(q, a, b, 0.0, k),
    "problems that neither way solves are left out of the average; they count as 0": (
        lambda q, a, b, c, k: _pass(q, a, b, c, k) / (a + b + c)
    ),
    "the probabilities of k answers are added up; the events overlap": lambda q, a, b, c, k: (
        c + a * min(1.0, k * q) + b * min(1.0, k * (1 - q))
    ),
}


def _best(only_a: float, only_b: float, k: int) -> float:
    """By search on a grid that becomes finer."""
    low, high = 0.0, 1.0
    for _ in range(40):
        grid = np.linspace(low, high, 21)
        at = int(np.argmax(only_a * (1 - (1 - grid) ** k) + only_b * (1 - grid**k)))
        low, high = grid[max(at - 1, 0)], grid[min(at + 1, 20)]
    return float((low + high) / 2)


def _from_ratio(ratio: float) -> float:
    return ratio / (1 + ratio)


check_sharpening = Series(
    "pass_of_ways and best_way: two ways, every combination of k answers",
    (
        Check(
            "pass_of_ways",
            draw=lambda rng, turn: {
                "q": float(rng.uniform(0.1, 0.4) if turn else rng.uniform(0.7, 0.9)),
                **dict(
                    zip(
                        ("only_a", "only_b", "both"),
                        rng.dirichlet((3, 3, 3, 3))[:3].tolist(),
                        strict=True,
                    )
                ),
                "k": (1, 3, 5)[turn],
            },
            right=_pass,
            tolerance=1e-7,
            label=" (first function)",
            mistakes=PASS_MISTAKES,
        ),
        Check(
            "best_way",
            draw=lambda rng, turn: {
                "only_a": float(rng.uniform(0.25, 0.4) if turn != 1 else rng.uniform(0.05, 0.1)),
                "only_b": float(rng.uniform(0.12, 0.2)),
                "k": (4, 8, 3, 1)[turn],
            },
            right=_best,
            calls=4,
            tolerance=1e-4,
            label=" (second function)",
            mistakes={
                "the better way is always best: that is true for k = 1 only": lambda a, b, k: float(
                    a > b
                ),
                "this is q = ½, the limit of many answers": lambda a, b, k: 0.5,
                "q is in proportion to the classes: that is the case k = 2": lambda a, b, k: (
                    a / (a + b)
                ),
                "the root is the k-th; the derivative of (1 − q)^k has the exponent k − 1": (
                    lambda a, b, k: _from_ratio((a / b) ** (1 / k))
                ),
                "the exponent k − 1 belongs to q, so the ratio needs its *root*": lambda a, b, k: (
                    _from_ratio((a / b) ** (k - 1)) if k > 1 else float(a > b)
                ),
                "the classes are exchanged: this is the best probability of B": lambda a, b, k: (
                    1 - _best(a, b, k)
                ),
                "k = 1 is a case of its own: there the maximum lies at an end": lambda a, b, k: (
                    _best(a, b, k) if k > 1 else 0.5
                ),
                "this is the odds q/(1 − q); solve for q": lambda a, b, k: (
                    (a / b) ** (1 / (k - 1)) if k > 1 else float(a > b)
                ),
            },
        ),
    ),
    functions=2,
)
