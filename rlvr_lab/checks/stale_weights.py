"""Checks of the exercise on a sampler that is not the policy: weights, loss, and what is left (notebook 11)."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from rlvr_lab.checks.calls import Mistake, call, function_name
from rlvr_lab.checks.kit import Check, Series, ragged
from rlvr_lab.checks.shown import as_array

# --------------------------------------------------------------------------------------- the weights


def _nan_on_padding(
    draw: Callable[..., dict[str, Any]], right: Callable[..., Any]
) -> Callable[[Any, np.random.Generator], None]:
    """A further test of a function that is correct so far: log-probabilities may be nan on padding."""

    def look(fn: Any, rng: np.random.Generator) -> None:
        inputs = draw(rng, 0)
        given = {
            key: torch.tensor(
                np.where(inputs["mask"], x, np.nan) if key.endswith("logprobs") else x
            )
            if isinstance(x, np.ndarray)
            else x
            for key, x in inputs.items()
        }
        result, _ = call(fn, **given)
        if not np.allclose(as_array(result), right(*inputs.values()), atol=1e-5):
            raise Mistake(
                f"{function_name(fn)}: correct where the padding holds numbers, but not where it holds nan. A "
                "product with the mask does not remove it: 0 · nan is nan"
            )

    return look


ONE_PER_TOKEN = "each token gets a weight, also where it is the same for all tokens of an answer"
KINDS = ("tis", "icepop", "sequence")


def _weights(
    trainer_logprobs: np.ndarray,
    sampler_logprobs: np.ndarray,
    mask: np.ndarray,
    kind: str,
    cap: float,
    floor: float,
    *,
    ratio: Callable[[float], float] = math.exp,
    truncate: Callable[[float, float, float], float] = lambda x, cap, floor: min(x, cap),
    band: Callable[[float, float, float], float] = lambda x, cap, floor: x * (floor <= x <= cap),
    whole: Callable[[list[float], float], float] = lambda steps, cap: min(
        math.exp(sum(steps)), cap
    ),
    answers: bool = False,
    padded: float = 0.0,
) -> np.ndarray:
    """Token by token; the keywords are options for mistakes."""
    out = np.full(mask.shape, padded)
    for i, row in enumerate(mask):
        places = np.flatnonzero(row)
        steps = [float(trainer_logprobs[i, t] - sampler_logprobs[i, t]) for t in places]
        kept = [band(ratio(step), cap, floor) for step in steps]
        for t, step, inside in zip(places, steps, kept, strict=True):
            if kind == "tis":
                out[i, t] = truncate(ratio(step), cap, floor)
            elif kind == "icepop":
                out[i, t] = 0.0 if answers and 0.0 in kept else inside
            else:
                out[i, t] = whole(steps, cap)
    return out


def _with_padding(
    trainer: np.ndarray, sampler: np.ndarray, mask: np.ndarray, kind: str, cap: float, floor: float
) -> np.ndarray:
    """The padding of an answer enters the sum of its log-ratios."""
    every = np.ones_like(mask)
    if kind != "sequence":
        return _weights(trainer, sampler, mask, kind, cap, floor)
    return np.where(mask, _weights(trainer, sampler, every, kind, cap, floor), 0.0)


def _zero_products(
    trainer: np.ndarray, sampler: np.ndarray, mask: np.ndarray, kind: str, cap: float, floor: float
) -> np.ndarray:
    """The product of an answer that is shorter than the table is 0."""
    found = _weights(trainer, sampler, mask, kind, cap, floor)
    return found * mask.all(axis=1)[:, None] if kind == "sequence" else found


def _draw_weights(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Answers whose ratios are all above 1, all below, or mixed."""
    rows, width = ((6, 5), (6, 5), (6, 4), (4, 6), (5, 5), (6, 5))[turn]
    mask = ragged(rng, rows, width)
    signs = rng.choice([-1.0, 1.0], (rows, width))
    signs[0], signs[1] = 1.0, -1.0
    sampler = rng.uniform(-3, -0.3, (rows, width))
    trainer = sampler + signs * rng.uniform(0.05, 0.6, (rows, width))
    return {
        "trainer_logprobs": trainer,
        "sampler_logprobs": sampler,
        "mask": mask,
        "kind": KINDS[turn % 3],
        "cap": float(rng.uniform(1.15, 1.3)),
        "floor": float(rng.uniform(0.75, 0.85)),
    }


WEIGHT_MISTAKES = {
    "the ratio is upside down: the trainer's policy stands on top, the sampler below": lambda new, old, *rest: (
        _weights(old, new, *rest)
    ),
    "the logarithm of the ratio stands where the ratio should": partial(
        _weights, ratio=lambda x: x, whole=lambda steps, cap: min(sum(steps), cap)
    ),
    "'tis' has an upper bound only; small ratios stay as they are": partial(
        _weights, truncate=lambda x, cap, floor: min(max(x, floor), cap)
    ),
    "'tis' removes what is above the cap. It is set to the cap": partial(
        _weights, truncate=lambda x, cap, floor: x * (x <= cap)
    ),
    "'icepop' moves a token to the edge of the band. Outside the band its weight is 0": partial(
        _weights, band=lambda x, cap, floor: min(max(x, floor), cap)
    ),
    "'icepop' has no lower edge here: ratios below `floor` have weight 0 as well": partial(
        _weights, band=lambda x, cap, floor: x * (x <= cap)
    ),
    "'icepop' gives the weight 1 inside the band; the ratio itself is the weight there": partial(
        _weights, band=lambda x, cap, floor: float(floor <= x <= cap)
    ),
    "'icepop' removes whole answers. Each token is judged on its own": partial(
        _weights, answers=True
    ),
    "'sequence' takes the mean of the log-ratios, as GSPO does. The probability of an answer is a product": (
        partial(_weights, whole=lambda steps, cap: min(math.exp(np.mean(steps)), cap))
    ),
    "'sequence' bounds each token before the product; bound the product": partial(
        _weights, whole=lambda steps, cap: math.prod(min(math.exp(x), cap) for x in steps)
    ),
    "'sequence' has no upper bound": partial(
        _weights, whole=lambda steps, cap: math.exp(sum(steps))
    ),
    "'sequence' adds up padding as well: only the tokens of the answer count": _with_padding,
    "'sequence': the ratios are set to 0 on padding, and so is their product. Set the logarithms to 0": (
        _zero_products
    ),
    "the weight on padding is 1; it should be 0": partial(_weights, padded=1.0),
}


# ------------------------------------------------------------------------------------------ the loss


def _loss(
    logprobs: np.ndarray,
    weights: np.ndarray,
    advantages: np.ndarray,
    mask: np.ndarray,
    *,
    weigh: Callable[[float], float] = lambda w: w,
    side: str = "rows",
    count: Callable[[np.ndarray, np.ndarray], float] = lambda weights, mask: mask.sum(),
    sign: float = -1.0,
) -> float:
    """Token by token; the keywords are options for mistakes."""
    total = 0.0
    for i, t in np.argwhere(mask):
        advantage = advantages[i if side == "rows" else t % len(advantages)]
        total += weigh(weights[i, t]) * advantage * logprobs[i, t]
    return sign * total / float(count(weights, mask))


def _answer_means(
    logprobs: np.ndarray, weights: np.ndarray, advantages: np.ndarray, mask: np.ndarray
) -> float:
    """The mean over answers of the mean over their tokens."""
    rows = range(len(mask))
    one = [
        _loss(*(x[i : i + 1] for x in (logprobs, weights, advantages, mask)), sign=-1.0)
        for i in rows
    ]
    return float(np.mean(one))


def _draw_loss(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Some tokens have weight 0, as after a mask. B = T in the first call."""
    rows, width = ((5, 5), (4, 5), (5, 6))[turn]
    mask = ragged(rng, rows, width)
    weights = rng.uniform(0.3, 1.8, (rows, width)) * (rng.random((rows, width)) < 0.75)
    weights[np.argmax(mask.sum(axis=1)), :2] = (0.0, 1.1)
    logprobs = rng.uniform(-3, -0.3, (rows, width))
    return {
        "logprobs": logprobs,
        "weights": weights,
        "advantages": rng.choice([-1.0, 1.0], rows) * rng.uniform(0.5, 1.5, rows),
        "mask": mask,
    }


LOSS_MISTAKES = {
    "the sign is flipped: a loss is descended": partial(_loss, sign=1.0),
    "each answer has one advantage; here they are laid along the tokens, which raises no error if B = T": partial(
        _loss, side="columns"
    ),
    "the weights are not used": partial(_loss, weigh=lambda w: 1.0),
    "the sum is divided by B·T, with padding": partial(
        _loss, count=lambda weights, mask: mask.size
    ),
    "it is not divided by the number of tokens": partial(_loss, count=lambda weights, mask: 1.0),
    "tokens with weight 0 are not counted. The mean is over all tokens of the answers; a removed token adds 0": (
        partial(_loss, count=lambda weights, mask: (mask & (weights > 0)).sum())
    ),
    "the sum is divided by the sum of the weights, so that the weights have mean 1. Here it is the number of "
    "tokens": partial(_loss, count=lambda weights, mask: weights[mask].sum()),
    "the mean is taken within each answer first. Here every token of the batch counts equally": _answer_means,
    "the mean is over answers: divide by the number of tokens": partial(
        _loss, count=lambda weights, mask: len(mask)
    ),
}


# ---------------------------------------------------------------------------- what the weights leave


def _effective(
    trainer_logprobs: np.ndarray,
    sampler_logprobs: np.ndarray,
    mask: np.ndarray,
    *,
    whole: Callable[[np.ndarray], float] = sum,
    share: Callable[[np.ndarray], float] = lambda w: w.sum() ** 2 / (len(w) * (w**2).sum()),
    sign: float = 1.0,
    tokens: bool = False,
) -> float:
    """From the weights of the answers, relative to the largest; the keywords are options for mistakes."""
    steps = sign * (trainer_logprobs - sampler_logprobs)
    rows = [row[real] for row, real in zip(steps, mask, strict=True)]
    logs = np.concatenate(rows) if tokens else np.array([whole(row) for row in rows])
    return float(share(np.exp(logs - logs.max())))


def _draw_share(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """In the last call the ratios of the answers are about e^1000."""
    rows, width = ((4, 5), (5, 4), (6, 6))[turn]
    mask = ragged(rng, rows, width)
    sampler = rng.uniform(-3, -0.3, (rows, width))
    trainer = sampler + rng.uniform(-0.7, 0.7, (rows, width))
    if turn == 2:
        sampler = sampler - 1000 * (np.arange(width) == 0)
    return {"trainer_logprobs": trainer, "sampler_logprobs": sampler, "mask": mask}


SHARE_MISTAKES = {
    "the fraction is upside down: a share is at most 1": partial(
        _effective, share=lambda w: len(w) * (w**2).sum() / w.sum() ** 2
    ),
    "that is a number of answers; divide it by B": partial(
        _effective, share=lambda w: w.sum() ** 2 / (w**2).sum()
    ),
    "the ratio is upside down: the trainer's policy stands on top, the sampler below": partial(
        _effective, sign=-1.0
    ),
    "each token is a sample of its own here. An answer is sampled as a whole: its weight is the product": partial(
        _effective, tokens=True
    ),
    "the mean of the log-ratios stands where their sum should": partial(_effective, whole=np.mean),
    "padding enters the weights of the answers": lambda new, old, mask: _effective(
        new, old, np.ones_like(mask)
    ),
    "the square root is taken": partial(
        _effective, share=lambda w: math.sqrt(w.sum() ** 2 / (len(w) * (w**2).sum()))
    ),
    "only the last token of an answer is used": partial(_effective, whole=lambda steps: steps[-1]),
}

check_stale_weights = Series(
    "importance_weights, stale_loss and effective_share: tokens, answers, padding, gradient",
    (
        Check(
            "importance_weights",
            draw=_draw_weights,
            right=_weights,
            calls=6,
            label=" (first function)",
            last=_nan_on_padding(_draw_weights, _weights),
            mistakes=WEIGHT_MISTAKES,
            instead=lambda trainer, *rest: {
                (len(trainer),): ONE_PER_TOKEN,
                (len(trainer), 1): ONE_PER_TOKEN,
            },
        ),
        Check(
            "stale_loss",
            draw=_draw_loss,
            right=_loss,
            label=" (second function)",
            last=_nan_on_padding(_draw_loss, _loss),
            through="logprobs",
            data=("weights", "advantages"),
            mistakes=LOSS_MISTAKES,
        ),
        Check(
            "effective_share",
            draw=_draw_share,
            right=_effective,
            label=" (third function)",
            last=_nan_on_padding(_draw_share, _effective),
            mistakes=SHARE_MISTAKES,
        ),
    ),
    functions=3,
)
