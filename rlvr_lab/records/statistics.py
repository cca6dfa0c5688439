"""Statistics over seeds."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["area_under_roc", "bootstrap_band"]


def area_under_roc(scores: ArrayLike, labels: ArrayLike) -> float:
    """AUC: the probability that a positive example scores higher than a negative one; ties count half.

    It is .5 for a score that says nothing, and 1 for one that separates the two classes.

    Args:
        scores: [M].
        labels: [M], 1 or True for a positive example.

    Raises:
        ValueError: when the two do not match, or one class is empty.

    >>> area_under_roc([0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1])
    0.875
    """
    # Here, since it takes a second to load and the pictures need only the band below.
    from scipy.stats import rankdata

    score, positive = np.asarray(scores, dtype=float), np.asarray(labels).astype(bool)
    if score.ndim != 1 or score.shape != positive.shape:
        raise ValueError(
            f"scores, labels: expected two lists of equal length, got {score.shape} and {positive.shape}"
        )
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        raise ValueError(f"labels: need both classes, got {n} positive and {m} negative")
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))


def bootstrap_band(
    curves: np.ndarray, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds and a bootstrap band for that mean.

    Args:
        curves: [S, T], one row per seed; NaN where a seed has no value.
        level: coverage of the band.
        resamples: number of bootstrap resamples of the seeds.
        seed: of the resampling.

    Returns:
        ``(mean, low, high)``, each [T]. The band is a percentile bootstrap over *seeds*. With S = 5 it
        is rough, so report the number of seeds with it.

    Raises:
        ValueError: when ``curves`` is not [S, T] or ``level`` not in (0, 1).

    >>> mean, low, high = bootstrap_band(np.ones((5, 3)))
    >>> low.tolist()
    [1.0, 1.0, 1.0]
    """
    curves = np.asarray(curves, dtype=float)
    if curves.ndim != 2 or curves.shape[0] == 0:
        raise ValueError(f"curves: expected [seeds, steps], got shape {curves.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level: must lie strictly between 0 and 1, got {level}")
    rows = np.random.default_rng(seed).integers(0, len(curves), size=(resamples, len(curves)))
    with np.errstate(invalid="ignore"):
        counts = (~np.isnan(curves))[rows].sum(axis=1)
        means = np.nansum(curves[rows], axis=1) / np.where(counts == 0, np.nan, counts)
        total = (~np.isnan(curves)).sum(axis=0)
        mean = np.nansum(curves, axis=0) / np.where(total == 0, np.nan, total)
    empty = np.isnan(means).all(axis=0)
    means[:, empty] = 0.0  # nanpercentile warns on an all-NaN column; it is set back below
    low, high = np.nanpercentile(means, [50 * (1 - level), 50 * (1 + level)], axis=0)
    low[empty] = high[empty] = np.nan
    return mean, low, high
