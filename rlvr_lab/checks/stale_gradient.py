"""Check of the derivation of what a stale sampler's gradient is expected to be (notebook 11)."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.calls import Mistake, call, function_name, limited, number
from rlvr_lab.checks.kit import Check
from rlvr_lab.checks.shown import withheld


def _factors(kind: str, p: float, q: float, cap: float) -> tuple[float, float]:
    """The weight of a right and of a wrong token."""
    right, wrong = p / q, (1 - p) / (1 - q)
    if kind == "none":
        return 1.0, 1.0
    return (min(right, cap), min(wrong, cap)) if kind == "tis" else (right, wrong)


def _expected(kind: str, p: float, q: float, length: int, baseline: float, cap: float) -> float:
    """The estimate of each of the 2^T answers, times its probability under the sampler."""
    total = 0.0
    for answer in itertools.product((True, False), repeat=length):
        chance = math.prod(q if token else 1 - q for token in answer)
        ratio = math.prod(p / q if token else (1 - p) / (1 - q) for token in answer)
        right, wrong = _factors(kind, p, q, cap)
        for token in answer:
            weight = ratio if kind == "sequence" else right if token else wrong
            total += chance * weight * (all(answer) - baseline) * (token - p)
    return total


def _by_count(kind: str, p: float, q: float, length: int, baseline: float, cap: float) -> float:
    """The same, with the answers sorted by their number of right tokens."""
    right, wrong = _factors(kind, p, q, cap)
    total = 0.0
    for k in range(length + 1):
        sampled = math.comb(length, k) * q**k * (1 - q) ** (length - k)
        true = math.comb(length, k) * p**k * (1 - p) ** (length - k)
        if kind == "sequence":
            pushes = true * (k * (1 - p) - (length - k) * p)
        else:
            pushes = sampled * (k * right * (1 - p) - (length - k) * wrong * p)
        total += pushes * ((k == length) - baseline)
    return total


def _long_answers(fn: Any, rng: np.random.Generator) -> None:
    """With 200 tokens there are 2²⁰⁰ answers: only a formula ends."""
    name = function_name(fn)
    for kind in ("none", "token", "tis", "sequence"):
        p, q = float(rng.uniform(0.985, 0.995)), float(rng.uniform(0.97, 0.98))
        given = {"kind": kind, "p": p, "q": q, "length": 200, "baseline": 0.3, "cap": 1.01}
        try:
            result, _ = call(limited(fn, seconds=3.0, memory=512 << 20), **given)
        except Mistake as mistake:
            raise Mistake(
                f"{name}: correct for short answers, but with 200 tokens it takes too long or too much memory, or "
                "stops with an error. There are 2^200 answers: go through none of them"
            ) from mistake
        right = _by_count(**given)
        if abs(number(name, result) - right) > 1e-9 + 1e-4 * abs(right):
            raise Mistake(
                f"{name}: correct for short answers, but not for {kind!r} with 200 tokens. Look for a number in "
                "your formula that should be T"
            )


def _terms(
    *given: Any,
    earned: Callable[..., float] | None = None,
    drift: Callable[..., float] | None = None,
    only: str = "",
) -> float:
    """The part of the reward minus b times the part of the baseline; either may be replaced."""
    kind, p, q, length, baseline, cap = given
    if only and kind != only:
        return _expected(*given)
    without = _expected(kind, p, q, length, 0.0, cap)
    pushed = without - _expected(kind, p, q, length, 1.0, cap)
    factors = (p, q, length, cap)
    return (earned(*factors) if earned else without) - baseline * (
        drift(*factors) if drift else pushed
    )


def _capped_right_only(p: float, q: float, length: int, cap: float) -> float:
    a = min(p / q, cap)
    return length * (q * a * (1 - p) - (1 - p) * p)


GRADIENT_MISTAKES = {
    "'none': the score does not have mean 0 here. The tokens come from the sampler, the score is that of the "
    "policy": partial(_terms, only="none", drift=lambda p, q, n, c: 0.0),
    "'token': that is the exact gradient. One ratio corrects one token; from where do the others come?": partial(
        _terms, only="token", earned=lambda p, q, n, c: n * (1 - p) * p**n
    ),
    "'token': the ratio of the token itself is missing": partial(
        _terms, only="token", earned=lambda p, q, n, c: n * (1 - p) * q**n
    ),
    "'tis': the baseline is not harmless here. Once a weight is capped, the weighted scores no longer have "
    "mean 0": partial(_terms, only="tis", drift=lambda p, q, n, c: 0.0),
    "'tis': the ratio of a wrong token is capped as well": partial(
        _terms, only="tis", drift=_capped_right_only
    ),
    "'tis': the cap is not used": lambda kind, *rest: _expected(
        "token" if kind == "tis" else kind, *rest
    ),
    "'tis': each token has a weight and a cap of its own; here the whole answer is capped": partial(
        _terms,
        only="tis",
        earned=lambda p, q, n, c: n * (1 - p) * min(p**n, c * q**n),
    ),
    "'sequence': that is the gradient without a correction": lambda kind, *rest: _expected(
        "none" if kind == "sequence" else kind, *rest
    ),
    "'sequence': only one of the T ratios is in it": lambda kind, *rest: _expected(
        "token" if kind == "sequence" else kind, *rest
    ),
    "that is the true gradient, for all four kinds. Which of them turn the sampler's answers into the policy's?": (
        lambda kind, *rest: _expected("sequence", *rest)
    ),
    "the baseline is dropped for all four kinds. With 'none' and with a capped ratio the weighted score does not "
    "have mean 0": lambda kind, p, q, n, b, c: _expected(kind, p, q, n, 0.0, c),
    "b counts only where all tokens are right here. It is subtracted in every answer": lambda *given: (
        (1 - given[4]) * _expected(*given[:4], 0.0, given[5])
    ),
    "the number of tokens is missing: every token of the answer has the same parameter": lambda *given: (
        _expected(*given) / given[3]
    ),
    "that is the derivative with respect to p. Here it is with respect to θ, p = σ(θ)": lambda *given: (
        _expected(*given) / (given[1] * (1 - given[1]))
    ),
    "the score of a right token is 1 - p, of the policy and not of the sampler": lambda *given: (
        _expected(*given) * (1 - given[2]) / (1 - given[1])
    ),
    "the baseline has the wrong sign: the advantage is the reward minus b": lambda kind, p, q, n, b, c: (
        _expected(kind, p, q, n, -b, c)
    ),
    "the sign is flipped: this is to be ascended": lambda *given: -_expected(*given),
}


def _draw_stale(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Each kind twice; the cap bounds right tokens in the first half and wrong ones in the second."""
    high, low = float(rng.uniform(0.75, 0.85)), float(rng.uniform(0.5, 0.6))
    p, q = (high, low) if turn < 4 else (low, high)
    return {
        "kind": ("none", "token", "tis", "sequence")[turn % 4],
        "p": p,
        "q": q,
        "length": (2, 3, 4, 5, 6, 4, 3, 2)[turn],
        "baseline": float(rng.uniform(0.3, 0.6)),
        "cap": float(rng.uniform(1.1, 1.2)),
    }


check_stale_gradient = Check(
    "stale_gradient: agrees with the sum over every answer, and goes through none itself",
    draw=_draw_stale,
    right=_expected,
    calls=8,
    tolerance=1e-6,
    secret=withheld,
    last=_long_answers,
    mistakes=GRADIENT_MISTAKES,
)
