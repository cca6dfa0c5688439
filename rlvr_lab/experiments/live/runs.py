"""What the studies of all live dashboards share: each variant from each seed, and the runs by variant."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from rlvr_lab.experiments.study import Study, seeded
from rlvr_lab.records.runs import Recording, Run, runs_of
from rlvr_lab.training.config import RunConfig

__all__ = ["FIRST", "SEEDS", "by_variant", "live_study"]

FIRST = 20
"""The first recorded seed. Bars were fixed on seeds 0 to 2; at these seeds nobody had looked."""
SEEDS = 5


def live_study(
    what: str, topic: str, variants: Mapping[str, RunConfig], keep: Collection[str]
) -> Study:
    """The study that trains every variant with every seed and keeps some metrics of each record.

    Args:
        what: it measures, for the command line's help.
        topic: the recording is ``data/runs/live/<topic>.json``.
        variants: name → configuration.
        keep: names of metrics.
    """
    kept = ("step", *keep)

    def measure(seeds: int, chosen: Mapping[str, Any], first: int) -> Iterator[Run]:
        for config in seeded(chosen, seeds, first):
            yield from runs_of(config, 1, digits=4, keep=kept)

    return Study(what, variants, measure, SEEDS, f"live/{topic}", FIRST)


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
