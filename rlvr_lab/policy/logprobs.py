"""Log-probabilities of tokens that were already sampled.

``token_logprobs`` reads each prompt once for its whole group, which is fast. ``state_logits`` supports
gradients of any order. Positions are shifted by one only in this module: the model's output at the token
*before* a completion token scores that token.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import DynamicCache, PreTrainedModel

from rlvr_lab.policy.batch import RolloutBatch

__all__ = [
    "before_each_token",
    "chosen_logprobs",
    "distinct_answers",
    "prefill",
    "state_logits",
    "token_logprobs",
    "whole_texts",
]


def before_each_token(
    outputs: Float[Tensor, "B _ *rest"], length: int, tokens: int
) -> Float[Tensor, "B T *rest"]:
    """The model's outputs *before* each of the last ``tokens`` tokens of a text: the shift by one.

    Args:
        outputs: one per token of texts with ``length`` tokens. The output at the last token is not
            needed, so a text may be read without it.
        length: L.
        tokens: T.

    >>> before_each_token(torch.tensor([[0.0, 1.0, 2.0, 3.0]]), length=4, tokens=2)
    tensor([[1., 2.]])
    """
    return outputs[:, length - tokens - 1 : length - 1]


def whole_texts(
    batch: RolloutBatch,
) -> tuple[Int[Tensor, "B L"], Int[Tensor, "B L"], Int[Tensor, "B L"]]:
    """Ids, attention mask and positions of prompts joined with completions, L = P + T."""
    size = batch.group_size
    ids = torch.cat([batch.prompt_ids.repeat_interleave(size, 0), batch.completion_ids], dim=1)
    mask = torch.cat([batch.prompt_mask.repeat_interleave(size, 0), batch.attention_mask], dim=1)
    mask = mask.long()
    return ids, mask, (mask.cumsum(dim=1) - 1).clamp(min=0)


def state_logits(
    model: PreTrainedModel,
    batch: RolloutBatch,
    temperature: float = 1.0,
    rows_per_pass: int = 64,
) -> Float[Tensor, "B T V"]:
    """The logits from which each completion token was sampled; 0 after the end of an answer.

    Supports gradients of any order; the fast attention kernels support only first-order gradients.
    Prompts, and answers that occur twice in a group, are computed once.
    """
    tokens = batch.completion_ids.shape[1]
    order, twin = distinct_answers(
        batch, torch.arange(len(batch.lengths), device=batch.lengths.device)
    )
    with sdpa_kernel(SDPBackend.MATH):
        parts = [
            torch.nn.functional.pad(logits, (0, 0, 0, tokens - logits.shape[1]))
            for _, _, logits in _in_parts(model, batch, order, rows_per_pass)
        ]
    logits = torch.cat(parts)[twin]
    return logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature


def chosen_logprobs(
    logits: Float[Tensor, "B T V"], ids: Int[Tensor, "B T"], attention_mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """log π of the tokens ``ids`` under the logits before each of them; 0 outside ``attention_mask``.

    >>> chosen_logprobs(torch.zeros(1, 2, 4), torch.tensor([[3, 0]]), torch.tensor([[True, False]]))
    tensor([[-1.3863,  0.0000]])
    """
    scores = logits.log_softmax(-1).gather(2, ids[..., None]).squeeze(2)
    return scores.masked_fill(~attention_mask, 0.0)


def prefill(model: PreTrainedModel, prompt_ids: Tensor, prompt_mask: Tensor) -> tuple:
    """Read the prompts once; returns the cache of their keys and values, and the logits after them [N, V]."""
    positions = (prompt_mask.long().cumsum(dim=1) - 1).clamp(min=0)
    output = model(
        input_ids=prompt_ids,
        attention_mask=prompt_mask.long(),
        position_ids=positions,
        past_key_values=DynamicCache(config=model.config),
        use_cache=True,
        logits_to_keep=1,
    )
    return output.past_key_values, output.logits[:, -1]


def _select(cache: DynamicCache, rows: Tensor) -> DynamicCache:
    """A new cache with the given rows; gradient flows back into the old one."""
    chosen = DynamicCache()
    for index, layer in enumerate(cache.layers):
        chosen.update(layer.keys[rows], layer.values[rows], index)
    return chosen


def token_logprobs(
    model: PreTrainedModel,
    batch: RolloutBatch,
    temperature: float = 1.0,
    rows: Bool[Tensor, " B"] | None = None,
    rows_per_pass: int = 64,
) -> Float[Tensor, "B T"]:
    """log π of every completion token, in nats, with gradient.

    ``logprobs[:, t]`` scores ``completion_ids[:, t]`` given the prompt and the tokens before it. Each
    prompt is read once for its whole group, answers that occur twice in a group are computed once, and
    rows are sorted by length to reduce padding. This changes the time and not the values.

    Args:
        model: the policy or the reference.
        batch: the rollouts.
        temperature: divides the logits; the temperature of the sampling.
        rows: compute only these rows; the others keep ``batch.old_logprobs``, without gradient.
        rows_per_pass: number of completions per forward pass.

    Returns:
        [B, T]; 0 outside ``batch.attention_mask``.

    Raises:
        ValueError: when ``temperature`` is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: must be positive, got {temperature}")
    lengths = batch.lengths
    every = torch.arange(len(lengths), device=lengths.device)
    wanted = every if rows is None else every[rows]
    logprobs = batch.old_logprobs
    if len(wanted) == 0:
        return logprobs
    order, twin = distinct_answers(batch, wanted)
    computed = logprobs.new_zeros(len(order), logprobs.shape[1])
    for part, chunk, logits in _in_parts(model, batch, order, rows_per_pass):
        longest = logits.shape[1]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        there = batch.attention_mask[chunk, :longest]
        scores = chosen_logprobs(logits, batch.completion_ids[chunk, :longest], there).to(computed)
        padded = torch.nn.functional.pad(scores, (0, logprobs.shape[1] - longest))
        computed = computed.index_put((part,), padded)
    return logprobs.index_put((wanted,), computed[twin])


def _in_parts(
    model: PreTrainedModel, batch: RolloutBatch, order: Tensor, rows_per_pass: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Positions in ``order``, their rows, and the logits before each token of the longest of these rows."""
    # Read only the prompts of the wanted rows.
    prompts, place = torch.unique(order // batch.group_size, return_inverse=True)
    cache, first = prefill(model, batch.prompt_ids[prompts], batch.prompt_mask[prompts])
    for part in torch.arange(len(order), device=order.device).split(rows_per_pass):
        chunk, owner = order[part], place[part]
        longest = int(batch.lengths[chunk].max())
        logits = first[owner, None]
        if longest > 1:
            later = _continue(model, _select(cache, owner), batch, chunk, longest - 1)
            logits = torch.cat([logits, later], dim=1)
        yield part, chunk, logits


def distinct_answers(batch: RolloutBatch, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of which no two are the same answer to the same prompt, shortest first.

    Also, for each wanted row, the place of its twin among them: the gradients of twins add up.
    """
    ids = batch.completion_ids.masked_fill(~batch.attention_mask, -1)[wanted]
    key = torch.cat([batch.lengths[wanted, None], wanted[:, None] // batch.group_size, ids], dim=1)
    distinct, twin = torch.unique(key, dim=0, return_inverse=True)  # sorted, so by length first
    first = wanted.new_empty(len(distinct)).scatter_(0, twin, wanted)
    return first, twin


def _continue(model, cache: DynamicCache, batch: RolloutBatch, chunk: Tensor, width: int) -> Tensor:
    """Logits after each of the first ``width`` completion tokens of the rows in ``chunk``."""
    prompt_mask = batch.prompt_mask[chunk // batch.group_size]
    mask = torch.cat([prompt_mask, batch.attention_mask[chunk, :width]], dim=1).long()
    start = prompt_mask.sum(dim=1, keepdim=True)
    return model(
        input_ids=batch.completion_ids[chunk, :width],
        attention_mask=mask,
        position_ids=start + torch.arange(width, device=start.device),
        past_key_values=cache,
        use_cache=True,
    ).logits
