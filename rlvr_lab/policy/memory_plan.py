"""What a pass with gradient stores, in bytes, and how to split it so that it fits.

The backward pass needs numbers of the forward pass: for every token and layer the inputs of the matrix
products, the normalised states and what enters the activation function. They add up to

    bytes = tokens · (layers · (s·(4d + 4f) + 4·(4d + heads)) + 8d)  +  keys · layers · 2s·d_kv

with width d, MLP width f, s bytes per number and d_kv the width of the keys of one layer. The first term
is counted for prompts and answers, the second is the keys and values: of each of the N prompts, and P + T
for every answer, which attends to them. All of it grows linearly with N. If it exceeds a limit, the rows
are split into parts; only one part is stored at a time, and each is computed a second time in the backward
pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig

__all__ = ["Limits", "StoredBytes", "limits_on", "split_rows", "stored_bytes"]

UNLIMITED = 2**62


@dataclass(frozen=True)
class Limits:
    """Bytes that may exist at once.

    Attributes:
        logits: of float32 logits [tokens, V]; with more, they are computed in parts.
        activations: stored for a backward pass; with more, the rows are computed in parts.
    """

    logits: int = 64 * 2**20
    activations: int = 2**30

    def __post_init__(self) -> None:
        for name in ("logits", "activations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: need at least 1 byte, got {getattr(self, name)}")

    @classmethod
    def none(cls) -> "Limits":
        """No limit: everything is stored, which is fastest."""
        return cls(UNLIMITED, UNLIMITED)


def limits_on(device: torch.device) -> Limits:
    """64 MiB of logits, and 1 GiB of activations; on a CUDA device half of what its tensors leave free."""
    if device.type != "cuda":
        return Limits()
    total = torch.cuda.get_device_properties(device).total_memory
    free = max(2**30, total - torch.cuda.memory_allocated(device))
    return Limits(logits=min(2**30, free // 32), activations=free // 2)


@dataclass(frozen=True)
class StoredBytes:
    """Bytes that one token adds.

    Attributes:
        activations: of a token that is read with gradient.
        cache: its keys and values in all layers.
        logits: its logits in float32.
    """

    activations: int
    cache: int
    logits: int

    def part(self, prompts: int, prompt_length: int, rows: int, length: int) -> int:
        """Bytes stored for ``rows`` answers of ``length`` tokens that continue ``prompts`` prompts."""
        read = prompts * prompt_length + rows * length
        kept = prompts * prompt_length + rows * (prompt_length + length)
        return read * self.activations + kept * self.cache


def stored_bytes(config: PretrainedConfig, dtype: torch.dtype) -> StoredBytes:
    """The bytes of the module's formula for a model with this configuration (Llama and its relatives).

    Args:
        config: of the model; a missing MLP width is 4d, missing key heads are as many as query heads.
        dtype: of the weights. The normalisations store float32 in any case.

    >>> from transformers import LlamaConfig
    >>> stored_bytes(LlamaConfig(vocab_size=10), torch.float32).logits
    40
    """
    config = config.get_text_config()
    width, heads = config.hidden_size, config.num_attention_heads
    inner = getattr(config, "intermediate_size", None) or 4 * width
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    head = getattr(config, "head_dim", None) or width // heads
    size = max(dtype.itemsize, 1)
    norms = max(size, 4)
    layer = size * 4 * (width + inner) + norms * (4 * width + heads)
    return StoredBytes(
        activations=config.num_hidden_layers * layer + norms * 2 * width,
        cache=config.num_hidden_layers * 2 * key_heads * head * size,
        logits=norms * config.vocab_size,
    )


def split_rows(
    prompts: Sequence[int],
    lengths: Sequence[int],
    prompt_length: int,
    stored: StoredBytes,
    limit: int,
) -> list[list[int]]:
    """Rows in parts that each store at most ``limit`` bytes; a part has at least one row.

    A part reads its own prompts, so that nothing of it is needed outside. Rows of one prompt stay
    together where they fit, the shortest first: padding and prompts are read as little as possible.

    Args:
        prompts: the prompt of each row.
        lengths: tokens of each answer.
        prompt_length: P, with padding.
        stored: bytes of one token.
        limit: bytes of a part.

    Raises:
        ValueError: when the two lists differ in length.

    >>> split_rows([0, 0, 1], [2, 1, 1], 1, StoredBytes(1, 0, 0), limit=4)
    [[1], [0], [2]]
    """
    if len(prompts) != len(lengths):
        raise ValueError(f"lengths: need one for each of {len(prompts)} rows, got {len(lengths)}")
    parts: list[list[int]] = []
    asked: set[int] = set()
    longest = 0
    for row in sorted(range(len(prompts)), key=lambda row: (prompts[row], lengths[row])):
        more, length = asked | {prompts[row]}, max(longest, lengths[row])
        count = len(parts[-1]) + 1 if parts else 1
        if not parts or stored.part(len(more), prompt_length, count, length) > limit:
            parts.append([])
            more, length = {prompts[row]}, lengths[row]
        parts[-1].append(row)
        asked, longest = more, length
    return parts
