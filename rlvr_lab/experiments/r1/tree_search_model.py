"""Sampling against tree search over the tokens of a model, with no, a learned and an exact value (notebook 08).

The world is ``tasks.doubtful_codes``: the base is unsure of two thirds of the additions and prefers the wrong
result there. Every method sees the verifier at test time and stops at the first correct answer, so what is
compared is pass@budget: the share of problems solved with a number of tokens.

Recorded by ``python -m rlvr_lab record r1/tree_search_model``.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from rlvr_lab.exact.search import Found, SearchRule, beam_search, sample_answers, search
from rlvr_lab.experiments.r1.policy_tree import (
    CHAIN,
    LONGEST,
    PolicyTree,
    ValueOf,
    answers_of,
    doubtful_base,
    prefix_auc,
)
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.scalar_head import ScalarModel
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.doubtful_codes import ShownCodes
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.value_models import fit_value_model

__all__ = [
    "ANSWERS",
    "BUDGETS",
    "STUDY",
    "VARIANTS",
    "ModelSearchConfig",
    "Replicate",
    "measure_searches",
]

BUDGETS = (32, 64, 128, 256, 512, 1024)
"""Tokens per problem at which the share of solved problems is recorded."""
ANSWERS = (256, 1024, 4096)
"""Numbers of answers that value models are fitted to."""


@dataclass(frozen=True)
class ModelSearchConfig(RunConfig, kind="r1-model-search"):
    """One method on the answers of a model.

    Attributes:
        method: ``sampling`` (T = 1); ``beam``; ``uct`` and ``puct`` with rollouts; ``value`` (PUCT with a
            value of each prefix and without rollouts).
        value: ``exact``, ``learned`` from outcomes, or ``constant``, the same for each prefix.
        answers: that the learned value was fitted to.
        problems: K.
        exploration: c.

    There is one record per budget: ``step`` (tokens per problem), ``solved`` and ``cached`` (share of the problems,
    with every token and with every distinct prefix counted) and ``auc`` (of the value on prefixes; None
    without one). Sampling also keeps three answers to the first problem, ``text``.

    Raises:
        ValueError: naming the field.
    """

    method: Literal["sampling", "beam", "uct", "puct", "value"] = "sampling"
    value: Literal["none", "exact", "learned", "constant"] = "none"
    answers: int = 0
    problems: int = 48
    exploration: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "problems")
        self.require(
            "value", (self.method == "value") == (self.value != "none"), "given for value only"
        )
        self.require(
            "answers", (self.value == "learned") == (self.answers > 0), "given for learned only"
        )

    def run(self, lab: "Replicate") -> Run:
        """Search, and record the solved share at each budget."""
        lab.tree.value = lab.value_of(self)
        measured = self._records(lab)
        value = lab.tree.value
        found = None if value is None else round(prefix_auc(lab.tree, value, 32, self.seed), 4)
        return Run(self, [{**record, "auc": found} for record in measured])

    def _records(self, lab: "Replicate") -> list[dict[str, Any]]:
        if self.method == "beam":
            return [self._beam(lab.tree, budget) for budget in BUDGETS]
        found = self._found(lab.tree)
        return [
            {
                "step": b,
                "solved": round(found.solved(b), 4),
                "cached": round(found.solved(b, cached=True), 4),
            }
            for b in BUDGETS
        ]

    def _found(self, tree: PolicyTree) -> Found:
        if self.method == "sampling":
            return sample_answers(tree, self.problems, BUDGETS[-1], self.seed, cached=True)
        leaf: Any = "value" if self.method == "value" else "rollout"
        rule = SearchRule(self.method != "uct", leaf, self.exploration)
        return search(tree, self.problems, BUDGETS[-1], rule, self.seed, cached=True)

    def _beam(self, tree: PolicyTree, budget: int) -> dict[str, Any]:
        """As many beams as the budget pays for."""
        width = max(1, budget // CHAIN)
        share = beam_search(tree, self.problems, width, LONGEST).solved(budget)
        return {"step": budget, "solved": round(share, 4), "cached": round(share, 4)}


@dataclass
class Replicate:
    """The base, the problems and the value models of one seed, made once for all its variants."""

    seed: int
    problems: int

    @cached_property
    def policy(self) -> Policy:
        return doubtful_base(self.seed)

    @cached_property
    def tree(self) -> PolicyTree:
        rng = random.Random(f"tree search {self.seed}")
        return PolicyTree(self.policy, ShownCodes().problems(self.problems, rng))

    def value_of(self, config: ModelSearchConfig) -> ValueOf | None:
        """The value of a configuration; a learned one is fitted."""
        if config.value == "none":
            return None
        if config.value == "exact":
            return self.tree.exact_value
        if config.value == "constant":
            return lambda problems, prefixes: np.zeros(len(prefixes))
        _, batch, outcomes = answers_of(self.policy, config.answers, self.seed)
        model = ScalarModel.from_policy(self.policy)
        steps = fitting_steps(config.answers)
        fit_value_model(model, batch, outcomes, steps, seed=self.seed)
        return lambda problems, prefixes: self.tree.learned_value(model, problems, prefixes)


def fitting_steps(answers: int) -> int:
    """Steps of 64 answers: eight passes, and at most 300 steps."""
    return min(300, max(1, 8 * answers // 64))


VARIANTS: dict[str, ModelSearchConfig] = {
    "sampling": ModelSearchConfig(),
    "beam": ModelSearchConfig("beam"),
    "uct": ModelSearchConfig("uct"),
    "puct": ModelSearchConfig("puct"),
    "exact": ModelSearchConfig("value", "exact"),
    **{f"learned {n}": ModelSearchConfig("value", "learned", n) for n in ANSWERS},
    "constant": ModelSearchConfig("value", "constant"),
}
"""What is recorded; ``learned N``: a value model that was fitted to N answers of the base."""


def measure_searches(
    seeds: int, variants: Mapping[str, ModelSearchConfig] = VARIANTS, first: int = 0
) -> Iterator[Run]:
    """Each variant with the seeds from ``first`` on; a seed is a replicate with its own base, table and problems.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        labs: dict[int, Replicate] = {}
        for config in variants.values():
            lab = labs.setdefault(config.problems, Replicate(seed, config.problems))
            yield replace(config, seed=seed).run(lab)


STUDY = Study(
    "sampling against tree search on a model",
    VARIANTS,
    measure_searches,
    seeds=5,
    file="r1/tree_search_model",
    first=1,
)
