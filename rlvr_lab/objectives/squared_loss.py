"""Kimi k1.5's squared loss. It has no ratio and no clip, so it stands beside the table of ``losses``."""

import torch
from jaxtyping import Bool, Float

from rlvr_lab.objectives.averages import Average, completion_lengths, constant_mean
from rlvr_lab.objectives.ratios import column, log_ratio

__all__ = ["kimi_loss"]

BT = Float[torch.Tensor, "B T"]
Mask = Bool[torch.Tensor, "B T"]
Scalar = Float[torch.Tensor, ""]
PerAnswer = Float[torch.Tensor, " B"]


def kimi_loss(
    logprobs: BT,
    old_logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    tau: float,
    average: Average | None = None,
) -> Scalar:
    """Kimi k1.5's squared surrogate, divided by 2τ  (section 2.3.2, arXiv:2501.12599; notebook 09).

    1/(2τ·B) · Σ_i (A_i − τ·ℓ_i)²,  ℓ_i = Σ_t (log π − log π_old),  A_i = r_i − b

    Its gradient is −1/B · Σ_i (A_i − τ·ℓ_i) ∇ℓ_i, equation 3 of the paper with the opposite sign. On the
    first update after a rollout ℓ = 0, so the gradient is that of ``rloo_loss`` with these advantages,
    whatever τ is. Later updates are pulled back to ℓ_i = A_i/τ, also where A_i = 0. With b = τ·log Z
    (``log_partition_advantages``) the minimum over all policies is π* ∝ π_old·exp(r/τ); the paper finds that
    the mean reward works as well.

    Deviation: the paper does not divide by 2τ. The division changes only the scale of the loss.

    Args:
        logprobs: log π of the sampled tokens; gradient flows through them.
        old_logprobs: log π_old, which is also what the KL is measured to: the paper's π_{θ_i}.
        advantages: [B], not divided by the std.
        mask: True on trained tokens.
        tau: τ > 0, the weight of the KL, in units of reward per nat.
        average: how the squares, one per answer, are averaged: each is spread over the tokens of its answer.
            By default their mean over the answers, ``constant_mean(1)``.

    Raises:
        ValueError: as ``ppo_clip_loss``, and when τ is not positive.

    >>> one = torch.ones(1, 2)
    >>> kimi_loss(-one, -one - 0.5, torch.tensor([2.0]), one.bool(), tau=1.0)
    tensor(0.5000)
    """
    if not tau > 0:
        raise ValueError(f"tau: must be positive, got {tau}")
    total = log_ratio(logprobs, old_logprobs, mask).sum(dim=1, keepdim=True)
    squares = (column(advantages, mask) - tau * total) ** 2 / (2 * tau)
    shares = squares / completion_lengths(mask).to(logprobs)[:, None]
    return (average or constant_mean(1))(shares.expand_as(logprobs), mask)
