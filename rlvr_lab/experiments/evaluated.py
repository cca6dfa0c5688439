"""A policy-gradient run that answers a fixed test now and then: what the case studies record."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float

from rlvr_lab.experiments.study import replicates
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.task import Answers, Problem, Verdict, grade
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = ["EvaluatedConfig", "at_step", "runs_from", "short_record", "variant_of"]


@dataclass(frozen=True)
class EvaluatedConfig(PolicyGradientConfig):
    """A policy-gradient run whose records belong to the steps at which a test was answered.

    The batch accuracy of a run jumps with the difficulty of its 16 problems. The test has the same problems
    at each step, and step 0 is the policy that RL starts from. A subclass says what is read from the answers,
    in ``describe``.

    Attributes:
        table: the replicate. It chooses the test problems and, in the codes, the wrong facts of the base.
        every: steps from one test to the next.
        test_problems: M.
        test_samples: S, answers to each.
    """

    table: int = 0
    every: int = 10
    test_problems: int = 96
    test_samples: int = 16

    FIXED: ClassVar[tuple[str, ...]] = (
        *PolicyGradientConfig.FIXED,
        *("table", "every", "test_problems", "test_samples"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "every", "test_problems", "test_samples")

    def opening(self, state: TrainState) -> dict[str, Any]:
        """The test of the policy that RL starts from."""
        return self.test(state)

    def measure(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """Keep nothing of the answers that are trained on."""
        return {}

    def update(self, state: TrainState, experience: Experience) -> dict[str, float]:
        """One step, of which nothing is kept."""
        super().update(state, experience)
        return {}

    def after(self, state: TrainState) -> dict[str, Any] | None:
        """The test, when it is due."""
        return self.test(state) if state.step % self.every == 0 else None

    def test(self, state: TrainState) -> dict[str, Any]:
        """What a record says of the answers to the test problems."""
        answers = self.test_answers(state)
        return self.describe(answers.problems, answers.batch, answers.verdicts)

    def test_answers(self, state: TrainState) -> Answers:
        """Answer the test problems; the policy and the generators of the run stay as they are."""
        problems = self.test_questions(state)
        generator = torch.Generator(state.policy.device).manual_seed(1000 * self.table + state.step)
        batch = sample(
            state.policy,
            [problem.prompt for problem in problems],
            self.test_samples,
            self.max_new_tokens,
            generator,
            self.temperature,
        )
        verdicts = grade(state.task, problems, batch.texts, batch.truncated.tolist())
        return Answers(state.task, problems, batch, verdicts)

    def test_questions(self, state: TrainState) -> list[Problem]:
        """The test problems, the same at each step."""
        return state.task.problems(self.test_problems, random.Random(self.test_name))

    @property
    def test_name(self) -> str:
        """The seed of the test problems."""
        return f"test {self.table}"

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """What a record says of the M·S answers, groups contiguous.

        Returns:
            ``accuracy``, ``length`` (tokens) and ``entropy`` (nats per token): means over all answers.
        """
        return {
            "accuracy": sum(verdict.correct for verdict in verdicts) / len(verdicts),
            "length": float(batch.lengths.double().mean()),
            "entropy": float(batch.entropy[batch.completion_mask].double().mean()),
        }


def runs_from(
    base: Callable[[int], Policy], variants: Mapping[str, EvaluatedConfig], seeds: int, first: int
) -> Iterator[Run]:
    """Each variant from the same base with the same seed; a seed is a replicate with its own base and problems.

    Args:
        base: seed → a new copy of the policy that RL starts from.
        variants: name → configuration; its ``seed`` and ``table`` are replaced.
        seeds: how many.
        first: the first seed.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        for config in variants.values():
            one = replace(config, seed=seed, table=seed)
            records = train(one, state=one.begin(base(seed)))
            yield Run(one, [short_record(record) for record in records])


def short_record(record: dict[str, Any]) -> dict[str, Any]:
    """A record without times, and with five digits."""
    return {
        key: float(f"{value:.5g}") if isinstance(value, float) else value
        for key, value in record.items()
        if not key.startswith("seconds_") and key != "changed"
    }


def variant_of(runs: Iterable[Run], config: EvaluatedConfig) -> list[Run]:
    """The runs of one variant, in the order of their seeds.

    Raises:
        ValueError: when there is none.
    """
    same = [
        run for run in runs if replace(run.config, seed=config.seed, table=config.table) == config
    ]
    if not same:
        raise ValueError(f"runs: none has the settings {config}")
    return sorted(same, key=lambda run: run.config.seed)


def at_step(runs: Iterable[Run], key: str, step: int) -> Float[np.ndarray, " S"]:
    """One metric of each run at one step; NaN where it has no value.

    Raises:
        ValueError: when a run has no record of that step.
    """
    found = []
    for run in runs:
        values = {record["step"]: record[key] for record in run.records}
        if step not in values:
            raise ValueError(f"step: the run has records of the steps {list(values)}, not {step}")
        found.append(np.nan if values[step] is None else values[step])
    return np.array(found, dtype=float)
