"""Checks of the exercises that add up an expectation exactly (notebook 07)."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.averages import WEIGHTS
from rlvr_lab.checks.kit import Check, seen


def _std_multiplier(p: float, size: int) -> float:
    """E[Σ_i A_i·∂log π/∂θ]/G over all 2^G groups, divided by ∇p = p(1−p): from the definition."""
    total = 0.0
    for group in itertools.product((0, 1), repeat=size):
        chance = math.prod(p if reward else 1 - p for reward in group)
        mean = sum(group) / size
        std = math.sqrt(sum((reward - mean) ** 2 for reward in group) / size)
        if std > 0:
            total += chance * sum((r - mean) / std * (r - p) for r in group) / size
    return total / (p * (1 - p))


def _sum(p: float, size: int, term: Callable[[float], float], binomial: bool = True) -> float:
    """Σ_K P(K)·term(K/G), with or without the number of groups with K correct answers."""
    return sum(
        (math.comb(size, k) if binomial else 1) * p**k * (1 - p) ** (size - k) * term(k / size)
        for k in range(size + 1)
    )


def _spread(share: float) -> float:
    return math.sqrt(share * (1 - share))


MULTIPLIER_MISTAKES = {  # of p, G, the mean std of a group and p(1 − p)
    "this is the limit G → ∞: the expectation of a "
    "root is not the root of the expectation": lambda p, n, std, v: 1 / math.sqrt(v),
    "this is the mean std of a group; it is not divided by p(1 − p) yet": lambda p, n, std, v: std,
    "the square root is missing: the variance is averaged, "
    "not the standard deviation": lambda p, n, std, v: _sum(p, n, lambda s: s * (1 - s)) / v,
    "the binomial coefficient is missing: K correct answers can be arranged "
    "in the group in many ways": lambda p, n, std, v: _sum(p, n, _spread, binomial=False) / v,
    "the probabilities of K are not used: the terms are averaged as if every K were "
    "equally likely": lambda p, n, std, v: sum(_spread(k / n) for k in range(n + 1)) / (n + 1) / v,
    "the terms are added up without their probabilities": lambda p, n, std, v: (
        sum(_spread(k / n) for k in range(n + 1)) / v
    ),
    "the result is divided by √(p(1 − p)); divide by p(1 − p), which is ∇p": lambda p, n, std, v: (
        std / math.sqrt(v)
    ),
    "the result is divided by p only": lambda p, n, std, v: std / p,
    "the std is the sample std (ddof=1): your result "
    "is too small by √((G−1)/G)": lambda p, n, std, v: std / v * math.sqrt((n - 1) / n),
    "the std is the sample std (ddof=1): your result "
    "is too large by √(G/(G−1))": lambda p, n, std, v: std / v * math.sqrt(n / (n - 1)),
    "silent groups are left out: they contribute "
    "0, but they are part of the average": lambda p, n, std, v: std / v / (1 - p**n - (1 - p) ** n),
    "the terms use the number K instead of the share K/G": lambda p, n, std, v: n * std / v,
}

check_std_multiplier = Check(
    "std_multiplier: agrees with the sum over all groups",
    draw=lambda rng, turn: {
        "p": float(rng.uniform(*((0.6, 0.95) if turn == 1 else (0.05, 0.4)))),
        "group_size": (4, 3, 8, 2)[turn],
    },
    right=_std_multiplier,
    calls=4,
    tolerance=1e-7,
    mistakes=seen(lambda p, n: (p, n, _sum(p, n, _spread), p * (1 - p)), MULTIPLIER_MISTAKES),
)


def _draw_toy(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    average, size = (("sequence", 2), ("sequence", 3), ("token", 3), ("constant", 2))[turn]
    short = int(rng.integers(3, 12))
    long = short + int(rng.integers(10, 90))

    def weights(lengths: list[int]) -> list[float]:
        return WEIGHTS[average](lengths, float(long))

    weights.__name__ = f"{average}_weights"
    p = float(rng.uniform(0.15, 0.4))
    return {"p": p, "group_size": size, "weights": weights, "short": short, "long": long}


def _pull(
    p: float,
    size: int,
    weights: Callable[[list[int]], list[float]],
    short: int,
    long: int,
    *,
    ddof: int = 0,
    divide: bool = True,
    centre: float = 0.5,
    length_chance: float = 0.5,
    state_chance: bool = True,
    weigh: bool = True,
) -> tuple[float, float]:
    """(pull_right, pull_wrong), over all 4^G groups at once; the keywords are options for mistakes."""
    kinds = np.indices((4,) * size).reshape(size, -1).T  # [4^G, G]: 0 … 3
    right, is_long = kinds // 2, kinds % 2
    chance = np.where(right == 1, p, 1 - p) if state_chance else np.full(right.shape, 0.5)
    chance = (chance * length_chance).prod(axis=1)
    advantage = right - right.mean(axis=1, keepdims=True)
    if divide:
        std = right.std(axis=1, ddof=ddof, keepdims=True)
        advantage = np.divide(advantage, std, out=np.zeros(kinds.shape), where=std > 0)
    lengths = np.where(is_long == 1, long, short)
    weight = np.array([weights(row) for row in lengths.tolist()]) if weigh else 1 / size
    push = chance[:, None] * advantage * weight * (is_long - centre)
    return float((push * right).sum()), float((push * (1 - right)).sum())


# Both lengths are equally likely in both states, so the two pulls are equal and opposite. Swapping them
# and flipping their signs therefore give equal results, and so do adding them up and omitting the weights.
check_expected_pull = Check(
    "expected_pull: agrees with the sum over all 4^G groups",
    draw=_draw_toy,
    right=_pull,
    calls=4,
    tolerance=1e-7,
    mistakes={
        "right and wrong are swapped, or the sign is flipped; "
        "a positive pull means longer": lambda *a: _pull(*a)[::-1],
        "the pull is 0 in both states: the weights are not used, or both states are added up in one "
        "sum": partial(_pull, weigh=False),
        "the std is the sample std (ddof=1); here it is the population std": partial(_pull, ddof=1),
        "the advantages are centred, but not divided by the std": partial(_pull, divide=False),
        "the score of a choice is 1 − ½ or 0 − ½. Yours is not centred: choosing short also has a "
        "score": partial(_pull, centre=0.0),
        "the probabilities are incomplete: in every answer each length has probability ½": partial(
            _pull, length_chance=1.0
        ),
        "every group counts the same, but right has probability p and wrong 1 − p": partial(
            _pull, state_chance=False
        ),
        "the result is divided by the number of groups. "
        "The probabilities already add up to 1": lambda *a: np.divide(_pull(*a), 4 ** a[1]),
        "the result is G times too small: it is divided by G although the weights already contain the "
        "average over the answers, or only one answer of each group is counted": lambda *a: (
            np.divide(_pull(*a), a[1])
        ),
        "the weights already contain the average over "
        "the answers; yours is G times too large": lambda *a: np.multiply(_pull(*a), a[1]),
        "each pull is conditional on its state: it is divided "
        "by the probability of right or wrong": lambda *a: np.divide(_pull(*a), (a[0], 1 - a[0])),
    },
)
