"""Tree search on trees that are known exactly (notebook 08); what sampling solves there is a formula.

Recorded by ``python -m rlvr_lab record r1/tree_search``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from rlvr_lab.exact.answer_trees import AnswerTree, noise_for
from rlvr_lab.exact.search import SearchRule, search
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.records.runs import Run
from rlvr_lab.training.config import RunConfig

__all__ = [
    "AUCS",
    "BUDGETS",
    "STUDY",
    "VARIANTS",
    "AnswerTreeConfig",
    "measure_trees",
    "runs_of_variant",
]

BUDGETS = (16, 32, 64, 128, 256, 512, 1000)
"""Tokens per problem at which the share of solved problems is recorded."""
AUCS = (0.55, 0.65, 0.75, 0.85, 0.95)
"""How well the noisy values separate correct from incorrect prefixes."""


@dataclass(frozen=True)
class AnswerTreeConfig(RunConfig, kind="r1-answer-tree"):
    """One method on the trees of ``answer_trees.AnswerTree``.

    Attributes:
        steps: tokens of an answer.
        method: ``uct`` and ``puct`` with rollouts; ``value`` (PUCT with a value of each prefix).
        branching: b.
        spread: of the mass of the incorrect tokens.
        auc: of the value; 1 is exact, 0.5 is the same value for each prefix; only ``value`` uses it.
        p: probability of the first token.
        problems: K.

    There is one record per budget: ``step`` (tokens per problem) and ``solved`` (share of the problems).

    Raises:
        ValueError: naming the field.
    """

    steps: int = field(default=9, kw_only=True)
    method: Literal["uct", "puct", "value"] = "puct"
    branching: int = 2
    spread: Literal["even", "rival"] = "even"
    auc: float = 1.0
    p: float = 0.5
    problems: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "problems")
        self.require("auc", 0.5 <= self.auc <= 1, "at least 0.5 and at most 1")

    @property
    def exploration(self) -> float:
        """c: fixed on seed 100, where the values are good a smaller one is better."""
        return 0.3 if self.method == "value" else 1.0

    def run(self) -> Run:
        """Search, and record the solved share at each budget."""
        noise = noise_for(self.auc)
        trees = AnswerTree(
            self.problems, self.branching, self.steps, self.p, self.spread, noise, self.seed
        )
        leaf = "value" if self.method == "value" else "rollout"
        rule = SearchRule(self.method != "uct", leaf, self.exploration)
        found = search(trees, self.problems, BUDGETS[-1], rule, self.seed)
        return Run(self, [{"step": b, "solved": round(found.solved(b), 4)} for b in BUDGETS])


VARIANTS: dict[str, AnswerTreeConfig] = {
    f"{method} {spread} {b}": AnswerTreeConfig(method=method, branching=b, spread=spread)
    for spread in ("even", "rival")
    for b in (2, 4, 8, 64)
    for method in ("uct", "puct")
}
"""Method, spread and branching → configuration; further ``value <AUC>`` at b = 8 with a rival."""
VARIANTS |= {
    f"value {auc:g}": AnswerTreeConfig(method="value", branching=8, spread="rival", auc=auc)
    for auc in (*AUCS, 1.0, 0.5)
}


def measure_trees(
    seeds: int, variants: Mapping[str, AnswerTreeConfig] = VARIANTS, first: int = 0
) -> Iterator[Run]:
    """Each variant with the seeds from ``first`` on; a seed is a replicate with its own problems.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        for config in variants.values():
            yield replace(config, seed=seed).run()


def runs_of_variant(runs: list[Run], config: RunConfig) -> list[Run]:
    """The runs that differ from ``config`` only in their seed, in the order of the seeds.

    Raises:
        ValueError: when there is none.
    """
    same = [run for run in runs if replace(run.config, seed=config.seed) == config]
    if not same:
        raise ValueError(f"runs: none has the settings {config}")
    return sorted(same, key=lambda run: run.config.seed)


STUDY = Study(
    "tree search on exact trees",
    VARIANTS,
    measure_trees,
    seeds=5,
    file="r1/tree_search",
    first=1,
)
