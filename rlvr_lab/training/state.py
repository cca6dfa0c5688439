"""What changes during a run."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from rlvr_lab.policy.loading import Policy
from rlvr_lab.rewards.registry import Reward
from rlvr_lab.tasks.task import Task

__all__ = ["TrainState"]


@dataclass
class TrainState:
    """All that is needed to continue training; ``records.checkpoint`` writes it.

    Attributes:
        policy: the policy that is trained.
        reference: the frozen policy that KL is measured to; None where the base is known in closed form.
        optimizer: over the trained parameters; None where the algorithm computes its own step (TRPO).
        task: the source of problems and verdicts.
        rewards: name → function, for the names in the config's ``rewards``.
        step: number of finished steps.
        value_model: PPO's V; None elsewhere.
        generator: the source of randomness for the whole run; None where each step draws
            from (seed, step).
        numbers: other numbers that change, such as PPO's adaptive β.
        data: what a run learns from, where that is fixed (pairs); ``begin`` draws it again.
        earlier: frozen policies of the last steps, the newest first, where a run needs them (``stale``).
    """

    policy: Policy
    reference: Policy | None = None
    optimizer: torch.optim.Optimizer | None = None
    task: Task | None = None
    rewards: dict[str, Reward] = field(default_factory=dict)
    step: int = 0
    value_model: nn.Module | None = None
    generator: torch.Generator | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    data: Any = None
    earlier: list[Policy] = field(default_factory=list)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The networks by name."""
        named = {
            "policy": self.policy.model,
            "reference": self.reference.model if self.reference else None,
            "value": self.value_model,
            **{f"earlier{age}": policy.model for age, policy in enumerate(self.earlier, 1)},
        }
        return {name: module for name, module in named.items() if module is not None}
