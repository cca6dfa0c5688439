"""The rewards of the course. To add one, write a file next to this one and add a line here.

A reward is a function from ``Answers`` to one number per answer. A configuration names the rewards that it
maximises and their weights; ``training.rollouts.collect`` computes the sum and records each by name.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from rlvr_lab.rewards.language import language_reward, mixed
from rlvr_lab.rewards.length import length_reward
from rlvr_lab.rewards.loose import answer_anywhere, any_equals
from rlvr_lab.rewards.manners import in_asked_mode, polite
from rlvr_lab.rewards.spurious import coin, constant, incorrect
from rlvr_lab.rewards.text_reward_model import RewardModel
from rlvr_lab.rewards.verifiable import accuracy, tagged, truncation, well_formed
from rlvr_lab.tasks.task import Answers

__all__ = ["REWARDS", "Reward", "make_reward"]

Reward = Callable[[Answers], Float[Tensor, " B"]]

REWARDS: dict[str, Callable[[str], Reward]] = {
    "accuracy": lambda device: accuracy,
    "format": lambda device: well_formed,
    "tags": lambda device: tagged,
    "truncation": lambda device: truncation,
    "language": lambda device: language_reward(),
    "language_digits": lambda device: language_reward("digits"),
    "language_words": lambda device: language_reward("words"),
    "mixed": lambda device: mixed,
    "length": lambda device: length_reward(),
    "length_correct": lambda device: length_reward("correct"),
    "length_incorrect": lambda device: length_reward("incorrect"),
    "answer_anywhere": lambda device: answer_anywhere,
    "any_equals": lambda device: any_equals,
    "model": lambda device: RewardModel.load(device=device),
    "polite": lambda device: polite,
    "mode": lambda device: in_asked_mode,
    "constant": lambda device: constant,
    "incorrect": lambda device: incorrect,
    "random": lambda device: coin(0.5),
    "rare_random": lambda device: coin(0.1),
}
"""Name → function of the device that returns the reward."""


def make_reward(name: str, device: str = "auto") -> Reward:
    """The reward with this name.

    Raises:
        ValueError: when there is no such reward.
    """
    if name not in REWARDS:
        raise ValueError(f"rewards: must be names of {', '.join(REWARDS)}, got {name!r}")
    return REWARDS[name](device)
