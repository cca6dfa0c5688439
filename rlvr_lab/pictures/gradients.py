"""Pictures of gradients: sampled arrows against the exact one, objectives and where they are flat."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import COLOURS, axes_or_new, plain_legend

__all__ = ["in_the_plane", "plot_bars", "plot_clip", "plot_gradient_arrows"]

_PLANE = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])


def in_the_plane(vectors: ArrayLike) -> np.ndarray:
    """Coordinates [..., 2] of vectors [..., 3] whose entries add up to 0.

    The gradient of anything that depends on three logits through a softmax is such a vector: a common
    shift of the logits changes nothing.

    >>> in_the_plane([1.0, -1.0, 0.0]).round(4).tolist()
    [1.4142, 0.0]
    """
    return np.asarray(vectors, dtype=float) @ _PLANE.T


def plot_gradient_arrows(
    samples: ArrayLike, exact: ArrayLike, ax: Axes | None = None, limit: float | None = None
) -> Axes:
    """Estimates as thin arrows, their mean and the exact gradient as thick ones.

    Args:
        samples: [n, 2], n estimates of one gradient.
        exact: [2].
        ax: where to draw.
        limit: half the width of the picture; by default what the samples need.
    """
    ax, samples, exact = axes_or_new(ax), np.asarray(samples), np.asarray(exact)
    mean = samples.mean(axis=0)
    arrow = {"angles": "xy", "scale_units": "xy", "scale": 1}
    nothing = np.zeros(len(samples))
    ax.quiver(nothing, nothing, *samples.T, **arrow, color="#9AA5B1", width=0.003, zorder=2)
    ax.quiver(0, 0, *exact, **arrow, color=COLOURS["right"], width=0.014, zorder=3, label="exact")
    ax.quiver(
        0,
        0,
        *mean,
        **arrow,
        color=COLOURS["policy"],
        width=0.006,
        zorder=4,
        label="mean of the samples",
    )
    reach = limit or 1.1 * max(np.abs(samples).max(), np.abs(exact).max(), 1e-9)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.set(xlabel="gradient, first direction", ylabel="second direction")
    ax.plot([], [], color="#9AA5B1", label=f"{len(samples)} estimates")
    plain_legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def plot_clip(
    ratio: ArrayLike,
    curves: Mapping[str, ArrayLike],
    flat: tuple[float, float],
    ax: Axes | None = None,
) -> Axes:
    """An objective against the ratio ρ, with the region of zero gradient shaded.

    Args:
        ratio: [n], ρ.
        curves: label → objective [n]; the first solid, the others dashed.
        flat: from which ρ to which ρ the first curve has no gradient.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    looks = ((COLOURS["policy"], "-", 2.4), (COLOURS["reference"], "--", 1.4))
    for (label, values), (colour, style, width) in zip(curves.items(), looks, strict=False):
        ax.plot(ratio, values, linestyle=style, color=colour, linewidth=width, label=label)
    ax.axvspan(*flat, color=COLOURS["wrong"], alpha=0.12, hatch="//", linewidth=0)
    ax.axvline(1.0, color="#999999", linewidth=0.8)
    ax.set(xlabel="ratio ρ = π / π_old", ylabel="objective", xlim=(min(ratio), max(ratio)))
    ax.text(np.mean(flat), 0.04, "no gradient", ha="center", transform=ax.get_xaxis_transform())
    plain_legend(ax, loc="best")
    return ax


def plot_bars(
    rows: Mapping[str, tuple[float, float]], base: str, xlabel: str, ax: Axes | None = None
) -> Axes:
    """Mean ± standard error a row, horizontally; a line at the mean of the row ``base``."""
    ax = axes_or_new(ax)
    names = list(rows)[::-1]
    means, errors = (np.array([rows[n][i] for n in names]) for i in (0, 1))
    colours = [COLOURS["wrong"] if n.startswith("bug") else COLOURS["policy"] for n in names]
    ax.errorbar(means, range(len(names)), xerr=errors, fmt="none", ecolor="#666666", capsize=3)
    ax.scatter(means, range(len(names)), color=colours, zorder=3, s=36)
    ax.axvline(rows[base][0], color=COLOURS["reference"], linestyle="--", linewidth=1)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel(xlabel)
    return ax
