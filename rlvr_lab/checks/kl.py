"""Checks of the exercises on the KL estimators (notebook 06)."""

import math
from typing import Any

import numpy as np
import torch

from rlvr_lab.checks.kit import Case, Mistake, call, checking, function_name, judge, tensor

__all__ = ["check_k3", "check_k3_gradient", "check_kl_directions"]


def _elementwise(formula: Any) -> Any:
    """Apply a formula of d = log π − log π_ref number by number, in pure Python."""
    return np.vectorize(formula, otypes=[float])


K3 = _elementwise(lambda d: math.exp(-d) - 1 + d)
K3_SLOPE = _elementwise(lambda d: 1 - math.exp(-d))  # by log π
K3_MISTAKES = {
    "the direction is flipped: this estimates KL(π_ref‖π), as if the tokens came from the reference": (
        _elementwise(lambda d: math.exp(d) - 1 - d)
    ),
    "this is k1, the plain log-ratio": _elementwise(lambda d: d),
    "this is k1 with its sign flipped": _elementwise(lambda d: -d),
    "this is k2, half the squared log-ratio": _elementwise(lambda d: d * d / 2),
    "two policies that agree should have a KL of 0; a constant is missing": (
        _elementwise(lambda d: math.exp(-d) + d)
    ),
    "the log-ratio has one sign inside the exponential and must have the other outside; yours do not "
    "fit together": _elementwise(lambda d: math.exp(-d) - 1 - d),
    "the exponential has the ratio upside down; the term outside it is right": (
        _elementwise(lambda d: math.exp(d) - 1 + d)
    ),
    "the exponential is there, but not the term that makes it never negative: the log-ratio itself": (
        _elementwise(lambda d: math.exp(-d) - 1)
    ),
    "the sign is flipped: k3 is never negative, yours is never positive": (
        _elementwise(lambda d: -(math.exp(-d) - 1 + d))
    ),
}


def check_k3(fn: Any, seed: int | None = None) -> None:
    """Check ``k3(logprobs, ref_logprobs)``: its value token by token, then its gradient."""
    with checking("k3: right value, right direction, and the gradient flows", seed) as rng:
        name, cases, slopes = function_name(fn), [], []
        for shape in ((3, 4), (2, 7)):
            ref = rng.uniform(-3, -0.5, shape)
            policy = ref + rng.uniform(-1.2, 1.2, shape)
            logprobs = torch.tensor(policy, requires_grad=True)
            result, given = call(fn, logprobs=logprobs, ref_logprobs=torch.tensor(ref))
            instead = {(): "one value a token is wanted; averaging is the loss's business"}
            value = tensor(
                name, result, shape, instead | {shape[:1]: "do not sum over the tokens yet"}
            )
            d = policy - ref
            words = f"log-probs {policy[0].round(2)} and reference {ref[0].round(2)}"
            named = {sentence: wrong(d) for sentence, wrong in K3_MISTAKES.items()}
            cases.append(Case(words, value, K3(d), named))
            slopes.append((words, value, given["logprobs"], d))
        judge(name, cases)
        for words, value, leaf, d in slopes:
            if not value.requires_grad:
                raise Mistake(
                    f"{name}: the values are right, but no gradient flows to logprobs. Something cuts "
                    "it off: detach, no_grad, numpy, item or a new torch.tensor(…)"
                )
            (slope,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
            cut = {
                "the values are right, but the gradient flows only through the log-ratio, not through "
                "the exponential: a detach too many": np.ones_like(d),
                "the values are right, but the gradient flows only through the exponential, not "
                "through the log-ratio: a detach too many": -np.exp(-d),
                "the values are right, but the gradient is zero: a detach too many": 0 * d,
            }
            slope = torch.zeros_like(leaf) if slope is None else slope
            judge(name, [Case(words + " (gradient)", slope, K3_SLOPE(d), cut)])


def _softmax(rng: np.random.Generator, size: int) -> np.ndarray:
    weights = np.exp(rng.normal(0, 0.8, size))
    return weights / weights.sum()


def _expected_gradient(pi: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Σ_v π(v)·∂k3(v)/∂θ by central differences of k3 at every token, the sampling held fixed."""
    theta, step, out = np.log(pi), 1e-5, np.zeros_like(pi)

    def k3_of_every_token(logits: np.ndarray) -> np.ndarray:
        d = logits - math.log(sum(math.exp(x) for x in logits)) - np.log(q)
        return K3(d)

    for i in range(len(pi)):
        up, down = theta.copy(), theta.copy()
        up[i] += step
        down[i] -= step
        out[i] = pi @ (k3_of_every_token(up) - k3_of_every_token(down)) / (2 * step)
    return out


def _reverse_kl_gradient(pi: np.ndarray, q: np.ndarray) -> np.ndarray:
    d = np.log(pi / q)
    return pi * (d - pi @ d)


GRADIENT_MISTAKES = {
    "the sign is flipped: this is the direction of descent, not the gradient": lambda pi, q: q - pi,
    "this is the gradient of KL(π‖π_ref), the quantity that k3 estimates. But here the sampling is "
    "held fixed: only k3 itself is differentiated": _reverse_kl_gradient,
    "this is k3's slope by log π at each token; the expectation over tokens and the step from log π "
    "to the logits are still to come": lambda pi, q: 1 - q / pi,
    "each logit is followed into its own token only, and the expectation over tokens is missing": (
        lambda pi, q: (1 - q / pi) * (1 - pi)
    ),
    "∂log π(v)/∂θ_v is right, but changing one logit changes the log-probability of every token, by "
    "the normaliser": lambda pi, q: pi * (1 - q / pi) * (1 - pi),
    "the expectation is taken over the reference; the tokens are drawn from the policy": (
        lambda pi, q: q * (1 - q / pi) - pi * (q @ (1 - q / pi))
    ),
    "the ratio is upside down: k3 contains π_ref/π": (
        lambda pi, q: pi * (1 - pi / q) - pi * (pi @ (1 - pi / q))
    ),
    "that is the gradient for k1, which vanishes; k3 has a second term": lambda pi, q: 0 * pi,
    "that is the chance of each token, not a gradient: its entries must add up to 0": (
        lambda pi, q: pi
    ),
}


def check_k3_gradient(fn: Any, seed: int | None = None) -> None:
    """Check ``expected_k3_gradient(pi [V], pi_ref [V]) -> [V]``, by the logits, tokens from π."""
    with checking(
        "expected_k3_gradient: agrees with finite differences on every logit", seed
    ) as rng:
        name, cases = function_name(fn), []
        for size in (3, 6, 4):
            pi, q = _softmax(rng, size), _softmax(rng, size)
            result, _ = call(fn, pi=torch.tensor(pi), pi_ref=torch.tensor(q))
            instead = {(): "one entry for each logit is wanted, a vector of size V"}
            value = tensor(name, result, [size], instead)
            named = {sentence: wrong(pi, q) for sentence, wrong in GRADIENT_MISTAKES.items()}
            words = f"π = {pi.round(2)}, π_ref = {q.round(2)}"
            cases.append(Case(words, value, _expected_gradient(pi, q), named))
        judge(name, cases)


ANSWERS = ("reverse", "forward", "nothing")
DIRECTIONS = {  # estimator used as a loss -> right answer, and what a wrong one may have confused
    "k1": ("nothing", "its expected gradient is E[∇log π]: what is that for any distribution?"),
    "k2": (
        "reverse",
        "you may be thinking of k2 as a number to report, where it is biased; differentiate it first",
    ),
    "k3": (
        "forward",
        "you may be mixing up the KL that k3 estimates as a number with the one it descends as a loss. "
        "Compare your formula of the last exercise with the two gradients",
    ),
    "rho*k3": (
        "reverse",
        "ρ is 1 as a number, but its gradient is not 0: add that term to the one you had for k3",
    ),
}


def check_kl_directions(fn: Any, seed: int | None = None) -> None:
    """Check ``descends(estimator) -> "reverse" | "forward" | "nothing"``."""
    with checking("descends: the four estimators, told apart as losses", seed) as rng:
        name = function_name(fn)
        for key in rng.permutation(list(DIRECTIONS)).tolist():
            answer, confusion = DIRECTIONS[key]
            result, _ = call(fn, estimator=key)
            if result not in ANSWERS:
                raise Mistake(
                    f"{name}({key!r}) must return one of {', '.join(map(repr, ANSWERS))}, "
                    f"not {result!r}"
                )
            if result != answer:
                raise Mistake(f"{name}({key!r}) is not {result!r}: {confusion}")
