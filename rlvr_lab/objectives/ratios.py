"""Importance ratios ρ = π / π_old of sampled tokens and of whole answers, and their clipping.

Shapes: ``logprobs``, ``old_logprobs`` and ``mask`` [B, T]. Gradient flows only through ``logprobs``.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.averages import completion_lengths

__all__ = [
    "clip_fraction",
    "clip_range",
    "clipped_surrogate",
    "column",
    "log_ratio",
    "sequence_ratio",
    "token_ratio",
    "trained",
]

BT = Float[Tensor, "B T"]
Mask = Bool[Tensor, "B T"]

# [B, T] like ``mask``; ``trained`` checks the size, so that its message can name the argument.
Rank2 = Float[Tensor, "_ _"]


def trained(name: str, logprobs: Rank2, mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Log-probabilities with padding replaced by 0; those of trained tokens must be finite.

    Padding has to be replaced before ``exp``. If only the loss were masked, padding could give a
    gradient of 0 · inf = nan.

    Raises:
        ValueError: naming ``name``, when its shape is not that of ``mask`` or a value is not finite.

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
    """ρ_t = π(o_t) / π_old(o_t), one per token, 1 on padding  (PPO, arXiv:1707.06347).

    >>> one = torch.ones(1, 2)
    >>> token_ratio(-one, -one - 1, torch.tensor([[True, False]]))
    tensor([[2.7183, 1.0000]])
    """
    return torch.exp(log_ratio(logprobs, old_logprobs, mask))


def sequence_ratio(
    logprobs: Rank2, old_logprobs: Rank2, mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B 1"]:
    """s_i = exp(1/|o_i| · Σ_t log ρ_t), the geometric mean over each answer  (GSPO, arXiv:2507.18071).

    >>> one = torch.ones(1, 2)
    >>> sequence_ratio(-one, -one - torch.tensor([[1.0, 0.0]]), one.bool())
    tensor([[1.6487]])
    """
    total = log_ratio(logprobs, old_logprobs, mask).sum(dim=1)
    return torch.exp(total / completion_lengths(mask).to(logprobs))[:, None]


def column(advantages: Tensor, mask: Tensor) -> Tensor:
    """Advantages as a column [B, 1]; refuses other shapes, which would broadcast silently."""
    if advantages.ndim != 1 or advantages.shape[0] != mask.shape[0]:
        raise ValueError(
            f"advantages: expected one per row, shape [{mask.shape[0]}], "
            f"got {tuple(advantages.shape)}"
        )
    if not bool(torch.isfinite(advantages).all()):
        raise ValueError("advantages: all advantages must be finite")
    return advantages.detach()[:, None]


def clip_range(clip_low: float, clip_high: float) -> tuple[float, float]:
    """1 − ε_low and 1 + ε_high, the range in which a ratio is not clipped."""
    if not 0 <= clip_low <= 1 or not clip_high >= 0:
        raise ValueError(
            f"clip_low, clip_high: need 0 <= clip_low <= 1 and clip_high >= 0, "
            f"got {clip_low} and {clip_high}"
        )
    return 1 - clip_low, 1 + clip_high


def clipped_surrogate(
    ratio: BT,
    advantages: Float[Tensor, "B #T"],  # noqa: F821
    clip_low: float,
    clip_high: float,
    ratio_cap: float | None = None,
) -> BT:
    """min(ρ·A, clip(ρ, 1−ε_low, 1+ε_high)·A), to be *maximised*  (PPO, eq. 7, arXiv:1707.06347).

    Its gradient is zero exactly where A > 0 and ρ > 1+ε_high, or A < 0 and ρ < 1−ε_low. For A < 0
    a large ρ is not clipped; ``ratio_cap`` = δ replaces it by min(ρ, δ) (arXiv:2505.07291).

    >>> clipped_surrogate(torch.tensor([[2.0], [2.0]]), torch.tensor([[1.0], [-1.0]]), 0.2, 0.2)
    tensor([[ 1.2000],
            [-2.0000]])
    """
    low, high = clip_range(clip_low, clip_high)
    if ratio_cap is not None and not ratio_cap > high:
        raise ValueError(f"ratio_cap: δ must exceed 1 + clip_high = {high}, got {ratio_cap}")
    capped = ratio if ratio_cap is None else ratio.clamp(max=ratio_cap)
    return torch.minimum(capped * advantages, ratio.clamp(low, high) * advantages)


def clip_fraction(
    ratio: Float[Tensor, "B #T"],  # noqa: F821
    advantages: Float[Tensor, " B"] | BT,
    mask: Mask,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> float:
    """Share of trained tokens whose gradient the clip removes (a metric: no gradient).

    Args:
        ratio: ρ, one per token or one per answer.
        advantages: [B], or [B, T] in PPO.
        mask: True on trained tokens.
        clip_low: ε_low.
        clip_high: ε_high.

    >>> clip_fraction(torch.tensor([[2.0, 1.0]]), torch.tensor([1.0]), torch.ones(1, 2).bool())
    0.5
    """
    a = advantages if advantages.shape == mask.shape else column(advantages, mask)
    low, high = clip_range(clip_low, clip_high)
    dead = ((a > 0) & (ratio > high)) | ((a < 0) & (ratio < low))
    return float(dead.expand_as(mask)[mask].double().mean())
