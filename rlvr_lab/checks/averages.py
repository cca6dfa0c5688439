"""Checks of the exercises on masks and averages over tokens (notebooks 06 and 07)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rlvr_lab.checks.calls import Mistake, call, function_name, tensor
from rlvr_lab.checks.kit import Case, Check, Rule, Series, judge, ragged, seen

# ---------------------------------------------------------------------------------------- the mask


def _draw_ids(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Answers padded with eos, with another token, or with anything; one is empty and one is truncated."""
    eos, pad, rows, length = 1, 0, 5, int(rng.integers(6, 9))
    ids = rng.integers(2, 9, (rows, length))
    ends = rng.permutation(length)[: rows - 1]
    ends[0], ends[1] = 0, length - 2
    for row, end in enumerate(ends):
        fill = (eos, pad, rng.integers(0, 9, length - end - 1))[turn]
        ids[row, end], ids[row, end + 1 :] = eos, fill
    return {"completion_ids": ids, "eos_id": eos}


def _mask(ids: np.ndarray, eos: int) -> np.ndarray:
    """Row by row: everything up to and including the first end of sequence."""
    mask = np.zeros(ids.shape, bool)
    for row, tokens in enumerate(ids.tolist()):
        end = tokens.index(eos) + 1 if eos in tokens else len(tokens)
        mask[row, :end] = True
    return mask


MASK_MISTAKES = {  # of the positions with an end-of-sequence token, and the correct mask
    "the end-of-sequence token is masked out, so the "
    "model would not be trained to stop": lambda end, m: np.cumsum(end, axis=1) == 0,
    "all end-of-sequence tokens are masked out, wherever they stand. The first one was chosen by the "
    "model and must be trained; the tokens after it are padding": lambda end, m: ~end,
    "nothing is masked: tokens after the end of sequence are padding": lambda end, m: m | True,
    "the mask is the wrong way round: True means trained": lambda end, m: ~m,
    "one token too many: the first padding token after "
    "the end of sequence is trained": lambda end, m: np.c_[m[:, :1], m[:, :-1]],
    "an answer that was cut off has no end-of-sequence token, and all its tokens count; you mask out "
    "all of them": lambda end, m: m & end.any(axis=1, keepdims=True),
    "the mask runs to the last end-of-sequence token of the row. Padding may have the same id: the "
    "answer ends with the first one": lambda end, m: (
        m | (np.cumsum(end[:, ::-1], axis=1)[:, ::-1] > 0)
    ),
    "tokens after the first end of sequence are trained until a second one appears; the answer ends "
    "with the first": lambda end, m: np.cumsum(end, axis=1) <= 1,
    "only the end-of-sequence tokens are left": lambda end, m: end,
    "the first token of each answer is masked out; no shift is needed here": lambda end, m: (
        m & (np.arange(m.shape[1]) > 0)
    ),
}

check_completion_mask = Check(
    "completion_mask: stopping is trained, padding is not",
    draw=_draw_ids,
    right=_mask,
    mistakes=seen(lambda ids, eos: (ids == eos, _mask(ids, eos)), MASK_MISTAKES),
)


# ------------------------------------------------------------------------------------- the averages


def _answers(x: np.ndarray, mask: np.ndarray) -> list[list[float]]:
    """The trained tokens of each answer, as lists."""
    return [row[keep].tolist() for row, keep in zip(x, mask, strict=True)]


def _sequence(x: np.ndarray, mask: np.ndarray) -> float:
    means = [sum(tokens) / len(tokens) for tokens in _answers(x, mask)]
    return sum(means) / len(means)


def _token(x: np.ndarray, mask: np.ndarray) -> float:
    tokens = [token for answer in _answers(x, mask) for token in answer]
    return sum(tokens) / len(tokens)


def _constant(x: np.ndarray, mask: np.ndarray, length: float) -> float:
    return sum(sum(tokens) for tokens in _answers(x, mask)) / (len(x) * length)


def _columns(x: np.ndarray, mask: np.ndarray) -> float:
    counts = np.maximum(mask.sum(axis=0), 1)
    return float(((x * mask).sum(axis=0) / counts).mean())


PADDING: dict[str, Rule] = {
    "padding is averaged in": lambda x, m: x.mean(),
    "padding is not in the sum, but it is counted in the denominator": lambda x, m: (x * m).mean(),
}
SEQUENCE_MISTAKES: dict[str, Rule] = {
    "this is the token average, with equal weights for all tokens; here all answers need equal "
    "weights": _token,
    **PADDING,
    "padding is not counted in the denominator, but it is still in the sum": lambda x, m: (
        x.sum(axis=1) / m.sum(axis=1)
    ).mean(),
    "the sum runs over the wrong axis, across the answers instead of along each answer": _columns,
    "the answers' means are added up; they should be averaged": lambda x, m: (
        _sequence(x, m) * len(x)
    ),
    "the answers' sums are averaged: 1/|o| is missing": lambda x, m: (x * m).sum(axis=1).mean(),
}
TOKEN_MISTAKES: dict[str, Rule] = {
    "this is the average over answers of each answer's mean (1/|o|): here every token should weigh "
    "the same, whatever its answer": _sequence,
    **PADDING,
    "padding is not counted in the denominator, but it is still in the sum": lambda x, m: (
        x.sum() / m.sum()
    ),
    "the sum is divided by the number of answers, not by the number of tokens": lambda x, m: (
        (x * m).sum() / len(x)
    ),
    "the denominator also contains the number of "
    "answers; it should be the number of tokens only": lambda x, m: (
        (x * m).sum() / m.sum() / len(x)
    ),
    "the sum runs over the wrong axis, across the answers": _columns,
}
CONSTANT_MISTAKES: dict[str, Rule] = {
    "a leftover 1/|o|: each answer is still divided by its own length": lambda x, m, n: (
        _sequence(x, m) / n
    ),
    "a leftover 1/|o|, and the constant is not used at all": lambda x, m, n: _sequence(x, m),
    "this is the token average; its denominator still "
    "depends on the lengths that were sampled": lambda x, m, n: _token(x, m),
    "the sum over the answers should be an average: "
    "the number of answers is missing in the denominator": lambda x, m, n: (x * m).sum() / n,
    "the constant is missing: the answers' sums are only averaged": lambda x, m, n: (
        (x * m).sum() / len(x)
    ),
    "it divides by the width of the padded batch instead "
    "of the constant `length`": lambda x, m, n: (x * m).mean(),
    "padding is in the sum": lambda x, m, n: x.sum() / (len(x) * n),
    "padding is averaged in, and the constant is not used": lambda x, m, n: x.mean(),
}


def _average(name: str, right: Rule, mistakes: dict[str, Rule]) -> Check:
    """The check of one average; its last test uses padding that is not finite."""

    def draw(rng: np.random.Generator, turn: int) -> dict[str, Any]:
        rows, width = ((4, 6), (3, 3), (2, 5))[turn]
        inputs = {"x": rng.normal(1, 1, (rows, width)), "mask": ragged(rng, rows, width)}
        length = {"length": float(width + rng.integers(1, 9))}
        return inputs | length if right is _constant else inputs

    def look_at_padding(fn: Any, rng: np.random.Generator) -> None:
        name = function_name(fn)
        for poison in (np.nan, np.inf):
            inputs = draw(rng, 0)
            inputs["x"][~inputs["mask"]] = poison
            x, mask = torch.tensor(inputs["x"]), torch.tensor(inputs["mask"])
            result, _ = call(fn, **(inputs | {"x": x, "mask": mask}))
            if not bool(torch.isfinite(result).all()):
                raise Mistake(
                    f"{name}: padding may hold any value, and here it holds {poison}. Multiplied by 0 "
                    "this gives nan and not 0: replace the padding, or select only the other tokens"
                )
            value, right_one = tensor(name, result, []), right(*inputs.values())
            judge(name, [Case(inputs, value, right_one)], {})

    return Check(
        name,
        draw=draw,
        right=right,
        through="x",
        last=look_at_padding,
        instead=lambda x, *rest: {
            (x.shape[1],): "wrong axis",
            (x.shape[0],): "this is still one number per answer",
        },
        mistakes=mistakes,
    )


check_averages = Series(
    "sequence_mean, token_mean, constant_mean: three different averages",
    (
        _average("sequence_mean", _sequence, SEQUENCE_MISTAKES),
        _average("token_mean", _token, TOKEN_MISTAKES),
        _average("constant_mean", _constant, CONSTANT_MISTAKES),
    ),
    functions=3,
)


# ------------------------------------------------------------------------------ the weight of a token

WEIGHTS: dict[str, Callable[[list[int], float], list[float]]] = {
    "sequence": lambda lengths, n: [1 / (len(lengths) * length) for length in lengths],
    "token": lambda lengths, n: [1 / sum(lengths) for _ in lengths],
    "constant": lambda lengths, n: [1 / (len(lengths) * n) for _ in lengths],
}
OF_WHOLE_ANSWERS = "this is the weight of a whole answer; return the weight of one of its tokens"
WEIGHT_MISTAKES: dict[str, dict[str, Callable[[np.ndarray, float], Any]]] = {
    "sequence": {
        "the average over the answers is missing: there are B of them": lambda o, n: 1 / o,
        "this is the token average, where every token weighs the same": lambda o, n: 1 / o.sum(),
        OF_WHOLE_ANSWERS: lambda o, n: 1 / len(o),
        "upside down: a token of a longer answer weighs less, not more": lambda o, n: o / len(o),
        "the weights are divided by the length twice": lambda o, n: 1 / (len(o) * o**2),
    },
    "token": {
        "this is the sequence average, with its 1/|o|": lambda o, n: 1 / (len(o) * o),
        OF_WHOLE_ANSWERS: lambda o, n: o / o.sum(),
        "the sum of all lengths already covers all answers; dividing by their number as well is one "
        "time too many": lambda o, n: 1 / (len(o) * o.sum()),
        "divided by the number of answers instead of the number of tokens": lambda o, n: 1 / len(o),
        "divided by the mean length instead of the number of tokens": lambda o, n: 1 / o.mean(),
    },
    "constant": {
        "a leftover 1/|o|": lambda o, n: 1 / (len(o) * o * n),
        "a leftover 1/|o|, and no constant": lambda o, n: 1 / (len(o) * o),
        "the average over the answers is missing: there are B of them": lambda o, n: 1 / n,
        "this is the token average; it depends on the sampled lengths": lambda o, n: 1 / o.sum(),
        OF_WHOLE_ANSWERS: lambda o, n: o / (len(o) * n),
        "the longest answer of the batch is used instead of the constant": lambda o, n: (
            1 / (len(o) * o.max())
        ),
    },
}


def _weights(average: str) -> Check:
    def draw(rng: np.random.Generator, turn: int) -> dict[str, Any]:
        lengths = rng.choice(np.arange(3, 400), (3, 5, 2)[turn], replace=False).tolist()
        constant = float(rng.integers(401, 999))
        return {"lengths": lengths, "average": average, "constant": constant}

    return Check(
        f"the weights under the {average} average",
        draw=draw,
        right=lambda lengths, average, n: WEIGHTS[average](lengths, n),
        tolerance=1e-8,
        label=f'(…, "{average}")',
        mistakes={
            said: lambda o, average, n, slip=slip: slip(np.array(o, float), n) * np.ones(len(o))
            for said, slip in WEIGHT_MISTAKES[average].items()
        },
    )


check_token_weights = Series(
    "token_weights: the weight of one token, under three averages",
    tuple(map(_weights, WEIGHTS)),
)
