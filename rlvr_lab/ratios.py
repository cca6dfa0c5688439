"""Importance ratios ρ = π / π_old of sampled tokens and of whole answers.

Shapes: ``logprobs``, ``old_logprobs`` and ``mask`` [B, T]. Gradient flows through ``logprobs`` alone.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.masking import completion_lengths

__all__ = ["log_ratio", "sequence_ratio", "token_ratio", "trained"]

# [B, T] like ``mask``; a wrong size is left to ``trained``, which says which argument has it.
Rank2 = Float[Tensor, "_ _"]


def trained(name: str, logprobs: Rank2, mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Log-probs with 0 in place of padding; refuses one of a trained token that is not finite.

    The padding must go before ``exp``: masking the loss alone would turn garbage into a gradient of
    0 · inf = nan.

    Raises:
        ValueError: names ``name`` when its shape is not that of ``mask``, or a value is not finite.

    >>> trained("logprobs", torch.tensor([[-1.0, 9.0]]), torch.tensor([[True, False]]))
    tensor([[-1.,  0.]])
    """
    if logprobs.shape != mask.shape:
        raise ValueError(
            f"{name}: expected the shape of mask, {tuple(mask.shape)}, got {tuple(logprobs.shape)}"
        )
    if not bool(torch.isfinite(logprobs[mask]).all()):
        raise ValueError(f"{name}: a trained token has a log-probability that is not finite")
    return torch.where(mask, logprobs, 0.0)


def log_ratio(
    logprobs: Rank2, old_logprobs: Rank2, mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """log ρ = log π − log π_old, 0 on padding.

    Raises:
        ValueError: as ``trained``.
    """
    old = trained("old_logprobs", old_logprobs.detach(), mask)
    return trained("logprobs", logprobs, mask) - old


def token_ratio(
    logprobs: Rank2, old_logprobs: Rank2, mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """ρ_t = π(o_t) / π_old(o_t), one a token, 1 on padding  (PPO, arXiv:1707.06347).

    >>> one = torch.ones(1, 2)
    >>> token_ratio(-one, -one - 1, torch.tensor([[True, False]]))
    tensor([[2.7183, 1.0000]])
    """
    return torch.exp(log_ratio(logprobs, old_logprobs, mask))


def sequence_ratio(
    logprobs: Rank2, old_logprobs: Rank2, mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B 1"]:
    """s_i = exp(1/|o_i| · Σ_t log ρ_t), the geometric mean over an answer  (GSPO, arXiv:2507.18071).

    >>> one = torch.ones(1, 2)
    >>> sequence_ratio(-one, -one - torch.tensor([[1.0, 0.0]]), one.bool())
    tensor([[1.6487]])
    """
    total = log_ratio(logprobs, old_logprobs, mask).sum(dim=1)
    return torch.exp(total / completion_lengths(mask).to(logprobs))[:, None]
