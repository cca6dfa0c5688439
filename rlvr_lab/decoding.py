"""One token further for every row: the inner step of sampling.

``Decoder`` keeps the keys and values of all rows in one preallocated block. For Llama models, the tiny
bases and SmolLM2 among them, it goes through the layers itself: one decoding step of a small model is
a few dozen operations, and the general path spends several times their cost on bookkeeping around
them. Other models take the general path of ``transformers``; a test holds both to the same logits.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedModel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

__all__ = ["Decoder", "LlamaDecoder", "decoder_for"]


class Decoder:
    """The general path: any causal language model, through its own ``forward``.

    Args:
        model: the policy's model.
        cache: what ``policy.prefill`` returned, one row a prompt; it is used up.
        prompt_mask: [N, P], True on real tokens.
        group_size: rows per prompt.
        max_new_tokens: room for this many tokens behind the prompt.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        cache: DynamicCache,
        prompt_mask: Tensor,
        group_size: int,
        max_new_tokens: int,
    ) -> None:
        self.model, self.cache = model, cache
        self.seen = prompt_mask.bool().repeat_interleave(group_size, dim=0)
        self.position = self.seen.sum(dim=1)
        cache.batch_repeat_interleave(group_size)

    def step(self, token: Tensor) -> Tensor:
        """Append ``token`` [R] to the rows; returns the logits [R, V] after it."""
        self.seen = torch.cat([self.seen, self.seen.new_ones(len(token), 1)], dim=1)
        output = self.model(
            input_ids=token[:, None],
            attention_mask=self.seen.long(),
            position_ids=self.position[:, None],
            past_key_values=self.cache,
            use_cache=True,
        )
        self.position = self.position + 1
        return output.logits[:, -1]

    def keep(self, rows: Tensor) -> None:
        """Drop every row but ``rows``, in this order."""
        self.seen, self.position = self.seen[rows], self.position[rows]
        self.cache.batch_select_indices(rows)


class LlamaDecoder(Decoder):
    """The same for Llama, layer by layer, in a block that is allocated once."""

    def __init__(
        self,
        model: LlamaForCausalLM,
        cache: DynamicCache,
        prompt_mask: Tensor,
        group_size: int,
        max_new_tokens: int,
    ) -> None:
        self.model = model
        keys = torch.stack([layer.keys for layer in cache.layers])  # [layers, N, heads, P, head]
        values = torch.stack([layer.values for layer in cache.layers])
        self.filled = keys.shape[3]
        room = (0, 0, 0, max_new_tokens)
        self.keys = F.pad(keys.repeat_interleave(group_size, dim=1), room)
        self.values = F.pad(values.repeat_interleave(group_size, dim=1), room)
        seen = prompt_mask.bool().repeat_interleave(group_size, dim=0)
        self.position = seen.sum(dim=1)
        # Without left padding there is nothing to mask, and attention is quicker without a mask.
        self.seen = None if bool(seen.all()) else F.pad(seen, (0, max_new_tokens), value=True)
        positions = torch.arange(self.filled + max_new_tokens, device=seen.device)[None]
        hidden = model.model.embed_tokens.weight[:1, None]
        self.cos, self.sin = (table[0] for table in model.model.rotary_emb(hidden, positions))
        self.live = torch.arange(len(seen), device=seen.device)

    def step(self, token: Tensor) -> Tensor:
        """Append ``token`` [R] to the rows; returns the logits [R, V] after it."""
        if len(self.live) == len(self.position):
            return self._step(token)
        every = token.new_zeros(len(self.position))
        return self._step(every.index_copy(0, self.live, token))[self.live]

    def _step(self, token: Tensor) -> Tensor:
        config, inner = self.model.config, self.model.model
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        rows, end = len(token), self.filled + 1
        cos, sin = self.cos[self.position][:, None], self.sin[self.position][:, None]
        mask = None if self.seen is None else self.seen[:, None, None, :end]
        x = inner.embed_tokens(token)
        for index, layer in enumerate(inner.layers):
            attention, mlp = layer.self_attn, layer.mlp
            y = _rms_norm(x, layer.input_layernorm)
            query = attention.q_proj(y).view(rows, heads, 1, -1)
            key = attention.k_proj(y).view(rows, kv_heads, 1, -1)
            query, key = apply_rotary_pos_emb(query, key, cos, sin)
            keys, values = self.keys[index], self.values[index]
            keys[:, :, self.filled] = key[:, :, 0]
            values[:, :, self.filled] = attention.v_proj(y).view(rows, kv_heads, -1)
            attended = F.scaled_dot_product_attention(
                query,
                keys[:, :, :end],
                values[:, :, :end],
                attn_mask=mask,
                enable_gqa=heads != kv_heads,
            )
            x = x + attention.o_proj(attended.reshape(rows, -1))
            y = _rms_norm(x, layer.post_attention_layernorm)
            x = x + mlp.down_proj(mlp.act_fn(mlp.gate_proj(y)) * mlp.up_proj(y))
        self.filled, self.position = end, self.position + 1
        return self.model.lm_head(_rms_norm(x, inner.norm))

    def keep(self, rows: Tensor) -> None:
        """Drop every row but ``rows``, in this order."""
        self.live = self.live[rows]
        # Moving the block costs as much as a few steps of the finished rows in it.
        if len(self.live) > 0.7 * len(self.position):
            return
        self.keys, self.values = (self._moved(block) for block in (self.keys, self.values))
        self.position = self.position[self.live]
        self.seen = None if self.seen is None else self.seen[self.live]
        self.live = torch.arange(len(self.live), device=self.live.device)

    def _moved(self, block: Tensor) -> Tensor:
        """The live rows of a block in a block of their own, free room behind them."""
        layers, _, heads, room, size = block.shape
        moved = block.new_empty(layers, len(self.live), heads, room, size)
        moved[:, :, :, : self.filled] = block[:, self.live, :, : self.filled]
        return moved


def _rms_norm(x: Tensor, norm: torch.nn.Module) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], norm.weight, norm.variance_epsilon)


def decoder_for(
    model: PreTrainedModel,
    cache: DynamicCache,
    prompt_mask: Tensor,
    group_size: int,
    max_new_tokens: int,
) -> Decoder:
    """The quickest decoder that is right for ``model``."""
    # Exactly this class: a subclass may compute something else.
    kind = LlamaDecoder if type(model) is LlamaForCausalLM else Decoder
    return kind(model, cache, prompt_mask, group_size, max_new_tokens)
