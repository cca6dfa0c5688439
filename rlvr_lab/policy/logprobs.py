"""Log-probabilities of tokens that were already sampled.

``token_logprobs`` reads each prompt once for its whole group, which is fast, and a large batch in parts, so
that it fits into memory. ``state_logits`` supports gradients of any order. Positions are shifted by one only
in this module: the model's output at the token *before* a completion token scores that token.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel

from rlvr_lab.objectives.kl import entropy
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.head_scores import body_and_head, chosen_scores
from rlvr_lab.policy.llama_pass import tree_logits, tree_pass_fits, tree_scores
from rlvr_lab.policy.memory_plan import Limits, limits_on, split_rows, stored_bytes

__all__ = [
    "before_each_token",
    "chosen_logprobs",
    "distinct_answers",
    "fits_whole",
    "prefill",
    "state_logits",
    "token_logprobs",
    "token_scores",
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
    every = torch.arange(len(batch.lengths), device=batch.lengths.device)
    with sdpa_kernel(SDPBackend.MATH):
        if tree_pass_fits(model, batch, len(every)):
            logits = tree_logits(model, batch, every)
        else:
            order, twin = distinct_answers(batch, every)
            parts = [
                torch.nn.functional.pad(logits, (0, 0, 0, tokens - logits.shape[1]))
                for _, _, logits in _in_parts(
                    _logits_of(model), model.config, batch, order, rows_per_pass
                )
            ]
            logits = torch.cat(parts)[twin]
    logits = logits.masked_fill(~batch.attention_mask[..., None], 0.0)
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
    cache = DynamicCache(config=model.config)
    return cache, _read_prompts(_logits_of(model), cache, prompt_ids, prompt_mask)


Read = Callable[..., Tensor]
"""A pass of the model with these inputs: logits [.., .., V], or the hidden states from which they come."""


def _logits_of(model: PreTrainedModel) -> Read:
    return lambda last=False, **inputs: model(logits_to_keep=int(last), **inputs).logits


def _states_of(body: torch.nn.Module) -> Read:
    return lambda last=False, **inputs: body(**inputs).last_hidden_state


def _read_prompts(read: Read, cache: DynamicCache, prompt_ids: Tensor, mask: Tensor) -> Tensor:
    """Fill the cache; the outputs after the last token of each prompt."""
    outputs = read(
        last=True,
        input_ids=prompt_ids,
        attention_mask=mask.long(),
        position_ids=(mask.long().cumsum(dim=1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    )
    return outputs[:, -1]


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
    limits: Limits | None = None,
) -> Float[Tensor, "B T"]:
    """log π of every completion token, in nats, with gradient.

    ``logprobs[:, t]`` scores ``completion_ids[:, t]`` given the prompt and the tokens before it. Each
    prompt is read once for its whole group, answers that occur twice in a group are computed once, and
    rows are sorted by length to reduce padding. This changes the time and not the values.

    If a pass needs more memory than ``limits`` allows, logits are computed for a few hundred tokens at a
    time, and rows in parts: first all of them without storing activations, then, in the backward pass,
    each part again with its activations. A loss depends on the model only through the log-probabilities,
    so ∂loss/∂logprobs is computed once, on all rows, and the gradient of the parameters is exact for any
    loss, group mean and average:

        ∇_θ loss = Σ_parts Σ_(rows, t in part) (∂loss / ∂logprobs[row, t]) · ∇_θ logprobs[row, t]

    Args:
        model: the policy or the reference.
        batch: the rollouts.
        temperature: divides the logits; the temperature of the sampling.
        rows: compute only these rows; the others keep ``batch.old_logprobs``, without gradient.
        rows_per_pass: number of completions per forward pass.
        limits: memory that may be used; by default that of the device (``memory_plan.limits_on``).

    Returns:
        [B, T]; 0 outside ``batch.attention_mask``.

    Raises:
        ValueError: when ``temperature`` is not positive.
    """
    return token_scores(model, batch, temperature, rows, rows_per_pass, limits)[0]


def token_scores(
    model: PreTrainedModel,
    batch: RolloutBatch,
    temperature: float = 1.0,
    rows: Bool[Tensor, " B"] | None = None,
    rows_per_pass: int = 64,
    limits: Limits | None = None,
    with_entropy: bool = False,
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"] | None]:
    """``token_logprobs``, and the entropy before each token (nats, with gradient) or None.

    Arguments as of ``token_logprobs``. Rows that are not computed keep ``batch.entropy``.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: must be positive, got {temperature}")
    lengths = batch.lengths
    every = torch.arange(len(lengths), device=lengths.device)
    wanted = every if rows is None else every[rows]
    known = [batch.old_logprobs, batch.entropy][: 1 + with_entropy]
    if len(wanted) > 0:
        order, twin = distinct_answers(batch, wanted)
        limits = limits or limits_on(lengths.device)
        columns = _Columns(model, batch, order, temperature, rows_per_pass, limits, with_entropy)
        known = [
            old.index_put((wanted,), new[twin])
            for old, new in zip(known, columns.in_parts(order, limits), strict=True)
        ]
    return known[0], known[1] if with_entropy else None


def fits_whole(model: PreTrainedModel, batch: RolloutBatch, limits: Limits | None = None) -> bool:
    """Whether the logits [B, T, V] of a batch and its activations stay within the limits of memory."""
    limits = limits or limits_on(batch.lengths.device)
    stored = stored_bytes(model.config, model.dtype)
    (prompts, width), (rows, longest) = batch.prompt_ids.shape, batch.completion_ids.shape
    activations = stored.part(prompts, width, rows, longest)
    return rows * longest * stored.logits <= limits.logits and activations <= limits.activations


class _Columns:
    """The numbers of distinct rows: log-probabilities, and entropies if wanted, each [rows, T]."""

    def __init__(
        self, model, batch, order, temperature, rows_per_pass, limits, with_entropy
    ) -> None:
        self.model, self.batch, self.rows_per_pass = model, batch, rows_per_pass
        self.temperature, self.with_entropy = temperature, with_entropy
        self.stored = stored_bytes(model.config, model.dtype)
        self.at_once = max(1, limits.logits // self.stored.logits)
        many = int(batch.lengths[order].sum()) > self.at_once
        self.split = body_and_head(model) if many else None  # None: whole logits

    def in_parts(self, order: Tensor, limits: Limits) -> list[Tensor]:
        """The numbers of the rows ``order``, part by part if their activations exceed the limit."""
        batch, limit = self.batch, limits.activations
        (prompts, width), longest = batch.prompt_ids.shape, batch.completion_ids.shape[1]
        if self.stored.part(prompts, width, len(order), longest) <= limit:
            return self.of(order)  # even with all padding
        asked, lengths = order // batch.group_size, batch.lengths[order]
        parts = split_rows(asked.tolist(), lengths.tolist(), width, self.stored, limit)
        places = [torch.tensor(part, device=order.device) for part in parts]
        # Without dropout there is no random state to restore for the second computation.
        again = {"use_reentrant": False, "preserve_rng_state": self.model.training}
        found = [checkpoint(self.of, order[place], **again) for place in places]
        back = torch.cat(places).argsort()
        return [torch.cat(column)[back] for column in zip(*found, strict=True)]

    def of(self, order: Tensor) -> list[Tensor]:
        """The numbers of the rows ``order``, which read their prompts themselves."""
        batch, split = self.batch, self.split
        if not split and tree_pass_fits(self.model, batch, len(order)):
            scores = tree_scores(self.model, batch, order, self.temperature, self.with_entropy)
            return [column.to(batch.old_logprobs) for column in scores]
        read = _states_of(split[0]) if split else _logits_of(self.model)
        rows, width = len(order), batch.completion_ids.shape[1]
        found = [batch.old_logprobs.new_zeros(rows, width) for _ in range(1 + self.with_entropy)]
        for part, chunk, outputs in _in_parts(
            read, self.model.config, batch, order, self.rows_per_pass
        ):
            longest = outputs.shape[1]
            there = batch.attention_mask[chunk, :longest]
            columns = self._reduced(outputs, batch.completion_ids[chunk, :longest], there)
            for index, column in enumerate(columns):
                padded = torch.nn.functional.pad(column.to(found[index]), (0, width - longest))
                found[index] = found[index].index_put((part,), padded)
        return found

    def _reduced(self, outputs: Tensor, ids: Tensor, there: Tensor) -> list[Tensor]:
        if self.split:
            real = outputs[there], ids[there]
            options = self.temperature, self.at_once, self.with_entropy
            flat = chosen_scores(self.split[1], *real, *options)
            zeros = [torch.zeros_like(there, dtype=x.dtype) for x in flat if x is not None]
            return [zero.masked_scatter(there, x) for zero, x in zip(zeros, flat, strict=False)]
        wide = torch.promote_types(outputs.dtype, torch.float32)
        logits = outputs.to(wide) / self.temperature
        columns = [chosen_logprobs(logits, ids, there)]
        if self.with_entropy:
            columns.append(entropy(logits).masked_fill(~there, 0.0))
        return columns


def _in_parts(
    read: Read, config: PretrainedConfig, batch: RolloutBatch, order: Tensor, rows_per_pass: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Positions in ``order``, their rows, and the outputs before each token of the longest of these rows."""
    # Read only the prompts of the wanted rows.
    prompts, place = torch.unique(order // batch.group_size, return_inverse=True)
    cache = DynamicCache(config=config)
    first = _read_prompts(read, cache, batch.prompt_ids[prompts], batch.prompt_mask[prompts])
    for part in torch.arange(len(order), device=order.device).split(rows_per_pass):
        chunk, owner = order[part], place[part]
        longest = int(batch.lengths[chunk].max())
        outputs = first[owner, None]
        if longest > 1:
            later = _continue(read, _select(cache, owner), batch, chunk, longest - 1)
            outputs = torch.cat([outputs, later], dim=1)
        yield part, chunk, outputs


def distinct_answers(batch: RolloutBatch, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of which no two are the same answer to the same prompt, shortest first.

    Also, for each wanted row, the place of its twin among them: the gradients of twins add up.
    """
    ids = batch.completion_ids.masked_fill(~batch.attention_mask, -1)[wanted]
    key = torch.cat([batch.lengths[wanted, None], wanted[:, None] // batch.group_size, ids], dim=1)
    distinct, twin = torch.unique(key, dim=0, return_inverse=True)  # sorted, so by length first
    first = wanted.new_empty(len(distinct)).scatter_(0, twin, wanted)
    return first, twin


def _continue(
    read: Read, cache: DynamicCache, batch: RolloutBatch, chunk: Tensor, width: int
) -> Tensor:
    """Outputs after each of the first ``width`` completion tokens of the rows in ``chunk``."""
    prompt_mask = batch.prompt_mask[chunk // batch.group_size]
    mask = torch.cat([prompt_mask, batch.attention_mask[chunk, :width]], dim=1).long()
    start = prompt_mask.sum(dim=1, keepdim=True)
    return read(
        input_ids=batch.completion_ids[chunk, :width],
        attention_mask=mask,
        position_ids=start + torch.arange(width, device=start.device),
        past_key_values=cache,
        use_cache=True,
    )
