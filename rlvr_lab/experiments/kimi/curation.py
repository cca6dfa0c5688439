"""RL on a mixed pool, as it is and after the filters of Kimi k1.5 (notebook 09, section 1).

The paper gives a reason for its filters (arXiv:2501.12599, section 2.1): on some prompts a correct answer is reached
by an incorrect chain, or by none. The variants separate what a filter does to a batch: it removes items that can be
guessed, and it leaves more room for the others.

Recorded by ``python -m rlvr_lab record kimi/curation``.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from rlvr_lab.experiments.evaluated import EvaluatedConfig, at_step, short_record
from rlvr_lab.experiments.kimi.pool_filters import (
    LONGEST,
    Curated,
    FiltersConfig,
    Skill,
    curate,
    measure_filters,
    pool_base,
    pool_items,
)
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.curated_pool import CuratedPool
from rlvr_lab.tasks.mixed_pool import KINDS, Kind, MixedPool, kind_of, way_of
from rlvr_lab.tasks.task import Problem, Verdict
from rlvr_lab.training.loop import train
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = [
    "SINGLE",
    "STUDY",
    "VARIANTS",
    "CurationConfig",
    "filters_of",
    "honest",
    "measure_curation",
    "pool_for",
    "reliability",
    "unbacked",
]

SINGLE: tuple[Kind, ...] = ("true_false", "options", "tricks", "comparisons")
"""The kinds that the filters remove; the last one is honest, but needs no chain."""


@dataclass(frozen=True)
class CurationConfig(EvaluatedConfig, kind="kimi-curation"):
    """GRPO on items of a mixed pool, with a test of each kind every eighth step.

    A batch has ``prompts_per_step`` items, of which ``removed`` are items that the filters remove. The task is a
    ``tasks.curated_pool.CuratedPool``; the field ``world`` is not read.

    Attributes:
        skill: of the base, see ``FiltersConfig``.
        removed: items of a batch that the filters remove.
        removed_kind: they are of this kind; ``any`` draws from all of them.
        silent: the reward of removed items is 0 whatever the answer, so their advantage is 0.
        sums: probability that a kept item is a sum and not a difference; None draws from all kept items.
        reading: what is kept: ``paper`` (allowed format, not guessable without a chain) or ``notes`` (allowed
            format, no correct answer among eight ordinary ones).
        test_problems: items of each kind in the test.

    A record holds for each kind ``accuracy_<kind>``; ``length_<kind>`` (tokens); ``chains_<kind>`` (share of
    well-formed answers with a chain); and three shares of all answers of that kind, which add up to the accuracy:
    correct with exactly the flawless chain (``checked_<kind>``), with another chain (``false_<kind>``) and without
    one (``bare_<kind>``). ``no``: share of ``no`` among all answers to true/false items.

    Raises:
        ValueError: naming the field.
    """

    max_new_tokens: int = LONGEST
    every: int = 8
    test_problems: int = 20
    test_samples: int = 8
    skill: Skill = "weak"
    removed: int = 0
    removed_kind: Literal[
        "any", "sums", "differences", "comparisons", "true_false", "options", "tricks"
    ] = "any"
    silent: bool = False
    sums: float | None = None
    reading: Literal["paper", "notes"] = "paper"
    steps: int = field(default=24, kw_only=True)

    FIXED = (
        *EvaluatedConfig.FIXED,
        "skill",
        "removed",
        "removed_kind",
        "silent",
        "sums",
        "reading",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("removed", 0 <= self.removed <= self.prompts_per_step, "0 … prompts_per_step")
        self.require("sums", self.sums is None or 0 <= self.sums <= 1, "None or in [0, 1]")
        self.require("silent", not self.silent or self.removed > 0, "False without removed items")

    def collect(self, state: TrainState) -> Experience:
        """The next experience; the last items of a batch are the removed ones."""
        experience = super().collect(state)
        if not self.silent:
            return experience
        rewards = experience.rewards.clone()
        rewards[-self.removed * self.group_size :] = 0.0
        return replace(experience, rewards=rewards)

    def test_questions(self, state: TrainState) -> list[Problem]:
        """``test_problems`` new items of each kind."""
        rng = random.Random(self.test_name)
        items = [MixedPool({kind: 1}).problems(self.test_problems, rng) for kind in KINDS]
        return [item for own in items for item in own]

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """What a record says; see the class."""
        size, rows = batch.group_size, len(batch.texts)
        kinds = [kind_of(problems[i // size].prompt) for i in range(rows)]
        ways = [way_of(problems[i // size], text) for i, text in enumerate(batch.texts)]
        found: dict[str, Any] = {}
        for kind in KINDS:
            own = [i for i in range(rows) if kinds[i] == kind]
            all_ways = Counter(ways[i] for i in own)
            right = Counter(ways[i] for i in own if verdicts[i].correct)
            n = len(own)
            found |= {
                f"accuracy_{kind}": right.total() / n,
                f"length_{kind}": float(batch.lengths[own].double().mean()),
                f"chains_{kind}": (all_ways["right_chain"] + all_ways["wrong_chain"]) / n,
                f"checked_{kind}": right["right_chain"] / n,
                f"false_{kind}": right["wrong_chain"] / n,
                f"bare_{kind}": right["direct"] / n,
            }
        said = [verdicts[i].answer for i in range(rows) if kinds[i] == "true_false"]
        return {**found, "no": said.count("no") / len(said)}


# ---------------------------------------------------------------------------------- making them


def pool_for(config: CurationConfig, curated: Curated) -> CuratedPool:
    """What a run draws its batches from."""
    kept, removed = curated.split(config.reading)
    if config.removed_kind != "any":
        removed = tuple(item for item in removed if kind_of(item.prompt) == config.removed_kind)
    return CuratedPool(kept, removed, config.removed, config.sums)


VARIANTS: dict[str, FiltersConfig | CurationConfig] = {
    "filters": FiltersConfig(steps=1),
    "unfiltered": CurationConfig(removed=12),
    "filtered": CurationConfig(),
    "few": CurationConfig(prompts_per_step=4),
    "silent": CurationConfig(removed=12, silent=True),
    **{f"with {kind}": CurationConfig(removed=12, removed_kind=kind) for kind in SINGLE},
    **{f"only {kind}": CurationConfig(removed=16, removed_kind=kind) for kind in SINGLE[::2]},
    "notes": CurationConfig(reading="notes"),
    "one_sided": CurationConfig(sums=0.9),
    "balanced": CurationConfig(sums=0.5),
    "able filters": FiltersConfig(skill="able", steps=1),
    "able unfiltered": CurationConfig(skill="able", removed=12),
    "able few": CurationConfig(skill="able", prompts_per_step=4),
    **{
        f"able only {kind}": CurationConfig(skill="able", removed=16, removed_kind=kind)
        for kind in SINGLE[::2]
    },
}
"""The filters themselves; then RL. ``unfiltered``: 4 kept and 12 removed items, as in the pool on average;
``filtered``: 16 kept ones; ``few``: the 4 kept ones of ``unfiltered`` alone; ``silent``: as ``unfiltered``, but the
removed items earn nothing. ``with X``: the removed ones are of one kind; ``only X``: nothing else is trained on.
``notes``: what fails best-of-8. ``one_sided`` and ``balanced`` differ in the share of sums among kept items. The last
five start from the able base, the others from the weak one."""


def measure_curation(
    seeds: int, variants: Mapping[str, FiltersConfig | CurationConfig], first: int
) -> Iterator[Run]:
    """The filters of each seed, if asked for, and each variant of RL from its base on its pool.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        pools: dict[Skill, Curated] = {}
        for variant in variants.values():
            policy, used = pool_base(seed, variant.skill)
            if isinstance(variant, FiltersConfig):
                run, pools[variant.skill] = measure_filters(
                    replace(variant, seed=seed), policy, used
                )
                yield run
                continue
            if variant.skill not in pools:  # without its filters being recorded
                usual = FiltersConfig()
                items = pool_items(usual.items, seed)
                pools[variant.skill] = curate(policy, items, usual.attempts, seed)
            one = replace(variant, seed=seed, table=seed)
            state = one.begin(policy, task=pool_for(one, pools[one.skill]))
            yield Run(one, [short_record(record) for record in train(one, state=state)])


STUDY = Study(
    "RL on a mixed pool of items, before and after filters",
    VARIANTS,
    measure_curation,
    5,
    "kimi/curation",
    first=1,
)


# ---------------------------------------------------------------------------------- reading them


def filters_of(runs: Iterable[Run], skill: Skill) -> list[Run]:
    """The runs of the filters by the base of one skill, in the order of their seeds.

    Raises:
        ValueError: when there is none.
    """
    own = [run for run in runs if isinstance(run.config, FiltersConfig)]
    own = [run for run in own if run.config.skill == skill]
    if not own:
        raise ValueError(f"runs: none has filters by the {skill} base")
    return sorted(own, key=lambda run: run.config.seed)


def honest(runs: Iterable[Run], step: int, key: str = "accuracy") -> Float[np.ndarray, " S"]:
    """A metric of each run at one step, the mean of sums and differences.

    Raises:
        ValueError: when a run has no record of that step.
    """
    runs = list(runs)
    return (at_step(runs, f"{key}_sums", step) + at_step(runs, f"{key}_differences", step)) / 2


def unbacked(runs: Iterable[Run], kind: Kind, step: int) -> Float[np.ndarray, " S"]:
    """Share of the correct answers to one kind that no flawless chain backs: false positives."""
    runs = list(runs)
    right, checked = (at_step(runs, f"{key}_{kind}", step) for key in ("accuracy", "checked"))
    return (right - checked) / right


def reliability(first: ArrayLike, second: ArrayLike, n: int) -> tuple[float, float]:
    r"""How well two estimates of the same pass rates agree, and whether their spread is binomial.

    An estimate p̂ from n answers has the variance p(1 − p)/n, of which p̂(1 − p̂)/(n − 1) is an unbiased estimate. The
    two estimates of a problem differ by a quantity with mean 0 and twice that variance.

    Args:
        first: [M], numbers of correct answers among n.
        second: [M], the same, drawn again.
        n: answers to each problem.

    Returns:
        The correlation of the two, and the mean square of their difference divided by what the
        binomial distribution says; the second number is 1 on average if the answers are independent.

    Raises:
        ValueError: for n below 2.

    >>> round(reliability([0, 5, 10], [0, 5, 10], 10)[0], 6)
    1.0
    """
    if n < 2:
        raise ValueError(f"n: need at least 2 answers, got {n}")
    one, two = (np.asarray(counts, dtype=float) / n for counts in (first, second))
    noise = np.mean([p * (1 - p) / (n - 1) for p in (one, two)])
    return float(np.corrcoef(one, two)[0, 1]), float(np.mean((one - two) ** 2) / (2 * noise))
