"""What RL does to the set of problems that a model can solve at all, and to its confidence (notebook 02).

The world is that of the codes: a blind guess is correct once in 1,000 times, and each base model knows
different additions in digits and in words. From one base a run trains, and stops every 20 steps to answer 96
test problems 64 times each.

Four classes of test problems come from the table of wrong facts, ``FactTable.solved_in``, and not from samples:
a chain in digits solves the problem, a chain in words, both, or neither. A class that is chosen by
samples of the base ("solved at least once of 64") would contain lucky problems, which the next 64 samples fail
again: that fall is noise of the selection, and no change of the policy.

Each replicate has one number, ``table``. It stands for everything random: the wrong facts, the base's weights,
the test problems and the seed of the run. Table 0 and earlier trials with other bases were used to look and
to fix the claims; tables from 1 on are the confirmation (``EXPLORED``).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rlvr_lab.experiments.base_models import SHIPPED, codes_base
from rlvr_lab.experiments.evaluated import EvaluatedConfig, short_record
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.records.calibration import Reliability, calibration_error, reliability
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.tasks.codes import FactTable, way_of
from rlvr_lab.tasks.evaluation import pass_at_k
from rlvr_lab.tasks.task import Problem, Verdict
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS
from rlvr_lab.training.state import TrainState

__all__ = [
    "EXPLORED",
    "GUESS",
    "VARIANTS",
    "CoverageConfig",
    "balance",
    "calibration",
    "confirmation",
    "kept_at",
    "measure_answers",
    "pass_curve",
    "record_coverage",
    "solved",
    "votes",
]

EXPLORED = (0,)
"""Tables that were looked at before the claims were fixed; the others confirm."""
GUESS = 1e-3
"""Probability that a blind guess is correct."""
WAYS = ("direct", "digits", "words", "mixed", "malformed")


@dataclass(frozen=True)
class CoverageConfig(EvaluatedConfig, kind="coverage"):
    """A policy-gradient run in the world of the codes with a test of many answers to each problem.

    For what a record holds see ``measure_answers``; ``solved_in`` is the class of each test problem by the
    table.
    """

    world: str = "codes"
    max_new_tokens: int = 24
    table: int = SHIPPED
    every: int = 20
    test_samples: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "codes", "codes")

    def begin(self, policy: Policy | None = None, *given: Any, **named: Any) -> TrainState:
        """The state before step 1.

        Raises:
            ValueError: without a policy, when the base of this table is not shipped.
        """
        if policy is None and not self.base and self.table != SHIPPED:
            raise ValueError(
                f"table: only the base of table {SHIPPED} is shipped; make this one with `python -m "
                f"rlvr_lab pretrain codes --seed {self.table} --out FOLDER` and name it as the base"
            )
        return super().begin(policy, *given, **named)

    @property
    def test_name(self) -> str:
        """The seed of the test problems."""
        return f"coverage {self.table}"

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """The class of each problem, and counts of its answers."""
        facts = FactTable(self.table)
        return {
            "solved_in": [facts.solved_in(problem) for problem in problems],
            "entropy": float(batch.entropy[batch.completion_mask].double().mean()),
            **measure_answers(
                batch.texts,
                [verdict.correct for verdict in verdicts],
                [f"{problem.answer:03d}" for problem in problems],
            ),
        }


def measure_answers(texts: list[str], correct: list[bool], answers: list[str]) -> dict[str, Any]:
    """Counts for each of M problems from S answers each, groups contiguous.

    Returns:
        ``correct`` [M]: correct answers; ``chains`` [M]: well-formed answers with a chain of thought;
        ``votes`` [M]: how many of those chains give their commonest answer; ``vote_right`` [M]: 1 where
        that answer is correct (0 where there is no chain); ``answer_entropy`` [M]: of the chains' answers,
        in nats; the share of each way to answer, ``direct`` … ``malformed``; and ``pass@1``.
    """
    size = len(texts) // len(answers)
    ways = [way_of(text) for text in texts]
    names = ("correct", "chains", "votes", "vote_right", "answer_entropy")
    found: dict[str, list[float]] = {name: [] for name in names}
    for index, answer in enumerate(answers):
        rows = range(index * size, (index + 1) * size)
        given = [texts[row][-3:] for row in rows if ways[row] in ("digits", "words", "mixed")]
        counts = Counter(given)
        ((commonest, votes),) = counts.most_common(1) or [("", 0)]
        shares = np.array(list(counts.values())) / max(1, len(given))
        found["correct"].append(sum(correct[row] for row in rows))
        found["chains"].append(len(given))
        found["votes"].append(votes)
        found["vote_right"].append(int(commonest == answer))
        found["answer_entropy"].append(round(float(-(shares * np.log(shares)).sum()) + 0.0, 2))
    by_way = {way: ways.count(way) / len(ways) for way in WAYS}
    return {**found, **by_way, "pass@1": sum(correct) / len(correct)}


# ---------------------------------------------------------------------------------- making them

VARIANTS: dict[str, CoverageConfig] = {
    name: CoverageConfig(
        **{
            **{f: getattr(PRESETS[preset], f) for f in ("baseline", "divide_by_std", "average")},
            **change,
        },
        steps=120,
    )
    for name, preset, change in (
        ("grpo", "grpo", {}),
        ("kl", "grpo", {"kl_coef": 0.2}),
        ("maxrl", "maxrl", {}),
    )
}
"""What is recorded: GRPO; GRPO with a KL of 0.2 (k3 per token, in the loss); MaxRL."""


def record_coverage(variant: str, tables: int, out: str | Path, command: str = "") -> Iterator[Run]:
    """Train and test ``variant`` on tables 0 … ``tables`` − 1; the file grows with each finished run.

    An interrupted recording continues: runs that ``out`` already holds with the same settings are kept.

    Args:
        variant: a name in ``VARIANTS``.
        tables: how many.
        out: the recording.
        command: that makes it again.

    Yields:
        Each run that was not there yet.

    Raises:
        ValueError: for no tables, or an unknown variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant: must be one of {', '.join(VARIANTS)}, got {variant!r}")
    if tables < 1:
        raise ValueError(f"tables: need at least 1, got {tables}")
    earlier = Recording.load(out).runs if Path(out).is_file() else []
    runs: list[Run] = []
    for table in range(tables):
        config = replace(VARIANTS[variant], table=table, seed=table)
        kept = [run for run in earlier if run.config == config]
        runs += kept or [_run(config)]
        if not kept:
            Recording(runs, command).save(out)
            yield runs[-1]


def _run(config: CoverageConfig) -> Run:
    records = train(config, state=config.begin(codes_base(config.table, config.device)))
    return Run(config, [short_record(record) for record in records])


# ---------------------------------------------------------------------------------- reading them


def confirmation(recording: Recording) -> Recording:
    """The runs of the tables that were not looked at before the claims were fixed."""
    fresh = [run for run in recording.runs if run.config.table not in EXPLORED]
    return Recording(fresh, recording.command, recording.versions)


def _at(run: Run, step: int) -> dict[str, Any]:
    for record in run.records:
        if record["step"] == step:
            return record
    raise ValueError(
        f"step: the test was answered at {[r['step'] for r in run.records]}, not {step}"
    )


def pass_curve(recording: Recording, step: int, ks: list[int]) -> Float[ndarray, "S K"]:
    """pass@k of each run at a step, for each k.

    The level of blind guessing is 1 − (1 − ``GUESS``)^k.
    """
    rows = []
    for run in recording.runs:
        counts, n = _at(run, step)["correct"], run.config.test_samples
        rows.append([np.mean([pass_at_k(n, c, k) for c in counts]) for k in ks])
    return np.array(rows)


def solved(recording: Recording, where: str, k: int | None = None) -> Float[ndarray, "S T"]:
    """Share of the problems of one class that are solved with k answers, over the recorded steps.

    Args:
        recording: S runs.
        where: ``digits``, ``words``, ``both``, ``neither`` (see ``FactTable.solved_in``) or ``all``.
        k: pass@k; by default all answers.
    """
    rows = []
    for run in recording.runs:
        n = run.config.test_samples
        row = []
        for record in run.records:
            pairs = zip(record["correct"], record["solved_in"], strict=True)
            counts = [c for c, kind in pairs if where in (kind, "all")]
            row.append(np.mean([pass_at_k(n, c, k or n) for c in counts]))
        rows.append(row)
    return np.array(rows)


def kept_at(recording: Recording, level: float, where: str = "words") -> Float[ndarray, " S"]:
    """``solved`` of one class when pass@1 first reaches a level, linear between two tests, for each run.

    Raises:
        ValueError: when a run stays below the level, or starts at it.
    """
    found = []
    for once, kept in zip(solved(recording, "all", 1), solved(recording, where), strict=True):
        above = np.flatnonzero(once >= level)
        if not len(above) or above[0] == 0:
            raise ValueError(
                f"level: pass@1 goes from {once[0]:.2f} to {once.max():.2f}, not across {level}"
            )
        between = slice(above[0] - 1, above[0] + 1)
        found.append(np.interp(level, once[between], kept[between]))
    return np.array(found)


def balance(recording: Recording) -> dict[str, Float[ndarray, "S T"]]:
    """Where the change of pass@n since the base comes from, over the recorded steps.

    Returns:
        ``lost``: change among the problems that only words solve; ``found``: among those that neither
        language solves; ``rest``: among the others; each as a share of *all* test problems, so that
        ``net``, the change of pass@n itself, is their sum.
    """
    parts: dict[str, list] = {"lost": [], "found": [], "rest": []}
    for run in recording.runs:
        solved = np.array([r["correct"] for r in run.records]) > 0
        change = solved.astype(float) - solved[0]
        kinds = np.array(run.records[0]["solved_in"])
        for name, of in (("lost", kinds == "words"), ("found", kinds == "neither")):
            parts[name].append(change[:, of].sum(axis=1) / len(kinds))
        rest = ~np.isin(kinds, ["words", "neither"])
        parts["rest"].append(change[:, rest].sum(axis=1) / len(kinds))
    found = {name: np.array(rows) for name, rows in parts.items()}
    return {**found, "net": sum(found.values())}


def votes(run: Run, step: int) -> tuple[ndarray, ndarray]:
    """Confidence and correctness of the commonest answer of the chains, one entry a problem.

    The confidence is the share of a problem's chains that give this answer. It is the answer that RL
    trained: direct guesses are left out. Problems without a chain are left out too.
    """
    record = _at(run, step)
    chains, count = np.array(record["chains"]), np.array(record["votes"])
    there = chains > 0
    return count[there] / chains[there], np.array(record["vote_right"], dtype=float)[there]


def calibration(
    recording: Recording, step: int, least: int = 10
) -> tuple[Float[ndarray, " S"], Reliability]:
    """ECE of the commonest answer for each run, and the reliability diagram of all runs together.

    The ECE counts every problem; the diagram leaves out bins of fewer than ``least`` problems, whose share
    of correct answers says little.
    """
    pairs = [votes(run, step) for run in recording.runs]
    errors = np.array([calibration_error(*pair) for pair in pairs])
    confidence, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    bins = reliability(confidence, right)
    full = bins.count >= least
    return errors, Reliability(bins.confidence[full], bins.accuracy[full], bins.count[full])
