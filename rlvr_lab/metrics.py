"""Measures of a run: pass@k, entropy, bands over seeds."""

import math

import numpy as np
from jaxtyping import Float
from torch import Tensor

__all__ = ["bootstrap_band", "entropy", "pass_at_k"]


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the chance that at least one of k answers is right.

    1 − C(n−c, k) / C(n, k), from n sampled answers of which c are right  (arXiv:2107.03374).
    The plug-in 1 − (1 − c/n)^k is biased low.

    Raises:
        ValueError: unless 0 ≤ c ≤ n and 1 ≤ k ≤ n.

    >>> pass_at_k(n=4, c=1, k=2)
    0.5
    """
    if not 0 <= c <= n:
        raise ValueError(f"c: need 0 <= c <= n, got c={c}, n={n}")
    if not 1 <= k <= n:
        raise ValueError(f"k: need 1 <= k <= n, got k={k}, n={n}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def entropy(logits: Float[Tensor, "*shape V"]) -> Float[Tensor, "*shape"]:
    """Entropy of the next-token distribution, −Σ_v π(v)·log π(v), in nats.

    >>> import torch
    >>> entropy(torch.zeros(1, 2))
    tensor([0.6931])
    """
    logp = logits.log_softmax(-1)
    # A forbidden token has π·log π = 0·(−inf); its limit is 0.
    return -(logp.exp() * logp.masked_fill(logp == -math.inf, 0.0)).sum(-1)


def bootstrap_band(
    curves: np.ndarray, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds and a bootstrap band for that mean.

    Args:
        curves: [S, T], one row a seed; NaN where a seed has no value.
        level: coverage of the band.
        resamples: number of bootstrap resamples of the seeds.
        seed: of the resampling.

    Returns:
        ``(mean, low, high)``, each [T]. Percentile bootstrap over *seeds*: with S = 5 it is a rough
        band, so say n beside it.

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
