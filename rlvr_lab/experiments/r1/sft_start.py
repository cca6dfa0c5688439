"""A few worked solutions before RL: DeepSeek-R1's cold start, run small (notebook 08).

The base model of this experiment answers most problems without a chain. Of its chains most are hard to read: each
number is in digits or in words at random. The verifier accepts them all the same, since it judges the answer and
the tags. Supervised fine-tuning on N traces, one epoch, then GRPO.

A *trace* is a whole chain without errors and its answer. ``form="readable"``: in one language.
``form="unreadable"``, the control: also without errors, but written as the base writes its chains.

Each replicate (``table``) has its own base, traces and test problems. From each base RL runs with ``REPEATS``
seeds, so that the spread over RL seeds can be told from the spread over bases.

Recorded by ``python -m rlvr_lab record r1/sft_start``.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rlvr_lab.experiments.evaluated import EvaluatedConfig, short_record, variant_of
from rlvr_lab.experiments.kept_bases import kept_base, taught_codes
from rlvr_lab.experiments.study import Study
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.code_chains import readable
from rlvr_lab.tasks.codes import CodesMixture, FactTable, way_of
from rlvr_lab.tasks.task import Problem, Task, Verdict
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.state import TrainState
from rlvr_lab.training.supervised import Solver, supervised_steps

__all__ = [
    "REPEATS",
    "STUDY",
    "VARIANTS",
    "SftStartConfig",
    "by_base",
    "first_step",
    "largest_fall",
    "tune",
]

REPEATS = 2
"""RL seeds for each base."""
_TRUE = FactTable(0, 0, 0)
_UNREADABLE = CodesMixture(_TRUE, 0.0, 0.0, 0.0, mixed=1.0, switch=0.5)
TRACES: dict[str, Solver] = {
    "readable": CodesMixture.clean().solve,
    "unreadable": _UNREADABLE.solve,
}
"""Form → what writes a trace."""
BASE = replace(_UNREADABLE, direct=0.80, digits=0.015, words=0.015, mixed=0.17, slip=0.10)
"""How the base was taught to answer: .80 direct, .17 unreadable, .03 readable; 10 % of the steps slip."""


def tune(policy: Policy, task: Task, solve: Solver, traces: int, seed: int) -> None:
    """One epoch of supervised fine-tuning on ``traces`` solutions, 16 a step, at learning rate 3e-4."""
    optimizer, rng = adamw(trained(policy.model), 3e-4), random.Random(f"traces {seed}")
    for steps, size in ((traces // 16, 16), (1, traces % 16)):
        if size:
            parts = supervised_steps(
                policy, task, solve, steps, lambda _: 3e-4, optimizer, rng, size
            )
            list(parts)


@dataclass(frozen=True)
class SftStartConfig(EvaluatedConfig, kind="r1-sft-start"):
    """GRPO on the codes after supervised fine-tuning on N traces.

    Attributes:
        traces: N.
        form: of the traces.
        repeat: which of the RL seeds of this base.

    A record holds, over all answers to the test problems, ``accuracy``, ``length``, ``entropy``; ``chains`` (share
    of well-formed answers with a chain) and ``readable`` (share with a readable one); and, before step 1 and
    after the last one, ``samples``.
    """

    world: str = "codes"
    max_new_tokens: int = 24
    every: int = 2
    test_samples: int = 4
    traces: int = 0
    form: Literal["readable", "unreadable"] = "readable"
    repeat: int = 0
    steps: int = field(default=30, kw_only=True)

    FIXED = (*EvaluatedConfig.FIXED, "traces", "form", "repeat")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "codes", "codes")
        self.require_at_least(0, "traces", "repeat")

    def begin(self, policy: Policy | None = None, *given: Any, **named: Any) -> TrainState:
        """The state before step 1 of RL, after the fine-tuning: it is the reference too."""
        state = super().begin(policy, *given, **named)
        tune(state.policy, state.task, TRACES[self.form], self.traces, self.table)
        state.reference = state.policy.frozen_copy()
        return state

    def test(self, state: TrainState) -> dict[str, Any]:
        """The test; its samples are kept at both ends of the run."""
        found = super().test(state)
        if state.step not in (0, self.steps):
            found["samples"] = None
        return found

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """The shares of chains and of readable chains."""
        chains = [way_of(text) not in ("direct", "malformed") for text in batch.texts]
        return {
            **super().describe(problems, batch, verdicts),
            "chains": sum(chains) / len(chains),
            "readable": sum(map(readable, batch.texts)) / len(chains),
            "samples": batch.texts[: 3 * batch.group_size : batch.group_size],
        }


# ---------------------------------------------------------------------------------- making them

VARIANTS = {
    **{f"{n} traces": SftStartConfig(traces=n) for n in (0, 16, 64, 256, 1000)},
    "256 unreadable": SftStartConfig(traces=256, form="unreadable"),
}


def base(seed: int) -> Policy:
    """The policy before the fine-tuning."""
    return kept_base(f"r1_sft_start_{seed}", lambda: taught_codes(BASE, 150, seed))


def measure(seeds: int, variants: Mapping[str, SftStartConfig], first: int) -> Iterator[Run]:
    """Each variant from the same base, ``REPEATS`` times.

    Raises:
        ValueError: for no seeds.
    """
    if seeds < 1:
        raise ValueError(f"seeds: need at least 1, got {seeds}")
    for table in range(first, first + seeds):
        for variant in variants.values():
            for repeat in range(REPEATS):
                config = replace(variant, table=table, repeat=repeat, seed=100 * table + repeat)
                records = train(config, state=config.begin(base(table)))
                yield Run(config, [short_record(record) for record in records])


STUDY = Study("RL after fine-tuning on N traces", VARIANTS, measure, 5, "r1/sft_start", first=1)


# ---------------------------------------------------------------------------------- reading them


def by_base(runs: Iterable[Run], config: SftStartConfig, key: str) -> Float[ndarray, "S R T"]:
    """One metric of a variant: bases, RL seeds, recorded steps.

    Raises:
        ValueError: when a base lacks one of the RL seeds, or no run belongs to the variant.
    """
    runs = list(runs)
    rows = [
        [run.curve(key) for run in variant_of(runs, replace(config, repeat=repeat))]
        for repeat in range(REPEATS)
    ]
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"runs: the RL seeds have {[len(row) for row in rows]} bases")
    return np.array(rows).swapaxes(0, 1)


def first_step(curves: Float[ndarray, "... T"], steps: ndarray, level: float) -> ndarray:
    """The first recorded step at which a curve is at ``level`` or above.

    Raises:
        ValueError: when a curve stays below.

    >>> first_step(np.array([[0.1, 0.7, 0.9]]), np.array([0, 2, 4]), 0.8)
    array([4])
    """
    above = curves >= level
    if not above.any(axis=-1).all():
        raise ValueError(f"level: a curve stays below {level}")
    return steps[above.argmax(axis=-1)]


def largest_fall(curves: Float[ndarray, "... T"]) -> Float[ndarray, "..."]:
    """How far a curve falls at most below its own earlier maximum.

    >>> largest_fall(np.array([[0.5, 1.0, 0.75, 1.0]])).tolist()
    [0.25]
    """
    return (np.maximum.accumulate(curves, axis=-1) - curves).max(axis=-1)
