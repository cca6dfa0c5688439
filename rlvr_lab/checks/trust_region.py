"""Checks of the exercises on trust regions (notebook 04)."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, ragged

__all__ = [
    "check_importance_estimate",
    "check_line_search",
    "check_step_size",
]


# --------------------------------------------------------------------------------- importance weights


def _draw_samples(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    rows, width = ((5, 5), (6, 4), (4, 7))[turn]
    behaviour = rng.uniform(-3, -0.3, (rows, width))
    return {
        "logprobs": behaviour + rng.uniform(-0.5, 0.5, (rows, width)),
        "behaviour_logprobs": behaviour,
        "rewards": rng.uniform(0, 2, rows),
        "mask": ragged(rng, rows, width),
    }


def _answer_weights(logprobs: Any, behaviour_logprobs: Any, mask: Any) -> np.ndarray:
    """π(y)/π_b(y), a product over the answer's tokens."""
    return np.array(
        [
            math.prod(
                math.exp(a) / math.exp(b) for a, b, m in zip(new, old, keep, strict=True) if m
            )
            for new, old, keep in zip(logprobs, behaviour_logprobs, mask, strict=True)
        ]
    )


def _estimate(weights: np.ndarray, rewards: np.ndarray) -> tuple[float, float]:
    return float((weights * rewards).mean()), float(weights.sum() ** 2 / (weights**2).sum())


def _importance_estimate(
    logprobs: Any, behaviour_logprobs: Any, rewards: Any, mask: Any
) -> tuple[float, float]:
    return _estimate(_answer_weights(logprobs, behaviour_logprobs, mask), rewards)


Weights = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of the log-ratios and the mask


def _with_weights(weights: Weights) -> Callable[..., tuple[float, float]]:
    def mistaken(
        logprobs: Any, behaviour_logprobs: Any, rewards: Any, mask: Any
    ) -> tuple[float, float]:
        return _estimate(weights(logprobs - behaviour_logprobs, mask), rewards)

    return mistaken


def _with_result(result: Callable[..., tuple[float, float]]) -> Callable[..., tuple[float, float]]:
    def mistaken(
        logprobs: Any, behaviour_logprobs: Any, rewards: Any, mask: Any
    ) -> tuple[float, float]:
        weights = _answer_weights(logprobs, behaviour_logprobs, mask)
        return result(weights, rewards, *_estimate(weights, rewards))

    return mistaken


check_importance_estimate = Check(
    "importance_estimate: the new policy's reward from the old one's answers, and what they are worth",
    draw=_draw_samples,
    right=_importance_estimate,
    mistakes={
        "the ratio is upside down: the policy you ask about belongs on top": _with_weights(
            lambda ratio, mask: np.exp(-(ratio * mask).sum(axis=1))
        ),
        "padding is in the ratio": _with_weights(lambda ratio, mask: np.exp(ratio.sum(axis=1))),
        "the log-ratio is averaged over the tokens. That is GSPO's ratio; the chance of an answer is a "
        "product, so its logarithm is a sum": _with_weights(
            lambda ratio, mask: np.exp((ratio * mask).sum(axis=1) / mask.sum(axis=1))
        ),
        "the token ratios are added up; chances multiply": _with_weights(
            lambda ratio, mask: (np.exp(ratio) * mask).sum(axis=1)
        ),
        "the token ratios are averaged; chances multiply": _with_weights(
            lambda ratio, mask: (np.exp(ratio) * mask).sum(axis=1) / mask.sum(axis=1)
        ),
        "only the first token's ratio is used": _with_weights(
            lambda ratio, mask: np.exp(ratio[:, 0])
        ),
        "the weight is the logarithm of the ratio, not the ratio": _with_weights(
            lambda ratio, mask: (ratio * mask).sum(axis=1)
        ),
        "the estimate is divided by the sum of the weights. That is the self-normalised estimate, which "
        "is biased; divide by the number of answers": _with_result(
            lambda w, r, value, ess: (float((w * r).sum() / w.sum()), ess)
        ),
        "the weighted rewards are added up, not averaged": _with_result(
            lambda w, r, value, ess: (value * len(w), ess)
        ),
        "the effective sample size is missing its squares: (Σw)²/Σw²": _with_result(
            lambda w, r, value, ess: (value, float(w.sum() / (w**2).sum()))
        ),
        "the effective sample size is a share here; give the number of answers": _with_result(
            lambda w, r, value, ess: (value, ess / len(w))
        ),
        "the effective sample size has the rewards in it; it is about the weights alone": _with_result(
            lambda w, r, value, ess: (value, float((w * r).sum() ** 2 / ((w * r) ** 2).sum()))
        ),
        "the estimate and the effective sample size have changed places": _with_result(
            lambda w, r, value, ess: (ess, value)
        ),
    },
)


# ---------------------------------------------------------------------------------------- step length


def _draw_step(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    half = rng.normal(0, 1, (4, 4))
    direction = rng.normal(0, 1, 4)
    return {
        "direction": direction,
        "fisher_direction": (half @ half.T / 4 + 0.5 * np.eye(4)) @ direction,
        "max_kl": float(rng.uniform(0.005, 0.05)),
    }


def _step_size(direction: Any, fisher_direction: Any, max_kl: float) -> float:
    return math.sqrt(2 * max_kl / float(sum(direction * fisher_direction)))


check_step_size = Check(
    "step_size: the quadratic model says KL = δ",
    draw=_draw_step,
    right=_step_size,
    tolerance=1e-7,
    mistakes={
        "the ½ of the quadratic model is missing: KL ≈ ½·xᵀFx": (
            lambda direction, fisher_direction, max_kl: math.sqrt(
                max_kl / (direction @ fisher_direction)
            )
        ),
        "the ½ has gone the wrong way": lambda direction, fisher_direction, max_kl: math.sqrt(
            max_kl / 2 / (direction @ fisher_direction)
        ),
        "the root is missing: KL grows with the *square* of the step": (
            lambda direction, fisher_direction, max_kl: 2 * max_kl / (direction @ fisher_direction)
        ),
        "this measures the step in parameters, ‖x‖². The Fisher matrix is not in it": (
            lambda direction, fisher_direction, max_kl: math.sqrt(
                2 * max_kl / (direction @ direction)
            )
        ),
        "the fraction is upside down": lambda direction, fisher_direction, max_kl: math.sqrt(
            (direction @ fisher_direction) / (2 * max_kl)
        ),
        "the Fisher matrix is in it twice: ‖Fx‖² where xᵀFx belongs": (
            lambda direction, fisher_direction, max_kl: math.sqrt(
                2 * max_kl / (fisher_direction @ fisher_direction)
            )
        ),
        "δ is under no root": lambda direction, fisher_direction, max_kl: (
            2 * max_kl / math.sqrt(direction @ fisher_direction)
        ),
    },
)


# ---------------------------------------------------------------------------------------- line search


def _draw_search(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Landscapes that part the mistakes: every condition decides in some call."""
    shrink, tries, max_kl = float(rng.uniform(0.5, 0.8)), 5, float(rng.uniform(0.01, 0.03))
    fractions = [shrink**k for k in range(tries + 1)]
    good, bad = float(rng.uniform(0.1, 0.5)), -float(rng.uniform(0.1, 0.5))
    low, high = 0.5 * max_kl, 2 * max_kl
    gains, kls = (
        ([good, bad, good, good, good, good], [high, low, low, low, low, low]),  # the third
        ([bad] * 5 + [good], [low] * 6),  # none, and the one after the last would do
        ([good] * 6, [high, high, high, max_kl, low, low]),  # the fourth, exactly at the limit
        ([good] * 6, [high, high, high, high, low, low]),  # the last
        ([good] * 6, [low] * 6),  # the first
    )[turn]

    def evaluate(fraction: float) -> tuple[float, float]:
        near = [abs(fraction - f) < 1e-9 for f in fractions]
        # Fractions outside the list: too far beyond 1, worthless elsewhere.
        return (gains[near.index(True)], kls[near.index(True)]) if any(near) else (good, low)

    return {"evaluate": evaluate, "max_kl": max_kl, "shrink": shrink, "tries": tries}


def _search(
    evaluate: Any,
    max_kl: float,
    shrink: float,
    tries: int,
    *,
    good: Callable[[float, float, float], bool] = lambda gain, kl, limit: gain > 0 and kl <= limit,
    fraction: Callable[[float, int], float] = lambda s, k: s**k,
    first: int = 0,
    extra: int = 0,
    otherwise: str = "zero",
) -> float:
    for k in range(first, tries + first + extra):
        if good(*evaluate(fraction(shrink, k)), max_kl):
            return float(k) if otherwise == "index" else fraction(shrink, k)
    return fraction(shrink, tries - 1) if otherwise == "last" else 0.0


def _search_slip(**how: Any) -> Callable[..., float]:
    return lambda evaluate, max_kl, shrink, tries: _search(evaluate, max_kl, shrink, tries, **how)


check_line_search = Check(
    "line_search: the longest fraction that gains and stays within δ",
    draw=_draw_search,
    right=_search,
    calls=5,
    tolerance=1e-7,
    mistakes={
        "the KL is not looked at: a step that gains may still leave the trust region": _search_slip(
            good=lambda gain, kl, limit: gain > 0
        ),
        "the gain is not looked at: a step within δ may still make the policy worse": _search_slip(
            good=lambda gain, kl, limit: kl <= limit
        ),
        "one of the two conditions is enough for yours; both must hold": _search_slip(
            good=lambda gain, kl, limit: gain > 0 or kl <= limit
        ),
        "a step whose KL is exactly δ is turned down": _search_slip(
            good=lambda gain, kl, limit: gain > 0 and kl < limit
        ),
        "the full step is never tried: the first fraction is 1": _search_slip(first=1),
        "one fraction too many is tried": _search_slip(extra=1),
        "one fraction too few is tried": _search_slip(extra=-1),
        "the number of the try is returned, not the fraction": _search_slip(otherwise="index"),
        "when nothing is good enough the smallest fraction is taken all the same; then there must be no "
        "step at all: 0": _search_slip(otherwise="last"),
        "the fractions fall by the same amount each time; they shrink by a factor": _search_slip(
            fraction=lambda s, k: 1 - k * (1 - s)
        ),
        "the sign of the gain is flipped: the surrogate is to rise": _search_slip(
            good=lambda gain, kl, limit: gain < 0 and kl <= limit
        ),
    },
)
