"""From the rewards of a group of answers to their advantages.

A *group* is G answers to one prompt; ``rewards`` has B = N·G rows with groups contiguous. Rewards
are never changed in place: they stay raw, and what these functions return has a new name.
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "batch_advantages",
    "group_advantages",
    "leave_one_out_advantages",
    "maxrl_advantages",
    "zero_spread_share",
]


def _groups(rewards: Tensor, group_size: int) -> Tensor:
    """View ``rewards`` [B] as [N, G] after checking that this is possible."""
    if rewards.ndim != 1:
        raise ValueError(
            f"rewards: expected one reward per row [B], got shape {tuple(rewards.shape)}"
        )
    if group_size < 1 or rewards.numel() == 0 or rewards.numel() % group_size:
        raise ValueError(
            f"group_size: {rewards.numel()} rewards cannot be cut into groups of {group_size}"
        )
    if not bool(torch.isfinite(rewards).all()):
        raise ValueError("rewards: all rewards must be finite")
    return rewards.reshape(-1, group_size)


def _centre(groups: Tensor) -> Tensor:
    """Rewards minus their group's mean, exactly 0 where a group has no spread.

    The float mean of equal rewards need not equal them (0.1 is no binary fraction), and divided by
    an equally tiny std that error of 1e-8 would become an advantage of 0.007.
    """
    return _exact(groups, groups - groups.mean(dim=1, keepdim=True))


def _exact(groups: Tensor, centred: Tensor) -> Tensor:
    """Centred rewards without what rounding leaves where all rewards of a group are equal."""
    return torch.where((groups == groups[:, :1]).all(dim=1, keepdim=True), 0.0, centred)


def group_advantages(
    rewards: Float[Tensor, " B"],
    group_size: int,
    divide_by_std: bool = True,
    ddof: int = 0,
    eps: float = 1e-6,
) -> Float[Tensor, " B"]:
    """Centre each reward on its group's mean and, if asked, divide by the group's std.

    A_i = (r_i − mean(r)) / (std(r) + eps)      (DeepSeekMath, section 4.1, arXiv:2402.03300)

    Without the division this is the advantage of Dr. GRPO (arXiv:2503.20783). Derived in notebook
    06; what the division does to easy and hard prompts is notebook 07.

    Args:
        rewards: raw rewards, groups contiguous; no gradient flows.
        group_size: G, the number of answers to one prompt.
        divide_by_std: the first of the course's two toggles.
        ddof: 0 for the population std (÷G, the theory of notebook 07), 1 for the sample std
            (÷(G−1), what TRL and ``torch.std`` compute).
        eps: keeps a group whose rewards are all equal at advantage 0 instead of 0/0.

    Returns:
        Advantages, positive for answers better than their group. They sum to zero in every group.

    Raises:
        ValueError: when G does not divide B, or when G = 1 (its std is undefined, and its centred
            reward is always 0, so nothing could be learned), or when a reward is not finite.

    >>> group_advantages(torch.tensor([1.0, 0.0, 0.0, 1.0]), group_size=4, eps=0.0)
    tensor([ 1., -1., -1.,  1.])
    >>> group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), group_size=4, divide_by_std=False)
    tensor([ 0.7500, -0.2500, -0.2500, -0.2500])
    """
    groups = _groups(rewards, group_size)
    if group_size == 1:
        raise ValueError(
            "group_size: 1 leaves nothing to compare an answer with (its centred reward is 0 and "
            "its standard deviation undefined); use at least 2"
        )
    centred = _centre(groups)
    if divide_by_std:
        centred = centred / (groups.std(dim=1, keepdim=True, correction=ddof) + eps)
    return centred.flatten()


def leave_one_out_advantages(rewards: Float[Tensor, " B"], group_size: int) -> Float[Tensor, " B"]:
    """Compare each reward with the mean of the *other* answers of its group (RLOO).

    A_i = r_i − 1/(G−1) · Σ_{j≠i} r_j = G/(G−1) · (r_i − mean(r))      (arXiv:2402.14740, eq. 9)

    The baseline does not contain the answer itself, so the gradient is exactly unbiased; the group
    mean shrinks it by (G−1)/G. Derived in notebook 06.

    Raises:
        ValueError: when G does not divide B, or G = 1, or a reward is not finite.

    >>> leave_one_out_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), group_size=4)
    tensor([ 1.0000, -0.3333, -0.3333, -0.3333])
    """
    groups = _groups(rewards, group_size)
    if group_size == 1:
        raise ValueError("group_size: leave-one-out needs at least 2 answers a group, got 1")
    others = (groups.sum(dim=1, keepdim=True) - groups) / (group_size - 1)
    return _exact(groups, groups - others).flatten()


def batch_advantages(rewards: Float[Tensor, " B"], eps: float = 1e-6) -> Float[Tensor, " B"]:
    """Whiten the rewards over the whole batch, ignoring groups (REINFORCE++, arXiv:2501.03262).

    A_i = (r_i − mean_batch(r)) / (std_batch(r) + eps)

    Easy prompts get positive advantages on average and hard ones negative: the baseline no longer
    knows the prompt.

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

    With rewards in {0, 1} hard prompts are weighted by about 1/p: instead of p this climbs log p,
    cut after its first terms. The expected gradient is (1 − (1−p)^(G−1))/p · ∇p, of order G − 1.
    Without centring, r/mean(r), the exponent is G; centring costs one order because a group without
    a right answer teaches nothing, and so drops out of the baseline as well.

    Raises:
        ValueError: when G does not divide B, or G = 1, or a reward is negative or not finite.

    >>> maxrl_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), group_size=4, eps=0.0)
    tensor([ 3., -1., -1., -1.])
    """
    groups = _groups(rewards, group_size)
    if group_size == 1:
        raise ValueError("group_size: MaxRL needs at least 2 answers a group, got 1")
    if bool((groups < 0).any()):
        raise ValueError(f"rewards: MaxRL needs rewards >= 0, got {float(groups.min())}")
    return (_centre(groups) / (groups.mean(dim=1, keepdim=True) + eps)).flatten()


def zero_spread_share(rewards: Float[Tensor, " B"], group_size: int) -> float:
    """Share of groups whose answers all earned the same reward and therefore teach nothing.

    For binary rewards with pass rate p its expectation is p^G + (1 − p)^G (notebook 06).

    >>> zero_spread_share(torch.tensor([1.0, 1.0, 0.0, 1.0]), group_size=2)
    0.5
    """
    groups = _groups(rewards, group_size)
    return float((groups == groups[:, :1]).all(dim=1).double().mean())
