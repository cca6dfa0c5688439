"""Pictures of tree search: solved problems against tokens, branching or the quality of a value (notebook 08)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    axes_or_new,
    dark,
    new_figure,
    plain_legend,
    plot_band,
)

__all__ = ["plot_solved", "plot_value_quality"]


def plot_solved(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    x: Sequence[int],
    xlabel: str,
    looks: Mapping[str, tuple[str, str]],
    guess: Mapping[str, ArrayLike],
    replicates: str = "seeds",
) -> Figure:
    """A panel for each title → label → solved share, over a logarithmic axis.

    Args:
        panels: the curves, a row for each seed; an exact curve is [X].
        x: X positions.
        xlabel: what they are.
        looks: label → (meaning of ``COLOURS``, line style).
        guess: title → [X], what blind guessing solves.
        replicates: what the rows are, when not seeds.
    """
    figure, axes = new_figure(1, len(panels), width=max(7.5, 4.7 * len(panels)), height=3.9)
    named = {}
    for ax, (title, bands) in zip(np.ravel(axes), panels.items(), strict=True):
        for label, curves in bands.items():
            colour, style = looks[label]
            if np.ndim(curves) == 1:
                ax.plot(x, curves, color=COLOURS[colour], linestyle=style, linewidth=2, label=label)
            else:
                plot_band(curves, ax, label, colour, x, style, replicates=replicates)
        ax.plot(x, guess[title], ":", color=INK, linewidth=1.5, label="blind guessing")
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(list(x)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticks(list(x), [f"{n:,}" for n in x])
        ax.set(title=title, xlabel=xlabel, ylabel="share of problems solved", ylim=(-0.02, 1.03))
        if ax.get_legend():
            ax.get_legend().remove()
        named |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    columns = min(3, len(panels) + 1)
    place = {"loc": "outside lower center", "ncols": columns, "frameon": False}
    figure.legend(named.values(), list(named), **place)
    return figure


def plot_value_quality(
    aucs: Sequence[float],
    solved: Mapping[str, ArrayLike],
    levels: Mapping[str, tuple[float, str]],
    ax: Axes | None = None,
) -> Axes:
    """The solved share against the AUC of the value that guides the search.

    Args:
        aucs: A values.
        solved: label → [S, A].
        levels: label → (share, meaning of ``COLOURS``): searches without a value, as horizontal lines.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    for (label, curves), style in zip(solved.items(), ("-", "--", ":"), strict=False):
        plot_band(curves, ax, label, "policy", aucs, style)
    for label, (share, colour) in levels.items():
        ax.axhline(share, color=COLOURS[colour], linewidth=1.5, linestyle=(0, (5, 2)))
        ax.annotate(
            label,
            (0.99, share),
            (0, 3),
            xycoords=ax.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=dark(COLOURS[colour]),
        )
    ax.set_xticks(list(aucs), [f"{a:g}" for a in aucs])
    ax.set(
        xlabel="AUC of the value: P(a correct prefix gets more than an incorrect one)",
        ylabel="share of problems solved",
        ylim=(-0.02, 1.03),
    )
    plain_legend(ax, loc="upper left")
    return ax
