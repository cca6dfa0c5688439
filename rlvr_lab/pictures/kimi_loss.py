"""Pictures of Kimi's squared loss (notebook 09)."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import COLOURS, INK, label_ends, new_figure

__all__ = ["plot_squared_minimum"]


def plot_squared_minimum(
    taus: ArrayLike,
    optimum: ArrayLike,
    log_z: ArrayLike,
    mean: ArrayLike,
    start: float,
    ax: Axes | None = None,
) -> Axes:
    """Where the squared loss is smallest, as the probability of a correct answer, against τ.

    Args:
        taus: [T], positive; drawn on a logarithmic axis.
        optimum: [T], the probability of a correct answer under π*.
        log_z: [T], at the minimum with the baseline τ·log Z.
        mean: [T], at the minimum with the mean reward as the baseline.
        start: the pass rate before the update.
        ax: where to draw.
    """
    ax = new_figure(width=7.5, height=3.6)[1] if ax is None else ax
    taus = np.asarray(taus, dtype=float)
    ax.plot(taus, optimum, color=COLOURS["reference"], linewidth=5, alpha=0.4)
    ax.plot(taus, log_z, color=COLOURS["kl"], linewidth=1.8)
    ax.plot(taus, mean, color=COLOURS["right"], linewidth=2, linestyle="--")
    ax.axhline(start, color=INK, linewidth=1, linestyle=":")
    ax.set_xscale("log")
    ax.set_xticks([0.05, 0.1, 0.2, 0.5, 1, 2, 5], ["0.05", "0.1", "0.2", "0.5", "1", "2", "5"])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(
        xlabel="τ (reward per nat)",
        ylabel="probability of a correct answer",
        ylim=(0, 1.03),
        xlim=(taus[0], taus[-1] * 2.6),
    )
    middle, low = len(taus) // 2, len(taus) // 3
    ax.annotate(
        "π* (wide, grey) and the minimum with τ·log Z",
        (taus[middle], np.asarray(log_z)[middle]),
        (10, 4),
        textcoords="offset points",
        fontsize=9,
        color=INK,
    )
    ax.annotate(
        "minimum with the mean reward",
        (taus[low], np.asarray(mean)[low]),
        (0.03, 0.4),
        textcoords="axes fraction",
        fontsize=9,
        color=INK,
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.8},
    )
    label_ends(ax, [(taus[-1], start, "before the update", COLOURS["reference"])])
    return ax
