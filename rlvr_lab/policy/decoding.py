"""The inner step of sampling: compute the logits after one more token in every row.

A *row* is a text that has been read so far. ``Decoder`` stores the keys and values of all rows. In each
step, every new row names the old row that it continues and the next token. Answers of a group with a
common beginning therefore share one row until they differ, and a finished answer is not continued.

For Llama models (the tiny base models, SmolLM2 and others) the decoder runs the layers itself and
allocates the memory for keys and values once. A step of a small model is a few dozen operations, and
the general path of ``transformers`` spends several times their cost on bookkeeping. Other models use
that general path; a test compares the logits of the two.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedModel

from rlvr_lab.policy.llama import fused, plain_llama, rms_norm, rotate

__all__ = ["Decoder", "LlamaDecoder", "decoder_for"]

SMALL = 2**18
"""Weights of layers that are worth a joint copy; above, their product takes longer than what a copy saves."""


class Decoder:
    """The general path: any causal language model, through its own ``forward``.

    At the start there is one row per prompt.

    Args:
        model: the policy's model.
        cache: the cache from ``logprobs.prefill``, one row per prompt; the decoder modifies it.
        prompt_mask: [N, P], True on real tokens.
        rows: largest number of rows at once.
        max_new_tokens: largest number of tokens after the prompt.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        cache: DynamicCache,
        prompt_mask: Tensor,
        rows: int,
        max_new_tokens: int,
    ) -> None:
        self.model, self.cache = model, cache
        self.seen = prompt_mask.bool()
        self.position = self.seen.sum(dim=1)

    def step(self, parent: Tensor, token: Tensor) -> Tensor:
        """Make new rows: ``token`` [R] after the old rows ``parent`` [R].

        Several new rows may continue the same old row, and some old rows may not be continued.

        Returns:
            Logits [R, V] after each new row.
        """
        if not torch.equal(parent, torch.arange(len(self.seen), device=parent.device)):
            self.seen, self.position = self.seen[parent], self.position[parent]
            self.cache.batch_select_indices(parent)
        self.seen = torch.cat([self.seen, self.seen.new_ones(len(token), 1)], dim=1)
        return self._forward(token, self.seen.long())

    def _forward(self, token: Tensor, mask: Tensor) -> Tensor:
        """One more token in each row, read by the model's own ``forward``."""
        output = self.model(
            input_ids=token[:, None],
            attention_mask=mask,
            position_ids=self.position[:, None],
            past_key_values=self.cache,
            use_cache=True,
        )
        self.position = self.position + 1
        return output.logits[:, -1]


class LlamaDecoder(Decoder):
    """The decoder for Llama models, layer by layer, with memory that is allocated once.

    R rows fill the first R places of the memory block, in any order; ``place`` holds the place of each
    row. The first row that continues an old row takes over its place. Only further rows are copied.
    """

    def __init__(
        self,
        model: LlamaForCausalLM,
        cache: DynamicCache,
        prompt_mask: Tensor,
        rows: int,
        max_new_tokens: int,
    ) -> None:
        self.model = model
        self.keys, self.values = (
            _block([getattr(layer, part) for layer in cache.layers], rows, max_new_tokens)
            for part in ("keys", "values")
        )
        self.filled = prompts = prompt_mask.shape[1]
        seen = prompt_mask.bool()
        self.position = _in_front(seen.sum(dim=1), rows)
        # Without left padding no mask is needed, and attention is faster without one.
        padded = F.pad(seen, (0, max_new_tokens), value=True)
        self.seen = None if bool(seen.all()) else _in_front(padded, rows)
        positions = torch.arange(prompts + max_new_tokens, device=seen.device)[None]
        hidden = model.model.embed_tokens.weight[:1, None]
        self.cos, self.sin = (table[0] for table in model.model.rotary_emb(hidden, positions))
        self.place = torch.arange(len(seen), device=seen.device)
        self.inputs = [
            (
                _after(layer.input_layernorm, a.q_proj, a.k_proj, a.v_proj),
                _after(layer.post_attention_layernorm, m.gate_proj, m.up_proj),
            )
            for layer, a, m in ((one, one.self_attn, one.mlp) for one in model.model.layers)
        ]
        self.head = _after(model.model.norm, model.lm_head)

    @torch.inference_mode()
    def step(self, parent: Tensor, token: Tensor) -> Tensor:
        """As ``Decoder.step``."""
        place, old = self._places(parent)
        moved = (place != old).nonzero().squeeze(1)
        if len(moved) > 0:
            self._copy(old[moved], place[moved])
        self.place = place
        return self._step(torch.empty_like(token).index_copy_(0, place, token))[place]

    def _places(self, parent: Tensor) -> tuple[Tensor, Tensor]:
        """The place of each new row, among the first R, and the place of its parent."""
        rows, old = len(parent), self.place[parent]
        index = torch.arange(rows, device=parent.device)
        first = index.new_full((len(self.place),), rows)
        first.scatter_reduce_(0, parent, index, "amin")
        stays = (first[parent] == index) & (old < rows)
        taken = torch.zeros(rows, dtype=torch.bool, device=parent.device)
        taken[old[stays]] = True
        return old.masked_scatter(~stays, (~taken).nonzero().squeeze(1)), old

    def _copy(self, source: Tensor, target: Tensor) -> None:
        # A source is the place of a row that stays, or a place after the first R; targets are neither.
        for block in (self.keys, self.values):
            block[:, target, :, : self.filled] = block[:, source, :, : self.filled]
        self.position[target] = self.position[source]
        if self.seen is not None:
            self.seen[target] = self.seen[source]

    def _step(self, token: Tensor) -> Tensor:
        config, inner = self.model.config, self.model.model
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        rows, end = len(token), self.filled + 1
        position = self.position[:rows]
        cos, sin = self.cos[position][:, None], self.sin[position][:, None]
        mask = None if self.seen is None else self.seen[:rows, None, None, :end]
        x = inner.embed_tokens(token)
        for index, layer in enumerate(inner.layers):
            qkv_of, gate_up_of = self.inputs[index]
            qkv = qkv_of(x).view(rows, heads + 2 * kv_heads, -1)
            qk, value = qkv.split([heads + kv_heads, kv_heads], dim=1)
            query, key = rotate(qk, cos, sin).split([heads, kv_heads], dim=1)
            keys, values = self.keys[index, :rows, :, :end], self.values[index, :rows, :, :end]
            keys[:, :, -1], values[:, :, -1] = key, value
            attended = F.scaled_dot_product_attention(
                query[:, :, None], keys, values, attn_mask=mask, enable_gqa=heads != kv_heads
            )
            x = x + layer.self_attn.o_proj(attended.reshape(rows, -1))
            gate, up = gate_up_of(x).chunk(2, dim=-1)
            x = x + layer.mlp.down_proj(layer.mlp.act_fn(gate) * up)
        self.filled = end
        position += 1  # in place: a view of the block
        return self.head(x)


def _in_front(x: Tensor, rows: int) -> Tensor:
    """``x`` as the first rows of a larger tensor."""
    larger = x.new_empty(rows, *x.shape[1:])
    larger[: len(x)] = x
    return larger


def _block(layers: list[Tensor], rows: int, max_new_tokens: int) -> Tensor:
    """Keys or values of all layers in one block [layers, rows, heads, P + T, head]."""
    prompts, heads, filled, size = layers[0].shape
    block = layers[0].new_empty(len(layers), rows, heads, filled + max_new_tokens, size)
    for index, layer in enumerate(layers):
        block[index, :prompts, :, :filled] = layer
    return block


def _after(norm: torch.nn.Module, *layers: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    """The outputs of linear layers after a normalisation, side by side.

    W (w ⊙ y) = (W diag w) y: on a CPU, where a small model's time is the number of its operations, the
    weights of the normalisation and of all layers become one matrix. A GPU or a large model keeps no second
    copy, and a last layer that somebody has replaced is called as it is.
    """
    weights = [layer.weight for layer in layers if type(layer) is torch.nn.Linear]
    small = sum(weight.numel() for weight in weights) <= SMALL
    if not small or len(weights) < len(layers) or norm.weight.device.type != "cpu":

        def outputs(x: Tensor) -> Tensor:
            y = rms_norm(x, norm)
            return torch.cat([layer(y) for layer in layers], dim=-1)

        return outputs
    weight, bias = fused(*layers)
    weight, size, eps = weight * norm.weight, norm.weight.shape, norm.variance_epsilon
    return lambda x: F.linear(F.rms_norm(x, size, None, eps), weight, bias)


def decoder_for(
    model: PreTrainedModel,
    cache: DynamicCache,
    prompt_mask: Tensor,
    rows: int,
    max_new_tokens: int,
) -> Decoder:
    """The fastest decoder that is correct for ``model``."""
    kind = LlamaDecoder if plain_llama(model) else Decoder
    return kind(model, cache, prompt_mask, rows, max_new_tokens)
