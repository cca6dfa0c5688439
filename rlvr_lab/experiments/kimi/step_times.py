"""How much of a GRPO step the rollouts take on the machine that records it (notebook 09, section 5).

A plain GRPO run on the sums, whose records keep the seconds. They belong to that machine and to what else ran on
it: only the *shares* of one step are compared, and only coarsely. There is no weight transfer, since the model
that samples is the model that learns.

Recorded by ``python -m rlvr_lab record kimi/step_times``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rlvr_lab.experiments.base_models import sums_base
from rlvr_lab.experiments.study import Study, seeded
from rlvr_lab.records.runs import Run
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = ["PARTS", "STUDY", "VARIANTS", "StepTimesConfig", "measure"]

PARTS = ("seconds_rollout", "seconds_reward", "seconds_reference", "seconds_update")
"""The parts of a step, in their order."""


@dataclass(frozen=True)
class StepTimesConfig(PolicyGradientConfig, kind="kimi-step-times"):
    """GRPO on the sums whose records hold the seconds of each part of a step (``PARTS``).

    A record also holds ``tokens`` (all that were sampled), ``length`` and ``longest`` (mean and maximum over the
    answers, in tokens), and ``pass_rate``.
    """

    steps: int = 30

    def measure(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """What the step sampled, and how long its parts took up to the update."""
        whole = super().measure(state, experience)
        kept = ("tokens", "length", "pass_rate", *PARTS[:3])
        return {key: whole[key] for key in kept} | {
            "longest": int(experience.batch.lengths.max()),
        }

    def update(self, state: TrainState, experience: Experience) -> dict[str, float]:
        """One step of GRPO; its loss and norms are not kept."""
        super().update(state, experience)
        return {}


BASIC = StepTimesConfig()
VARIANTS = {
    "256 answers": BASIC,  # 16 prompts × 16
    "16 answers": replace(BASIC, prompts_per_step=4, group_size=4),
    "256 answers, 4 updates": replace(BASIC, updates_per_batch=4),
}
"""Name → configuration: the default step, a sixteenth of its answers, and four updates with each batch."""


def measure(
    seeds: int, variants: Mapping[str, StepTimesConfig] = VARIANTS, first: int = 1
) -> Iterator[Run]:
    """Each variant from the sums' base of each seed, the seconds kept.

    Raises:
        ValueError: for no seeds.
    """
    for one in seeded(variants, seeds, first):
        records = train(one, state=one.begin(sums_base(one.seed)[0]))
        yield Run(one, [_short(record) for record in records])


def _short(record: dict[str, Any]) -> dict[str, Any]:
    return {
        key: float(f"{value:.4g}") if isinstance(value, float) else value
        for key, value in record.items()
        if key != "changed"
    }


STUDY = Study("the share of a step that rollouts take", VARIANTS, measure, 5, "kimi/step_times", 1)
