"""Kimi k1.5's length reward: within a group of answers, short ones gain and long ones lose (notebook 09)."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.rewards.verifiable import accuracy_rewards
from rlvr_lab.tasks.task import Answers

__all__ = ["length_reward", "length_rewards"]


def length_rewards(
    lengths: Float[Tensor, " B"], correct: Bool[Tensor, " B"], group_size: int
) -> Float[Tensor, " B"]:
    """The length reward of each answer  (Kimi k1.5, section 2.3.3, arXiv:2501.12599).

    λ_i = ½ − (len_i − min_len) / (max_len − min_len);  λ_i if answer i is correct, min(0, λ_i) if not.
    If max_len = min_len, each answer gets 0.

    min_len and max_len are those of all answers to the same problem, correct or not. So the shortest correct
    answer gets +½ and the longest −½. An incorrect answer gets nothing up to the middle between min_len and
    max_len, which is not the mean length, and loses up to ½ beyond it.

    Args:
        lengths: of B = N·G answers in tokens, groups contiguous.
        correct: whether each answer is correct.
        group_size: G.

    Returns:
        Rewards in [−½, ½]; no gradient.

    Raises:
        ValueError: when G does not divide B, or a length is negative or not finite.

    >>> length_rewards(torch.tensor([100.0, 300, 500, 900]), torch.ones(4).bool(), 4)
    tensor([ 0.5000,  0.2500,  0.0000, -0.5000])
    >>> length_rewards(torch.tensor([100.0, 300, 500, 900]), torch.zeros(4).bool(), 4)
    tensor([ 0.0000,  0.0000,  0.0000, -0.5000])
    """
    if group_size < 1 or len(lengths) == 0 or len(lengths) % group_size:
        raise ValueError(
            f"group_size: {len(lengths)} answers cannot be divided into groups of {group_size}"
        )
    if not bool((torch.isfinite(lengths) & (lengths >= 0)).all()):
        raise ValueError("lengths: must be finite and not negative")
    groups = lengths.reshape(-1, group_size)
    shortest, longest = groups.amin(dim=1, keepdim=True), groups.amax(dim=1, keepdim=True)
    spread = (longest - shortest).clamp(
        min=1
    )  # 1 where all are equal: the next line sets those to 0
    half = torch.where(longest == shortest, 0.0, 0.5 - (groups - shortest) / spread).flatten()
    return torch.where(correct, half, half.clamp(max=0))


def length_reward(
    whom: str = "both",
) -> Callable[[Answers], Float[Tensor, " B"]]:
    """``length_rewards`` of the sampled answers. A truncated answer counts as incorrect.

    Args:
        whom: the published reward, or only its part for correct or for incorrect answers; the others get 0.

    Raises:
        ValueError: for an unknown ``whom``.
    """
    if whom not in ("both", "correct", "incorrect"):
        raise ValueError(f"whom: must be both, correct or incorrect, got {whom!r}")

    def reward(answers: Answers) -> Float[Tensor, " B"]:
        batch = answers.batch
        correct = accuracy_rewards(answers.verdicts).bool()
        found = length_rewards(
            batch.lengths.cpu().to(torch.get_default_dtype()), correct, batch.group_size
        )
        if whom == "both":
            return found
        return torch.where(correct == (whom == "correct"), found, 0.0)

    return reward
