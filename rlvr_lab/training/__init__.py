"""The loop, and one file for each algorithm that it runs."""

from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import NonFiniteLossError
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.training.trpo import TRPOConfig

__all__ = [
    "PRESETS",
    "NonFiniteLossError",
    "PPOConfig",
    "PolicyGradientConfig",
    "TRPOConfig",
    "train",
]
