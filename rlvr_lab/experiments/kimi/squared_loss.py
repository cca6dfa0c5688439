"""Kimi k1.5's squared loss against GRPO, with one update on each batch and with four (notebook 09).

With one update the ratio is 1, and ``kimi_loss`` has the gradient of the mean-baselined policy gradient
whatever τ is. So differences can come only from later updates on the same batch, where GRPO clips the ratio of each
token and Kimi pulls the log-ratio of the whole answer back to A/τ. The control ``plain_4`` does neither.

``moved`` says how far the updates on one batch carry the policy: the mean over the batch's answers of
log π_old − log π after the last update, an estimate of KL(π_old‖π) in nats per answer. It is averaged over the
steps since the last test.

Recorded by ``python -m rlvr_lab record kimi/squared_loss``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from rlvr_lab.experiments.base_models import sums_base
from rlvr_lab.experiments.evaluated import EvaluatedConfig, runs_from
from rlvr_lab.experiments.study import Study
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.records.runs import Run
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = ["GUESS", "STUDY", "VARIANTS", "SquaredLossConfig", "moved"]

GUESS = 0.1
"""Probability that a blind guess at one digit is correct."""


@torch.no_grad()
def moved(state: TrainState, experience: Experience, temperature: float = 1.0) -> float:
    """Mean over the answers of Σ_t (log π_old − log π): an estimate of KL(π_old‖π), in nats per answer."""
    batch = experience.batch
    everywhere = torch.ones(len(batch.texts), dtype=torch.bool, device=batch.old_logprobs.device)
    now = token_logprobs(state.policy.model, batch, temperature, everywhere)
    difference = torch.where(batch.completion_mask, batch.old_logprobs - now, 0.0)
    return float(difference.double().sum(dim=1).mean())


@dataclass(frozen=True)
class SquaredLossConfig(EvaluatedConfig, kind="kimi-squared-loss"):
    """A policy-gradient run on the sums with a test every second step, which also measures ``moved``.

    Attributes:
        constant_length: L of the constant average, in tokens: about the length of a whole chain.

    A record holds ``accuracy``, ``length``, ``entropy`` of the test answers, and ``moved`` (None at step 0).
    """

    constant_length: float | None = 11.0
    every: int = 2
    test_problems: int = 64
    test_samples: int = 8
    steps: int = field(default=24, kw_only=True)

    def update(self, state: TrainState, experience: Experience) -> dict[str, float]:
        """All updates on one batch; how far they moved the policy is added up in the state."""
        super().update(state, experience)
        far = moved(state, experience, self.temperature)
        state.numbers["moved"] = state.numbers.get("moved", 0.0) + far
        return {}

    def test(self, state: TrainState) -> dict[str, Any]:
        """The answers to the test, and the mean movement for each step since the last one."""
        far = state.numbers.pop("moved", None)
        return {**super().test(state), "moved": None if far is None else far / self.every}


_KIMI = {
    "divide_by_std": False,
    "average": "constant",
    "ratio": "squared",
    "updates_per_batch": 4,
}
VARIANTS: dict[str, SquaredLossConfig] = {
    "grpo_1": SquaredLossConfig(),
    "kimi_1": SquaredLossConfig(**{**_KIMI, "updates_per_batch": 1}),
    "grpo_4": SquaredLossConfig(updates_per_batch=4),
    "dr_grpo_4": SquaredLossConfig(divide_by_std=False, average="constant", updates_per_batch=4),
    "plain_4": SquaredLossConfig(**{**_KIMI, "ratio": "none"}),
    "kimi_4_0.01": SquaredLossConfig(**_KIMI, tau=0.01),
    "kimi_4_0.1": SquaredLossConfig(**_KIMI, tau=0.1),
    "kimi_4_1": SquaredLossConfig(**_KIMI, tau=1.0),
    "log_z_4_0.1": SquaredLossConfig(**_KIMI, tau=0.1, baseline="log_z"),
}
"""GRPO and Kimi with one update on each batch. With four updates: GRPO; Dr. GRPO (no std, constant average, the
clip); the plain policy gradient (no std, constant average, neither ratio nor clip); Kimi with three τ; and Kimi
with the baseline τ·log Z in the place of the mean."""


def measure(
    seeds: int, variants: Mapping[str, SquaredLossConfig] = VARIANTS, first: int = 0
) -> Iterator[Run]:
    """Each variant from the sums' base of each seed.

    Raises:
        ValueError: for no seeds.
    """
    return runs_from(lambda seed: sums_base(seed, "cpu")[0], variants, seeds, first)


STUDY = Study(
    "Kimi's squared loss against GRPO", VARIANTS, measure, 5, "kimi/squared_loss", first=1
)
