"""Reinforcement learning from verifiable rewards, in small: the package behind the notebooks."""

__version__ = "0.1.0"
