"""Off-policy distillation, on-policy distillation and RL on a student (notebook 10; Table 21 of arXiv:2505.09388).

World, teacher and students are those of ``experiments.r1.distillation``. A student learns from

- ``teacher``: supervised, on correct traces of the teacher (*off-policy*);
- ``full`` or ``sampled``: it answers, and the loss is the reverse KL to the teacher on its own tokens, over the
  full vocabulary or with the sampled token only (*on-policy*, ``objectives.distillation``);
- ``reward``: GRPO.

With ``warm_up`` the first steps are off-policy, as in Qwen3's pipeline for small models (section 4.5).

Compute is counted as there: 2·N operations for a token that is read or written, 6·N for one that is trained.
On-policy the teacher reads each answer with its prompt once. *Student tokens* are the tokens of the answers that a
method takes: of the traces it is trained on, or of all the answers that the student samples.

Recorded by ``python -m rlvr_lab record qwen3/distillation``.
"""

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from rlvr_lab.experiments.r1.distillation import (
    TEACHER,
    Replicate,
    StudentConfig,
    working_weights,
)
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.evaluation import pass_at_k
from rlvr_lab.tasks.task import grade
from rlvr_lab.training.distillation import Traces
from rlvr_lab.training.on_policy_distillation import distillation_step, kl_to_teacher
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.rollouts import collect
from rlvr_lab.training.state import TrainState

__all__ = ["STUDY", "VARIANTS", "PupilConfig", "measure", "pass_curve"]

ON_POLICY = ("full", "sampled")


@dataclass(frozen=True)
class PupilConfig(StudentConfig, kind="qwen3-student"):
    """A student that learns off-policy, on-policy or from rewards.

    Attributes:
        learns_from: ``reward``; ``teacher`` (its traces); ``full`` or ``sampled`` (the reverse KL to it).
        warm_up: so many first steps learn from the traces of the teacher.
        warm_up_rate: their learning rate. The optimiser starts anew after them.
        many_samples: S', answers to each test problem at step 0, at the end of the warm-up and at the last step.

    Records add ``student_tokens`` (see the module), ``kl_to_teacher`` (the exact reverse KL to the teacher on a
    quarter of the test's answers, nats per token), ``many_correct`` [M] (correct answers of S'; None at the others).

    Raises:
        ValueError: naming the field.
    """

    learns_from: Literal["reward", "teacher", "full", "sampled"] = "full"
    warm_up: int = 0
    warm_up_rate: float = 1e-3
    many_samples: int = 64

    FIXED = (*StudentConfig.FIXED, "warm_up", "many_samples")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "many_samples")
        self.require_positive("warm_up_rate")
        self.require("warm_up", 0 <= self.warm_up < self.steps, f"from 0 to {self.steps - 1}")

    @property
    def reads_traces(self) -> bool:
        """Whether it learns from traces at some step."""
        return self.learns_from == "teacher" or self.warm_up > 0

    @property
    def needs_teacher(self) -> bool:
        """Whether the teacher after its RL takes part."""
        return self.learns_from != "reward" or self.warm_up > 0

    def stage(self, step: int) -> "PupilConfig":
        """The configuration that holds after ``step`` finished steps: this one, or that of the warm-up."""
        if step >= self.warm_up:
            return self
        return replace(self, learns_from="teacher", warm_up=0, learning_rate=self.warm_up_rate)

    def begin(
        self, policy: Policy | None = None, *given: Any, teacher: Policy, **named: Any
    ) -> TrainState:
        """The state before step 1; the teacher takes the place of the reference policy.

        Args:
            policy: the student.
            given: as of ``StudentConfig.begin``.
            teacher: after its RL.
            named: as ``given``.
        """
        state = super().begin(policy, *given, **named)
        state.reference = teacher
        state.numbers["student_tokens"] = 0
        return state

    def collect(self, state: TrainState) -> Any:
        """Answers of the student, or the next minibatch of the traces."""
        now = self.stage(state.step)
        if now.learns_from not in ON_POLICY:
            return StudentConfig.collect(now, state)
        started = time.process_time()
        experience = collect(now, state)
        state.numbers["cpu_seconds"] += time.process_time() - started
        return experience

    def update(self, state: TrainState, experience: Any) -> dict[str, float]:
        """One step, of which the counters are kept."""
        now, numbers = self.stage(state.step), state.numbers
        if state.step == self.warm_up > 0:
            state.optimizer = adamw(trained(state.policy.model), self.learning_rate)
        taken = "trained_tokens" if now.learns_from == "teacher" else "sampled_tokens"
        before = numbers[taken]
        if now.learns_from in ON_POLICY:
            now.follow(state, experience)
        else:
            StudentConfig.update(now, state, experience)
        numbers["student_tokens"] += numbers[taken] - before
        return {}

    def follow(self, state: TrainState, experience: Any) -> None:
        """One on-policy step towards the teacher, counted."""
        started, numbers, batch = time.process_time(), state.numbers, experience.batch
        for group in state.optimizer.param_groups:
            group["lr"] = self.learning_rate
        assert self.learns_from in ON_POLICY and state.reference is not None
        done = distillation_step(
            state.policy,
            state.reference,
            batch,
            state.optimizer,
            self.learns_from,
            self.temperature,
            self.max_grad_norm,
        )
        prompts, drawn = int(batch.prompt_mask.sum()), int(batch.lengths.sum())
        numbers["trained_tokens"] += drawn
        numbers["sampled_tokens"] += drawn
        sampling, training = 2 * (prompts + drawn), 6 * done.read
        numbers["flops"] += working_weights(state.policy) * (sampling + training)
        numbers["teacher_flops"] += 2 * working_weights(state.reference) * done.read
        numbers["cpu_seconds"] += time.process_time() - started

    def test(self, state: TrainState) -> dict[str, Any]:
        """The usual test, the distance to the teacher, and now and then many answers."""
        answers = self.test_answers(state)
        part = answers.batch.groups(list(range(0, self.test_problems, 4)))
        many = state.step in (0, self.warm_up, self.steps)
        return {
            **self.describe(answers.problems, answers.batch, answers.verdicts),
            **self.used(state),
            "kl_to_teacher": kl_to_teacher(state.policy, state.reference, part, self.temperature),
            "many_correct": self.many(state) if many else None,
        }

    def many(self, state: TrainState) -> list[int]:
        """Correct answers of ``many_samples`` to each test problem."""
        problems = state.task.problems(self.test_problems, random.Random(self.test_name))
        generator = torch.Generator(state.policy.device).manual_seed(7000 + state.step)
        prompts, limit = [problem.prompt for problem in problems], self.max_new_tokens
        batch = sample(state.policy, prompts, self.many_samples, limit, generator, self.temperature)
        verdicts = grade(state.task, problems, batch.texts, batch.truncated.tolist())
        correct = np.array([verdict.correct for verdict in verdicts])
        return correct.reshape(len(problems), -1).sum(axis=1).tolist()


# ------------------------------------------------------------------------------- making them


class Classroom(Replicate):
    """One seed: its teacher, whose traces are sampled once for all students."""

    @cached_property
    def written(self) -> Traces:
        """The correct traces of the teacher after its RL."""
        return self.traces(StudentConfig(learns_from="teacher"))

    def lessons(self, config: StudentConfig) -> dict[str, Any]:
        """The teacher, and its traces where they are read."""
        given: dict[str, Any] = {"teacher": self.teacher[0].frozen_copy()}
        if config.reads_traces:
            given |= {"traces": self.written, "source": self.teacher[0]}
        return given


_ON_POLICY: dict[str, Any] = {"prompts_per_step": 32, "group_size": 1, "learning_rate": 1e-3}
_ON_POLICY |= {"baseline": "none", "divide_by_std": False}
_GRPO: dict[str, Any] = {"learns_from": "reward", "prompts_per_step": 4, "group_size": 8}
_TRACES: dict[str, Any] = {"learns_from": "teacher", "batch_size": 32, "learning_rate": 1e-3}
_GUESSING: dict[str, Any] = {"learner": "guessing", "steps": 320, "every": 40}
VARIANTS: dict[str, StudentConfig] = {
    "teacher": TEACHER,
    "off-policy": PupilConfig(**_TRACES, steps=40, every=4),
    "full KL": PupilConfig(**_ON_POLICY, steps=40, every=4),
    "sampled KL": PupilConfig(**_ON_POLICY, learns_from="sampled", steps=40, every=4),
    "GRPO 4×8": PupilConfig(**_GRPO, steps=80, every=8),
    "GRPO 16×16": PupilConfig(learns_from="reward", steps=20, every=2),
    "off-policy, then full KL": PupilConfig(
        **_ON_POLICY, warm_up=4, batch_size=32, steps=40, every=4
    ),
    "off-policy, then GRPO 4×8": PupilConfig(**_GRPO, warm_up=4, batch_size=32, steps=40, every=4),
    "guessing: off-policy": PupilConfig(**_TRACES | {"learning_rate": 3e-3}, **_GUESSING),
    "guessing: full KL": PupilConfig(**_ON_POLICY, **_GUESSING),
    "guessing: off-policy, then full KL": PupilConfig(
        **_ON_POLICY, **_GUESSING, warm_up=200, warm_up_rate=3e-3, batch_size=32
    ),
    "sampled KL, slow": PupilConfig(
        **_ON_POLICY | {"learning_rate": 3e-4}, learns_from="sampled", steps=40, every=4
    ),
    "guessing: off-policy, slow": PupilConfig(**_TRACES, **_GUESSING),
}
"""What is recorded; the student can chain unless the name says otherwise. The learning rates were chosen on seed 0:
3e-3 makes the on-policy runs unstable. The last two are controls: the sampled form at a third of its rate, and the
off-policy run at the rate of the on-policy one."""


def measure(seeds: int, variants: Mapping[str, StudentConfig], first: int) -> Iterator[Run]:
    """The variants, paired by seed; the teacher of a seed trains once.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        replicate = Classroom(seed, TEACHER)
        for config in variants.values():
            yield replicate.run(config)


STUDY = Study("on-policy distillation and RL", VARIANTS, measure, 5, "qwen3/distillation", first=1)


def pass_curve(run: Run, step: int, ks: list[int]) -> Float[np.ndarray, " K"]:
    """pass@k at a step with many answers, for each k up to ``many_samples``.

    Raises:
        ValueError: when the step has no such answers.
    """
    counts = {record["step"]: record["many_correct"] for record in run.records}.get(step)
    if counts is None:
        raise ValueError(f"step: there are no {run.config.many_samples} answers at step {step}")
    n = run.config.many_samples
    return np.array([np.mean([pass_at_k(n, c, k) for c in counts]) for k in ks])
