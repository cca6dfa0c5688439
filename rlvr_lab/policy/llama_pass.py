"""One forward pass of a Llama over a prefix tree: no padding, and no beginning is computed twice.

It computes what ``LlamaForCausalLM.forward`` computes on the whole texts; a test compares outputs and
gradients. All linear layers work on the M nodes of the tree. Only attention sees the answers side by side.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedModel

from rlvr_lab.objectives.kl import entropy
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.llama import fused, plain_llama, rms_norm, rotate
from rlvr_lab.policy.prefix_tree import PrefixTree, prefix_tree

__all__ = ["tree_logits", "tree_pass_fits", "tree_scores", "tree_states"]

LARGEST_MASK = 2**24
"""Elements of the attention masks of one pass, at most (16 MiB); texts of 4,096 tokens exceed it."""


def tree_pass_fits(model: PreTrainedModel, batch: RolloutBatch, rows: int) -> bool:
    """Whether the pass over the tree is correct for this model and suits ``rows`` rows of this batch.

    It suits short texts on a CPU. With long ones its masks are large, and on a GPU padding costs little.
    """
    text = batch.prompt_ids.shape[1] + batch.completion_ids.shape[1]
    small = batch.prompt_ids.device.type == "cpu" and rows * text**2 <= LARGEST_MASK
    return small and plain_llama(model)


def tree_states(model: LlamaForCausalLM, tree: PrefixTree) -> Float[Tensor, "K D"]:
    """The states from which the head computes logits, at the nodes that score a token.

    Args:
        model: one for which ``llama.plain_llama`` holds.
        tree: of the rows.

    Returns:
        One state per node from ``tree.unread`` on, with gradient; ``tree.before`` points into them.
    """
    body, config = model.model, model.config
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    (pieces, length), slots = tree.slots.shape, tree.slots.flatten()
    x = body.embed_tokens(tree.ids)
    cos, sin = (table[0, :, None] for table in body.rotary_emb(x, tree.position[None]))
    for index, layer in enumerate(body.layers):
        attention, mlp = layer.self_attn, layer.mlp
        qkv = F.linear(
            rms_norm(x, layer.input_layernorm),
            *fused(attention.q_proj, attention.k_proj, attention.v_proj),
        )
        qkv = qkv.view(len(x), heads + 2 * kv_heads, -1)
        qk, v = qkv.split([heads + kv_heads, kv_heads], dim=1)
        qk, v = rotate(qk, cos, sin).index_select(0, slots), v.index_select(0, slots)
        q, k, v = (
            part.view(pieces, length, part.shape[1], -1).transpose(1, 2)
            for part in (*qk.split([heads, kv_heads], dim=1), v)
        )
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=tree.sees[:, None], enable_gqa=heads != kv_heads
        )
        home = tree.home
        if index == len(body.layers) - 1:  # the others have been read by now
            x, home = x[tree.unread :], home[tree.unread :]
        attended = attended.transpose(1, 2).reshape(pieces * length, -1).index_select(0, home)
        x = x + attention.o_proj(attended)
        y = F.linear(
            rms_norm(x, layer.post_attention_layernorm), *fused(mlp.gate_proj, mlp.up_proj)
        )
        gate, up = y.chunk(2, dim=-1)
        x = x + mlp.down_proj(mlp.act_fn(gate) * up)
    return rms_norm(x, body.norm)


def tree_logits(
    model: LlamaForCausalLM, batch: RolloutBatch, rows: Int[Tensor, " W"]
) -> Float[Tensor, "W T V"]:
    """The logits before each completion token of ``rows``; meaningless after the end of an answer."""
    tree = prefix_tree(batch, rows)
    return model.lm_head(tree_states(model, tree))[tree.before]


def tree_scores(
    model: LlamaForCausalLM,
    batch: RolloutBatch,
    rows: Int[Tensor, " W"],
    temperature: float = 1.0,
    with_entropy: bool = False,
) -> list[Float[Tensor, "W T"]]:
    """Columns for the given rows: log π of each token and, if wanted, the entropy before it; 0 after the end.

    In nats, with gradient. The softmax is computed once for each distinct beginning.
    """
    tree = prefix_tree(batch, rows)
    logits = model.lm_head(tree_states(model, tree))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    columns = [logits.log_softmax(-1)[tree.before, batch.completion_ids[rows]]]
    if with_entropy:
        columns.append(entropy(logits)[tree.before])
    return [column.masked_fill(~batch.attention_mask[rows], 0.0) for column in columns]
