"""The comparisons of several variants that the command line can record again."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from rlvr_lab.experiments.baselines import BASELINES, measure_baselines
from rlvr_lab.experiments.critics import CRITICS, measure_critics
from rlvr_lab.experiments.kl_runs import (
    KL_VARIANTS,
    WHILE_LEARNING,
    measure_kl_runs,
    measure_while_learning,
)
from rlvr_lab.experiments.ppo_details import BASE, DETAILS, measure_details
from rlvr_lab.experiments.trust_region import STALL, measure_stall
from rlvr_lab.records.runs import Run

__all__ = ["STUDIES", "Study"]


class Study(NamedTuple):
    """One comparison.

    Attributes:
        what: it measures, for the command line's help.
        variants: name → variant, in the form that ``measure`` takes.
        measure: (number of seeds, variants, first seed) → its runs, one by one.
        seeds: number of seeds that the course records.
        file: name of the recording under ``data/runs``.
    """

    what: str
    variants: Mapping[str, Any]
    measure: Callable[[int, Mapping[str, Any], int], Iterator[Run]]
    seeds: int
    file: str

    def runs(self, seeds: int, first: int = 0, only: list[str] | None = None) -> Iterator[Run]:
        """The runs of all variants, or of those named in ``only``.

        Raises:
            ValueError: when ``only`` names a variant that does not exist.
        """
        names = only or list(self.variants)
        if unknown := [name for name in names if name not in self.variants]:
            raise ValueError(f"only: {unknown[0]!r} is none of {', '.join(self.variants)}")
        return self.measure(seeds, {name: self.variants[name] for name in names}, first)


STUDIES = {
    "baselines": Study(
        "train with and without a baseline", BASELINES, measure_baselines, 5, "baselines"
    ),
    "trpo-stall": Study("why a fixed trust region stalls", STALL, measure_stall, 5, "trpo_stall"),
    "ppo-details": Study(
        "PPO's implementation details",
        {detail.name: detail for detail in DETAILS},
        lambda seeds, chosen, first: measure_details(seeds, BASE, list(chosen.values()), first),
        5,
        "ppo_details",
    ),
    "ppo-critics": Study("what PPO's critics explain", CRITICS, measure_critics, 5, "ppo_critics"),
    "kl-runs": Study(
        "GRPO's KL: weight, estimator, place", KL_VARIANTS, measure_kl_runs, 10, "grpo_kl"
    ),
    "kl-learning": Study(
        "GRPO's KL while it learns",
        {name: KL_VARIANTS[name] for name in WHILE_LEARNING},
        measure_while_learning,
        10,
        "grpo_kl_learning",
    ),
}
"""Name of the command → study."""
