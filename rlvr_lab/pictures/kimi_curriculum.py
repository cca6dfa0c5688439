"""Pictures of curriculum, prioritised sampling and filtering (notebook 09, section 4)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    new_figure,
    plain_legend,
    plot_band,
    plot_guessing,
    plot_panels,
)

__all__ = ["plot_beside_paper", "plot_by_tokens", "plot_sampler"]

Looks = Mapping[str, tuple[str, str]]
"""Label → (meaning of ``COLOURS``, line style)."""


def plot_by_tokens(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    unit: str,
    looks: Looks,
    grid: ArrayLike,
    guess: float | None = None,
) -> Figure:
    """A quantity between 0 and 1 against sampled tokens, a panel for each title, mean and band over seeds.

    Args:
        panels: title → label → curves [S, T].
        unit: what is on the y axes.
        looks: of the labels.
        grid: [T], sampled tokens.
        guess: accuracy of blind guessing.
    """
    units = [unit, *[""] * (len(panels) - 1)]
    thousands = np.asarray(grid, dtype=float) / 1000
    figure = plot_panels(panels, units, looks, (-0.02, 1.02), thousands, guess)
    for ax in figure.axes:
        ax.set_xlabel("sampled tokens, thousands")
    return figure


def plot_beside_paper(
    paper: Mapping[str, tuple[ArrayLike, ArrayLike]],
    switch: float,
    panels: Mapping[str, Mapping[str, ArrayLike]],
    our_switch: float,
    looks: Looks,
    grid: ArrayLike,
    guess: float,
) -> Figure:
    """Kimi's Figure 9, and the same comparison here, with the place at which only hard problems are left.

    Args:
        paper: label → (iterations, accuracies), one run each.
        switch: iteration of the change to hard problems.
        panels: title → label → curves [S, T] of our runs.
        our_switch: tokens at that change.
        looks: of the labels.
        grid: [T], sampled tokens.
        guess: accuracy of blind guessing, in our world.
    """
    figure, axes = new_figure(1, 1 + len(panels), width=3.6 * (1 + len(panels)), height=3.6)
    first, *ours = np.ravel(axes)
    for label, (x, y) in paper.items():
        meaning, style = looks[label]
        first.plot(x, y, color=COLOURS[meaning], linestyle=style, marker="o", markersize=3)
    first.set(title="Kimi's Figure 9, one run each", xlabel="iteration", ylabel="accuracy")
    thousands, named = np.asarray(grid, dtype=float) / 1000, {}
    for ax, (title, bands) in zip(ours, panels.items(), strict=True):
        for label, curves in bands.items():
            plot_band(curves, ax, label, looks[label][0], thousands, looks[label][1])
        ax.get_legend().remove()
        ax.set(title=title, xlabel="sampled tokens, thousands", ylim=(-0.02, 1.02))
        plot_guessing(ax, guess)
        named |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    for ax, place in ((first, switch), *((ax, our_switch / 1000) for ax in ours)):
        ax.axvline(place, color=COLOURS["reference"], linewidth=1, linestyle=(0, (1, 2)))
        ax.annotate(
            "only hard →",
            (place, 0.93),
            (-4, 0),
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=INK,
        )
    figure.legend(named.values(), list(named), loc="outside lower center", ncols=2, frameon=False)
    return figure


def plot_sampler(
    terms: Sequence[int],
    pool: ArrayLike,
    probabilities: ArrayLike,
    rates: ArrayLike,
    silent: ArrayLike,
) -> Figure:
    """What a sampler asks, above what there is to learn from it.

    Args:
        terms: [K], the classes.
        pool: [K], how often each class occurs in the data.
        probabilities: [K], of the sampler.
        rates: [K], success rates.
        silent: [K], probability that a group of the class has no spread.
    """
    figure, (top, bottom) = new_figure(2, 1, width=7.5, height=4.6)
    places = np.asarray(terms)
    bars = {"color": COLOURS["policy"], "width": 0.6, "label": "asked"}
    top.bar(places, np.asarray(probabilities), **bars)
    pool_line = {"color": INK, "linestyle": "", "marker": "_", "markersize": 16}
    top.plot(places, np.asarray(pool), **pool_line, label="in the pool")
    top.set(ylabel="probability", ylim=(0, None))
    for values, meaning, mark, label in (
        (rates, "right", "o", "success rate s"),
        (silent, "wrong", "s", "silent groups"),
    ):
        colour = COLOURS[meaning]
        line = {"color": colour, "marker": mark, "markersize": 5, "label": label}
        bottom.plot(places, np.asarray(values), **line)
    bottom.set(ylabel="share", ylim=(-0.04, 1.04), xlabel="number of terms")
    for ax in (top, bottom):
        ax.set_xticks(places)
        plain_legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
