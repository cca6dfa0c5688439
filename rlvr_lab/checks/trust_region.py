"""Checks of the exercises on trust regions (notebook 04)."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, ragged, seen

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
    out = np.ones(len(mask))
    for i, t in np.argwhere(mask):
        out[i] *= math.exp(logprobs[i, t]) / math.exp(behaviour_logprobs[i, t])
    return out


def _estimate(weights: np.ndarray, rewards: np.ndarray) -> tuple[float, float]:
    return float((weights * rewards).mean()), float(weights.sum() ** 2 / (weights**2).sum())


def _worth(new: Any, old: Any, rewards: Any, mask: Any) -> tuple[Any, Any, float, float]:
    """The weights, the rewards, and the two correct numbers."""
    weights = _answer_weights(new, old, mask)
    return weights, rewards, *_estimate(weights, rewards)


WEIGHT_MISTAKES = {  # of the log-ratios and the mask
    "the ratio is upside down: the new policy belongs in the numerator": lambda d, m: np.exp(
        -(d * m).sum(axis=1)
    ),
    "padding is in the ratio": lambda d, m: np.exp(d.sum(axis=1)),
    "the log-ratio is averaged over the tokens. That is GSPO's ratio; the probability of an answer is a "
    "product, so its logarithm is a sum": lambda d, m: np.exp((d * m).sum(axis=1) / m.sum(axis=1)),
    "the token ratios are added up; probabilities are multiplied": lambda d, m: (np.exp(d) * m).sum(
        axis=1
    ),
    "the token ratios are averaged; probabilities are multiplied": lambda d, m: (
        (np.exp(d) * m).sum(axis=1) / m.sum(axis=1)
    ),
    "only the first token's ratio is used": lambda d, m: np.exp(d[:, 0]),
    "the weight is the logarithm of the ratio, not the ratio": lambda d, m: (d * m).sum(axis=1),
}
ESTIMATE_MISTAKES = {  # of the weights, the rewards and the two correct numbers
    "the estimate is divided by the sum of the weights. That is the self-normalised estimate, which "
    "is biased; divide by the number of answers": lambda w, r, v, n: ((w * r).sum() / w.sum(), n),
    "the weighted rewards are added up, not averaged": lambda w, r, v, n: (v * len(w), n),
    "the effective sample size has no squares: it is (Σw)²/Σw²": (
        lambda w, r, v, n: (v, w.sum() / (w**2).sum())
    ),
    "the effective sample size is a share here; give the number of answers": (
        lambda w, r, v, n: (v, n / len(w))
    ),
    "the effective sample size contains the rewards; it depends only on the weights": (
        lambda w, r, v, n: (v, (w * r).sum() ** 2 / ((w * r) ** 2).sum())
    ),
    "the estimate and the effective sample size are exchanged": lambda w, r, v, n: (n, v),
}

check_importance_estimate = Check(
    "importance_estimate: the new policy's reward from old answers, and the effective sample size",
    draw=_draw_samples,
    right=lambda new, old, r, m: _estimate(_answer_weights(new, old, m), r),
    mistakes={
        said: lambda new, old, r, m, slip=slip: _estimate(slip(new - old, m), r)
        for said, slip in WEIGHT_MISTAKES.items()
    }
    | seen(_worth, ESTIMATE_MISTAKES),
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
    mistakes={  # x, fx: the direction, without and with the Fisher matrix
        "the ½ of the quadratic model is missing: KL ≈ ½·xᵀFx": lambda x, fx, kl: math.sqrt(
            kl / (x @ fx)
        ),
        "the ½ is on the wrong side of the fraction": lambda x, fx, kl: math.sqrt(
            kl / 2 / (x @ fx)
        ),
        "the root is missing: the KL grows with the *square* of the step": lambda x, fx, kl: (
            2 * kl / (x @ fx)
        ),
        "this measures the step in parameters, ‖x‖². The "
        "Fisher matrix is missing": lambda x, fx, kl: math.sqrt(2 * kl / (x @ x)),
        "the fraction is upside down": lambda x, fx, kl: math.sqrt((x @ fx) / (2 * kl)),
        "the Fisher matrix is used twice: ‖Fx‖² instead of xᵀFx": lambda x, fx, kl: math.sqrt(
            2 * kl / (fx @ fx)
        ),
        "δ is not under the root": lambda x, fx, kl: 2 * kl / math.sqrt(x @ fx),
    },
)


# ---------------------------------------------------------------------------------------- line search


def _draw_search(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Landscapes that tell the mistakes apart: each condition decides in some call."""
    shrink, tries, max_kl = float(rng.uniform(0.5, 0.8)), 5, float(rng.uniform(0.01, 0.03))
    fractions = [shrink**k for k in range(tries + 1)]
    good, bad = float(rng.uniform(0.1, 0.5)), -float(rng.uniform(0.1, 0.5))
    low, high = 0.5 * max_kl, 2 * max_kl
    rising = [good * (1 + 0.2 * k) for k in range(6)]
    gains, kls = (
        ([good, bad, good, good, good, good], [high, low, low, low, low, low]),  # the third
        ([bad] * 5 + [good], [low] * 6),  # none, and the one after the last would be accepted
        ([good] * 6, [high, high, high, max_kl, low, low]),  # the fourth, exactly at the limit
        ([good] * 6, [high, high, high, high, low, low]),  # the last
        ([good] * 6, [low] * 6),  # the first
        ([0.0, good, good, good, good, good], [low] * 6),  # the second: the first gains nothing
        (rising, [low] * 6),  # the first, although later ones gain more
        ([bad] * 6, [low] * 6),  # none
    )[turn]

    def evaluate(fraction: float) -> tuple[float, float]:
        near = [abs(fraction - f) < 1e-9 for f in fractions]
        # A fraction that is not in the list looks acceptable, so that a wrong list is noticed.
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
    return {"last": shrink ** (tries - 1), "after": shrink**tries}.get(otherwise, 0.0)


def _shortest(evaluate: Any, max_kl: float, shrink: float, tries: int) -> float:
    """The last of the fractions that gain and stay within δ."""
    fits = [0.0]
    for k in range(tries):
        gain, kl = evaluate(shrink**k)
        fits += [shrink**k] * (gain > 0 and kl <= max_kl)
    return fits[-1]


def _best(evaluate: Any, max_kl: float, shrink: float, tries: int) -> float:
    """The fraction with the largest gain among those within δ."""
    found = [(evaluate(shrink**k), shrink**k) for k in range(tries)]
    allowed = [(gain, part) for (gain, kl), part in found if gain > 0 and kl <= max_kl]
    return max(allowed, default=(0.0, 0.0))[1]


check_line_search = Check(
    "line_search: the longest fraction that gains and stays within δ",
    draw=_draw_search,
    right=_search,
    calls=8,
    tolerance=1e-7,
    mistakes={
        "the KL is not checked: a step that gains may still leave the trust region": partial(
            _search, good=lambda gain, kl, limit: gain > 0
        ),
        "the gain is not checked: a step within δ may still make the policy worse": partial(
            _search, good=lambda gain, kl, limit: kl <= limit
        ),
        "a step is accepted if one of the two conditions holds; both must hold": partial(
            _search, good=lambda gain, kl, limit: gain > 0 or kl <= limit
        ),
        "a step that gains exactly 0 is accepted; a step must gain more than 0": partial(
            _search, good=lambda gain, kl, limit: gain >= 0 and kl <= limit
        ),
        "the fraction with the largest gain is taken; the search stops at the first fraction that meets "
        "both conditions, because each try costs a pass over the batch": _best,
        "the last fraction that meets both conditions is taken; the search stops at the first one, the "
        "longest": _shortest,
        "a step whose KL is exactly δ is rejected": partial(
            _search, good=lambda gain, kl, limit: gain > 0 and kl < limit
        ),
        "the full step is never tried: the first fraction is 1": partial(_search, first=1),
        "one fraction too many is tried": partial(_search, extra=1),
        "one fraction too few is tried": partial(_search, extra=-1),
        "the number of the try is returned, not the fraction": partial(_search, otherwise="index"),
        "when no fraction meets both conditions, the smallest one is returned; then there must be no step "
        "at all: 0": partial(_search, otherwise="last"),
        "when no fraction meets both conditions, the fraction after the last one is returned; then there "
        "must be no step at all: 0": partial(_search, otherwise="after"),
        "the fractions decrease by a constant amount; each should be the last one times `shrink`": partial(
            _search, fraction=lambda s, k: 1 - k * (1 - s)
        ),
        "the sign of the gain is flipped: the surrogate must increase": partial(
            _search, good=lambda gain, kl, limit: gain < 0 and kl <= limit
        ),
    },
)
