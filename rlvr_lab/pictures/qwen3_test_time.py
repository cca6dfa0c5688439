"""Ways to spend tokens at test time (notebook 10, section 5)."""

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
    label_ends,
    legend_below,
    new_figure,
    plot_band,
    plot_guessing,
)

__all__ = ["plot_spending", "plot_vote_theory"]

Look = tuple[str, str]


def plot_spending(
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    looks: Mapping[str, Look],
    guesses: Sequence[float],
    unit: str = "tokens per problem",
) -> Figure:
    """Accuracy against the tokens of all answers to a problem, a panel for each title, mean and band over seeds.

    Args:
        panels: title → label → (tokens [S, K], accuracy [S, K]); the tokens are drawn at their mean over the seeds.
        looks: label → (meaning of ``COLOURS``, line style and marker as in ``"-o"``).
        guesses: accuracy of one blind guess, for each panel.
        unit: of the x axis.
    """
    figure, axes = new_figure(1, len(panels), width=max(6.5, 3.7 * len(panels)), height=3.9)
    for ax, (title, lines), guess in zip(np.atleast_1d(axes), panels.items(), guesses, strict=True):
        for label, (tokens, values) in lines.items():
            colour, look = looks[label]
            x = np.asarray(tokens, dtype=float).mean(axis=0)
            plot_band(values, ax, label, colour, x, look.rstrip("osD^v"))
            ax.lines[-1].set(marker=look[-1] if look[-1] in "osD^v" else "", markersize=4.5)
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator([3, 10, 30, 100, 300, 1000]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticks([3, 10, 30, 100, 300, 1000], ["3", "10", "30", "100", "300", "1,000"])
        ax.set(title=title, xlabel=unit, ylim=(-0.02, 1.03))
        ax.set_ylabel("accuracy" if ax is np.atleast_1d(axes)[0] else "")
        plot_guessing(ax, guess, words="one blind guess")
    legend_below(figure, ncols=3, fontsize=8.5)
    return figure


def plot_vote_theory(
    exact: Mapping[str, ArrayLike],
    ns: Sequence[int],
    looks: Mapping[str, Look],
    ax: Axes | None = None,
) -> Axes:
    """Exact accuracy of a vote against the number of answers.

    Args:
        exact: label → [K].
        ns: [K].
        looks: label → (meaning of ``COLOURS``, line style).
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    ends = []
    for label, values in exact.items():
        hue, style = looks[label]
        y = np.asarray(values, dtype=float)
        ax.plot(ns, y, linestyle=style, color=COLOURS[hue], linewidth=2, marker="o", markersize=4)
        ends.append((float(ns[-1]), float(y[-1]), label, COLOURS[hue]))
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(list(ns)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(list(ns), [str(n) for n in ns])
    ax.set(xlabel="n, answers per problem", ylabel="accuracy", ylim=(-0.02, 1.03))
    ax.tick_params(labelcolor=INK)
    label_ends(ax, ends)
    return ax
