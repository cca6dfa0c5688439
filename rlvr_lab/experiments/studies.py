"""The comparisons of several variants that the command line can record again."""

from rlvr_lab.experiments.baselines import BASELINES, measure_baselines
from rlvr_lab.experiments.critics import CRITICS, measure_critics
from rlvr_lab.experiments.kl_runs import (
    KL_VARIANTS,
    WHILE_LEARNING,
    measure_kl_runs,
    measure_while_learning,
)
from rlvr_lab.experiments.ppo_details import BASE, DETAILS, measure_details
from rlvr_lab.experiments.r1.studies import R1_STUDIES
from rlvr_lab.experiments.study import Study
from rlvr_lab.experiments.trust_region import STALL, measure_stall

__all__ = ["STUDIES"]


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
    **R1_STUDIES,
}
"""Name → study; ``python -m rlvr_lab record <name>`` records it. A case study's names begin with its own."""
