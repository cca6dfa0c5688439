"""Generalised advantage estimation: from one reward per answer to one advantage per token (notebook 05).

An answer is a trajectory: token t is the action a_t, the text before it is the state s_t, and V(s_t)
= ``values[:, t]``. After the last token no reward can follow: V = 0.

Shapes: everything is [B, T] unless stated; ``mask`` is True on trained tokens. No gradient flows.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.averages import masked_mean
from rlvr_lab.objectives.kl import k1

__all__ = ["gae", "mean_and_std", "token_rewards", "whiten"]

BT = Float[Tensor, "B T"]
Mask = Bool[Tensor, "B T"]


def token_rewards(
    rewards: Float[Tensor, " B"],
    logprobs: BT,
    ref_logprobs: BT,
    mask: Mask,
    kl_coef: float,
    clamp: bool = False,
) -> BT:
    """r_t = −β·(log π − log π_ref)(a_t); plus the task's reward on the last token.

    The rewards of PPO for language models (arXiv:1909.08593, eq. 2; arXiv:2203.02155).

    Args:
        rewards: one per answer, [B].
        logprobs: log π_old of the sampled tokens.
        ref_logprobs: log π_ref of the same tokens.
        mask: True on trained tokens.
        kl_coef: β ≥ 0.
        clamp: use max(log-ratio, 0), as AlpacaFarm does (arXiv:2305.14387). The penalty then
            overestimates the KL; notebook 05 computes by how much.

    Raises:
        ValueError: when ``kl_coef`` is negative or a row of ``mask`` is empty.

    >>> one = torch.ones(1, 2)
    >>> token_rewards(torch.tensor([1.0]), -one, -1.5 * one, one.bool(), kl_coef=0.1)
    tensor([[-0.0500,  0.9500]])
    """
    if kl_coef < 0:
        raise ValueError(f"kl_coef: β must not be negative, got {kl_coef}")
    if not bool(mask.any(dim=1).all()):
        raise ValueError("mask: every row needs at least one token")
    ratio = k1(logprobs.detach(), ref_logprobs.detach())
    penalty = ratio.clamp(min=0.0) if clamp else ratio
    shaped = torch.where(mask, -kl_coef * penalty, 0.0)
    position = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, position, -1).amax(dim=1)
    shaped[torch.arange(len(shaped), device=mask.device), last] += rewards.to(shaped)
    return shaped


def gae(rewards: BT, values: BT, mask: Mask, gamma: float = 1.0, lam: float = 0.95) -> BT:
    """Generalised advantage estimation  (arXiv:1506.02438, eq. 16).

    A_t = Σ_l (γλ)^l·δ_{t+l},  δ_t = r_t + γ·V(s_{t+1}) − V(s_t)

    λ = 0 gives δ_t; λ = 1 gives the discounted return minus V(s_t). With γ = λ = 1 and a single reward
    R at the end it is R − V(s_t): a policy gradient with a learned baseline.

    Args:
        rewards: r_t.
        values: V(s_t).
        mask: True on trained tokens; the recursion skips the others.
        gamma: γ in [0, 1]; 1 is usual for language models, where a later reward is worth no less.
        lam: λ in [0, 1]; a small λ has low variance but is biased by the errors of V; 1 is unbiased.

    Raises:
        ValueError: when γ or λ is out of range.

    >>> r, v = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]])
    >>> gae(r, v, torch.ones(1, 2).bool(), gamma=1.0, lam=1.0)
    tensor([[0.5000, 0.5000]])
    """
    for name, value in (("gamma", gamma), ("lam", lam)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: must lie in [0, 1], got {value}")
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        here = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t].detach()
        advantage = delta + gamma * lam * next_advantage
        advantages[:, t] = torch.where(here, advantage, 0.0)
        next_value = torch.where(here, values[:, t].detach(), next_value)
        next_advantage = torch.where(here, advantage, next_advantage)
    return advantages


def mean_and_std(x: BT, mask: Mask) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean and standard deviation over the trained tokens."""
    mean = masked_mean(x, mask)
    return mean, masked_mean((x - mean).square(), mask).sqrt()


def whiten(x: BT, mask: Mask, shift_mean: bool = True, eps: float = 1e-8) -> BT:
    """(x − mean)/std over the trained tokens; without ``shift_mean`` the mean stays.

    Advantages are whitened with the shift, rewards without it. The second is x/std + mean·(1 − 1/std): it
    adds a constant to the reward of every token, which rewards length or taxes it.

    >>> whiten(torch.tensor([[1.0, 3.0, 99.0]]), torch.tensor([[True, True, False]]))
    tensor([[-1.,  1.,  0.]])
    """
    mean, std = mean_and_std(x, mask)
    whitened = (x - mean) / (std + eps) + (0.0 if shift_mean else mean)
    return torch.where(mask, whitened, 0.0)
