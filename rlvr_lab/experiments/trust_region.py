"""Why a trust region of fixed size stalls near the end of training, and runs without its cause (notebook 04).

TRPO stretches every step to the KL δ, whatever the gradient is worth. ``SignalConfig`` measures how much
of a batch's gradient is signal; ``AfterGRPO`` takes TRPO steps from a policy that GRPO has trained, and its
variants in ``STALL`` remove one suspected cause each. ``python -m rlvr_lab record trpo-stall`` records both.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.objectives.averages import masked_mean
from rlvr_lab.objectives.trust_region import flatten
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.records.runs import Recording, Run, runs_of
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import trained
from rlvr_lab.training.policy_gradient import PRESETS
from rlvr_lab.training.rollouts import Experience, RolloutConfig
from rlvr_lab.training.state import TrainState
from rlvr_lab.training.trpo import TRPOConfig

__all__ = [
    "STALL",
    "AfterGRPO",
    "SignalConfig",
    "at_equal_kl",
    "measure_stall",
    "policy_after_grpo",
    "signal_shares",
    "stall_changes",
]

# The GRPO runs draw their problems from other seeds than the runs that start where they end.
GRPO_SEED = 1_000


@lru_cache(maxsize=2)
def _trained(steps: int, seed: int) -> Policy:
    config = replace(PRESETS["grpo"], steps=max(steps, 1), seed=GRPO_SEED + seed)
    state = config.begin()
    if steps:
        list(train(config, state=state))
    return state.policy


def policy_after_grpo(steps: int, seed: int) -> Policy:
    """A copy of the sums' base after ``steps`` steps of GRPO; 0 steps: of the base itself."""
    return deepcopy(_trained(steps, seed))


@dataclass(frozen=True)
class AfterGRPO(TRPOConfig, kind="trpo-after-grpo"):
    """TRPO from a policy that GRPO has trained.

    Attributes:
        grpo_steps: steps of GRPO before the first TRPO step.
        shuffle: give the batch's rewards to its answers at random. The gradient is then noise alone.
    """

    grpo_steps: int = 40
    shuffle: bool = False
    steps: int = field(default=20, kw_only=True)

    def begin(self, *given: Any, **named: Any) -> TrainState:
        """The state before step 1."""
        if not given and "policy" not in named:
            given = (policy_after_grpo(self.grpo_steps, self.seed),)
        return super().begin(*given, **named)

    def update(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """A TRPO step, on the rewards as they are or shuffled over the batch."""
        if self.shuffle:
            generator = torch.Generator().manual_seed(10_000 * self.seed + state.step)
            order = torch.randperm(len(experience.rewards), generator=generator)
            experience = replace(experience, rewards=experience.rewards[order])
        return super().update(state, experience)


@dataclass(frozen=True)
class SignalConfig(RolloutConfig, kind="gradient-signal"):
    """How much of a batch's gradient is signal: each step draws a batch, and the policy stays as it is.

    For independent batches, E[g_i·g_j] = ‖E[g]‖² for i ≠ j. So the mean over pairs estimates the squared
    length of the true gradient without bias, and its ratio to the mean of ‖g_i‖² is the share of a
    batch gradient's squared length that is signal.

    The one record has ``pass_rate`` (of all batches), ``signal`` = ‖E[g]‖², ``total`` = E‖g‖², ``share``.

    Attributes:
        grpo_steps: steps of GRPO before the measurement; 0 measures the base.
        steps: number of batches, at least 2.
    """

    grpo_steps: int = 0
    steps: int = field(default=16, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("steps", self.steps > 1, "at least 2: batches are compared in pairs")

    def begin(self, *given: Any, **named: Any) -> TrainState:
        """The state before the first batch."""
        if not given and "policy" not in named:
            given = (policy_after_grpo(self.grpo_steps, self.seed),)
        state = super().begin(*given, **named)
        state.data = []
        return state

    def update(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """Keep the gradient of TRPO's surrogate on this batch."""
        batch, model = experience.batch, state.policy.model
        logprobs = token_logprobs(model, batch, self.temperature)
        advantages = group_advantages(experience.rewards, self.group_size, divide_by_std=False)
        surrogate = masked_mean(logprobs * advantages[:, None], batch.completion_mask)
        gradient = flatten(torch.autograd.grad(surrogate, trained(model))).double()
        correct = [verdict.correct for verdict in experience.answers.verdicts]
        state.data.append((gradient, sum(correct) / len(correct)))
        return {}

    def after(self, state: TrainState) -> dict[str, Any] | None:
        """The estimates, after the last batch."""
        if state.step < self.steps:
            return None
        gradients = torch.stack([gradient for gradient, _ in state.data])
        products = gradients @ gradients.T
        total = float(products.diag().mean())
        pairs = self.steps * (self.steps - 1)
        signal = float(products.sum() - products.diag().sum()) / pairs
        rate = sum(rate for _, rate in state.data) / self.steps
        return {"pass_rate": rate, "signal": signal, "total": total, "share": signal / total}


STALL: dict[str, dict[str, Any]] = {
    "plain, δ = 0.02": {"natural": False},
    "plain, δ = 0.002": {"natural": False, "max_kl": 0.002},
    "plain, δ = 0.02, 64 prompts": {"natural": False, "prompts_per_step": 64},
    "plain, δ = 0.02, rewards shuffled": {"natural": False, "shuffle": True},
    "natural, δ = 0.02": {},
}
"""Name → what it changes in ``AfterGRPO``."""


def measure_stall(
    seeds: int, changes: Mapping[str, dict[str, Any]] = STALL, first: int = 0
) -> Iterator[Run]:
    """For each seed: the share of signal at the base and after GRPO, then a run for each of ``changes``.

    Yields:
        Runs of ``SignalConfig`` with one record, and of ``AfterGRPO`` with ``step``, ``pass_rate``,
        ``fraction`` and ``step_kl`` for each step.

    Raises:
        ValueError: when ``seeds`` < 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds: need at least 1, got {seeds}")
    kept = ("step", "pass_rate", "fraction", "step_kl", "signal", "total", "share")
    for seed in range(
        first, first + seeds
    ):  # outside, because the runs of a seed share their start
        after = AfterGRPO(seed=seed)
        configs = [SignalConfig(seed=seed, grpo_steps=n) for n in (0, after.grpo_steps)]
        configs += [AfterGRPO(**{**asdict(after), **change}) for change in changes.values()]
        for config in configs:
            yield from runs_of(config, 1, digits=17, keep=kept)


# ------------------------------------------------------------------------------------- statistics


def at_equal_kl(runs: Sequence[Run], grid: ArrayLike, power: float = 1.0) -> np.ndarray:
    """Pass rates where the measured KL**power of all steps so far adds up to ``grid``, [seeds, K].

    The power 0.5 gives the length of the path. It does not depend on how a path is cut into steps,
    while a sum of KLs favours many short steps.

    A step's pass rate is measured before its update, so it belongs to the KL of the steps before it.

    Raises:
        ValueError: when a run ends before the grid does.
    """
    rows = []
    for run in runs:
        spent = np.concatenate([[0.0], (run.curve("step_kl") ** power).cumsum()[:-1]])
        if spent[-1] < np.max(grid):
            raise ValueError(f"grid: a run ends at a sum of {spent[-1]:.3g}")
        rows.append(np.interp(grid, spent, run.curve("pass_rate")))
    return np.stack(rows)


def signal_shares(recording: Recording) -> dict[int, np.ndarray]:
    """Steps of GRPO → the share of a batch gradient that is signal, one number for each seed."""
    return _signals(recording, "share")


def stall_changes(recording: Recording, last: int = 5) -> dict[str, np.ndarray]:
    """Name in ``STALL`` → mean pass rate of the last steps minus that of the policy at the start, [seeds]."""
    start = _signals(recording, "pass_rate")[AfterGRPO().grpo_steps]
    found: dict[str, list[float]] = {name: [] for name in STALL}
    for run in recording.runs:
        if isinstance(run.config, AfterGRPO):
            usual = asdict(AfterGRPO(seed=run.config.seed))
            name = next(n for n, c in STALL.items() if AfterGRPO(**{**usual, **c}) == run.config)
            found[name].append(float(run.curve("pass_rate")[-last:].mean()))
    return {name: np.array(ends) - start for name, ends in found.items()}


def _signals(recording: Recording, key: str) -> dict[int, np.ndarray]:
    found: dict[int, list[float]] = {}
    for run in recording.runs:
        if isinstance(run.config, SignalConfig):
            found.setdefault(run.config.grpo_steps, []).append(run.records[0][key])
    return {steps: np.array(values) for steps, values in found.items()}
