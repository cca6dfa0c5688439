"""RL on few prompts: accuracy on the set and on held-out problems (notebook 10, section 1)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    dark,
    legend_below,
    new_figure,
    plain_legend,
    plot_band,
    plot_guessing,
)

__all__ = ["plot_against_set_size", "plot_few_prompts"]

_LOOKS = {"on the set": ("reward", (0, (5, 2))), "held-out": ("policy", "-")}


def plot_few_prompts(
    sets: Mapping[str, tuple[ArrayLike, ArrayLike]],
    unlimited: ArrayLike,
    steps: ArrayLike,
    guess: float,
) -> Figure:
    """Accuracy over the steps, a panel for each set: on its prompts, on held-out problems, and unlimited prompts.

    Args:
        sets: number of prompts → (accuracy on the set [S, T], held-out accuracy [S, T]).
        unlimited: [S, T], held-out accuracy where each step has new prompts; its mean is drawn.
        steps: [T].
        guess: accuracy of blind guessing.
    """
    figure, axes = new_figure(1, len(sets), width=3.0 * len(sets), height=3.4)
    axes = np.atleast_1d(axes)
    for ax, (name, curves) in zip(axes, sets.items(), strict=True):
        for (label, (colour, style)), values in zip(_LOOKS.items(), curves, strict=True):
            plot_band(values, ax, label, colour, steps, style)
        mean = np.asarray(unlimited, dtype=float).mean(axis=0)
        ax.plot(steps, mean, ":", color=COLOURS["length"], linewidth=1.6,
                label="held-out, unlimited prompts")  # fmt: skip
        plot_guessing(ax, guess)
        ax.set(title=f"{name} prompt{'s' if name != '1' else ''}", ylim=(0, 1.03))
        ax.set_ylabel("accuracy" if ax is axes[0] else "")
    legend_below(figure, ncols=3, fontsize=9)
    return figure


def plot_against_set_size(
    sizes: Sequence[int], curves: Mapping[str, ArrayLike], unlimited: ArrayLike, guess: float
) -> Figure:
    """Final accuracy against the size of the set on a logarithmic axis; at the right unlimited prompts.

    Args:
        sizes: [K], numbers of prompts.
        curves: ``on the set`` and ``held-out``: [S, K].
        unlimited: [S], held-out accuracy with unlimited prompts.
        guess: accuracy of blind guessing.
    """
    figure, ax = new_figure(width=7.5, height=3.6)
    for label, values in curves.items():
        colour, style = _LOOKS[label]
        plot_band(values, ax, label, colour, np.asarray(sizes), style)
        points = np.asarray(values, dtype=float)
        marks = {"color": COLOURS[colour], "alpha": 0.5, "markersize": 4, "linestyle": ""}
        for row in points:
            ax.plot(list(sizes), row, "s" if label == "on the set" else "o", **marks)
    far, unlimited = sizes[-1] * 5, np.asarray(unlimited, dtype=float)
    ax.plot(np.full(len(unlimited), far), unlimited, "D", color=COLOURS["length"], alpha=0.5,
            markersize=5, label=f"held-out, unlimited prompts, n = {len(unlimited)} seeds")  # fmt: skip
    ax.axhline(unlimited.mean(), color=dark(COLOURS["reference"]), linestyle=":", linewidth=1.2)
    ax.set_xscale("log", base=4)
    places = [*sizes, far]
    ax.xaxis.set_major_locator(FixedLocator(places))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(places, [*(f"{n:,}" for n in sizes), "unlimited"])
    ax.set(xlabel="prompts in the set", ylabel="accuracy after 40 steps", ylim=(0, 1.03))
    plot_guessing(ax, guess)
    plain_legend(ax, loc="center right")
    return figure
