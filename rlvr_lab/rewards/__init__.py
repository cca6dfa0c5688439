"""Rewards: functions from answers to one number each, registered by name."""

from rlvr_lab.rewards.registry import REWARDS, Reward
from rlvr_lab.rewards.text_reward_model import RewardModel
from rlvr_lab.rewards.verifiable import accuracy_rewards

__all__ = ["REWARDS", "Reward", "RewardModel", "accuracy_rewards"]
