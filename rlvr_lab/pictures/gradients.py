"""Pictures of objectives and where they are flat, and of what switches do."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import COLOURS, axes_or_new, plain_legend

__all__ = ["plot_bars", "plot_clip"]


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
