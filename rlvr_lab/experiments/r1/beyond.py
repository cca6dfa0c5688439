"""What RL loses and what it discovers, and how a newly solved problem is solved (notebook 08).

The runs are those of ``experiments.coverage`` on further tables of wrong facts. A record says in addition *how*
the correct answers were reached, and at the first and the last step the problems that a chain in digits does not
solve get many more answers: is what RL discovers within the reach of the base at a larger k?

A problem that neither language solves under the table can be solved in three ways. A chain that changes the
language avoids the wrong facts of both. A chain in one language is correct if a wrong fact was *repaired*: the
policy adds there as the table does not. Or the answer is guessed.

Recorded by ``python -m rlvr_lab record r1/beyond``.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from rlvr_lab.experiments.base_models import codes_base
from rlvr_lab.experiments.coverage import VARIANTS as COVERAGE
from rlvr_lab.experiments.coverage import WAYS, CoverageConfig
from rlvr_lab.experiments.evaluated import runs_from, variant_of
from rlvr_lab.experiments.study import Study
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.tasks.codes import FactTable, way_of
from rlvr_lab.tasks.evaluation import pass_at_k
from rlvr_lab.tasks.task import Problem, Verdict, grade
from rlvr_lab.training.state import TrainState

__all__ = [
    "STUDY",
    "VARIANTS",
    "BeyondConfig",
    "count_ways",
    "deep_counts",
    "deep_curve",
    "how_solved",
    "measure_beyond",
    "runs_of_variants",
]

CHAINS = ("digits", "words", "mixed")
HARD = ("words", "neither")
"""The classes of problems that a chain in digits does not solve."""


@dataclass(frozen=True)
class BeyondConfig(CoverageConfig, kind="r1-beyond"):
    """A run of ``coverage`` whose test says how the correct answers were reached.

    Attributes:
        deep_samples: answers to each problem of the classes ``HARD``, at step 0 and at the last step; 0 for none.

    A record holds ``solved_in`` [M], ``correct`` [M], ``pass@1``, ``entropy``, the share of each way to answer,
    ``correct_<way>`` [M], the correct answers by way, and ``samples``, pairs of a prompt that neither
    language solves and a correct answer that has a chain. At the first and the last step also
    ``deep_correct`` and ``deep_chains``: for each problem of the classes ``HARD``, in the order of the
    test, the correct answers of ``deep_samples``, all and those with a chain; elsewhere these are None.
    """

    deep_samples: int = 256

    FIXED = (*CoverageConfig.FIXED, "deep_samples")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(0, "deep_samples")

    def test(self, state: TrainState) -> dict[str, Any]:
        """The usual test, and many more answers at the first and the last step."""
        found = super().test(state)
        nothing = {"deep_correct": None, "deep_chains": None}
        ends = self.deep_samples > 0 and state.step in (0, self.steps)
        return {**found, **(self.deep(state) if ends else nothing)}

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """How the answers were reached, and how the correct ones."""
        facts = FactTable(self.table)
        kinds = [facts.solved_in(problem) for problem in problems]
        shares, by_way = count_ways(batch.texts, verdicts, len(problems))
        return {
            "solved_in": kinds,
            "samples": _samples(problems, kinds, batch, verdicts),
            "correct": by_way.sum(axis=0).tolist(),
            "pass@1": float(by_way.sum() / len(verdicts)),
            "entropy": float(batch.entropy[batch.completion_mask].double().mean()),
            **shares,
            **{f"correct_{way}": row.tolist() for way, row in zip(WAYS, by_way, strict=True)},
        }

    def deep(self, state: TrainState) -> dict[str, list[int]]:
        """Answer each problem of the classes ``HARD`` ``deep_samples`` times."""
        facts = FactTable(self.table)
        problems = state.task.problems(self.test_problems, random.Random(self.test_name))
        hard = [problem for problem in problems if facts.solved_in(problem) in HARD]
        generator = torch.Generator(state.policy.device).manual_seed(7000 + state.step)
        found: dict[str, list[int]] = {"deep_correct": [], "deep_chains": []}
        for problem in hard:  # one at a time: all together would fill the memory
            prompts, limit = [problem.prompt], self.max_new_tokens
            batch = sample(
                state.policy, prompts, self.deep_samples, limit, generator, self.temperature
            )
            verdicts = grade(state.task, [problem], batch.texts, batch.truncated.tolist())
            _, by_way = count_ways(batch.texts, verdicts, 1)
            found["deep_correct"].append(int(by_way.sum()))
            found["deep_chains"].append(int(by_way[[WAYS.index(way) for way in CHAINS]].sum()))
        return found


def _samples(
    problems: list[Problem], kinds: list[str], batch: RolloutBatch, verdicts: list[Verdict]
) -> list[list[str]]:
    """For up to three problems that neither language solves: prompt, and a correct answer that has a chain."""
    found: dict[str, str] = {}
    for row, (text, verdict) in enumerate(zip(batch.texts, verdicts, strict=True)):
        index = row // batch.group_size
        if verdict.correct and kinds[index] == "neither" and way_of(text) in CHAINS:
            found.setdefault(problems[index].prompt, text)
    return [list(pair) for pair in found.items()][:3]


def count_ways(
    texts: list[str], verdicts: list[Verdict], problems: int
) -> tuple[dict[str, float], ndarray]:
    """Share of each way among the answers, and the correct answers [ways, problems] by way."""
    ways = [way_of(text) for text in texts]
    by_way = np.zeros((len(WAYS), problems), dtype=int)
    size = len(texts) // problems
    for row, (way, verdict) in enumerate(zip(ways, verdicts, strict=True)):
        by_way[WAYS.index(way), row // size] += verdict.correct
    return {way: ways.count(way) / len(ways) for way in WAYS}, by_way


VARIANTS: Mapping[str, BeyondConfig] = {
    name: BeyondConfig(
        baseline=config.baseline,
        divide_by_std=config.divide_by_std,
        average=config.average,
        kl_coef=config.kl_coef,
        steps=config.steps,
        deep_samples=256 if name == "grpo" else 0,
    )
    for name, config in COVERAGE.items()
}
"""The variants of ``coverage``: GRPO, with many answers at both ends; GRPO with a KL of 0.2 (k3 per token, in the
loss); MaxRL."""


def measure_beyond(seeds: int, variants: Mapping[str, BeyondConfig], first: int) -> Iterator[Run]:
    """Each variant on each table; a table is a replicate with its own base, problems and wrong facts."""
    return runs_from(codes_base, variants, seeds, first)


STUDY = Study(
    "what RL loses and what it discovers", VARIANTS, measure_beyond, 5, "r1/beyond", first=6
)


# ---------------------------------------------------------------------------------- reading them


def runs_of_variants(recording: Recording) -> dict[str, Recording]:
    """Variant → its runs, in the order of their tables, for the readers in ``experiments.coverage``.

    Raises:
        ValueError: when a variant is missing.
    """
    return {
        name: Recording(variant_of(recording.runs, config), recording.command, recording.versions)
        for name, config in VARIANTS.items()
    }


def how_solved(
    runs: Iterable[Run], step: int, where: str = "neither"
) -> dict[str, Float[ndarray, " S"]]:
    """How the correct answers to the problems of one class were reached: the share of each way, by run.

    Only problems that a chain solves at least once count, so a lucky guess makes no solved problem. NaN where a
    run has no such problem.

    Args:
        runs: S runs.
        step: of the test.
        where: the class, see ``FactTable.solved_in``.

    Returns:
        ``direct``, ``digits``, ``words``, ``mixed``, which add up to 1; and ``problems``, the share of the
        class that a chain solves.
    """
    rows = []
    for run in runs:
        record = _at(run, step)
        own = np.array(record["solved_in"]) == where
        ways = ("direct", *CHAINS)
        counts = np.array([record[f"correct_{way}"] for way in ways])[:, own]
        solved = counts[1:].sum(axis=0) > 0
        total = counts[:, solved].sum()
        shares = counts[:, solved].sum(axis=1) / total if total else np.full(len(ways), np.nan)
        rows.append([*shares, solved.mean()])
    names = ("direct", *CHAINS, "problems")
    return dict(zip(names, np.array(rows).T, strict=True))


def deep_counts(run: Run, step: int, where: str, chains: bool = True) -> list[int]:
    """Correct answers of ``deep_samples`` to each problem of one class, at the first or the last step.

    Args:
        run: one table.
        step: 0 or the last.
        where: ``words`` or ``neither``.
        chains: count only correct answers that have a chain.

    Raises:
        ValueError: when ``where`` is another class, or the step has no such answers.
    """
    if where not in HARD:
        raise ValueError(f"where: must be one of {', '.join(HARD)}, got {where!r}")
    record = _at(run, step)
    counts = record["deep_chains" if chains else "deep_correct"]
    if counts is None:
        raise ValueError(f"step: there are no such answers at step {step}")
    kinds = [kind for kind in record["solved_in"] if kind in HARD]
    return [count for count, kind in zip(counts, kinds, strict=True) if kind == where]


def deep_curve(
    runs: Iterable[Run], step: int, ks: list[int], where: str, chains: bool = True
) -> Float[ndarray, "S K"]:
    """pass@k on the problems of one class, from the many answers at the first or the last step.

    Args:
        runs: S runs.
        step: 0 or the last.
        ks: numbers of answers, up to ``deep_samples``.
        where: as of ``deep_counts``.
        chains: as of ``deep_counts``.

    Raises:
        ValueError: see ``deep_counts``.
    """
    rows = []
    for run in runs:
        counts, n = deep_counts(run, step, where, chains), run.config.deep_samples
        rows.append([np.mean([pass_at_k(n, c, k) for c in counts]) for k in ks])
    return np.array(rows)


def _at(run: Run, step: int) -> dict[str, Any]:
    for record in run.records:
        if record["step"] == step:
            return record
    raise ValueError(f"step: the run has tests at {[r['step'] for r in run.records]}, not {step}")
