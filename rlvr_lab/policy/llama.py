"""The parts of a Llama layer that ``decoding`` and ``llama_pass`` compute themselves, and when they may."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaModel, LlamaRMSNorm

__all__ = ["fused", "plain_llama", "rms_norm", "rotate"]

NORMS = (LlamaRMSNorm, nn.RMSNorm)


def plain_llama(model: nn.Module) -> bool:
    """Whether a model is exactly the Llama of ``transformers``, so that its layers may be computed apart.

    A subclass, a replaced projection (adapters, quantised weights), a hook, gradient checkpointing or
    dropout would be passed over in silence; such a model is run by its own ``forward``.
    """
    if getattr(type(model), "forward", None) is not LlamaForCausalLM.forward:
        return False
    body, config = model.model, model.config
    projections = [p for layer in body.layers for p in _projections(layer)]
    norms = [
        n for layer in body.layers for n in (layer.input_layernorm, layer.post_attention_layernorm)
    ]
    return (
        type(body).forward is LlamaModel.forward
        and all(type(layer).forward is LlamaDecoderLayer.forward for layer in body.layers)
        and all(type(projection) is nn.Linear for projection in projections)
        and all(type(norm) in NORMS for norm in (*norms, body.norm))
        and not any(getattr(layer, "gradient_checkpointing", False) for layer in body.layers)
        and not (model.training and config.attention_dropout > 0)
        and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    )


def _projections(layer: LlamaDecoderLayer) -> tuple[nn.Module, ...]:
    attention, mlp = layer.self_attn, layer.mlp
    return (
        *(attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    )


def rms_norm(x: Tensor, norm: nn.Module) -> Tensor:
    """x / sqrt(mean(x²) + ε) · w, over the last dimension."""
    return F.rms_norm(x, x.shape[-1:], norm.weight, norm.variance_epsilon)


def fused(*layers: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of one linear layer whose output is that of ``layers``, side by side.

    One matrix product replaces several with the same input. Gradient flows into all of them.
    """
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    return torch.cat([layer.weight for layer in layers]), bias


def rotate(
    x: Float[Tensor, "*rows heads size"],
    cos: Float[Tensor, "*#rows 1 size"],
    sin: Float[Tensor, "*#rows 1 size"],
) -> Float[Tensor, "*rows heads size"]:
    """Rotary position embedding (RoFormer, eq. 34, arXiv 2104.09864), in the layout of ``transformers``.

    Coordinates i and i + size/2 form a plane, which is turned by position · θ_i.

    >>> quarter = torch.zeros(1, 1, 2), torch.ones(1, 1, 2)  # cos and sin of 90°
    >>> rotate(torch.tensor([[[1.0, 0.0]]]), *quarter)
    tensor([[[0., 1.]]])
    """
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
