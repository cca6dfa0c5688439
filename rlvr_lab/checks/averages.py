"""Checks of the exercises on masks and averages over tokens (notebooks 06 and 07)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rlvr_lab.checks.kit import Case, Mistake, call, checking, function_name, judge, number, tensor

__all__ = ["check_averages", "check_completion_mask", "check_token_weights"]


def _completion_mask(ids: np.ndarray, eos: int) -> np.ndarray:
    """Row by row: everything up to and including the first end of sequence."""
    mask = np.zeros(ids.shape, bool)
    for row, tokens in enumerate(ids.tolist()):
        end = tokens.index(eos) + 1 if eos in tokens else len(tokens)
        mask[row, :end] = True
    return mask


def _up_to_the_last(ids: np.ndarray, eos: int) -> np.ndarray:
    ends = [np.flatnonzero(row == eos) for row in ids]
    return np.array(
        [np.arange(ids.shape[1]) <= (end[-1] if len(end) else ids.shape[1]) for end in ends]
    )


MASK_MISTAKES = {
    "the end-of-sequence token is masked out. Nothing would ever train the model to stop": (
        lambda ids, eos: np.cumsum(ids == eos, axis=1) == 0
    ),
    "tokens equal to the end-of-sequence token are masked out wherever they stand. The first one is "
    "a choice of the model and must be trained; what follows it is padding": (
        lambda ids, eos: ids != eos
    ),
    "nothing is masked: tokens after the end of sequence are padding": (
        lambda ids, eos: np.ones(ids.shape, bool)
    ),
    "the mask is the wrong way round: True means trained": (
        lambda ids, eos: ~_completion_mask(ids, eos)
    ),
    "one token too many: the first padding token after the end of sequence is trained": (
        lambda ids, eos: np.pad(_completion_mask(ids, eos), ((0, 0), (1, 0)), constant_values=True)[
            :, :-1
        ]
    ),
    "an answer that was cut off has no end-of-sequence token, and all its tokens count; yours are "
    "all masked out": (
        lambda ids, eos: _completion_mask(ids, eos) & (ids == eos).any(axis=1, keepdims=True)
    ),
    "the mask runs to the last end-of-sequence token of the row. Padding may have the same id: it is "
    "the first one that ends the answer": _up_to_the_last,
    "only the end-of-sequence tokens are left": lambda ids, eos: ids == eos,
    "the first token of each answer is masked out; nothing has to be shifted here": (
        lambda ids, eos: _completion_mask(ids, eos) & (np.arange(ids.shape[1]) > 0)
    ),
}


def check_completion_mask(fn: Any, seed: int | None = None) -> None:
    """Check ``completion_mask(completion_ids [B, T], eos_id) -> bool [B, T]``."""
    with checking("completion_mask: stopping is trained, padding is not", seed) as rng:
        name, cases = function_name(fn), []
        for padding in ("eos", "pad", "anything"):
            eos, pad, rows, length = 1, 0, 5, int(rng.integers(6, 9))
            ids = rng.integers(2, 9, (rows, length))
            ends = rng.permutation(length)[: rows - 1]
            ends[0], ends[1] = 0, length - 2  # one answer stops at once; the last row never stops
            for row, end in enumerate(ends):
                fill = {"eos": eos, "pad": pad, "anything": rng.integers(0, 9, length - end - 1)}
                ids[row, end], ids[row, end + 1 :] = eos, fill[padding]
            result, _ = call(fn, completion_ids=torch.tensor(ids), eos_id=eos)
            if isinstance(result, torch.Tensor) and result.dtype != torch.bool:
                raise Mistake(
                    f"{name} returns the wrong dtype, {result.dtype}: a mask is bool, so that "
                    "x[mask] selects"
                )
            value = result.double() if isinstance(result, torch.Tensor) else result
            tensor(name, value, ids.shape)
            named = {sentence: wrong(ids, eos) for sentence, wrong in MASK_MISTAKES.items()}
            words = f"the row {ids[1].tolist()}, eos_id {eos} (shown: row 1 of the batch)"
            cases.append(Case(words, value, _completion_mask(ids, eos), named))
        judge(name, cases)


def _answers(x: np.ndarray, mask: np.ndarray) -> list[list[float]]:
    """The trained tokens of each answer, as lists."""
    return [row[keep].tolist() for row, keep in zip(x, mask, strict=True)]


def _sequence(x: np.ndarray, mask: np.ndarray, length: float) -> float:
    means = [sum(tokens) / len(tokens) for tokens in _answers(x, mask)]
    return sum(means) / len(means)


def _token(x: np.ndarray, mask: np.ndarray, length: float) -> float:
    tokens = [token for answer in _answers(x, mask) for token in answer]
    return sum(tokens) / len(tokens)


def _constant(x: np.ndarray, mask: np.ndarray, length: float) -> float:
    return sum(sum(tokens) for tokens in _answers(x, mask)) / (len(x) * length)


def _columns(x: np.ndarray, mask: np.ndarray, length: float) -> float:
    counts = np.maximum(mask.sum(axis=0), 1)
    return float(((x * mask).sum(axis=0) / counts).mean())


Wrong = Callable[[np.ndarray, np.ndarray, float], float]
PADDING: dict[str, Wrong] = {
    "padding is averaged in": lambda x, m, n: x.mean(),
    "padding is kept out of the sum, but is counted in the denominator": (
        lambda x, m, n: (x * m).mean()
    ),
}
SEQUENCE_MISTAKES: dict[str, Wrong] = {
    "this is the token average: every token weighs the same, but here every answer should": _token,
    **PADDING,
    "padding is counted out of the denominator, but is still in the sum": (
        lambda x, m, n: (x.sum(axis=1) / m.sum(axis=1)).mean()
    ),
    "the sum runs over the wrong axis, across the answers instead of along each answer": _columns,
    "the answers' means are added up; they should be averaged": (
        lambda x, m, n: _sequence(x, m, n) * len(x)
    ),
    "the answers' sums are averaged: 1/|o| is missing": (
        lambda x, m, n: (x * m).sum(axis=1).mean()
    ),
}
TOKEN_MISTAKES: dict[str, Wrong] = {
    "this is the average over answers of each answer's mean (1/|o|): here every token should weigh "
    "the same, in whichever answer it stands": _sequence,
    **PADDING,
    "padding is counted out of the denominator, but is still in the sum": (
        lambda x, m, n: x.sum() / m.sum()
    ),
    "the sum is divided by the number of answers, not by the number of tokens": (
        lambda x, m, n: (x * m).sum() / len(x)
    ),
    "the denominator has the number of answers in it as well; the number of tokens is enough": (
        lambda x, m, n: (x * m).sum() / m.sum() / len(x)
    ),
    "the sum runs over the wrong axis, across the answers": _columns,
}
CONSTANT_MISTAKES: dict[str, Wrong] = {
    "a leftover 1/|o|: each answer is still divided by its own length": (
        lambda x, m, n: _sequence(x, m, n) / n
    ),
    "a leftover 1/|o|, and the constant is not used at all": _sequence,
    "this is the token average; its denominator still depends on the lengths that were sampled": _token,
    "the sum over the answers should be an average: the number of answers is missing below": (
        lambda x, m, n: (x * m).sum() / n
    ),
    "the constant is missing: the answers' sums are only averaged": (
        lambda x, m, n: (x * m).sum() / len(x)
    ),
    "it divides by the width of the padded batch instead of the constant `length`": (
        lambda x, m, n: (x * m).mean()
    ),
    "padding is in the sum": lambda x, m, n: x.sum() / (len(x) * n),
    "padding is averaged in, and the constant is not used": lambda x, m, n: x.mean(),
}


def check_averages(
    sequence_mean: Any, token_mean: Any, constant_mean: Any, seed: int | None = None
) -> None:
    """Check the three averages ``(x [B, T], mask [B, T]) -> []``; the last takes ``length`` too."""
    with checking(
        "sequence_mean, token_mean, constant_mean: three averages, none alike", seed
    ) as rng:
        _check_average(sequence_mean, _sequence, SEQUENCE_MISTAKES, rng)
        _check_average(token_mean, _token, TOKEN_MISTAKES, rng)
        _check_average(constant_mean, _constant, CONSTANT_MISTAKES, rng, constant=True)


def _check_average(
    fn: Any,
    oracle: Wrong,
    mistakes: dict[str, Wrong],
    rng: np.random.Generator,
    constant: bool = False,
) -> None:
    name, cases = function_name(fn), []
    for poison in (None, np.nan, np.inf):
        for rows, width in ((4, 6), (3, 3), (2, 5)):
            lengths = rng.permutation([1, width, *rng.integers(1, width, rows - 2)])
            mask = np.arange(width) < lengths[:, None]
            x, length = rng.normal(1, 1, (rows, width)), float(width + rng.integers(1, 9))
            filled = x if poison is None else np.where(mask, x, poison)
            inputs = {"x": torch.tensor(filled, requires_grad=True), "mask": torch.tensor(mask)}
            result, _ = call(fn, **inputs, **({"length": length} if constant else {}))
            if poison is not None and not bool(torch.isfinite(result).all()):
                raise Mistake(
                    f"{name}: padding may hold anything, and here it holds {poison}. Multiplied by 0 "
                    "that is nan and not 0: padding has to be replaced or selected away before the sum"
                )
            instead = {(width,): "wrong axis", (rows,): "this is still one number an answer"}
            value = tensor(name, result, [], instead)
            if not value.requires_grad:
                raise Mistake(f"{name}: no gradient flows to x; a loss is made of this")
            named = {sentence: wrong(x, mask, length) for sentence, wrong in mistakes.items()}
            words = f"x of shape [{rows}, {width}], lengths {lengths.tolist()}" + (
                f", constant {length:g}" if constant else ""
            )
            cases.append(Case(words, value, oracle(x, mask, length), named))
        judge(name, cases)


WEIGHTS: dict[str, Callable[[list[int], float], list[float]]] = {
    "sequence": lambda lengths, n: [1 / (len(lengths) * length) for length in lengths],
    "token": lambda lengths, n: [1 / sum(lengths) for _ in lengths],
    "constant": lambda lengths, n: [1 / (len(lengths) * n) for _ in lengths],
}
OF_WHOLE_ANSWERS = "this is the weight of a whole answer; asked is that of one of its tokens"
WEIGHT_MISTAKES: dict[str, dict[str, Callable[[np.ndarray, float], np.ndarray]]] = {
    "sequence": {
        "the average over the answers is missing: there are B of them": lambda o, n: 1 / o,
        "this is the token average, where every token weighs the same": lambda o, n: (
            0 * o + 1 / o.sum()
        ),
        OF_WHOLE_ANSWERS: lambda o, n: 0 * o + 1 / len(o),
        "upside down: a token of a longer answer weighs less, not more": lambda o, n: o / len(o),
        "the weights are divided by the length twice": lambda o, n: 1 / (len(o) * o**2),
    },
    "token": {
        "this is the sequence average, with its 1/|o|": lambda o, n: 1 / (len(o) * o),
        OF_WHOLE_ANSWERS: lambda o, n: o / o.sum(),
        "the sum of all lengths already counts all answers; dividing by their number again is one "
        "time too many": lambda o, n: 0 * o + 1 / (len(o) * o.sum()),
        "divided by the number of answers instead of the number of tokens": (
            lambda o, n: 0 * o + 1 / len(o)
        ),
        "divided by the mean length instead of the number of tokens": lambda o, n: (
            0 * o + 1 / o.mean()
        ),
    },
    "constant": {
        "a leftover 1/|o|": lambda o, n: 1 / (len(o) * o * n),
        "a leftover 1/|o|, and no constant": lambda o, n: 1 / (len(o) * o),
        "the average over the answers is missing: there are B of them": lambda o, n: 0 * o + 1 / n,
        "this is the token average; it depends on the sampled lengths": lambda o, n: (
            0 * o + 1 / o.sum()
        ),
        OF_WHOLE_ANSWERS: lambda o, n: o / (len(o) * n),
        "the longest answer of the batch is used instead of the constant": (
            lambda o, n: 0 * o + 1 / (len(o) * o.max())
        ),
    },
}


def check_token_weights(fn: Any, seed: int | None = None) -> None:
    """Check ``token_weights(lengths, average, constant) -> list``, the weight of one token each."""
    with checking("token_weights: what one token counts for, under three averages", seed) as rng:
        for average, oracle in WEIGHTS.items():
            name, cases = f'{function_name(fn)}(…, "{average}")', []
            for size in (3, 5, 2):
                lengths = rng.choice(np.arange(3, 400), size, replace=False).tolist()
                constant = float(rng.integers(401, 999))
                result, _ = call(fn, lengths=lengths, average=average, constant=constant)
                if not isinstance(result, list | tuple | np.ndarray | torch.Tensor):
                    raise Mistake(f"{name} must return a list, not a {type(result).__name__}")
                if len(result) != size:
                    raise Mistake(
                        f"{name} returns {len(result)} numbers for {size} answers: wrong shape, one "
                        "weight for each answer is wanted"
                    )
                value = [1000 * number(name, weight) for weight in result]
                array = np.array(lengths, dtype=float)
                named = {
                    sentence: 1000 * wrong(array, constant)
                    for sentence, wrong in WEIGHT_MISTAKES[average].items()
                }
                right = [1000 * weight for weight in oracle(lengths, constant)]
                words = f"lengths {lengths}, constant {constant:g} (all weights × 1,000)"
                cases.append(Case(words, value, right, named))
            judge(name, cases)
