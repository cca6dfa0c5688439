"""Checks of the exercises on the case study of Kimi k1.5 (notebook 09): its objective."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, Series, ragged

# ------------------------------------------------------------------------------ the optimum's baseline


def _estimate(
    p: float,
    tau: float,
    k: int,
    *,
    power: Callable[[Decimal, Decimal], Decimal] = lambda reward, tau: reward / tau,
    ways: Callable[[int, int], int] = math.comb,
) -> float:
    """E[τ·log mean exp(r/τ)] over the number of correct answers among k, in fifty digits."""
    with localcontext() as context:
        context.prec = 50
        share, temperature, total = Decimal(p), Decimal(tau), Decimal(0)
        for right in range(k + 1):
            chance = ways(k, right) * share**right * (1 - share) ** (k - right)
            mean = (right * power(Decimal(1), temperature).exp() + (k - right)) / k
            total += chance * temperature * mean.ln()
        return float(total)


def _log_z(p: float, tau: float) -> float:
    """τ·log E[exp(r/τ)], the quantity that is estimated."""
    return tau * math.log1p(p * math.expm1(1 / tau)) if tau > 0.01 else 1 + tau * math.log(p)


def _tau(p: float, target: float) -> float:
    """By bisection on 1/τ: the pass rate of the optimum grows with it."""
    low, high = 0.0, 60.0
    for _ in range(80):
        middle = (low + high) / 2
        reached = p * math.exp(middle) / (1 - p + p * math.exp(middle))
        low, high = (middle, high) if reached < target else (low, middle)
    return 1 / low


def _odds(p: float) -> float:
    return p / (1 - p)


check_log_z = Series(
    "expected_baseline and tau_for: exact, for large and small τ",
    (
        Check(
            "expected_baseline",
            draw=lambda rng, turn: {
                "p": float(rng.uniform(0.15, 0.4) if turn % 2 else rng.uniform(0.6, 0.85)),
                "tau": (float(rng.uniform(0.4, 0.8)), float(rng.uniform(1, 2)), 0.1, 0.001)[turn],
                "k": (4, 3, 8, 6)[turn],
            },
            right=_estimate,
            calls=4,
            tolerance=1e-7,
            label=" (first function)",
            mistakes={
                "this is τ·log Z itself. The logarithm of a mean of k is not linear, so its expectation "
                "is lower": lambda p, tau, k: _log_z(p, tau),
                "this is the mean reward, the limit of a large τ": lambda p, tau, k: p,
                "this is the probability that one of k answers is correct, the limit of a small τ": (
                    lambda p, tau, k: 1 - (1 - p) ** k
                ),
                "the factor τ is missing; a baseline has the unit of a reward": lambda p, tau, k: (
                    _estimate(p, tau, k) / tau
                ),
                "the reward is multiplied by τ in the exponent, and should be divided by it": partial(
                    _estimate, power=lambda reward, tau: reward * tau
                ),
                "the probability of j correct answers has a binomial coefficient": partial(
                    _estimate, ways=lambda k, right: 1
                ),
                "p is the probability of a correct answer, and not of an incorrect one": (
                    lambda p, tau, k: _estimate(1 - p, tau, k)
                ),
                "the sum over the answers is not divided by k": lambda p, tau, k: (
                    _estimate(p, tau, k) + tau * math.log(k)
                ),
                "the sign is reversed": lambda *given: -_estimate(*given),
            },
        ),
        Check(
            "tau_for",
            draw=lambda rng, turn: {
                "p": float(rng.uniform(0.05, 0.4)),
                "target": float(rng.uniform(0.5, 0.95)),
            },
            right=_tau,
            tolerance=1e-6,
            label=" (second function)",
            mistakes={
                "this is 1/τ": lambda p, target: 1 / _tau(p, target),
                "the ratio of the pass rates is used. The weight of the incorrect answers falls too, by "
                "1/Z: use odds": lambda p, target: 1 / math.log(target / p),
                "the logarithm is missing: the odds grow by the factor exp(1/τ)": lambda p, target: (
                    1 / (_odds(target) / _odds(p))
                ),
                "start and target are exchanged: a pass rate that rises needs a positive τ": (
                    lambda p, target: -_tau(p, target)
                ),
                "this is the difference of the pass rates, turned over; the change is linear in the "
                "log-odds": lambda p, target: 1 / (target - p),
                "the logarithm has base 10; exp belongs to the natural one": lambda p, target: (
                    _tau(p, target) * math.log(10)
                ),
                "the odds at the start are missing": lambda p, target: 1 / math.log(_odds(target)),
            },
        ),
    ),
    functions=2,
)


# ------------------------------------------------------------------------------------- the surrogate


def _centre(rewards: np.ndarray, size: int) -> np.ndarray:
    groups = rewards.reshape(-1, size)
    return (groups - groups.mean(axis=1, keepdims=True)).reshape(-1)


def _surrogate(
    new: Any,
    old: Any,
    mask: Any,
    rewards: Any,
    size: int,
    tau: float,
    *,
    advantages: Callable[[np.ndarray, int], np.ndarray] = _centre,
    log_ratio: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda x, mask: np.where(
        mask, x, 0.0
    ).sum(1),
    weight: Callable[[float], float] = lambda tau: tau,
    scale: Callable[[float], float] = lambda tau: 1 / (2 * tau),
) -> np.ndarray:
    """Answer by answer, from the definition; the keywords are options for mistakes."""
    pairs = zip(advantages(rewards, size), log_ratio(new - old, mask), strict=True)
    return np.array(scale(tau) * np.mean([(a - weight(tau) * s) ** 2 for a, s in pairs]))


def _draw_surrogate(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    mask = ragged(rng, 6, 4)
    old = rng.uniform(-2.0, -0.2, mask.shape)
    new = old + rng.normal(0, 0.4, mask.shape)
    hole = (3.0, np.nan, np.nan)[turn]
    return {
        "logprobs": np.where(mask, new, hole),
        "old_logprobs": np.where(mask, old, hole / 2),
        "mask": mask,
        "rewards": rng.uniform(-0.5, 1.5, 6),
        "group_size": (3, 2, 3)[turn],
        "tau": float((0.3, 0.8, 1.7)[turn] * rng.uniform(0.9, 1.1)),
    }


def _standard(rewards: np.ndarray, size: int, ddof: int) -> np.ndarray:
    std = rewards.reshape(-1, size).std(axis=1, ddof=ddof)
    return _centre(rewards, size) / np.repeat(std, size)


def _per_token(new: Any, old: Any, mask: Any, rewards: Any, size: int, tau: float) -> np.ndarray:
    each = (_centre(rewards, size)[:, None] - tau * (new - old)) ** 2
    return np.array(np.where(mask, each, 0.0).sum() / len(rewards) / (2 * tau))


SURROGATE_MISTAKES: dict[str, Callable[..., Any]] = {
    "padding counts: sum the log-ratios of the answer's own tokens only": partial(
        _surrogate, log_ratio=lambda x, mask: x.sum(1)
    ),
    "the log-ratios of an answer are averaged. The probability of an answer is a product, so they add "
    "up": partial(_surrogate, log_ratio=lambda x, m: np.where(m, x, 0.0).sum(1) / m.sum(1)),
    "the baseline is the mean of the whole batch; it is that of the answers to one problem": partial(
        _surrogate, advantages=lambda r, size: r - r.mean()
    ),
    "no baseline is subtracted": partial(_surrogate, advantages=lambda r, size: r),
    "the baseline leaves the answer itself out; Kimi's mean contains it": partial(
        _surrogate, advantages=lambda r, size: _centre(r, size) * size / (size - 1)
    ),
    "the advantages are divided by the std, as in GRPO; Kimi only subtracts the mean": partial(
        _surrogate, advantages=partial(_standard, ddof=0)
    ),
    "the advantages are divided by the (sample) std, as in GRPO; Kimi only subtracts the mean": partial(
        _surrogate, advantages=partial(_standard, ddof=1)
    ),
    "the division by 2τ is missing": partial(_surrogate, scale=lambda tau: 1.0),
    "divided by τ and not by 2τ: the derivative of a square brings a factor 2": partial(
        _surrogate, scale=lambda tau: 1 / tau
    ),
    "τ is missing in front of the log-ratio": partial(_surrogate, weight=lambda tau: 1.0),
    "the log-ratio has the wrong sign: it is log π − log π_old": partial(
        _surrogate, weight=lambda tau: -tau
    ),
    "the ratio is used where its logarithm should stand": partial(
        _surrogate, log_ratio=lambda x, mask: np.exp(np.where(mask, x, 0.0).sum(1))
    ),
    "the square is taken for each token; first add up the log-ratios of an answer": _per_token,
    "the answers are added up; take their mean": lambda *given: 6 * _surrogate(*given),
    "the sign is reversed: this is a loss, and it is minimised": lambda *given: -_surrogate(*given),
}


def _resting(
    rewards: np.ndarray,
    size: int,
    tau: float,
    baseline: str,
    *,
    sums: bool = False,
    power: Callable[[np.ndarray, float], np.ndarray] = lambda a, tau: a / tau,
) -> np.ndarray:
    """Group by group, from the definition; the keywords are options for mistakes."""
    found: list[float] = []
    for start in range(0, len(rewards), size):
        group = rewards[start : start + size]
        b = sum(group) / size
        if baseline == "log Z":
            total = sum(math.exp(r / tau) for r in group)
            b = tau * math.log(total / (1 if sums else size))
        found += [math.exp(power(r - b, tau)) for r in group]
    return np.array(found)


check_kimi_loss = Series(
    "kimi_surrogate and resting_ratio: value, gradient, and where the push ends",
    (
        Check(
            "kimi_surrogate",
            draw=_draw_surrogate,
            right=_surrogate,
            through="logprobs",
            data=("old_logprobs",),
            label=" (first function)",
            instead=lambda new, *rest: {
                (len(new),): "the mean over the answers is missing",
                new.shape: "add up the log-ratios of an answer, then average over the answers",
            },
            mistakes=SURROGATE_MISTAKES,
        ),
        Check(
            "resting_ratio",
            draw=lambda rng, turn: {
                "rewards": rng.uniform(-0.5, 1.5, 6),
                "group_size": (3, 2, 3, 6)[turn],
                "tau": float(rng.uniform(0.4, 1.6)),
                "baseline": ("mean", "log Z")[turn % 2],
            },
            right=_resting,
            calls=4,
            label=" (second function)",
            mistakes={
                "the baseline is always the mean; the last argument is ignored": lambda r, n, tau, b: (
                    _resting(r, n, tau, "mean")
                ),
                "the baseline is always τ·log Z; the last argument is ignored": lambda r, n, tau, b: (
                    _resting(r, n, tau, "log Z")
                ),
                "Z is a mean over the group, and not a sum": partial(_resting, sums=True),
                "this is the logarithm of the ratio": lambda *given: np.log(_resting(*given)),
                "this is π_old/π: the sign is reversed": lambda *given: 1 / _resting(*given),
                "the advantage is multiplied by τ. The smaller τ is, the further a policy may go": partial(
                    _resting, power=lambda a, tau: a * tau
                ),
                "τ is missing": partial(_resting, power=lambda a, tau: a),
                "this is the first order only, 1 + A/τ": lambda *given: (
                    1 + np.log(_resting(*given))
                ),
                "the baseline is that of the whole batch": lambda r, n, tau, b: _resting(
                    r, len(r), tau, b
                ),
            },
        ),
    ),
    functions=2,
)
