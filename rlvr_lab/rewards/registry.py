"""The rewards of the course, registered in one place: a new one is a file beside this one and a line here.

A reward is a function from ``Answers`` to one number per answer. A configuration names the ones it
maximises with their weights; ``training.rollouts.collect`` adds them up and records each by name.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from rlvr_lab.rewards.text_reward_model import RewardModel
from rlvr_lab.rewards.verifiable import accuracy, truncation, well_formed
from rlvr_lab.tasks.task import Answers

__all__ = ["REWARDS", "Reward", "make_reward"]

Reward = Callable[[Answers], Float[Tensor, " B"]]

REWARDS: dict[str, Callable[[str], Reward]] = {
    "accuracy": lambda device: accuracy,
    "format": lambda device: well_formed,
    "truncation": lambda device: truncation,
    "model": lambda device: RewardModel.load(device=device),
}
"""Name → (device) → the reward."""


def make_reward(name: str, device: str = "auto") -> Reward:
    """The reward of that name.

    Raises:
        ValueError: when there is none.
    """
    if name not in REWARDS:
        raise ValueError(f"rewards: must be names of {', '.join(REWARDS)}, got {name!r}")
    return REWARDS[name](device)
