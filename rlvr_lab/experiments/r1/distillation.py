"""Distillation against RL on the student (notebook 08, section 7).

The world is that of the codes, without wrong facts: a blind guess is correct once in 1,000 times, and a model that
chains without slips is always correct. The teacher (d = 96, 3 layers) mixes guesses with chains that slip; RL removes
both. Two students (d = 48, 2 layers) stand for two cases: ``chaining`` has learned flawless chains and then a
mixture in which they are rare, so RL has something to reinforce; ``guessing`` has seen only that mixture and
cannot add.

Each student learns from the reward (GRPO), or by supervised fine-tuning on traces of the teacher after its RL, of the
teacher before its RL, on incorrect chains of the latter, or on correct answers of its own.

Compute is counted, not measured: 2·N operations for each token that a model reads or writes, 6·N for each
token of a training pass (forward and backward), where N is the number of weights without the embedding table. A
prompt is read once for its group of answers when sampling, and once with each answer when training. Answers with
advantage 0 are not trained. The test and the pretraining do not count.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from rlvr_lab.experiments.evaluated import EvaluatedConfig, short_record
from rlvr_lab.experiments.r1.students import base_of
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.codes import Codes, way_of
from rlvr_lab.tasks.evaluation import pass_at_k
from rlvr_lab.tasks.task import Problem, Verdict
from rlvr_lab.training.distillation import Keep, Traces, epoch_batch, sample_traces
from rlvr_lab.training.loop import train
from rlvr_lab.training.state import TrainState
from rlvr_lab.training.supervised import SupervisedStep, supervised_step

__all__ = [
    "GUESS",
    "STUDY",
    "VARIANTS",
    "StudentConfig",
    "measure",
    "working_weights",
]

GUESS = 1e-3
"""Probability that a blind guess is correct."""
KEEP: dict[str, Keep] = {
    "teacher": lambda problem, text, verdict: verdict.correct,
    "teacher_base": lambda problem, text, verdict: verdict.correct,
    "own": lambda problem, text, verdict: verdict.correct,
    "incorrect": lambda problem, text, verdict: (
        verdict.reason == "wrong" and way_of(text) in ("digits", "words")
    ),
}
"""What a student learns from → which of the sampled answers it gets to see."""


@dataclass(frozen=True)
class StudentConfig(EvaluatedConfig, kind="r1-student"):
    """A model that learns from rewards (GRPO) or from traces, with a test now and then.

    Attributes:
        learner: ``teacher``, or one of the two students.
        learns_from: ``reward``, or supervised: correct traces of the ``teacher`` after its RL, of the
            ``teacher_base``, ``incorrect`` chains of the teacher's base, or the student's ``own`` correct answers.
        traces: how many distinct traces there are; epochs go over them.
        most_answers: limit on the answers that are sampled for them.
        batch_size: traces in a supervised step.

    Records add ``pass@<S>``, ``chains`` (share of well-formed chains), and cumulated over the run:
    ``trained_tokens`` (a gradient was taken on), ``sampled_tokens`` (written by the student to learn
    from), ``flops`` (of the student), ``teacher_flops`` (of sampling the teacher), ``cpu_seconds``
    (without the sampling of traces); and ``sample``, one problem with one answer.

    Raises:
        ValueError: naming the field.
    """

    world: str = "codes"
    max_new_tokens: int = 24
    learner: Literal["teacher", "chaining", "guessing"] = "chaining"
    learns_from: Literal["reward", "teacher", "teacher_base", "incorrect", "own"] = "reward"
    traces: int = 2048
    most_answers: int = 16384
    batch_size: int = 64
    test_problems: int = 64

    FIXED = (*EvaluatedConfig.FIXED, "learner", "learns_from", "traces", "most_answers")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "codes", "codes")
        self.require_at_least(1, "traces", "most_answers", "batch_size")

    @property
    def reads_traces(self) -> bool:
        """Whether it learns from traces at some step."""
        return self.learns_from != "reward"

    @property
    def needs_teacher(self) -> bool:
        """Whether the teacher after its RL takes part."""
        return self.learns_from == "teacher"

    def begin(
        self,
        policy: Policy | None = None,
        *given: Any,
        traces: Traces | None = None,
        source: Policy | None = None,
        **named: Any,
    ) -> TrainState:
        """The state before step 1.

        Args:
            policy: the learner.
            given: as of ``RolloutConfig.begin``.
            traces: what it learns from, unless that is the reward.
            source: the policy that sampled them.
            named: as ``given``.

        Raises:
            ValueError: when the traces or their source are missing.
        """
        state = super().begin(policy, *given, **named)
        names = ("trained_tokens", "sampled_tokens", "flops", "teacher_flops", "cpu_seconds")
        state.numbers = dict.fromkeys(names, 0)
        if self.reads_traces:
            if traces is None or source is None:
                raise ValueError(f"traces, source: needed to learn from {self.learns_from!r}")
            state.data = traces
            sampling = 2 * working_weights(source) * (traces.sampled + traces.read)
            state.numbers["sampling"] = sampling
        return state

    def collect(self, state: TrainState) -> Any:
        """Answers to learn from, or the next minibatch of the traces."""
        if self.learns_from != "reward":
            pairs = state.data.pairs
            rows = epoch_batch(len(pairs), state.step, self.batch_size, self.seed)
            return [pairs[row] for row in rows]
        started = time.process_time()
        experience = super().collect(state)
        state.numbers["cpu_seconds"] += time.process_time() - started
        return experience

    def measure(self, state: TrainState, experience: Any) -> dict[str, Any]:
        """Nothing; a minibatch of traces is not described either."""
        return {}

    def update(self, state: TrainState, experience: Any) -> dict[str, float]:
        """One step, of which the counters are kept."""
        started = time.process_time()
        if self.learns_from == "reward":
            super().update(state, experience)
            self._count_answers(state, experience)
        else:
            for group in state.optimizer.param_groups:
                group["lr"] = self.learning_rate
            self._count_traces(state, supervised_step(state.policy, experience, state.optimizer))
        state.numbers["cpu_seconds"] += time.process_time() - started
        return {}

    def _count_traces(self, state: TrainState, done: SupervisedStep) -> None:
        """Traces are paid when they are first used, with a share of the answers that were thrown away."""
        numbers, traces = state.numbers, state.data
        numbers["trained_tokens"] += done.trained
        numbers["flops"] += 6 * working_weights(state.policy) * done.read
        whole = len(traces.pairs)
        before, after = (
            min(whole, step * self.batch_size) for step in (state.step, state.step + 1)
        )
        share = (after - before) / whole
        own = self.learns_from == "own"
        numbers["flops" if own else "teacher_flops"] += share * numbers["sampling"]
        numbers["sampled_tokens"] += share * traces.sampled if own else 0

    def _count_answers(self, state: TrainState, experience: Any) -> None:
        numbers, batch = state.numbers, experience.batch
        needed = self._advantages(experience) != 0
        prompts, lengths = batch.prompt_mask.sum(dim=1), batch.lengths
        learnt, drawn = int(lengths[needed].sum()), int(lengths.sum())
        read = int(prompts.repeat_interleave(batch.group_size)[needed].sum()) + learnt
        numbers["trained_tokens"] += learnt
        numbers["sampled_tokens"] += drawn
        weights = working_weights(state.policy)
        numbers["flops"] += weights * (2 * (int(prompts.sum()) + drawn) + 6 * read)

    def _advantages(self, experience: Any) -> Any:
        batch, reference = experience.batch, experience.reference.logprobs
        return self.objective_on(experience).advantages(
            experience.rewards,
            batch.group_size,
            batch.old_logprobs,
            reference,
            batch.completion_mask,
        )

    def test(self, state: TrainState) -> dict[str, Any]:
        """The answers to the test, and what learning has used so far."""
        return {**super().test(state), **self.used(state)}

    def used(self, state: TrainState) -> dict[str, float]:
        """The counters, as a record holds them."""
        return {name: x for name, x in state.numbers.items() if name != "sampling"}

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """Accuracy, coverage, the share of chains, and the first answer."""
        size = self.test_samples
        correct = [
            sum(verdict.correct for verdict in verdicts[i : i + size])
            for i in range(0, len(verdicts), size)
        ]
        ways = [way_of(text) for text in batch.texts]
        return {
            **super().describe(problems, batch, verdicts),
            f"pass@{size}": float(np.mean([pass_at_k(size, c, size) for c in correct])),
            "sample": problems[0].prompt + batch.texts[0],
            "chains": sum(way in ("digits", "words", "mixed") for way in ways) / len(ways),
        }


def working_weights(policy: Policy) -> int:
    """N: the weights that multiply, which are all but the embedding table (it is only looked up)."""
    table = policy.model.get_input_embeddings().weight.numel()
    return sum(p.numel() for p in policy.model.parameters()) - table


# ------------------------------------------------------------------------------- the replicates


class Replicate:
    """One seed: its bases, its teacher, and the traces, each made when first asked for."""

    def __init__(self, seed: int, teacher: StudentConfig) -> None:
        self.seed, self.config = seed, replace(teacher, seed=seed, table=seed)

    @cached_property
    def teacher(self) -> tuple[Policy, Run]:
        """The teacher after its RL, and the run."""
        state = self.config.begin(base_of("teacher", self.seed))
        records = [short_record(record) for record in train(self.config, state=state)]
        return state.policy, Run(self.config, records)

    def source(self, config: StudentConfig) -> Policy:
        """The policy that writes the traces of ``config``."""
        if config.learns_from == "teacher":
            return self.teacher[0]
        return base_of(config.learner if config.learns_from == "own" else "teacher", self.seed)

    def traces(self, config: StudentConfig) -> Traces:
        """The traces of ``config``; students that learn from one teacher see the same ones."""
        own = config.learner if config.learns_from == "own" else ""
        return sample_traces(
            self.source(config),
            Codes(),
            config.traces,
            KEEP[config.learns_from],
            f"{config.learns_from} {own} {self.seed}",
            config.most_answers,
            config.max_new_tokens,
        )

    def lessons(self, config: StudentConfig) -> dict[str, Any]:
        """What ``config.begin`` needs beside the student."""
        if not config.reads_traces:
            return {}
        return {"traces": self.traces(config), "source": self.source(config)}

    def run(self, config: StudentConfig) -> Run:
        """One variant on this seed."""
        if config.learner == "teacher":
            return self.teacher[1]
        config = replace(config, seed=self.seed, table=self.seed)
        state = config.begin(base_of(config.learner, self.seed), **self.lessons(config))
        return Run(config, [short_record(record) for record in train(config, state=state)])


TEACHER = StudentConfig(learner="teacher", steps=30, every=10)
_SFT = StudentConfig(learner="chaining", learning_rate=1e-3, steps=64, every=8)
VARIANTS: dict[str, StudentConfig] = {
    "teacher": TEACHER,
    "chaining-reward": StudentConfig(learner="chaining", steps=40, every=5),
    **{f"chaining-{source}": replace(_SFT, learns_from=source) for source in KEEP},
    "guessing-reward": StudentConfig(learner="guessing", steps=120, every=20),
    "guessing-teacher": StudentConfig(
        learner="guessing", learns_from="teacher", learning_rate=3e-3, steps=320, every=32
    ),
}
"""What is recorded. The learning rates were chosen on seed 0: GRPO at 1e-3 forgets the chain."""


def measure(
    seeds: int, variants: Mapping[str, StudentConfig] = VARIANTS, first: int = 0
) -> Iterator[Run]:
    """The variants, paired by seed; a teacher trains where one of them needs it.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        replicate = Replicate(seed, TEACHER)
        for config in variants.values():
            yield replicate.run(config)


STUDY = Study("distillation against RL on the student", VARIANTS, measure, 5, "r1/distillation", 1)
