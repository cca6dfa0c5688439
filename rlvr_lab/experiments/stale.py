"""A sampler that is not the policy: how stale, how noisy, and which correction helps (notebook 11).

Recorded by ``python -m rlvr_lab record stale``. The answers of a stale sampler say little about the policy that is
trained, so each record holds the policy's own accuracy on a fixed test.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float

from rlvr_lab.experiments.study import Study, seeded
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Run, curves, runs_of
from rlvr_lab.tasks.task import grade
from rlvr_lab.training.stale import StaleConfig
from rlvr_lab.training.state import TrainState

__all__ = [
    "BASE",
    "CORRECTED",
    "KEPT",
    "LIVE",
    "STUDY",
    "VARIANTS",
    "StaleStudyConfig",
    "runs_of_variant",
    "settled",
]

KEPT = (
    *("step", "accuracy", "mismatch_kl", "effective_share"),
    *("weight_mean", "masked_share", "clip_fraction"),
)
"""What the recording keeps; all but ``accuracy`` are those of the one step of the record."""
CORRECTED = ("none", "clip", "tis", "icepop", "sequence")


@dataclass(frozen=True)
class StaleStudyConfig(StaleConfig, kind="stale-study"):
    """A stale run with a test of the trained policy; only the steps with a test have a record.

    Attributes:
        every: steps from one test to the next.
        test_problems: held-out problems, the same in each test of a seed.
        test_samples: answers to each.
    """

    every: int = 4
    test_problems: int = 96
    test_samples: int = 2

    FIXED: ClassVar[tuple[str, ...]] = (
        *StaleConfig.FIXED,
        *("every", "test_problems", "test_samples"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "every", "test_problems", "test_samples")

    def after(self, state: TrainState) -> dict[str, Any] | None:
        """The accuracy after the update, when a test is due."""
        return {"accuracy": self.accuracy(state)} if state.step % self.every == 0 else None

    def accuracy(self, state: TrainState) -> float:
        """Share of correct answers of the trained policy, at the temperature of the run."""
        problems = state.task.problems(self.test_problems, random.Random(f"stale {self.seed}"))
        generator = torch.Generator(state.policy.device).manual_seed(7919 * self.seed + state.step)
        batch = sample(
            state.policy,
            [problem.prompt for problem in problems],
            self.test_samples,
            self.max_new_tokens,
            generator,
            self.temperature,
        )
        verdicts = grade(state.task, problems, batch.texts, batch.truncated.tolist())
        return sum(verdict.correct for verdict in verdicts) / len(verdicts)


BASE = StaleStudyConfig(steps=32, prompts_per_step=16, group_size=8)
"""GRPO on the sums with 128 answers per step and the default learning rate of 3e-4."""


def _each(name: str, corrections: tuple[str, ...] = CORRECTED, **change: Any) -> dict[str, Any]:
    """One variant for each correction."""
    return {f"{name}, {one}": replace(BASE, correction=one, **change) for one in corrections}


VARIANTS: dict[str, StaleStudyConfig] = {
    "on-policy": BASE,
    **_each("lag 2", ("none",), lag=2),
    **_each("lag 8", lag=8),
    "fast, on-policy": replace(BASE, learning_rate=1e-3),
    **_each("fast, lag 2", ("none",), lag=2, learning_rate=1e-3),
    **_each("fast, lag 8", lag=8, learning_rate=1e-3),
    **_each("noise 0.5", ("none",), noise=0.5),
    **_each("noise 1", ("none", "tis", "sequence"), noise=1.0),
    **_each("int4", ("none",), rounding="int4"),
}
"""Name → configuration; "fast" has the learning rate 1e-3."""


def measure_stale(
    seeds: int, variants: Mapping[str, StaleStudyConfig] = VARIANTS, first: int = 1
) -> Iterator[Run]:
    """Every variant with the seeds from ``first`` on; a seed sees the same problems in each.

    Raises:
        ValueError: for no seeds.
    """
    for config in seeded(variants, seeds, first):
        yield from runs_of(config, 1, digits=4, keep=KEPT)


LIVE = StaleConfig(steps=32, prompts_per_step=16, group_size=8, lag=8, learning_rate=1e-3)
"""Where the live dashboard starts: the variant "fast, lag 8, none", without the test."""

STUDY = Study("a sampler that is not the policy", VARIANTS, measure_stale, 5, "stale", first=1)


def runs_of_variant(runs: list[Run], name: str) -> list[Run]:
    """The runs of one variant, in the order of their seeds.

    Raises:
        ValueError: when there is none.
    """
    wanted = VARIANTS[name]
    found = [run for run in runs if replace(run.config, seed=wanted.seed) == wanted]
    if not found:
        raise ValueError(f"name: there is no run of {name!r}")
    return sorted(found, key=lambda run: run.config.seed)


def settled(
    runs: list[Run], name: str, metric: str = "accuracy", last: int | None = None
) -> Float[np.ndarray, " S"]:
    """Mean of a metric over the last records of a variant, or over all of them, per seed."""
    found = curves(runs_of_variant(runs, name), metric)
    return (found if last is None else found[:, -last:]).mean(axis=1)
