"""The comparisons of several configurations that the command line can record again."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from rlvr_lab.experiments.baselines import measure_baselines
from rlvr_lab.experiments.critics import measure_critics
from rlvr_lab.experiments.kl_runs import measure_kl_runs, measure_while_learning
from rlvr_lab.experiments.ppo_details import measure_details
from rlvr_lab.experiments.trust_region import measure_stall
from rlvr_lab.records.runs import Run

__all__ = ["STUDIES", "Study"]


class Study(NamedTuple):
    """One comparison.

    Attributes:
        what: it measures, for the command line's help.
        measure: (number of seeds, first=first seed) → its runs, one by one.
        seeds: number of seeds that the course records.
        file: name of the recording under ``data/runs``.
    """

    what: str
    measure: Callable[..., Iterator[Run]]
    seeds: int
    file: str


STUDIES = {
    "baselines": Study("train with and without a baseline", measure_baselines, 5, "baselines"),
    "trpo-stall": Study("why a fixed trust region stalls", measure_stall, 5, "trpo_stall"),
    "ppo-details": Study("PPO's implementation details", measure_details, 5, "ppo_details"),
    "ppo-critics": Study("what PPO's critics explain", measure_critics, 5, "ppo_critics"),
    "kl-runs": Study("GRPO's KL: weight, estimator, place", measure_kl_runs, 10, "grpo_kl"),
    "kl-learning": Study(
        "GRPO's KL while it learns", measure_while_learning, 10, "grpo_kl_learning"
    ),
}
"""Name of the command → study."""
