"""Checks of the exercises on the KL estimators (notebook 06)."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, Rule, Series, softmax

# -------------------------------------------------------------------------------------------- k3


def _draw_logprobs(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    ref = rng.uniform(-3, -0.5, ((3, 4), (2, 7))[turn])
    return {"logprobs": ref + rng.uniform(-1.2, 1.2, ref.shape), "ref_logprobs": ref}


def _of_ratio(formula: Callable[[float], float]) -> Rule:
    """A formula for d = log π − log π_ref, applied to each number in pure Python."""
    by_number = np.vectorize(formula, otypes=[float])
    return lambda logprobs, ref_logprobs: by_number(logprobs - ref_logprobs)


def _k3(d: float) -> float:
    return math.exp(-d) - 1 + d


K3_MISTAKES = {
    "the direction is flipped: this estimates KL(π_ref‖π), "
    "as if the tokens came from the reference": lambda d: math.exp(d) - 1 - d,
    "this is k1, the plain log-ratio": lambda d: d,
    "this is k1 with its sign flipped": lambda d: -d,
    "this is k2, half the squared log-ratio": lambda d: d * d / 2,
    "two equal policies should have a KL of 0; a constant is missing": lambda d: math.exp(-d) + d,
    "the log-ratio needs opposite signs inside and outside the exponential; your two signs do not "
    "fit together": lambda d: math.exp(-d) - 1 - d,
    "the ratio in the exponential is upside down; the term outside it is correct": lambda d: (
        math.exp(d) - 1 + d
    ),
    "the exponential is there, but the term that makes k3 "
    "non-negative is missing: the log-ratio itself": lambda d: math.exp(-d) - 1,
    "the sign is flipped: k3 is never negative, yours is never positive": lambda d: -_k3(d),
}

check_k3 = Check(
    "k3: correct value, correct direction, and the gradient flows",
    draw=_draw_logprobs,
    right=_of_ratio(_k3),
    calls=2,
    through="logprobs",
    instead=lambda logprobs, ref: {
        (): "return one value per token; the loss does the averaging",
        logprobs.shape[:1]: "do not sum over the tokens yet",
    },
    mistakes={said: _of_ratio(slip) for said, slip in K3_MISTAKES.items()},
    slopes={
        "the values are correct, but the gradient flows only through the log-ratio, not through the "
        "exponential: there is one detach too many": _of_ratio(lambda d: 1.0),
        "the values are correct, but the gradient flows only through the exponential, not through the "
        "log-ratio: there is one detach too many": _of_ratio(lambda d: -math.exp(-d)),
    },
)


# ------------------------------------------------------------------------------ its expected gradient


def _expected_gradient(pi: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Σ_v π(v)·∂k3(v)/∂θ by central differences of k3 at every token, the sampling held fixed."""
    theta, step, out = np.log(pi), 1e-5, np.zeros_like(pi)
    k3 = _of_ratio(_k3)
    for i in range(len(pi)):
        up, down = (np.log(softmax(theta + s * step * np.eye(len(pi))[i])) for s in (1, -1))
        out[i] = pi @ (k3(up, np.log(q)) - k3(down, np.log(q))) / (2 * step)
    return out


check_k3_gradient = Check(
    "expected_k3_gradient: agrees with finite differences on every logit",
    draw=lambda rng, turn: {
        name: softmax(rng.normal(0, 0.8, (3, 6, 4)[turn])) for name in ("pi", "pi_ref")
    },
    right=_expected_gradient,
    instead=lambda pi, q: {(): "return one entry per logit, a vector of size V"},
    mistakes={
        "the sign is flipped: this is the direction of descent, not the gradient": lambda pi, q: (
            q - pi
        ),
        "this is the gradient of KL(π‖π_ref), the quantity that k3 estimates. But here the sampling is "
        "held fixed: only k3 itself is differentiated": lambda pi, q: (
            pi * (np.log(pi / q) - pi @ np.log(pi / q))
        ),
        "this is the derivative of k3 with respect to log π at each token; the expectation over tokens "
        "and the step from log π to the logits are still missing": lambda pi, q: 1 - q / pi,
        "each logit is used only for its own token, "
        "and the expectation over tokens is missing": lambda pi, q: (1 - q / pi) * (1 - pi),
        "∂log π(v)/∂θ_v is correct, but changing one logit changes the log-probability of every token "
        "through the normaliser": lambda pi, q: pi * (1 - q / pi) * (1 - pi),
        "the expectation is taken over the reference; the tokens "
        "are sampled from the policy": lambda pi, q: q * (1 - q / pi) - pi * (q @ (1 - q / pi)),
        "the ratio is upside down: k3 contains π_ref/π": lambda pi, q: (
            pi * (1 - pi / q) - pi * (pi @ (1 - pi / q))
        ),
        "this is the gradient for k1, which vanishes; k3 has a second term": lambda pi, q: 0 * pi,
        "these are the probabilities of the tokens, not a gradient: "
        "its entries must add up to 0": lambda pi, q: pi,
    },
)


# -------------------------------------------------------------------------------------- directions

ANSWERS = ("reverse", "forward", "nothing")
DIRECTIONS = {  # estimator used as a loss -> correct answer, and a hint for an incorrect one
    "k1": ("nothing", "its expected gradient is E[∇log π]: what is that for any distribution?"),
    "k2": (
        "reverse",
        "you may be thinking of k2 as a number to report, where it is biased; differentiate it first",
    ),
    "k3": (
        "forward",
        "you may be mixing up the KL that k3 estimates as a number with the one it descends as a loss. "
        "Compare your formula from the last exercise with the two gradients",
    ),
    "rho*k3": (
        "reverse",
        "ρ is 1 as a number, but its gradient is not 0: add this term to the one for k3",
    ),
}


def _direction(estimator: str, answer: str, confusion: str) -> Check:
    return Check(
        f"what {estimator} descends as a loss",
        draw=lambda rng, turn: {"estimator": estimator},
        right=lambda estimator: answer,
        calls=1,
        words=ANSWERS,
        label=f"({estimator!r})",
        mistakes={
            f"it is not {wrong!r}: {confusion}": lambda estimator, wrong=wrong: wrong
            for wrong in ANSWERS
            if wrong != answer
        },
    )


check_kl_directions = Series(
    "descends: what the four estimators minimise as losses",
    tuple(_direction(key, *answer) for key, answer in DIRECTIONS.items()),
)
