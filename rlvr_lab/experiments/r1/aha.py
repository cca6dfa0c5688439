"""What RL does to ``wait``: in one world it does not help, in another it does (notebook 08, section 3).

In the sums a base model sometimes writes ``wait`` and repeats a step. In the codes it sometimes writes ``wait`` and
repeats the whole chain in the other language. With ``facts="correct"`` the second chain has no wrong facts, so it
repairs the draft. With ``facts="draft"`` it has those of the draft: the control, in which it cannot help.

Each seed is a replicate with its own base, wrong facts and test problems.

Recorded by ``python -m rlvr_lab record r1/aha`` and ``python -m rlvr_lab record r1/aha_sums``.
"""

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from rlvr_lab.experiments.base_models import sums_base
from rlvr_lab.experiments.evaluated import EvaluatedConfig, at_step, runs_from
from rlvr_lab.experiments.kept_bases import codes_with_chains, kept_base
from rlvr_lab.experiments.pretraining import fit
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.codes import Codes, FactTable
from rlvr_lab.tasks.rechecks import RecheckMixture, draft_of, steps_of
from rlvr_lab.tasks.task import Answers, Problem, Verdict
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.state import TrainState
from rlvr_lab.training.supervised import supervised_steps

__all__ = [
    "GUESS",
    "STUDY",
    "SUMS_STUDY",
    "SUMS_VARIANTS",
    "VARIANTS",
    "AhaConfig",
    "AhaSumsConfig",
    "noticing",
    "rate",
    "recheck_base",
]

WRONG_FACTS = 12
GUESS = {"codes": 1e-3, "sums": 0.1}
"""Probability that a blind guess is correct."""
KEPT = 6  # answers with ``wait`` that a record keeps as text
CUT = 1024  # re-checked answers, spread over all problems, that are continued without it


# ---------------------------------------------------------------------------------------- the sums


@dataclass(frozen=True)
class AhaSumsConfig(EvaluatedConfig, kind="r1-aha-sums"):
    """A run on the sums whose test counts ``wait`` after slips and after correct steps.

    Raises:
        ValueError: naming the field.
    """

    every: int = 20
    test_samples: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "sums", "sums")

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """The usual means, and counts over the additions of all answers (see ``tasks.rechecks.steps_of``).

        Returns:
            ``waits``: share of the answers with ``wait``; ``slips``, ``correct_steps``: additions;
            ``waits_after_slip``, ``waits_after_correct``: those with ``wait`` just after them;
            ``repaired``: slips that the repetition corrects; ``spoiled``: correct steps that are followed by
            ``wait`` and an incorrect repetition, or none; ``samples``: answers with ``wait``.
        """
        size = batch.group_size
        steps = [
            step
            for row, text in enumerate(batch.texts)
            for step in steps_of(problems[row // size], text)
        ]
        slips = [step for step in steps if not step.correct]
        waited = [step for step in slips if step.waited]
        doubted = [step for step in steps if step.correct and step.waited]
        return {
            **super().describe(problems, batch, verdicts),
            "waits": _share_with_wait(batch.texts),
            "slips": len(slips),
            "correct_steps": len(steps) - len(slips),
            "waits_after_slip": len(waited),
            "waits_after_correct": len(doubted),
            "repaired": sum(bool(step.repaired) for step in waited),
            "spoiled": sum(not step.repaired for step in doubted),
            "samples": _samples(problems, batch, verdicts),
        }


# --------------------------------------------------------------------------------------- the codes


def recheck_base(seed: int, facts: Literal["correct", "draft"], device: str = "auto") -> Policy:
    """A base model that re-checks some of its drafts; three stages.

    The first, flawless chains in both languages, is ``codes_with_chains``. The second teaches the second chain
    itself, without wrong facts: 80 steps. The third is the mixture with the wrong facts of this seed, in which
    a re-check is rare. The first two are common to both kinds of ``facts``.

    Raises:
        PretrainingFailed: when the chain is not learned.
    """
    task = Codes()

    def taught() -> Policy:
        policy, rng = codes_with_chains(seed, device=device), random.Random(f"re-checks {seed}")
        optimizer, solve = adamw(trained(policy.model), 1e-3), RecheckMixture.clean().solve
        for _ in supervised_steps(policy, task, solve, 80, lambda _: 1e-3, optimizer, rng):
            pass
        return policy

    def make() -> Policy:
        policy = kept_base(f"aha_taught_{seed}", taught, device)
        optimizer, rng = adamw(trained(policy.model), 1e-3), random.Random(f"aha mixture {seed}")
        mixture = RecheckMixture(FactTable(seed, WRONG_FACTS, 0), facts=facts)
        fit(policy, task, mixture.solve, 130, 1.5e-3, optimizer, rng)
        return policy

    return kept_base(f"aha_rechecks_{facts}_{seed}", make, device)


@dataclass(frozen=True)
class AhaConfig(EvaluatedConfig, kind="r1-aha"):
    """A run on the codes whose test counts re-checks, and cuts them out of the same answers.

    Attributes:
        facts: of the base's second chains: ``correct`` (they help) or ``draft`` (they cannot).

    Raises:
        ValueError: naming the field.
    """

    facts: Literal["correct", "draft"] = "correct"
    world: str = "codes"
    max_new_tokens: int = 45
    every: int = 10
    test_samples: int = 64

    FIXED = (*EvaluatedConfig.FIXED, "facts")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "codes", "codes")

    def test(self, state: TrainState) -> dict[str, Any]:
        """The test, and the same answers without their re-checks."""
        answers = self.test_answers(state)
        found = self.describe(answers.problems, answers.batch, answers.verdicts)
        return {**found, **self.without_recheck(state, answers)}

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """The usual means, and counts over the answers with a whole draft (see ``tasks.rechecks.draft_of``).

        Returns:
            ``waits``: share of the answers with ``wait``; ``drafts_correct``, ``drafts_wrong``: answers by
            what their draft leads to; ``waits_after_correct``, ``waits_after_wrong``: those of them with
            ``wait`` just after the draft; ``samples``: answers with ``wait``.
        """
        found = {
            **super().describe(problems, batch, verdicts),
            "waits": _share_with_wait(batch.texts),
        }
        counts = dict.fromkeys(
            ("drafts_correct", "drafts_wrong", "waits_after_correct", "waits_after_wrong"), 0
        )
        for row, text in enumerate(batch.texts):
            if draft := draft_of(text):
                problem = problems[row // batch.group_size]
                kind = "correct" if draft.answer == f"{problem.answer:03d}" else "wrong"
                counts[f"drafts_{kind}"] += 1
                counts[f"waits_after_{kind}"] += draft.waited
        return {**found, **counts, "samples": _samples(problems, batch, verdicts)}

    def without_recheck(self, state: TrainState, answers: Answers) -> dict[str, Any]:
        """What the re-checked answers lose when the re-check is cut out of their text.

        Two ways to answer without it: the answer is read off the draft; or the policy itself goes on, one
        sample for each answer, after its own draft and a closing ``</think>``.

        Returns:
            ``rechecked``: answers with ``wait`` after their draft, at most ``CUT``; ``with_recheck``: share
            of them that is correct as sampled; ``cut``: share with a correct draft; ``continued``: share that
            is correct when the policy goes on from the cut. None where nothing was re-checked.
        """
        size, rows = answers.batch.group_size, []
        for row, text in enumerate(answers.batch.texts):
            draft = draft_of(text)
            if draft and draft.waited:
                rows.append((row, answers.problems[row // size], draft))
        if not rows:
            return {"rechecked": 0, "with_recheck": None, "cut": None, "continued": None}
        rows = rows[:: math.ceil(len(rows) / CUT)]
        starts = [f"<think>{draft.chain}</think>" for _, _, draft in rows]
        prompts = [one.prompt + start for (_, one, _), start in zip(rows, starts, strict=True)]
        generator = torch.Generator(state.policy.device).manual_seed(self.table + state.step)
        rest = sample(state.policy, prompts, 1, 6, generator, self.temperature)
        parts = zip(rows, starts, rest.texts, rest.truncated.tolist(), strict=True)
        verified = [
            state.task.verify(one, start + tail, cut).correct
            for (_, one, _), start, tail, cut in parts
        ]
        return {
            "rechecked": len(rows),
            "with_recheck": _mean(answers.verdicts[row].correct for row, _, _ in rows),
            "cut": _mean(draft.answer == f"{one.answer:03d}" for _, one, draft in rows),
            "continued": _mean(verified),
        }


def _mean(flags: Iterable[bool]) -> float:
    return float(np.mean(list(flags)))


def _share_with_wait(texts: list[str]) -> float:
    return _mean("wait" in text for text in texts)


def _samples(
    problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
) -> list[dict[str, str]]:
    """The first answers with ``wait``, to different problems."""
    found: dict[int, dict[str, str]] = {}
    for row, text in enumerate(batch.texts):
        problem = row // batch.group_size
        if "wait" in text and problem not in found and len(found) < KEPT:
            prompt = problems[problem].prompt
            found[problem] = {"prompt": prompt, "text": text, "reason": verdicts[row].reason}
    return list(found.values())


# ---------------------------------------------------------------------------------- making them

VARIANTS: dict[str, AhaConfig] = {
    "helps": AhaConfig(steps=40),
    "control": AhaConfig(steps=40, facts="draft"),
}
"""Re-checks with correct facts, and with the draft's own."""
SUMS_VARIANTS: dict[str, AhaSumsConfig] = {"sums": AhaSumsConfig(steps=60)}


def measure_aha(seeds: int, variants: Mapping[str, AhaConfig], first: int = 0) -> Iterator[Run]:
    """Each variant from its own base, seed by seed.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        for name, config in variants.items():
            base = partial(recheck_base, facts=config.facts, device=config.device)
            yield from runs_from(base, {name: config}, 1, seed)


def measure_sums(
    seeds: int, variants: Mapping[str, AhaSumsConfig], first: int = 0
) -> Iterator[Run]:
    """Each variant, seed by seed, from a base of its own."""
    return runs_from(lambda seed: sums_base(seed)[0], variants, seeds, first)


STUDY = Study("a re-check that helps, and one that cannot", VARIANTS, measure_aha, 5, "r1/aha", 1)
SUMS_STUDY = Study("`wait` in the sums", SUMS_VARIANTS, measure_sums, 5, "r1/aha_sums", 1)


# ---------------------------------------------------------------------------------- reading them


def rate(runs: Iterable[Run], part: str, whole: str, step: int) -> Float[np.ndarray, " S"]:
    """One count of each run divided by another, at one step; NaN where the second is 0.

    ``whole`` may add several counts: ``"slips + correct_steps"``.

    Raises:
        ValueError: when a run has no record of that step.
    """
    runs = list(runs)
    below = sum(at_step(runs, name, step) for name in whole.split(" + "))
    return at_step(runs, part, step) / np.where(below > 0, below, np.nan)


def noticing(runs: Iterable[Run], step: int) -> Float[np.ndarray, " S"]:
    """P(``wait`` | incorrect) − P(``wait`` | correct) of each run: of drafts in the codes, of steps in the sums.

    A policy that notices its mistakes has a positive difference. NaN where one of the two never occurs.

    Raises:
        ValueError: when a run has no record of that step.
    """
    runs = list(runs)
    slips = bool(runs) and "slips" in runs[0].records[0]
    pairs = (
        (("waits_after_slip", "slips"), ("waits_after_correct", "correct_steps"))
        if slips
        else (("waits_after_wrong", "drafts_wrong"), ("waits_after_correct", "drafts_correct"))
    )
    wrong, correct = (rate(runs, part, whole, step) for part, whole in pairs)
    return wrong - correct
