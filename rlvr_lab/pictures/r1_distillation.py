"""Pictures of distillation against RL on the student (notebook 08, section 7; notebook 10, section 4)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import COLOURS, INK, new_figure, plot_panels

__all__ = ["plot_against_cost", "plot_two_methods"]


def plot_against_cost(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    looks: Mapping[str, tuple[str, str]],
    grid: ArrayLike,
    cost: str,
    guess: float,
) -> Figure:
    """Accuracy against a cost on a logarithmic axis, a panel for each title, mean and band over seeds.

    Args:
        panels: title → label → curves [S, T].
        looks: label → (meaning of ``COLOURS``, line style).
        grid: [T], the costs.
        cost: what they are, with the unit.
        guess: accuracy of blind guessing.
    """
    units = ["accuracy", *[""] * (len(panels) - 1)]
    figure = plot_panels(panels, units, looks, (-0.02, 1.02), grid, guess)
    for ax in figure.axes:
        ax.set(xscale="log", xlabel=cost)
        if max(grid) < 10 * min(
            grid
        ):  # within a decade matplotlib labels all minor ticks, and they overlap
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            ax.xaxis.set_minor_locator(NullLocator())
    return figure


def plot_two_methods(
    panels: Mapping[str, Mapping[str, Mapping[str, ArrayLike]]],
    units: Sequence[str],
    xlim: tuple[float, float] | None = None,
) -> Figure:
    """Two or more methods side by side: a panel for each title, a row for each case, a marker for each method.

    Args:
        panels: title → case → method → its values, one per seed, or one number.
        units: of each panel's x axis.
        xlim: of all panels.
    """
    figure, axes = new_figure(1, len(panels), width=4.8 * len(panels), height=3.0)
    colours, named = [COLOURS["policy"], COLOURS["reward"], COLOURS["reference"]], {}
    for ax, (title, cases), unit in zip(np.ravel(axes), panels.items(), units, strict=True):
        for row, methods in enumerate(reversed(cases.values())):
            for k, (method, values) in enumerate(methods.items()):
                values = np.atleast_1d(np.asarray(values, dtype=float))
                y = row + 0.1 - 0.2 * k
                one = {"color": colours[k], "marker": "os^"[k], "linestyle": ""}
                if len(values) > 1:
                    ax.plot(values, np.full(len(values), y), **one, alpha=0.3, markersize=4)
                named[method] = ax.plot([values.mean()], [y], **one, markersize=7)[0]
        ax.set_yticks(range(len(cases)), list(cases)[::-1])
        ax.set(title=title, xlabel=unit, ylim=(-0.6, len(cases) - 0.4))
        if xlim:
            ax.set_xlim(xlim)
        ax.tick_params(axis="y", labelcolor=INK)
        ax.grid(axis="y", visible=False)
    place = {"loc": "outside lower center", "ncols": len(named), "frameon": False}
    figure.legend(named.values(), list(named), **place)
    return figure
