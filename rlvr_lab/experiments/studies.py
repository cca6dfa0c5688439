"""The comparisons of several variants that the command line can record again."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import torch

from rlvr_lab.experiments.baselines import BASELINES, measure_baselines
from rlvr_lab.experiments.critics import CRITICS, measure_critics
from rlvr_lab.experiments.entropy import ENTROPY_VARIANTS, measure_entropy
from rlvr_lab.experiments.kimi.studies import KIMI_STUDIES
from rlvr_lab.experiments.kl_runs import (
    KL_VARIANTS,
    WHILE_LEARNING,
    measure_kl_runs,
    measure_while_learning,
)
from rlvr_lab.experiments.live.studies import LIVE_STUDIES
from rlvr_lab.experiments.museum import VARIANTS as MUSEUM
from rlvr_lab.experiments.museum import measure_museum
from rlvr_lab.experiments.ppo_details import BASE, DETAILS, measure_details
from rlvr_lab.experiments.qwen3.studies import QWEN3_STUDIES
from rlvr_lab.experiments.r1.studies import R1_STUDIES
from rlvr_lab.experiments.sick_runs import VARIANTS as SICK
from rlvr_lab.experiments.sick_runs import measure_again, measure_sick
from rlvr_lab.experiments.smollm2 import STUDY as SMOLLM2
from rlvr_lab.experiments.stale import STUDY as STALE
from rlvr_lab.experiments.study import Study
from rlvr_lab.experiments.trust_region import STALL, measure_stall
from rlvr_lab.records.runs import Run

__all__ = ["STUDIES", "parallel_runs"]


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
    "entropy": Study(
        "GRPO's entropy: the covariance law, and two remedies",
        ENTROPY_VARIANTS,
        measure_entropy,
        10,
        "entropy",
    ),
    "museum": Study("a museum of broken runs", MUSEUM, measure_museum, 3, "museum", first=1),
    "sick": Study("illnesses that the museum lacks", SICK, measure_sick, 6, "sick", first=1),
    "sick-museum": Study(
        "the museum with new seeds, for the run doctor",
        MUSEUM,
        measure_again,
        4,
        "sick_museum",
        first=4,
    ),
    "smollm2": SMOLLM2,
    "stale": STALE,
    **LIVE_STUDIES,
    **R1_STUDIES,
    **KIMI_STUDIES,
    **QWEN3_STUDIES,
}
"""Name → study; ``python -m rlvr_lab record <name>`` records it. A case study's names begin with its own."""


def parallel_runs(
    name: str, seeds: int, first: int, only: list[str] | None, workers: int
) -> Iterator[Run]:
    """The runs of a study with several seeds at the same time, in the order of the seeds.

    A seed makes its own bases, so two processes never write the same one.

    Args:
        name: of the study.
        seeds: how many.
        first: the first seed.
        only: as of ``Study.runs``.
        workers: processes, with one thread each.

    Raises:
        ValueError: for no seeds, or as of ``Study.runs``.
    """
    STUDIES[name].runs(seeds, first, only)  # refuses an unknown variant before any work
    if seeds < 1:
        raise ValueError(f"seeds: need at least 1, got {seeds}")
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads
    with ProcessPoolExecutor(workers, spawn, torch.set_num_threads, (1,)) as pool:
        waiting = [pool.submit(_one_seed, name, first + i, only) for i in range(seeds)]
        for done in waiting:
            yield from done.result()


def _one_seed(name: str, seed: int, only: list[str] | None) -> list[Run]:
    return list(STUDIES[name].runs(1, seed, only))
