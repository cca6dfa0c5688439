"""From the rewards of a group of answers to their advantages.

A *group* is G answers to one prompt; ``rewards`` has B = N·G rows, and the rows of a group are
contiguous. These functions do not change rewards in place: they return new tensors.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "batch_advantages",
    "group_advantages",
    "leave_one_out_advantages",
    "log_partition_advantages",
    "maxrl_advantages",
    "zero_spread_share",
]


def _groups(rewards: Tensor, group_size: int) -> Tensor:
    """View ``rewards`` [B] as [N, G] after checking the shape and the values."""
    if rewards.ndim != 1:
        raise ValueError(
            f"rewards: expected one reward per row [B], got shape {tuple(rewards.shape)}"
        )
    if group_size < 1 or rewards.numel() == 0 or rewards.numel() % group_size:
        raise ValueError(
            f"group_size: {rewards.numel()} rewards cannot be divided into groups of {group_size}"
        )
    if not bool(torch.isfinite(rewards).all()):
        raise ValueError("rewards: all rewards must be finite")
    return rewards.reshape(-1, group_size)


def _centre(groups: Tensor) -> Tensor:
    """Rewards minus the mean of their group; exactly 0 where all rewards of a group are equal.

    The floating-point mean of equal rewards can differ from them by about 1e-8 (0.1 has no exact
    binary form). Divided by an equally tiny std, this error would become an advantage of 0.007.
    """
    return _exact(groups, groups - groups.mean(dim=1, keepdim=True))


def _exact(groups: Tensor, centred: Tensor) -> Tensor:
    """Centred rewards, set to 0 where all rewards of a group are equal (removes rounding errors)."""
    return torch.where((groups == groups[:, :1]).all(dim=1, keepdim=True), 0.0, centred)


def group_advantages(
    rewards: Float[Tensor, " B"],
    group_size: int,
    divide_by_std: bool = True,
    ddof: int = 0,
    eps: float = 1e-6,
) -> Float[Tensor, " B"]:
    """Subtract the group's mean from each reward and, optionally, divide by the group's std.

    A_i = (r_i − mean(r)) / (std(r) + eps)      (DeepSeekMath, section 4.1, arXiv:2402.03300)

    Without the division this is the advantage of Dr. GRPO (arXiv:2503.20783). Notebook 06 derives
    it; notebook 07 shows what the division does to easy and hard prompts.

    Args:
        rewards: raw rewards, groups contiguous; no gradient flows through them.
        group_size: G, the number of answers to one prompt.
        divide_by_std: whether to divide; the first of the course's two switches.
        ddof: 0 for the population std (÷G, used in the theory of notebook 07), 1 for the sample std
            (÷(G−1), which TRL and ``torch.std`` compute).
        eps: added to the std, so that a group of equal rewards gets advantage 0 and not 0/0.

    Returns:
        Advantages, positive for answers above their group's mean. They sum to zero in each group.

    Raises:
        ValueError: when G does not divide B, when G = 1 (the centred reward would always be 0, so
            nothing could be learned), or when a reward is not finite.

    >>> group_advantages(torch.tensor([1.0, 0.0, 0.0, 1.0]), group_size=4, eps=0.0)
    tensor([ 1., -1., -1.,  1.])
    >>> group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), group_size=4, divide_by_std=False)
    tensor([ 0.7500, -0.2500, -0.2500, -0.2500])
    """
    groups = _groups(rewards, group_size)
    if group_size == 1:
        raise ValueError(
            "group_size: 1 leaves no other answer to compare with (the centred reward is 0 and "
            "the standard deviation undefined); use at least 2"
        )
    centred = _centre(groups)
    if divide_by_std:
        centred = centred / (groups.std(dim=1, keepdim=True, correction=ddof) + eps)
    return centred.flatten()


def leave_one_out_advantages(rewards: Float[Tensor, " B"], group_size: int) -> Float[Tensor, " B"]:
    """Compare each reward with the mean of the *other* answers of its group (RLOO).

    A_i = r_i − 1/(G−1) · Σ_{j≠i} r_j = G/(G−1) · (r_i − mean(r))      (arXiv:2402.14740, eq. 9)

    The baseline does not contain the answer itself, so the gradient is exactly unbiased. With the
    group mean as the baseline the expected gradient is smaller by (G−1)/G. See notebook 06.

    Raises:
        ValueError: when G does not divide B, or G = 1, or a reward is not finite.

    >>> leave_one_out_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), group_size=4)
    tensor([ 1.0000, -0.3333, -0.3333, -0.3333])
    """
    groups = _groups(rewards, group_size)
    if group_size == 1:
        raise ValueError("group_size: leave-one-out needs at least 2 answers per group, got 1")
    others = (groups.sum(dim=1, keepdim=True) - groups) / (group_size - 1)
    return _exact(groups, groups - others).flatten()


def batch_advantages(rewards: Float[Tensor, " B"], eps: float = 1e-6) -> Float[Tensor, " B"]:
    """Whiten the rewards over the whole batch, ignoring groups (REINFORCE++, arXiv:2501.03262).

    A_i = (r_i − mean_batch(r)) / (std_batch(r) + eps)

    Easy prompts get positive advantages on average and hard prompts negative ones, because the
    baseline does not depend on the prompt.

    Raises:
        ValueError: when there are fewer than 2 rewards, or one is not finite.

    >>> batch_advantages(torch.tensor([1.0, 0.0, 0.0, 1.0]), eps=0.0)
    tensor([ 1., -1., -1.,  1.])
    """
    if rewards.numel() < 2:
        raise ValueError(
            f"rewards: batch whitening needs at least 2 rewards, got {rewards.numel()}"
        )
    whole = _groups(rewards, rewards.numel())
    return (_centre(whole) / (whole.std(correction=0) + eps)).flatten()


def maxrl_advantages(
    rewards: Float[Tensor, " B"], group_size: int, eps: float = 1e-6
) -> Float[Tensor, " B"]:
    """Divide the centred reward by the group's mean reward (MaxRL, arXiv:2602.02710).

    A_i = (r_i − mean(r)) / (mean(r) + eps)

    With rewards in {0, 1} a hard prompt gets a weight of about 1/p: this maximises a truncated
    series of log p instead of p. The expected gradient is (1 − (1−p)^(G−1))/p · ∇p, of order G − 1.
    Without centring, r/mean(r), the exponent is G. Centring costs one order because a group without
    a correct answer has no effect, and therefore does not count in the baseline either.

    Raises:
        ValueError: when G does not divide B, or G = 1, or a reward is negative or not finite.

    >>> maxrl_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), group_size=4, eps=0.0)
    tensor([ 3., -1., -1., -1.])
    """
    groups = _groups(rewards, group_size)
    if group_size == 1:
        raise ValueError("group_size: MaxRL needs at least 2 answers per group, got 1")
    if bool((groups < 0).any()):
        raise ValueError(f"rewards: MaxRL needs rewards >= 0, got {float(groups.min())}")
    return (_centre(groups) / (groups.mean(dim=1, keepdim=True) + eps)).flatten()


def log_partition_advantages(
    rewards: Float[Tensor, " B"], group_size: int, tau: float
) -> Float[Tensor, " B"]:
    """Compare each reward with τ·log Z, estimated from its group (Kimi k1.5, section 2.3.2, arXiv:2501.12599).

    A_i = r_i − τ·log(1/G · Σ_j exp(r_j/τ))

    Z(x) = E[exp(r/τ)] is the constant of the KL-regularised optimum π* = π_old·exp(r/τ)/Z, so τ·log Z is the
    baseline that makes ``kimi_loss`` zero at π*. It lies between the mean of the group (τ → ∞) and its largest
    reward (τ → 0), so the advantages of a group do not sum to zero: they are biased downwards.

    Raises:
        ValueError: when G does not divide B, a reward is not finite, or τ is not positive.

    >>> log_partition_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), group_size=4, tau=1.0)
    tensor([ 0.6426, -0.3574, -0.3574, -0.3574])
    """
    groups = _groups(rewards, group_size)
    if not tau > 0:
        raise ValueError(f"tau: must be positive, got {tau}")
    level = tau * (torch.logsumexp(groups / tau, dim=1, keepdim=True) - math.log(group_size))
    return _exact(groups, groups - level).flatten()


def zero_spread_share(rewards: Float[Tensor, " B"], group_size: int) -> float:
    """Share of groups whose answers all got equal rewards, so that all their advantages are 0.

    For binary rewards with pass rate p its expected value is p^G + (1 − p)^G (notebook 06).

    >>> zero_spread_share(torch.tensor([1.0, 1.0, 0.0, 1.0]), group_size=2)
    0.5
    """
    groups = _groups(rewards, group_size)
    return float((groups == groups[:, :1]).all(dim=1).double().mean())
