"""The recordings that lie in ``data/runs``."""

from collections.abc import Iterable

# A recording can be read once the module that defines its kind of run has been imported.
from rlvr_lab.experiments import (  # noqa: F401
    answer_kinds,
    coverage,
    critics,
    entropy,
    gradient_shares,
    museum,
    overoptimisation,
    ppo_details,
    smollm2,
    stale,
    trust_region,
)
from rlvr_lab.experiments.kimi import studies as kimi  # noqa: F401
from rlvr_lab.experiments.live import studies as live  # noqa: F401
from rlvr_lab.experiments.qwen3 import studies as qwen3  # noqa: F401
from rlvr_lab.experiments.r1 import studies as r1  # noqa: F401
from rlvr_lab.policy.data import data_folder
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.training import pairs  # noqa: F401

__all__ = ["recorded", "recorded_seeds"]


def recorded(name: str) -> Recording:
    """The recording ``data/runs/<name>.json``; ``FileNotFoundError`` when there is none."""
    return Recording.load(data_folder() / "runs" / f"{name}.json")


def recorded_seeds(name: str, seeds: Iterable[int] = range(5)) -> list[Run]:
    """The runs ``data/runs/<name>_seed<S>.json`` for each seed S; ``FileNotFoundError`` when one is missing."""
    return [Run.load(data_folder() / "runs" / f"{name}_seed{seed}.json") for seed in seeds]
