"""Runs compared where they have gone equally far, not where they happened to end (notebooks 01, 02).

Two policies that started together and moved at different speeds are compared at the same √KL (or at the
same proxy reward), seed by seed, over a range of values.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from rlvr_lab.records.runs import Recording, Run

__all__ = ["at_equal", "fall_between", "paired", "seeds_in_common", "where_gold_peaks"]

_EXACT = ("best_of_n", "optimum")  # curves without sampling noise
_SMOOTH = 3  # records; one batch is noisy


def at_equal(
    recording: Recording, key: str, grid: ArrayLike, along: str = "distance"
) -> np.ndarray:
    """``key`` of each run at the first moment when ``along`` reaches each value of ``grid``; [S, G].

    Curves of sampled batches are first averaged over three neighbouring records, both ``key`` and
    ``along``; between two records it is interpolated. NaN where a run never gets that far.

    Args:
        recording: S runs.
        key: the metric that is asked for, for instance ``gold``.
        grid: [G], values of ``along``.
        along: the common abscissa: ``distance`` (√KL), ``kl``, ``proxy`` or another metric.
    """
    return np.stack([_at(run, key, np.atleast_1d(grid), along) for run in recording.runs])


def paired(
    a: Recording, b: Recording, key: str, grid: ArrayLike, along: str = "distance"
) -> np.ndarray:
    """``key`` of a less that of b at equal ``along``, for the seeds that both have; [S, G].

    Raises:
        ValueError: when they have no seed in common.
    """
    a, b = seeds_in_common(a, b)
    return at_equal(a, key, grid, along) - at_equal(b, key, grid, along)


def seeds_in_common(*recordings: Recording) -> tuple[Recording, ...]:
    """The same recordings with only the seeds that all of them have, in one order.

    Raises:
        ValueError: when there is none.
    """
    found = [{run.config.seed: run for run in recording.runs} for recording in recordings]
    common = sorted(set.intersection(*(set(runs) for runs in found)))
    if not common:
        raise ValueError(f"recordings: no seed in common, got {[sorted(runs) for runs in found]}")
    return tuple(Recording([runs[seed] for seed in common]) for runs in found)


def fall_between(recording: Recording, start: float, end: float) -> np.ndarray:
    """How much gold reward each run loses between two fixed √KL; [S], positive for a loss."""
    gold = at_equal(recording, "gold", [start, end])
    return gold[:, 0] - gold[:, 1]


def where_gold_peaks(recording: Recording, grid: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The value of ``grid`` (√KL) at which each run's gold reward is highest, and that reward; [S], [S]."""
    grid, gold = np.atleast_1d(grid), at_equal(recording, "gold", grid)
    best = np.nanargmax(gold, axis=1)
    return np.asarray(grid)[best], gold[np.arange(len(gold)), best]


def _at(run: Run, key: str, grid: Sequence[float] | np.ndarray, along: str) -> np.ndarray:
    exact = getattr(run.config, "optimiser", None) in _EXACT
    x, y = (_smooth(run.curve(name), 1 if exact else _SMOOTH) for name in (along, key))
    found = np.full(len(grid), np.nan)
    for place, value in enumerate(grid):
        reached = np.flatnonzero(x >= value)
        if reached.size and (k := reached[0]) == 0:
            found[place] = y[0]
        elif reached.size:
            share = (value - x[k - 1]) / (x[k] - x[k - 1])
            found[place] = y[k - 1] + share * (y[k] - y[k - 1])
    return found


def _smooth(curve: np.ndarray, width: int) -> np.ndarray:
    return np.convolve(curve, np.ones(width) / width, "valid")
