"""Checks of derivations: the final formula against a numerical oracle that does not know it (notebooks 05–07)."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from rlvr_lab.checks.calls import Mistake, call, function_name, limited, number
from rlvr_lab.checks.kit import Check
from rlvr_lab.checks.shown import withheld

# ------------------------------------------------------- notebook 06: the variance of leave-one-out


def _loo_moments(
    pi: np.ndarray, rewards: np.ndarray, size: int, baseline: str = "others"
) -> tuple[float, float]:
    """E‖g‖² and ‖E g‖² of g = mean of A·(e_y − π), over all groups of answers."""
    second, first = 0.0, np.zeros(len(pi))
    scores = np.eye(len(pi)) - pi
    for group in itertools.product(range(len(pi)), repeat=size):
        chance = float(np.prod(pi[list(group)]))
        r = rewards[list(group)]
        base = {"others": (r.sum() - r) / (size - 1), "mean": r.mean(), "J": pi @ rewards, "0": 0.0}
        g = ((r - base[baseline])[:, None] * scores[list(group)]).mean(axis=0)
        first += chance * g
        second += chance * float(g @ g)
    return second, float(first @ first)


def _loo(pi: np.ndarray, rewards: np.ndarray, size: int, baseline: str = "others") -> float:
    second, first = _loo_moments(pi, rewards, size, baseline)
    return second - first


def _uncorrelated(pi: np.ndarray, rewards: np.ndarray, size: int) -> float:
    """The variances of the G terms added up, as if they were independent."""
    _, squared = _loo_moments(pi, rewards, size)
    r = rewards - pi @ rewards
    length = (pi**2).sum() - 2 * pi + 1
    one = (pi * (r**2 + (pi @ r**2) / (size - 1)) * length).sum()
    return float((one - squared) / size)


def _formula(pi: np.ndarray, rewards: np.ndarray, size: int) -> float:
    """The variance from sums over pairs of answers, for a group size that nobody can enumerate."""
    u, scores = rewards - pi @ rewards, np.eye(len(pi)) - pi
    squares = [float(s @ s) for s in scores]
    triples = [*zip(pi, u, squares, strict=True)]
    slope = sum(p * x * s for p, x, s in zip(pi, u, scores, strict=True))
    own = sum(p * x * x * s for p, x, s in triples)
    others = sum(p * x * x * q * s for p, x, _ in triples for q, _, s in triples)
    return float((own + (others - (size - 2) * (slope @ slope)) / (size - 1)) / size)


def _no_enumeration(fn: Any, rng: np.random.Generator) -> None:
    """With K = 20 answers and G = 64 there are 20⁶⁴ groups: only a formula ends."""
    size, group = 20, 64
    pi, rewards = rng.dirichlet(np.full(size, 3.0)), rng.normal(0.5, 1.0, size)
    name, large = function_name(fn), f"with K = {size} answers and G = {group}"
    given = {"pi": torch.tensor(pi), "rewards": torch.tensor(rewards), "group_size": group}
    try:
        result, _ = call(limited(fn, seconds=3.0, memory=512 << 20), **given)
    except Mistake as mistake:
        raise Mistake(
            f"{name}: correct for small groups, but {large} it takes too long or too much memory, or stops with "
            f"an error. There are {size}^{group} groups: go through none of them, and use a few sums over the "
            "K answers"
        ) from mistake
    value, right = number(name, result), _formula(pi, rewards, group)
    if abs(value - right) > 1e-9 + 1e-4 * right:
        raise Mistake(
            f"{name}: correct for three answers and small groups, but not {large}. Look for a number in your "
            "formula that should be K or G, or for a sum that leaves groups out"
        )


check_loo_variance = Check(
    "loo_variance: agrees with the sum over every group, and goes through none itself",
    draw=lambda rng, turn: {
        "pi": rng.dirichlet(np.full(3, 3.0)),
        "rewards": rng.normal(0.5, 1.0, 3),
        "group_size": (3, 4, 2)[turn],
    },
    right=_loo,
    tolerance=1e-6,
    secret=withheld,
    last=_no_enumeration,
    mistakes={
        "that is the variance with the constant J as baseline, times G/(G − 1). Leave-one-out is noisier, but not "
        "by this factor": lambda pi, r, n: n / (n - 1) * _loo(pi, r, n, baseline="J"),
        "the baseline is taken to be the constant J. The mean of the others is itself random": partial(
            _loo, baseline="J"
        ),
        "there is no baseline in it: the rewards stand where the advantages should": partial(
            _loo, baseline="0"
        ),
        "that is the variance for the mean of the whole group as baseline, which shrinks every "
        "advantage": partial(_loo, baseline="mean"),
        "the G terms of a group are treated as independent; each of them contains the rewards of the "
        "others": _uncorrelated,
        "it is not divided by G: the estimate is a mean over the group": lambda pi, r, n: (
            n * _loo(pi, r, n)
        ),
        "it is divided by G once too often": lambda pi, r, n: _loo(pi, r, n) / n,
        "that is the mean of the squared length; the squared length of the mean is still to be "
        "subtracted": lambda pi, r, n: _loo_moments(pi, r, n)[0],
        "the standard deviation is returned; the variance is its square": lambda pi, r, n: (
            math.sqrt(_loo(pi, r, n))
        ),
        "the group size enters as if there were one answer more: the others are G - 1": lambda pi, r, n: (
            _loo(pi, r, n + 1)
        ),
    },
)


# ------------------------------------------------- notebook 07: the limits of the multiplier of the std


def _multiplier(p: float, size: int) -> float:
    """E[std of the group] / (p (1 − p)), summed over K with the logarithms of the binomials."""
    k = np.arange(size + 1)
    steps = np.log(np.arange(size, 0, -1)) - np.log(np.arange(1, size + 1))
    log_ways = np.concatenate([[0.0], np.cumsum(steps)])
    chance = np.exp(log_ways + k * math.log(p) + (size - k) * math.log1p(-p))
    share = k / size
    return float((chance * np.sqrt(share * (1 - share))).sum() / (p * (1 - p)))


def _limits(p: float, size: int) -> tuple[float, float, float]:
    """Numerical limits: a tiny p, and m = a − c/G − d/G² − f/G³ fitted at four large G."""
    groups = (1500, 2500, 4000, 7000)
    rows = [[1.0, -1 / g, -1 / g**2, -1 / g**3] for g in groups]
    found = np.linalg.solve(np.array(rows), np.array([_multiplier(p, g) for g in groups]))
    return _multiplier(1e-9, size), float(found[0]), float(found[1])


def _limits_with(
    rare: Callable[[float, int], float] | None = None,
    many: Callable[[float], float] | None = None,
    slope: Callable[[float], float] | None = None,
) -> Callable[[float, int], tuple[float, float, float]]:
    """The true limits with some of the three replaced."""

    def found(p: float, size: int) -> tuple[float, float, float]:
        a, b, c = _limits(p, size)
        return rare(p, size) if rare else a, many(p) if many else b, slope(p) if slope else c

    return found


check_multiplier_limits = Check(
    "multiplier_limits: rare answers, large groups, and the correction",
    draw=lambda rng, turn: {
        "p": float((rng.uniform(0.2, 0.4), rng.uniform(0.6, 0.8), rng.uniform(0.3, 0.7))[turn]),
        "group_size": int((5, 12, 8)[turn] + rng.integers(0, 3)),
    },
    right=_limits,
    tolerance=1e-4,
    secret=withheld,
    mistakes={
        "first number: the limit of a large group is taken before p becomes small; for a given G it is "
        "finite": _limits_with(rare=lambda p, n: 1e4),
        "first number: almost every group that is not silent has one correct answer. Its std is not 1/√G": (
            _limits_with(rare=lambda p, n: math.sqrt(n))
        ),
        "first number: that is the std of a group with one correct answer. How often does such a group "
        "occur, compared with p?": _limits_with(rare=lambda p, n: math.sqrt(n - 1) / n),
        "second number: that is the std; the multiplier is the std divided by p(1 − p)": _limits_with(
            many=lambda p: math.sqrt(p * (1 - p))
        ),
        "second number: the variance stands where the std should": _limits_with(many=lambda p: 1.0),
        "second number: 1 − p is missing. A group is silent at both ends": _limits_with(
            many=lambda p: 1 / math.sqrt(p)
        ),
        "third number: the sign. The root is concave, so a finite group has a smaller mean std": (
            _limits_with(slope=lambda p: -_limits(p, 4)[2])
        ),
        "third number: the factor ½ of the second-order term is missing": _limits_with(
            slope=lambda p: 2 * _limits(p, 4)[2]
        ),
        "third number: that is the correction of the mean std; divide it by p(1 − p) as well": (
            _limits_with(slope=lambda p: p * (1 - p) * _limits(p, 4)[2])
        ),
        "third number: the first-order term is used. It vanishes, because K/G has the mean p": (
            _limits_with(slope=lambda p: 0.0)
        ),
    },
)


# ---------------------------------------------------- notebook 05: how far the clip lets a policy go


def _worst(low: float, high: float) -> tuple[float, float]:
    """The largest KL(old‖new) and KL(new‖old) over two-valued ratios with mean 1, by search."""
    a = np.linspace(1 - low, 1, 400, endpoint=False)[:, None]
    b = np.linspace(1 + high, 1, 400, endpoint=False)[None]
    w = (b - 1) / (b - a)
    old_new = -(w * np.log(a) + (1 - w) * np.log(b))
    new_old = w * a * np.log(a) + (1 - w) * b * np.log(b)
    return float(old_new.max()), float(new_old.max())


def _ends(low: float, high: float, weight: Callable[[float, float], float]) -> tuple[float, float]:
    """Both KLs for ratios at the two ends, with this probability of the lower one."""
    w, a, b = weight(low, high), 1 - low, 1 + high
    return (
        -(w * math.log(a) + (1 - w) * math.log(b)),
        w * a * math.log(a) + (1 - w) * b * math.log(b),
    )


check_worst_kl = Check(
    "worst_kl: no ratios inside the clip give more, in either direction",
    draw=lambda rng, turn: {
        "low": float(rng.uniform(0.1, 0.45)),
        "high": float(rng.uniform(0.5, 1.2)),
    },
    right=_worst,
    tolerance=1e-6,
    secret=withheld,
    mistakes={
        "both ends are equally probable here. The probabilities of the new policy add up to 1 only if the "
        "ratio has mean 1": lambda low, high: _ends(low, high, lambda a, b: 0.5),
        "the probabilities of the two ends are exchanged. Check that the mean of the ratio is 1": (
            lambda low, high: _ends(low, high, lambda a, b: a / (a + b))
        ),
        "the ratio is at its lower end everywhere. Then the new probabilities add up to less than 1": (
            lambda low, high: _ends(low, high, lambda a, b: 1.0)
        ),
        "the ratio is at its upper end everywhere. Then the new probabilities add up to more than 1": (
            lambda low, high: _ends(low, high, lambda a, b: 0.0)
        ),
        "each direction takes the end where its own integrand is largest, with probability 1. No policy has all "
        "ratios there: their mean is 1": lambda low, high: (
            -math.log(1 - low),
            (1 + high) * math.log(1 + high),
        ),
        "that bounds the logarithm alone, by its value at an end. The mean of the ratio is 1, so the KLs stay "
        "smaller": lambda low, high: (-math.log(1 - low), math.log(1 + high)),
        "the two directions are exchanged: KL(old‖new) comes first": lambda low, high: _worst(
            low, high
        )[::-1],
        "that is the second-order approximation, half the variance of the ratio; asked is the exact "
        "bound": lambda low, high: (low * high / 2, low * high / 2),
        "both numbers are the same direction. The second weights the logarithms with the new "
        "probabilities": lambda low, high: (_worst(low, high)[0],) * 2,
        "the upper end is taken to be as far from 1 as the lower end": lambda low, high: _worst(
            low, low
        ),
        "the lower end is taken to be as far from 1 as the upper end": lambda low, high: _ends(
            min(high, 0.99), high, lambda a, b: b / (a + b)
        ),
        "the sign is reversed: a KL is never negative": lambda low, high: tuple(
            -x for x in _worst(low, high)
        ),
    },
)


# --------------------------------------------------------- notebook 05: what wrong values cost in GAE


def _advantages(rewards: np.ndarray, values: np.ndarray, gamma: float, lam: float) -> np.ndarray:
    """GAE of one answer, from its definition as a weighted sum of prediction errors."""
    later = np.append(values[1:], 0.0)
    delta = rewards + gamma * later - values
    steps = range(len(delta))
    return np.array(
        [sum((gamma * lam) ** (s - t) * delta[s] for s in steps if s >= t) for t in steps]
    )


def _gae_error(errors: np.ndarray, gamma: float, lam: float) -> np.ndarray:
    """The difference between two runs of GAE, with right and with wrong values."""
    rng = np.random.default_rng(len(errors))
    rewards, values = rng.normal(size=(2, len(errors)))
    wrong = _advantages(rewards, values + errors, gamma, lam)
    return wrong - _advantages(rewards, values, gamma, lam)


def _sum_of_errors(
    errors: np.ndarray,
    gamma: float,
    lam: float,
    *,
    own: float = -1.0,
    front: Callable[[float, float], float] = lambda gamma, lam: gamma * (1 - lam),
    decay: Callable[[float, float], float] = lambda gamma, lam: gamma * lam,
    first: int = 1,
) -> np.ndarray:
    """A sum over later errors; the keywords are options for mistakes."""
    found = np.zeros(len(errors))
    for t in range(len(errors)):
        rest = [decay(gamma, lam) ** k * e for k, e in enumerate(errors[t + first :])]
        found[t] = own * errors[t] + front(gamma, lam) * sum(rest)
    return found


def _draw_errors(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    return {
        "errors": rng.normal(size=5 + turn),
        "gamma": float(rng.uniform(0.85, 0.97)),
        "lam": float((rng.uniform(0.3, 0.6), rng.uniform(0.7, 0.9), rng.uniform(0.2, 0.8))[turn]),
    }


check_gae_error = Check(
    "gae_error: agrees with GAE on wrong values",
    draw=_draw_errors,
    right=_gae_error,
    tolerance=1e-5,
    secret=withheld,
    mistakes={
        "the sign of the error at t itself: V is subtracted from what was earned": partial(
            _sum_of_errors, own=1.0
        ),
        "the error at t itself is missing": partial(_sum_of_errors, own=0.0),
        "that holds for λ = 1 only, where all later errors cancel": partial(
            _sum_of_errors, front=lambda gamma, lam: 0.0
        ),
        "that holds for λ = 0 only, where one later error remains": partial(
            _sum_of_errors, front=lambda gamma, lam: gamma, decay=lambda gamma, lam: 0.0
        ),
        "a factor 1 − λ is missing: each later error occurs in two neighbouring δ, with opposite signs": (
            partial(_sum_of_errors, front=lambda gamma, lam: gamma)
        ),
        "a factor γ is missing in front of the sum: the next value enters δ discounted": partial(
            _sum_of_errors, front=lambda gamma, lam: 1 - lam
        ),
        "the weights of the sum decay with λ alone; γ is missing there": partial(
            _sum_of_errors, decay=lambda gamma, lam: lam
        ),
        "the weights of the sum decay with γ alone; λ is missing there": partial(
            _sum_of_errors, decay=lambda gamma, lam: gamma
        ),
        "the sum begins at the error of t itself; it begins at the next one": partial(
            _sum_of_errors, first=0
        ),
        "the later errors have the wrong sign": partial(
            _sum_of_errors, front=lambda gamma, lam: -gamma * (1 - lam)
        ),
    },
)
