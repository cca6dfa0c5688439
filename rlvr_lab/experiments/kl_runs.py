"""GRPO with a KL to the reference: which weight, which estimator, in the loss or in the reward (notebook 06).

Measured by ``python -m rlvr_lab record kl-runs``. Every variant is a change to one common configuration, and every
seed sees the same problems in every variant, so that variants are compared seed by seed.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from rlvr_lab.records.runs import Recording, Run, runs_of
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig

__all__ = [
    "BINS",
    "KL_BASE",
    "KL_VARIANTS",
    "LEARNING",
    "WHILE_LEARNING",
    "equal_kl",
    "kl_curves",
    "kl_variant",
    "measure_kl_runs",
    "measure_while_learning",
    "settled",
    "settled_at_kl",
]

KL_BASE = replace(PRESETS["grpo"], steps=40)
KEPT = ("step", "pass_rate", "kl", "length", "entropy", "clip_fraction", "grad_norm")
LEARNING = 12
"""Steps in which the policy still moves away from the reference; later its KL has settled at β = 0.2."""
WHILE_LEARNING = ("reward k1 β=0.2", "loss k2 β=0.2", "loss k3 β=0.2")
BINS = (0.2, 0.5, 0.8, 1.1, 1.4)
"""Edges of the bins of KL in which two variants are compared, in nats per answer."""

_FOUR = {"steps": 20, "updates_per_batch": 4, "learning_rate": 1e-3}
_UNCLIPPED = {"clip_low": 1.0, "clip_high": 1e6}

KL_VARIANTS: dict[str, dict[str, Any]] = {
    "no KL": {},
    **{f"loss k3 β={b:g}": {"kl_coef": b} for b in (0.05, 0.2, 1.0)},
    **{f"loss k2 β={b:g}": {"kl_coef": b, "kl_estimator": "k2"} for b in (0.2, 1.0)},
    **{f"loss k1 β={b:g}": {"kl_coef": b, "kl_estimator": "k1"} for b in (0.2, 1.0)},
    **{
        f"reward k1 β={b:g}": {"kl_coef": b, "kl_in": "reward"} for b in (0.02, 0.05, 0.2, 0.5, 1.0)
    },
    "1 update, 1e-3": {"steps": 20, "learning_rate": 1e-3},
    "4 updates, 3e-4": {"steps": 20, "updates_per_batch": 4},
    "4 updates, 1e-3": _FOUR,
    "4 updates, 1e-3, no clip of the ratio": _FOUR | _UNCLIPPED,
    "4 updates, 1e-3, no limit on the gradient": _FOUR | {"max_grad_norm": None},
}
"""Name → what it changes in ``KL_BASE``. The last five are about the clip and have no KL."""


def measure_while_learning(
    seeds: int, variants: Collection[str] = WHILE_LEARNING, first: int = 0
) -> Iterator[Run]:
    """The first ``LEARNING`` steps with β = 0.2: both estimators in the loss, and the KL in the reward."""
    return measure_kl_runs(seeds, variants, first, steps=LEARNING)


def kl_variant(name: str, seed: int = 0) -> PolicyGradientConfig:
    """The configuration of one variant and one seed."""
    return replace(KL_BASE, **KL_VARIANTS[name], seed=seed)


def measure_kl_runs(
    seeds: int,
    variants: Collection[str] = tuple(KL_VARIANTS),
    first: int = 0,
    steps: int | None = None,
) -> Iterator[Run]:
    """Run every variant with the seeds from ``first`` on; yield runs whose records keep the curves of ``KEPT``.

    Args:
        seeds: how many.
        variants: names in ``KL_VARIANTS``.
        first: the first seed.
        steps: of training; the variant's own number when None.

    Raises:
        ValueError: when ``seeds`` < 1.
    """
    for name in variants:
        config = kl_variant(name, first)
        config = config if steps is None else replace(config, steps=steps)
        yield from runs_of(config, seeds, keep=KEPT)


def kl_curves(recording: Recording, name: str, key: str) -> Float[np.ndarray, "S T"]:
    """One metric of one variant, a row for each seed in ascending order, however many steps were recorded.

    Raises:
        ValueError: when the recording has no run of this variant.
    """
    wanted = kl_variant(name)
    found = [
        run
        for run in recording.runs
        if replace(run.config, seed=wanted.seed, steps=wanted.steps) == wanted
    ]
    found.sort(key=lambda run: run.config.seed)
    return Recording(found).curves(key)


def equal_kl(
    kl: Float[np.ndarray, "S T"], value: Float[np.ndarray, "S T"], edges: tuple[float, ...] = BINS
) -> Float[np.ndarray, "S bins"]:
    """Mean of ``value`` over the steps whose KL lies in each bin, per seed; NaN for an empty bin.

    Two variants are compared bin by bin, over a range of KL, instead of at one KL or at their ends.

    >>> equal_kl(np.array([[0.3, 0.3, 0.5]]), np.array([[1.0, 3.0, 5.0]]), edges=(0.2, 0.4, 0.6))
    array([[2., 5.]])
    """
    found = np.full((len(kl), len(edges) - 1), np.nan)
    for i, (low, high) in enumerate(pairwise(edges)):
        inside = (low <= kl) & (kl < high)
        some = inside.any(axis=1)
        sums = np.where(inside, value, 0.0).sum(axis=1)
        found[some, i] = sums[some] / inside[some].sum(axis=1)
    return found


def settled(recording: Recording, name: str, key: str, last: int = 10) -> Float[np.ndarray, " S"]:
    """Mean of one metric over the last steps of one variant, per seed."""
    return kl_curves(recording, name, key)[:, -last:].mean(axis=1)


def settled_at_kl(
    recording: Recording, names: list[str], kl: Float[np.ndarray, " K"]
) -> Float[np.ndarray, "S K"]:
    """Settled pass rate of a family of variants at given settled KLs, per seed.

    The family differs in β. Each seed's pairs (settled KL, settled pass rate) are joined by straight lines.

    Raises:
        ValueError: when a KL lies outside what some seed's family covers.
    """
    x = np.stack([settled(recording, name, "kl") for name in names], axis=1)
    y = np.stack([settled(recording, name, "pass_rate") for name in names], axis=1)
    if min(kl) < x.min(axis=1).max() or max(kl) > x.max(axis=1).min():
        covered = f"{x.min(axis=1).max():.2f} to {x.max(axis=1).min():.2f}"
        raise ValueError(
            f"kl: every seed covers {covered} nats, got {min(kl):.2f} to {max(kl):.2f}"
        )
    order = x.argsort(axis=1)
    pairs = zip(
        np.take_along_axis(x, order, axis=1), np.take_along_axis(y, order, axis=1), strict=True
    )
    return np.stack([np.interp(kl, a, b) for a, b in pairs])
