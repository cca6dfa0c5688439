"""Pictures of exact results: multipliers, drifts, estimators of the KL."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import COLOURS, INK, STYLES, axes_or_new, plain_legend

__all__ = [
    "plot_length_drift",
    "plot_std_multiplier",
]


def plot_std_multiplier(
    p: ArrayLike,
    multipliers: Mapping[int, ArrayLike],
    limit: ArrayLike | None = None,
    ax: Axes | None = None,
    ylim: float | None = None,
) -> Axes:
    """What dividing by the std multiplies the gradient by, against the pass rate of the prompt.

    Args:
        p: pass rates, the x axis.
        multipliers: group size G → multiplier at each ``p``.
        limit: the curve for G → ∞.
        ax: where to draw.
        ylim: top of the y axis; by default it leaves room above the highest curve.
    """
    ax = axes_or_new(ax)
    p = np.asarray(p, dtype=float)
    curves = {f"G = {g}": np.asarray(multipliers[g], dtype=float) for g in sorted(multipliers)}
    highest = max((float(np.nanmax(values)) for values in curves.values()), default=1.0)
    if limit is not None:
        look = {"color": COLOURS["reference"], "linestyle": STYLES["reference"]}
        ax.plot(p, limit, linewidth=1.6, label="G → ∞", **look)
    for i, (name, values) in reversed(list(enumerate(curves.items(), start=1))):
        shade = 0.25 + 0.75 * i / len(curves)
        look = {"color": COLOURS["policy"], "alpha": shade, "linewidth": 1 + 1.2 * shade}
        ax.plot(p, values, label=name, **look)
    ax.set_ylim(0, ylim or 1.15 * highest)
    ax.set_xlim(float(p[0]), float(p[-1]))
    ax.set_xlabel("pass rate p of the prompt")
    ax.set_ylabel("multiplier of the gradient ∇p")
    plain_legend(ax, loc="upper center")  # the curves are low in the middle
    return ax


def plot_length_drift(
    p: ArrayLike, drifts: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    """Exact drift of the mean length against the pass rate, one curve for each average.

    Args:
        p: pass rates, the x axis.
        drifts: name of the average → drift at each ``p``, in tokens per unit of learning rate.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    p = np.asarray(p, dtype=float)
    colours = [COLOURS["wrong"], COLOURS["policy"], COLOURS["right"], COLOURS["kl"]]
    styles = ["-", (0, (5, 2)), (0, (1, 1)), (0, (6, 2, 1, 2))]
    for i, (name, drift) in enumerate(drifts.items()):
        ax.plot(p, drift, color=colours[i % 4], linestyle=styles[i % 4], linewidth=2.2, label=name)
    ax.axhline(0, color=INK, linewidth=0.8, zorder=1)
    ax.set_xlim(float(p[0]), float(p[-1]))
    ax.set_xlabel("pass rate p of the prompt")
    ax.set_ylabel("drift of the mean length,\ntokens per unit of learning rate")
    for height, text in ((0.97, "answers grow longer ↑"), (0.03, "answers grow shorter ↓")):
        side = "top" if height > 0.5 else "bottom"
        ax.text(0.01, height, text, transform=ax.transAxes, va=side, fontsize=8.5, color="#666666")
    ax.margins(y=0.18)
    plain_legend(ax, loc="upper right")
    return ax
