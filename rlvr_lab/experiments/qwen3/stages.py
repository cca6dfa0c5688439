"""What each of Qwen3's four stages does to a small model, mode by mode (notebook 10, sections 1 and 3).

Stages 1–3 are made in ``checkpoints``. Each run here is RL with a test before and after it: ``reasoning`` is
stage 2, so its record 0 tests stage 1; each other run is one way to do stage 4, general RL, and its record 0 tests
stage 3. In stage 4 the flags are drawn at random. Politeness, an answer that ends with ``ok``, stands for the
preferences that no verifier can judge; here a rule plays the annotator (notebook 08, section 6, fits a reward model).

The test asks the same questions of both tasks without a flag, with ``/think`` and with ``/no_think``.

Recorded by ``python -m rlvr_lab record qwen3/stages``.
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from rlvr_lab.experiments.evaluated import EvaluatedConfig, at_step, short_record
from rlvr_lab.experiments.kept_bases import kept_base
from rlvr_lab.experiments.qwen3.checkpoints import LONGEST, cold_start, fused, kept_name
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.sums import COURTESY
from rlvr_lab.tasks.task import Problem, Verdict
from rlvr_lab.tasks.two_modes import (
    FLAGS,
    KINDS,
    PLACES,
    Flag,
    Kind,
    TwoModes,
    flag_of,
    follows,
    kind_of,
    thinks,
    with_flag,
)
from rlvr_lab.training.loop import train
from rlvr_lab.training.state import TrainState

__all__ = [
    "GUESS",
    "METRICS",
    "STUDY",
    "VARIANTS",
    "StagesConfig",
    "cell",
    "finished",
    "measure",
    "questions",
    "stage_table",
]

GUESS = 0.1
"""Probability that a blind guess is correct, in both tasks."""
METRICS = ("accuracy", "formed", "digit", "length", "thinks", "follows", "polite")
_DIGIT = re.compile(r"=([0-9])", re.ASCII)


def questions(kind: Kind, per_terms: int, seed: int) -> list[Problem]:
    """Test questions of one task without a flag: ``per_terms`` for each number of terms, 2 to 8."""
    rng = random.Random(f"two modes {kind} {seed}")
    return [
        problem
        for terms in range(2, PLACES + 1)
        for problem in TwoModes(kind, "none", terms, terms).problems(per_terms, rng)
    ]


def cell(kind: Kind, flag: Flag, metric: str) -> str:
    """The key of a record for one metric of one task with one flag.

    >>> cell("sums", "no_think", "accuracy")
    'sums_no_think_accuracy'
    """
    return f"{kind}_{flag}_{metric}"


@dataclass(frozen=True)
class StagesConfig(EvaluatedConfig, kind="qwen3-stages"):
    """GRPO on both tasks, with a test of both tasks and all flags.

    Attributes:
        start: the checkpoint that RL starts from.
        test_problems: questions for each task, of which each number of terms gets a seventh.

    A record holds, for each task and flag (see ``cell``), over all answers: ``accuracy``; ``formed``, the share that
    is well-formed; ``digit``, the share whose first digit after a ``=`` is the correct one, whatever follows it;
    ``length``, in tokens; ``thinks``, the share that opens a block that is not empty; ``follows``, the share in the
    mode that the flag asks for; ``polite``, the share that ends with ``ok``.
    """

    start: Literal["cold_start", "fusion"] = "fusion"
    world: str = "two_modes"
    world_options: dict[str, Any] = field(default_factory=lambda: {"flag": "mixed"})
    rewards: dict[str, float] = field(default_factory=lambda: {"polite": 1.0})
    max_new_tokens: int = LONGEST
    every: int = 40
    test_problems: int = 70
    test_samples: int = 16
    steps: int = field(default=40, kw_only=True)

    FIXED = (*EvaluatedConfig.FIXED, "start")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "two_modes", "two_modes")
        terms = PLACES - 1
        self.require("test_problems", self.test_problems % terms == 0, f"a multiple of {terms}")

    def test_questions(self, state: TrainState) -> list[Problem]:
        """All questions with all flags."""
        return [
            replace(problem, prompt=with_flag(problem.prompt, flag))
            for kind in KINDS
            for flag in FLAGS
            for problem in questions(kind, self.test_problems // (PLACES - 1), self.table)
        ]

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """The means of each task and flag."""
        found: dict[str, list[list[float]]] = {}
        lengths = batch.lengths.tolist()
        for row, (text, verdict) in enumerate(zip(batch.texts, verdicts, strict=True)):
            problem = problems[row // batch.group_size]
            prompt, digit = problem.prompt, _DIGIT.search(text)
            seen = (
                verdict.correct,
                verdict.reason in ("right", "wrong"),
                digit is not None and int(digit[1]) == problem.answer,
                lengths[row],
                thinks(text),
                follows(prompt, text),
                text.endswith(COURTESY),
            )
            name = f"{kind_of(prompt)}_{flag_of(prompt)}"
            found.setdefault(name, []).append([float(value) for value in seen])
        return {
            f"{name}_{metric}": float(mean)
            for name, rows in found.items()
            for metric, mean in zip(METRICS, np.mean(rows, axis=0), strict=True)
        }


# ---------------------------------------------------------------------------------- making them

VARIANTS: dict[str, StagesConfig] = {
    "reasoning": StagesConfig(
        start="cold_start", world_options={}, rewards={"accuracy": 1.0, "format": 0.1}
    ),
    "style": StagesConfig(),
    "style_correct": StagesConfig(rewards={"polite": 1.0, "accuracy": 2.0}),
    "correct": StagesConfig(rewards={"accuracy": 1.0}),
    "style_slow": StagesConfig(learning_rate=1e-4),
    "style_form": StagesConfig(rewards={"polite": 1.0, "format": 1.0}),
}
"""Stage 2. Then stage 4 with politeness alone; with 2 · correctness; the control, correctness alone; politeness alone
at a third of the learning rate; and politeness with the form of an answer."""


def _start(config: StagesConfig, seed: int) -> Policy:
    make = cold_start if config.start == "cold_start" else fused
    return make(seed, device=config.device)


def finished(name: str, seed: int) -> Policy:
    """The policy at the end of a run; it is made, with no test after the first, and kept if it is not there yet."""

    def make() -> Policy:
        config = replace(VARIANTS[name], seed=seed, table=seed, every=VARIANTS[name].steps + 1)
        state = config.begin(_start(config, seed))
        list(train(config, state=state))
        return state.policy

    return kept_base(kept_name(name, seed), make, VARIANTS[name].device)


def measure(seeds: int, variants: Mapping[str, StagesConfig], first: int) -> Iterator[Run]:
    """Each variant from the checkpoint of each seed; its last policy is kept for ``finished``.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        for name, config in variants.items():
            one = replace(config, seed=seed, table=seed)
            state = one.begin(_start(one, seed))
            records = [short_record(record) for record in train(one, state=state)]
            if config == VARIANTS.get(name):
                kept_base(kept_name(name, seed), lambda: state.policy, config.device)  # noqa: B023
            yield Run(one, records)


STUDY = Study("Qwen3's four stages and their modes", VARIANTS, measure, 5, "qwen3/stages", first=1)


# ---------------------------------------------------------------------------------- reading them


def stage_table(
    runs: Mapping[str, Iterable[Run]], metric: str, general: str = "style_correct"
) -> dict[str, dict[tuple[Kind, Flag], Float[np.ndarray, " S"]]]:
    """One metric after each of the four stages, for each task and flag: one number per seed.

    Args:
        runs: variant → its runs, in the order of their seeds.
        metric: of ``METRICS``.
        general: the variant that is stage 4.
    """
    last = VARIANTS["reasoning"].steps
    places = {
        "cold start": ("reasoning", 0),
        "reasoning RL": ("reasoning", last),
        "fusion": (general, 0),
        "general RL": (general, VARIANTS[general].steps),
    }
    return {
        stage: {
            (kind, flag): at_step(runs[name], cell(kind, flag, metric), step)
            for kind in KINDS
            for flag in FLAGS
        }
        for stage, (name, step) in places.items()
    }
