"""Checks of the exercises on preferences (notebook 01)."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rlvr_lab.checks.calls import Mistake, call, function_name
from rlvr_lab.checks.kit import Check, Rule, ragged, seen


def _log_sigmoid(x: Any) -> Any:
    return -np.log1p(np.exp(-np.asarray(x)))


def _shapes(pairs: np.ndarray, *rest: Any) -> dict[tuple[int, ...], str]:
    return {pairs.shape: "this is still one number per pair; average them"}


# ---------------------------------------------------------------------------------- Bradley–Terry


def _loss(chosen: Any, rejected: Any) -> float:
    """Minus the mean log of each preference's probability e^w / (e^w + e^l)."""
    chances = [
        math.exp(w) / (math.exp(w) + math.exp(x)) for w, x in zip(chosen, rejected, strict=True)
    ]
    return -sum(math.log(p) for p in chances) / len(chances)


def _large_margins(*references: str, **plain: float) -> Callable[[Any, np.random.Generator], None]:
    """In float32 the sigmoid of −200 is 0 and e^200 is ∞: neither may reach the loss or its gradient."""

    def test(fn: Any, rng: np.random.Generator) -> None:
        for margin in (-200.0, 200.0):
            chosen = torch.full((2,), margin - 201, requires_grad=True)
            others = {key: torch.full((2,), -201.0) for key in ("rejected", *references)}
            value, given = call(fn, chosen=chosen, **others, **plain)
            slope = torch.autograd.grad(value, given["chosen"])[0]
            found, flip = float(value.detach()), plain.get("flip", 0.0)
            right = (1 - flip) * max(0.0, -margin) + flip * max(0.0, margin)
            if not abs(found - right) < 0.01 or not bool(slope.isfinite().all()):
                raise Mistake(
                    f"{function_name(fn)}: correct for small margins, but for a margin of {margin:g} the loss "
                    f"is {found:g} (its gradient is {slope.tolist()}) and should be {right:g}. In float32 σ(−200) "
                    "rounds to 0 and e²⁰⁰ is too large. Use one function that computes log σ as a whole"
                )

    return test


check_bradley_terry_loss = Check(
    "bradley_terry_loss: minus the mean log-probability of the preferences, and its gradient",
    draw=lambda rng, turn: {
        "chosen": rng.normal(0.4, 1.5, 4 + turn),
        "rejected": rng.normal(0, 1.5, 4 + turn),
    },
    right=_loss,
    through="chosen",
    instead=_shapes,
    last=_large_margins(),
    mistakes={  # w, x: scores of chosen and rejected
        "the sign is flipped: this is a log-likelihood, and a loss is minimised": lambda w, x: (
            -_loss(w, x)
        ),
        "chosen and rejected are exchanged": lambda w, x: _loss(x, w),
        "the logarithm is missing: this averages the probabilities themselves": lambda w, x: (
            -np.exp(_log_sigmoid(w - x)).mean()
        ),
        "the sigmoid is missing: this is the margin itself, which has no minimum": lambda w, x: (
            -(w - x).mean()
        ),
        "each score has its own sigmoid. Only the difference of the scores matters": lambda w, x: (
            -(_log_sigmoid(w) + _log_sigmoid(-x)).mean()
        ),
        "the margins are averaged before the logarithm: "
        "take the loss of each pair first, then the mean": lambda w, x: (
            -_log_sigmoid((w - x).mean())
        ),
        "the pairs are added up; average them": lambda w, x: _loss(w, x) * len(w),
        "this is a hinge loss, max(0, 1 − margin), and not a likelihood": lambda w, x: np.maximum(
            0, 1 - w + x
        ).mean(),
    },
)


# ------------------------------------------------------------------------------------ the optimum


def _optimum(ref: Any, rewards: Any, beta: float) -> np.ndarray:
    weights = [p * math.exp(r / beta) for p, r in zip(ref, rewards, strict=True)]
    return np.array([w / sum(weights) for w in weights])


def _normal(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()


def _small_beta(fn: Any, rng: np.random.Generator) -> None:
    """With r/β = 1000 the exponential is ∞ or 0 in every precision; the optimum is not."""
    for sign in (1.0, -1.0):
        ref = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
        rewards = sign * torch.tensor([10.0, 9.0, 9.5], dtype=torch.float64)
        result, _ = call(fn, ref=ref, rewards=rewards, beta=0.01)
        best = torch.nn.functional.one_hot(rewards.argmax(), 3).to(result)
        if not torch.allclose(result, best, atol=1e-4):
            shown = [float(f"{x:.3g}") for x in result.tolist()]
            raise Mistake(
                f"{function_name(fn)}: correct for moderate rewards, but for rewards of {rewards.tolist()} "
                f"and β = 0.01 it gives {shown}. exp(r/β) is too large or too small for a "
                "floating-point number: subtract the largest exponent first, or let a softmax do it"
            )


check_regularised_optimum = Check(
    "regularised_optimum: the reference, tilted by e^(r/β)",
    draw=lambda rng, turn: {
        "ref": _normal(rng.uniform(0.2, 1, 3 + turn)),
        "rewards": rng.normal(0, 1, 3 + turn),
        "beta": float(rng.uniform(0.4, 0.8)),
    },
    right=_optimum,
    last=_small_beta,
    mistakes={  # q: π_ref
        "the reference is missing: this is the softmax of r/β, which rewards entropy and not closeness to "
        "the reference": lambda q, r, b: _normal(np.exp(r / b)),
        "the probabilities do not add up to 1": lambda q, r, b: q * np.exp(r / b),
        "β multiplies the reward; a *large* β should keep "
        "the policy near the reference": lambda q, r, b: _optimum(q, r, 1 / b),
        "β is not used": lambda q, r, b: _optimum(q, r, 1.0),
        "the sign is flipped: bad answers become more likely": lambda q, r, b: _optimum(q, -r, b),
        "the exponential is missing": lambda q, r, b: _normal(q * np.abs(r) / b),
        "the reference is added to the exponent, not its logarithm": lambda q, r, b: _normal(
            np.exp(q + r / b)
        ),
        "the logarithm of the reference is divided by β too: "
        "π_ref is raised to the power 1/β": lambda q, r, b: _normal(np.exp((np.log(q) + r) / b)),
        "all probability is on the best answer: this is the limit β → 0": lambda q, r, b: (
            (np.arange(len(q)) == r.argmax()) * 1.0
        ),
    },
)


# -------------------------------------------------------------------------------------------- DPO


def _draw_dpo(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    size = 4 + turn
    ref_chosen, ref_rejected = rng.uniform(-12, -2, (2, size))
    return {
        "chosen": ref_chosen + rng.uniform(-4, 4, size),
        "rejected": ref_rejected + rng.uniform(-4, 4, size),
        "ref_chosen": ref_chosen,
        "ref_rejected": ref_rejected,
        "beta": float(rng.uniform(0.2, 0.6)),
    }


def _dpo(chosen: Any, rejected: Any, ref_chosen: Any, ref_rejected: Any, beta: float) -> float:
    """Bradley and Terry's loss on (π/π_ref)^β."""
    total = 0.0
    for w, x, rw, rx in zip(chosen, rejected, ref_chosen, ref_rejected, strict=True):
        good, bad = math.exp(w - rw) ** beta, math.exp(x - rx) ** beta
        total -= math.log(good / (good + bad))
    return total / len(chosen)


def _of_margin(margin: Any, flip: float = 0.0) -> float:
    """The loss for given margins, when a label is flipped with probability ``flip``."""
    sides = (1 - flip) * _log_sigmoid(margin) + flip * _log_sigmoid(-np.asarray(margin))
    return float(-sides.mean())


def _flipped(w: Any, x: Any, rw: Any, rx: Any, beta: float, flip: float) -> float:
    """The mean loss over the two ways to read a label, each with its probability."""
    return (1 - flip) * _dpo(w, x, rw, rx, beta) + flip * _dpo(x, w, rx, rw, beta)


check_dpo_loss = Check(
    "dpo_loss: both readings of a label, and the gradient",
    draw=lambda rng, turn: _draw_dpo(rng, turn) | {"flip": float(rng.uniform(0.1, 0.35))},
    right=_flipped,
    through="chosen",
    data=("ref_chosen", "ref_rejected"),
    instead=_shapes,
    last=_large_margins("ref_chosen", "ref_rejected", beta=1.0, flip=0.1),
    mistakes={  # w, x: chosen, rejected; rw, rx: under the reference; e: probability of a flip
        "ε has no effect. With probability ε the rejected answer is the better one: what is the loss of such "
        "a pair?": lambda w, x, rw, rx, b, e: _dpo(w, x, rw, rx, b),
        "the loss is small where the rejected answer wins. Look for two things that are exchanged: the answers, "
        "the probabilities ε and 1 − ε, or the sign inside the sigmoid": lambda w, x, rw, rx, b, e: (
            _flipped(x, w, rx, rw, b, e)
        ),
        "the loss of a flipped pair is subtracted. It is a loss, too, and occurs with probability ε": (
            lambda w, x, rw, rx, b, e: (1 - e) * _dpo(w, x, rw, rx, b) - e * _dpo(x, w, rx, rw, b)
        ),
        "the two *losses* are averaged, not the two probabilities inside the logarithm": (
            lambda w, x, rw, rx, b, e: float(
                -np.log(
                    (1 - e) * np.exp(_log_sigmoid(b * ((w - rw) - (x - rx))))
                    + e * np.exp(_log_sigmoid(-b * ((w - rw) - (x - rx))))
                ).mean()
            )
        ),
        "the margin is averaged over the two labels; average the losses": lambda w, x, rw, rx, b, e: (
            _of_margin((1 - 2 * e) * b * ((w - rw) - (x - rx)))
        ),
        "the loss of an unflipped pair has the weight 1 instead of 1 − ε": lambda w, x, rw, rx, b, e: (
            _dpo(w, x, rw, rx, b) + e * _dpo(x, w, rx, rw, b)
        ),
        "the reference is missing": lambda w, x, rw, rx, b, e: _of_margin(b * (w - x), e),
        "β is not used": lambda w, x, rw, rx, b, e: _flipped(w, x, rw, rx, 1.0, e),
        "β multiplies the loss; it belongs inside the sigmoid": lambda w, x, rw, rx, b, e: (
            b * _flipped(w, x, rw, rx, 1.0, e)
        ),
        "the sign of the loss is flipped": lambda *given: -_flipped(*given),
        "policy and reference are exchanged in one of the two ratios: the references add up instead of "
        "cancelling": lambda w, x, rw, rx, b, e: _of_margin(b * ((w - rw) - (x + rx)), e),
        "the references of the two answers are exchanged": lambda w, x, rw, rx, b, e: _flipped(
            w, x, rx, rw, b, e
        ),
        "the pairs are added up; average them": lambda *given: _flipped(*given) * len(given[0]),
        "the ratio of probabilities is used; the implicit reward is its logarithm": (
            lambda w, x, rw, rx, b, e: _of_margin(b * (np.exp(w - rw) - np.exp(x - rx)), e)
        ),
    },
)


def _weight(w: Any, x: Any, rw: Any, rx: Any, beta: float) -> np.ndarray:
    return np.array([1 / (1 + math.exp(margin)) for margin in beta * ((w - rw) - (x - rx))])


check_dpo_weight = Check(
    "dpo_weight: near 1 where the pair is ordered incorrectly",
    draw=_draw_dpo,
    right=_weight,
    mistakes={
        "this is the probability of the preference; the weight "
        "is large where it is *small*": lambda *given: 1 - _weight(*given),
        "β is not used": lambda *given: _weight(*given[:-1], 1.0),
        "β is also in front: that is the whole factor "
        "of the gradient, not the weight": lambda *given: given[-1] * _weight(*given),
        "the reference is missing": lambda w, x, rw, rx, b: _weight(w, x, 0 * rw, 0 * rx, b),
        "this is the derivative of the sigmoid, σ(1 − σ); the weight "
        "comes from the derivative of log σ": lambda *given: (
            _weight(*given) * (1 - _weight(*given))
        ),
        "this is the loss of each pair": lambda *given: -np.log(1 - _weight(*given)),
        "the weights are normalised to add up to 1": lambda *given: _normal(_weight(*given)),
        "the weight is 0 or 1, as in a perceptron; DPO's weight is smooth": lambda *given: (
            (_weight(*given) > 0.5) * 1.0
        ),
    },
)


# ------------------------------------------------------------------------------------------ SimPO


def _draw_simpo(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    size, width = ((4, 7), (5, 6), (6, 8))[turn]
    return {
        "chosen": -rng.uniform(0.3, 1.5, (size, width)),
        "rejected": -rng.uniform(0.3, 1.5, (size, width)),
        "chosen_mask": ragged(rng, size, width),
        "rejected_mask": ragged(rng, size, width),
        "beta": float(rng.uniform(1.5, 2.5)),
        "gamma": float(rng.uniform(0.3, 0.8)),
    }


def _simpo(w: Any, x: Any, n: Any, m: Any, beta: float, gamma: float) -> float:
    """From sums of log-probabilities and lengths."""
    margins = [beta * a / p - beta * b / q - gamma for a, b, p, q in zip(w, x, n, m, strict=True)]
    return sum(math.log(1 + math.exp(-h)) for h in margins) / len(margins)


def _sums(
    chosen: Any, rejected: Any, chosen_mask: Any, rejected_mask: Any, beta: float, gamma: float
) -> tuple[Any, ...]:
    """The sum over each answer's own tokens, and how many there are."""
    kept = [(chosen, chosen_mask), (rejected, rejected_mask)]
    sums = [np.array([sum(row[m]) for row, m in zip(x, mask, strict=True)]) for x, mask in kept]
    return *sums, chosen_mask.sum(axis=1), rejected_mask.sum(axis=1), beta, gamma


def _width(chosen: Any) -> np.ndarray:
    return np.full(len(chosen), chosen.shape[1])


SIMPO_MISTAKES: dict[str, Rule] = {  # w, x: sums of chosen, rejected; n, m: their lengths
    "the lengths are not used: longer answers have more terms in their sum": lambda w, x, n, m, b, g: (
        _of_margin(b * (w - x) - g)
    ),
    "the margin γ is added: the chosen answer must win *by* γ": lambda w, x, n, m, b, g: _simpo(
        w, x, n, m, b, -g
    ),
    "the margin γ is missing": lambda w, x, n, m, b, g: _simpo(w, x, n, m, b, 0.0),
    "γ is multiplied by β; use it as it is given": lambda w, x, n, m, b, g: _simpo(
        w, x, n, m, b, b * g
    ),
    "the lengths of the two answers are exchanged": lambda w, x, n, m, b, g: _simpo(
        w, x, m, n, b, g
    ),
    "β is not used": lambda w, x, n, m, b, g: _simpo(w, x, n, m, 1.0, g),
    "chosen and rejected are exchanged": lambda w, x, n, m, b, g: _simpo(x, w, m, n, b, g),
    "log-probabilities are multiplied by the lengths": lambda w, x, n, m, b, g: _simpo(
        w, x, 1 / n, 1 / m, b, g
    ),
    "both answers are divided by the same length": lambda w, x, n, m, b, g: _simpo(
        w, x, n, n, b, g
    ),
    "all tokens of a side are averaged together; each answer has its own mean": (
        lambda w, x, n, m, b, g: _of_margin(b * (w.sum() / n.sum() - x.sum() / m.sum()) - g)
    ),
    "γ is outside the sigmoid": lambda w, x, n, m, b, g: _simpo(w, x, n, m, b, 0.0) + g,
    "the sign is flipped": lambda w, x, n, m, b, g: -_simpo(w, x, n, m, b, g),
}

check_simpo_loss = Check(
    "simpo_loss: each answer's own mean, a margin, and no reference",
    draw=_draw_simpo,
    right=lambda *given: _simpo(*_sums(*given)),
    through="chosen",
    instead=lambda chosen, *rest: {
        chosen.shape[:1]: "this is still one number per pair; average them",
        chosen.shape: "this is still one number per token",
    },
    mistakes=seen(_sums, SIMPO_MISTAKES)
    | {
        "padding is included in the mean: the mask is not used": lambda c, r, cm, rm, b, g: _simpo(
            c.sum(axis=1), r.sum(axis=1), _width(c), _width(r), b, g
        ),
        "padding is included in the sum, although it is divided by the number of tokens": (
            lambda c, r, cm, rm, b, g: _simpo(
                c.sum(axis=1), r.sum(axis=1), cm.sum(axis=1), rm.sum(axis=1), b, g
            )
        ),
        "padding is left out of the sum and counted in the length: divided by the width of the tensor": (
            lambda c, r, cm, rm, b, g: _simpo(
                (c * cm).sum(axis=1), (r * rm).sum(axis=1), _width(c), _width(r), b, g
            )
        ),
    },
)
