"""What the studies of all live dashboards share: each variant from each seed, and the runs by variant."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from rlvr_lab.experiments.study import Study, seeded
from rlvr_lab.records.runs import Recording, Run, curves, runs_of
from rlvr_lab.training.config import RunConfig

__all__ = ["FIRST", "SEEDS", "by_variant", "live_study", "moved"]

FIRST = 20
"""The first recorded seed. The bars were fixed before; at these seeds nobody had looked."""
SEEDS = 5


def live_study(
    what: str,
    topic: str,
    variants: Mapping[str, RunConfig],
    keep: Collection[str],
    seeds: int = SEEDS,
) -> Study:
    """The study that trains every variant with every seed and keeps some metrics of each record.

    Args:
        what: it measures, for the command line's help.
        topic: the recording is ``data/runs/live/<topic>.json``.
        variants: name → configuration.
        keep: names of metrics.
        seeds: that the course records; fewer where a run is slow.
    """
    kept = ("step", *keep)

    def measure(count: int, chosen: Mapping[str, Any], first: int) -> Iterator[Run]:
        for config in seeded(chosen, count, first):
            yield from runs_of(config, 1, digits=4, keep=kept)

    return Study(what, variants, measure, seeds, f"live/{topic}", FIRST)


def by_variant(recording: Recording, variants: Mapping[str, RunConfig]) -> dict[str, list[Run]]:
    """The runs of each variant, in the order of their seeds.

    Raises:
        ValueError: when a run belongs to no variant, or a variant has no run.

    >>> by_variant(Recording([Run(RunConfig(seed=3), [])]), {"start": RunConfig()})["start"][0].config.seed
    3
    """
    found: dict[str, list[Run]] = {name: [] for name in variants}
    for run in sorted(recording.runs, key=lambda run: run.config.seed):
        names = [n for n, c in variants.items() if replace(c, seed=run.config.seed) == run.config]
        if not names:
            raise ValueError(f"recording: its run with seed {run.config.seed} is of no variant")
        found[names[0]].append(run)
    if empty := [name for name, runs in found.items() if not runs]:
        raise ValueError(f"recording: it has no run of {empty[0]!r}")
    return found


def moved(
    runs: Mapping[str, list[Run]],
    variant: str,
    metric: str,
    steps: slice = slice(None),
    against: str = "start",
) -> Float[np.ndarray, " S"]:
    """What a moved dial changes: a metric's mean over some records, minus that of another variant, per seed.

    Args:
        runs: of ``by_variant``.
        variant: its name.
        metric: of the records.
        steps: which records count; step 1 has the index 0 where every step has a record.
        against: the other variant.

    Raises:
        ValueError: when the two variants do not have the same seeds.

    >>> runs = {n: [Run(RunConfig(), [{"step": 1, "kl": kl}])] for n, kl in (("start", 1.0), ("β", 0.5))}
    >>> moved(runs, "β", "kl")
    array([-0.5])
    """
    seeds = [[run.config.seed for run in runs[name]] for name in (variant, against)]
    if seeds[0] != seeds[1]:
        raise ValueError(f"runs: {variant!r} has the seeds {seeds[0]}, {against!r} {seeds[1]}")
    means = [curves(runs[name], metric)[:, steps].mean(axis=1) for name in (variant, against)]
    return means[0] - means[1]
