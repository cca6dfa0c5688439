"""Losses that weigh off-policy answers without PPO's clip: SAPO, VESPO, LUSPO, and the exact importance weight.

Each is a row of the same table as in ``losses``: only what a ratio ρ far from 1 does is different. All are
*minimised*. Notebook 07 draws their gradient weights against ρ.

Shapes: ``logprobs``, ``old_logprobs`` and ``mask`` [B, T]; ``advantages`` [B]. Gradient flows only
through ``logprobs``.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float

from rlvr_lab.objectives.averages import Average, sequence_mean, token_mean
from rlvr_lab.objectives.losses import gspo_loss
from rlvr_lab.objectives.objective import sum_over_tokens
from rlvr_lab.objectives.ratios import clip_range, column, log_ratio, token_ratio, trained

__all__ = ["SOFT_RATIOS", "answer_weight_loss", "luspo_loss", "sapo_loss", "vespo_loss"]

BT = Float[torch.Tensor, "B T"]
Mask = Bool[torch.Tensor, "B T"]
Scalar = Float[torch.Tensor, ""]
PerAnswer = Float[torch.Tensor, " B"]


def sapo_loss(
    logprobs: BT,
    old_logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    tau_positive: float = 1.0,
    tau_negative: float = 1.05,
    average: Average = sequence_mean,
) -> Scalar:
    """A soft gate in place of the clip  (SAPO, arXiv:2511.20347).

    −average(4/τ · σ(τ(ρ − 1)) · A),  σ the logistic function, τ = τ_pos if A > 0, else τ_neg

    The weight of a token's gradient is 4σ(1 − σ)·ρ: exactly 1 at ρ = 1, and never exactly 0.

    Args:
        tau_positive: τ for tokens of answers with A > 0.
        tau_negative: τ for the others; larger, so that their weight fades faster.

    Raises:
        ValueError: when a τ is not positive, and as ``reinforce_loss``.

    >>> one = torch.ones(1, 2)
    >>> sapo_loss(-one, -one, torch.tensor([2.0]), one.bool())
    tensor(-4.)
    """
    if not (tau_positive > 0 and tau_negative > 0):
        raise ValueError(
            f"tau_positive, tau_negative: must be positive, got {tau_positive} and {tau_negative}"
        )
    a = column(advantages, mask)
    tau = torch.where(a > 0, logprobs.new_tensor(tau_positive), logprobs.new_tensor(tau_negative))
    gate = torch.sigmoid(tau * (token_ratio(logprobs, old_logprobs, mask) - 1)) * 4 / tau
    return average(-gate * a, mask)


def vespo_loss(
    logprobs: BT,
    old_logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    positive: tuple[float, float] = (2.0, 3.0),
    negative: tuple[float, float] = (3.0, 2.0),
    average: Average = token_mean,
) -> Scalar:
    """A smooth weight of the whole answer, detached  (VESPO, arXiv:2602.10693).

    −average(sg[φ(w)] · A · log π),  φ(w) = wᵏ·exp(λ(1 − w)),  w = Π_t ρ_t

    φ(1) = 1, and φ is largest at w = k/λ.

    Args:
        positive: (k, λ) for answers with A ≥ 0.
        negative: (k, λ) for answers with A < 0.

    >>> one = torch.ones(1, 2)
    >>> vespo_loss(-one, -one, torch.tensor([2.0]), one.bool())
    tensor(2.)
    """
    a = column(advantages, mask)
    total = log_ratio(logprobs, old_logprobs, mask).detach().clamp(-20, 20).sum(1, keepdim=True)
    total = total.clamp(math.log(1e-8), 20)  # the published code's limits on log w
    k, lam = (
        torch.where(a >= 0, logprobs.new_tensor(plus), logprobs.new_tensor(minus))
        for plus, minus in zip(positive, negative, strict=True)
    )
    phi = torch.exp(lam + k * total - lam * total.exp())
    return average(-phi * a * trained("logprobs", logprobs, mask), mask)


def luspo_loss(
    logprobs: BT,
    old_logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
) -> Scalar:
    """GSPO with each answer's loss times its length, so that 1/|o| disappears  (LUSPO, arXiv:2602.05261).

    >>> one = torch.ones(1, 2)
    >>> luspo_loss(-one, -one, torch.tensor([2.0]), one.bool())
    tensor(-4.)
    """
    return gspo_loss(logprobs, old_logprobs, advantages, mask, clip_low, clip_high, sum_over_tokens)


def answer_weight_loss(
    logprobs: BT,
    old_logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    cap: float = math.inf,
    average: Average = sum_over_tokens,
) -> Scalar:
    """REINFORCE times the probability ratio of the whole answer: exact importance sampling.

    −average(sg[min(w, cap)] · A · log π),  w = Π_t ρ_t = π(o)/π_old(o)

    Summed over tokens, with a baseline that does not contain the answer, and without a cap, it is unbiased
    however old the answers are; its variance grows with the distance between the policies.

    >>> one = torch.ones(1, 2)
    >>> answer_weight_loss(-one, -one - 0.5, torch.tensor([1.0]), one.bool())
    tensor(5.4366)
    """
    a = column(advantages, mask)
    weight = log_ratio(logprobs, old_logprobs, mask).detach().sum(1, keepdim=True).exp()
    return average(-weight.clamp(max=cap) * a * trained("logprobs", logprobs, mask), mask)


SOFT_RATIOS: dict[str, Callable[..., torch.Tensor]] = {
    "answer": lambda rows, average, low, high, tau: answer_weight_loss(
        *rows[:4], clip_range(0.0, high)[1], average
    ),
    "sapo": lambda rows, average, low, high, tau: sapo_loss(*rows[:4], average=average),
    "vespo": lambda rows, average, low, high, tau: vespo_loss(*rows[:4], average=average),
}
"""Further ratios, as in ``objective.RATIOS``; LUSPO is its ``sequence`` with the average ``constant``, L = 1."""
