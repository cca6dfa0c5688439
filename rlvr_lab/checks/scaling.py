"""Checks of the exercise on memory: what an update and its sampling need, and the group that fits (notebook 11)."""

import math
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, Series

# ----------------------------------------------------------------------------- bytes of an update

STATES = {"weights": 4, "gradients": 4, "first moment": 4, "second moment": 4}
"""Bytes per parameter that AdamW in float32 keeps; 16, as in ZeRO (arXiv:1910.02054), section 3.1."""


def _states(parameters: int, gpus: int, *, less: int = 0, whole: tuple[str, ...] = ()) -> float:
    """Bytes of the training states on one GPU; those of ``whole`` are not sharded."""
    found = -less * parameters / gpus
    for name, size in STATES.items():
        found += size * parameters / (1 if name in whole else gpus)
    return found


def _update(
    parameters: int,
    layers: int,
    width: int,
    vocabulary: int,
    rows: int,
    prompt: int,
    completion: int,
    gpus: int,
    *,
    less: int = 0,
    whole: tuple[str, ...] = (),
    per_logit: int = 8,
    scored: str = "completion",
    seen: str = "both",
    per_activation: int = 2,
    shared: tuple[str, ...] = (),
    one_layer: bool = False,
) -> float:
    """Tensor by tensor: its shape times its bytes; the keywords are options for mistakes."""
    tokens = {"completion": completion, "both": prompt + completion}
    kept = math.prod([1 if one_layer else layers, rows, tokens[seen], width, per_activation])
    logits = math.prod([rows, tokens[scored], vocabulary, per_logit])
    answers = {"activations": kept, "logits": logits}
    return _states(parameters, gpus, less=less, whole=whole) + sum(
        size / (gpus if name in shared else 1) for name, size in answers.items()
    )


def _draw_update(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    gpus = (4, 2, 8)[turn]
    return {
        "parameters": int(rng.integers(200, 400)) * 100 * gpus,
        "layers": int(rng.integers(6, 13)),
        "width": 16 * int(rng.integers(8, 17)),
        "vocabulary": int(rng.integers(400, 900)),
        "rows": int(rng.integers(3, 9)),
        "prompt": int(rng.integers(40, 80)),
        "completion": int(rng.integers(90, 200)),
        "gpus": gpus,
    }


UPDATE_MISTAKES = {
    "nothing is divided by the number of GPUs. Weights, gradients and optimiser states are sharded": (
        partial(_update, whole=tuple(STATES))
    ),
    "only the optimiser states are divided by the number of GPUs: that is ZeRO-1. FSDP and ZeRO-3 shard the "
    "weights and the gradients too": partial(_update, whole=("weights", "gradients")),
    "the weights are whole on each GPU: that is ZeRO-2": partial(_update, whole=("weights",)),
    "activations and logits are divided by the number of GPUs. `rows` are already those of one GPU": partial(
        _update, shared=("activations", "logits")
    ),
    "the activations are divided by the number of GPUs. `rows` are already those of one GPU": partial(
        _update, shared=("activations",)
    ),
    "4 bytes per parameter are missing: weights, gradients and each of Adam's two moments take 4": partial(
        _update, less=4
    ),
    "8 bytes per parameter are missing: weights, gradients and each of Adam's two moments take 4": partial(
        _update, less=8
    ),
    "12 bytes per parameter are missing: weights, gradients and each of Adam's two moments take 4": partial(
        _update, less=12
    ),
    "bytes are asked for, not gigabytes": lambda *given: _update(*given) / 1e9,
    "the logits take 4 bytes each here. In float32, and with a gradient that is as large, they take more": (
        partial(_update, per_logit=4)
    ),
    "the logits take 2 bytes each here. They are in float32, and their gradient is as large": partial(
        _update, per_logit=2
    ),
    "prompt tokens have no logits here: only the completion is scored": partial(
        _update, scored="both"
    ),
    "the activations of the prompt are missing: the model reads it as well": partial(
        _update, seen="completion"
    ),
    "each layer keeps its activations; they are counted for one": partial(_update, one_layer=True),
    "the activations are in bfloat16, 2 bytes each": partial(_update, per_activation=4),
}


# ---------------------------------------------------------------------------- bytes of the sampling


def _sampling(
    parameters: int,
    layers: int,
    width: int,
    heads: int,
    kv_heads: int,
    rows: int,
    prompt: int,
    completion: int,
    gpus: int,
    *,
    every_head: bool = False,
    both: bool = True,
    seen: str = "both",
    copy: str = "whole",
    states: bool = True,
    per_number: int = 2,
    shared: bool = False,
    one_layer: bool = False,
) -> float:
    """Head by head: a vector of keys and one of values; the keywords are options for mistakes."""
    tokens = {"completion": completion, "both": prompt + completion}[seen]
    vectors = sum(2 if both else 1 for _ in range(heads if every_head else kv_heads))
    cache = vectors * (width // heads) * per_number * (1 if one_layer else layers) * rows * tokens
    whole = {"whole": 2 * parameters, "none": 0, "sharded": 2 * parameters / gpus}[copy]
    return (_states(parameters, gpus) if states else 0.0) + whole + cache / (gpus if shared else 1)


def _draw_sampling(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    gpus, heads = (4, 2, 8)[turn], (8, 12, 16)[turn]
    return {
        "parameters": int(rng.integers(100, 200)) * 100 * gpus,
        "layers": int(rng.integers(6, 13)),
        "width": heads * int(rng.choice([16, 24, 32])),
        "heads": heads,
        "kv_heads": (2, 4, 2)[turn],
        "rows": int(rng.integers(8, 24)),
        "prompt": int(rng.integers(40, 80)),
        "completion": int(rng.integers(90, 200)),
        "gpus": gpus,
    }


SAMPLING_MISTAKES = {
    "the cache holds `kv_heads` heads; several query heads share one of them": partial(
        _sampling, every_head=True
    ),
    "the cache holds keys and values, so two vectors for each head": partial(_sampling, both=False),
    "the prompt is in the cache as well": partial(_sampling, seen="completion"),
    "the copy of the weights is missing from which the engine samples": partial(
        _sampling, copy="none"
    ),
    "the engine's copy of the weights is whole on each GPU; it is divided here": partial(
        _sampling, copy="sharded"
    ),
    "the training states stay on the GPU while it samples": partial(_sampling, states=False),
    "the cache is in bfloat16, 2 bytes a number": partial(_sampling, per_number=4),
    "the cache is divided by the number of GPUs. `rows` are already those of one GPU": partial(
        _sampling, shared=True
    ),
    "each layer has its own cache; it is counted for one": partial(_sampling, one_layer=True),
}


# -------------------------------------------------------------------------------- the largest group


def _largest(
    memory: int, fixed: int, per_row: int, prompts: int, gpus: int, *, strict: bool = False
) -> float:
    """One answer more for each prompt as long as the fullest GPU has room."""
    size = 0
    while True:
        rows = math.ceil((size + 1) * prompts / gpus)
        need = fixed + rows * per_row
        if need > memory or (strict and need == memory):
            return float(size)
        size += 1


def _room(memory: int, fixed: int, per_row: int) -> int:
    return (memory - fixed) // per_row


def _draw_room(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """A part of a row is left over; an exact fit; not even the fixed part fits; an exact fit again."""
    gpus, prompts = ((8, 3), (1, 4), (4, 3), (4, 3))[turn]
    fixed, per_row = int(rng.integers(5_000, 9_000)), 10 * int(rng.integers(20, 60))
    rows = 3 * int(rng.integers(5, 9)) + 1
    left = (0.9, 0.0, 0.0, 0.0)[turn]
    memory = fixed + int((rows + left) * per_row) if turn != 2 else fixed - int(2.5 * per_row)
    return {
        "memory": memory,
        "fixed": fixed,
        "per_row": per_row,
        "prompts": prompts,
        "gpus": gpus,
    }


LARGEST_MISTAKES = {
    "what does not grow with the rows is not subtracted from the memory": lambda m, f, r, n, g: (
        float(m // r * g // n)
    ),
    "the number of GPUs is not used: they share the rows": lambda m, f, r, n, g: _largest(
        m, f, r, n, 1
    ),
    "that is the number of rows. A group has a row for each answer to *one* prompt": lambda m, f, r, n, g: (
        float(max(0, _room(m, f, r)) * g)
    ),
    "where not even the fixed part fits the group size is 0, and not negative": lambda m, f, r, n, g: (
        float(_room(m, f, r) * g // n)
    ),
    "parts of a row are counted: a GPU holds whole rows": lambda m, f, r, n, g: float(
        max(0, math.floor((m - f) / r * g / n))
    ),
    "the rows per GPU are rounded down. The fullest GPU holds one more": lambda m, f, r, n, g: (
        float(max(0, (g * (max(-1, _room(m, f, r)) + 1) - 1) // n))
    ),
    "the group size is rounded up: the last group does not fit": lambda m, f, r, n, g: float(
        max(0, -(-_room(m, f, r) * g // n))
    ),
    "what fills the memory exactly still fits": partial(_largest, strict=True),
    "whole groups stay on one GPU here. The rows of a group may lie on different GPUs": lambda m, f, r, n, g: (
        float(max(0, _room(m, f, r)) // math.ceil(n / g))
    ),
}

check_update_memory = Series(
    "update_bytes, sampling_bytes and largest_group: to the byte",
    (
        Check(
            "update_bytes",
            draw=_draw_update,
            right=_update,
            tolerance=1e-9,
            label=" (first function)",
            mistakes=UPDATE_MISTAKES,
        ),
        Check(
            "sampling_bytes",
            draw=_draw_sampling,
            right=_sampling,
            tolerance=1e-9,
            label=" (second function)",
            mistakes=SAMPLING_MISTAKES,
        ),
        Check(
            "largest_group",
            draw=_draw_room,
            right=_largest,
            calls=4,
            tolerance=1e-9,
            label=" (third function)",
            mistakes=LARGEST_MISTAKES,
        ),
    ),
    functions=3,
)
