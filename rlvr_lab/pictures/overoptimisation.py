"""Over-optimisation: curves at equal √KL or equal proxy, best-of-n's KL, fitted forms (notebooks 01, 02)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    axes_or_new,
    label_ends,
    legend_below,
    new_figure,
    plain_legend,
    plot_band,
)

__all__ = [
    "plot_best_of_n_kl",
    "plot_collapse",
    "plot_equal",
    "plot_forms",
    "plot_panels_at_equal",
    "powers_of_two",
]


def powers_of_two(ax: Axes, last: int) -> None:
    """A logarithmic x axis for 1, 2, 4, … ``last`` with ticks at powers of two."""
    ticks = [2**k for k in range(int(np.log2(last)) + 1)]
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def plot_equal(
    curves: Mapping[str, ArrayLike],
    looks: Mapping[str, tuple[str, str]],
    grid: ArrayLike,
    xlabel: str = "√KL to the base",
    ylabel: str = "gold reward per answer",
    ax: Axes | None = None,
    zero: str = "",
) -> Axes:
    """One curve per label at equal x, with bands over seeds; named at their ends where all end together.

    Args:
        curves: label → [S, G]; NaN where a seed did not get that far. A curve ends where its first seed
            ends: a mean over the seeds that remain would compare different seeds along the axis.
        looks: label → (meaning, line style).
        grid: [G], the common abscissa.
        xlabel: what the abscissa is.
        ylabel: what the curves are.
        ax: where to draw.
        zero: words for a horizontal line at 0; none is drawn without them.
    """
    ax = axes_or_new(ax)
    grid, ends = np.asarray(grid, dtype=float), []
    if zero:
        ax.axhline(0, color=COLOURS["reference"], linewidth=1, linestyle=(0, (5, 2)))
        ax.annotate(zero, (grid[0], 0), xytext=(2, 3), textcoords="offset points", fontsize=8)
    for label, values in curves.items():
        values, (colour, style) = np.asarray(values, dtype=float), looks[label]
        keep = np.isfinite(values).all(axis=0)
        plot_band(values[:, keep], ax, label, colour, grid[keep], style)
        last = np.flatnonzero(keep)[-1]
        mean = float(np.nanmean(values[:, last]))
        ends.append((float(grid[last]), mean, f"{label} (n = {len(values)})", COLOURS[colour]))
    ax.get_legend().remove()
    ax.set(xlabel=xlabel, ylabel=ylabel)
    stops = [x for x, *_ in ends]
    if max(stops) - min(stops) <= 0.1 * (max(stops) - grid[0]):
        label_ends(ax, ends)
    else:  # the label of a curve that ends in the middle would cover the others
        plain_legend(ax, loc="best")
    return ax


def plot_panels_at_equal(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    looks: Mapping[str, tuple[str, str]],
    grid: ArrayLike,
    ylabels: Sequence[str],
    xlabel: str = "√KL to the base",
) -> Figure:
    """``plot_equal`` side by side, one panel per title, with one legend below them."""
    figure, axes = new_figure(1, len(panels), width=4.6 * len(panels), height=3.7)
    grid = np.asarray(grid, dtype=float)
    for ax, (title, curves), unit in zip(np.ravel(axes), panels.items(), ylabels, strict=True):
        for label, values in curves.items():
            values = np.asarray(values, dtype=float)
            keep = np.isfinite(values).all(axis=0)
            plot_band(values[:, keep], ax, label, looks[label][0], grid[keep], looks[label][1])
        ax.set(title=title, ylabel=unit, xlabel=xlabel)
    legend_below(figure)
    return figure


def plot_best_of_n_kl(p: float, bound: Callable, exact: Callable, ax: Axes | None = None) -> Axes:
    """KL of best-of-n against n: the usual formula, the truth for rewards of 0 and 1, and its limit −log p.

    Args:
        p: probability that one answer is correct.
        bound: n → the formula.
        exact: (p, n) → the exact KL.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    ns = 2 ** np.arange(11)
    curves = {
        "log n − (n−1)/n": (bound(ns), "reference", "--"),
        f"correct or incorrect, p = {p:g}": ([exact(p, int(n)) for n in ns], "policy", "-"),
    }
    ends = []
    for label, (values, colour, style) in curves.items():
        ax.plot(ns, values, style, color=COLOURS[colour], linewidth=2)
        ends.append((float(ns[-1]), float(values[-1]), label, COLOURS[colour]))
    ax.axhline(-np.log(p), color=COLOURS["policy"], linewidth=0.8, linestyle=":")
    ax.annotate("−log p", (1, -np.log(p)), xytext=(2, 3), textcoords="offset points", fontsize=8)
    ax.set(xlabel="n, answers drawn", ylabel="KL (nats)", ylim=(0, 6.4))
    powers_of_two(ax, int(ns[-1]))
    label_ends(ax, ends)
    return ax


def plot_forms(
    points: Mapping[str, tuple[ArrayLike, ArrayLike]],
    fits: Mapping[str, Mapping[str, Callable[[np.ndarray], np.ndarray]]],
    looks: Mapping[str, str],
) -> Figure:
    """A panel per optimiser: the measured gain in gold reward as dots, and fitted forms as lines.

    Args:
        points: label → (√KL [S, T], gain [S, T]); dots are means over seeds.
        fits: label → form's name → function of √KL; the first is drawn solid, the second dashed.
        looks: label → meaning of its colour.
    """
    figure, axes = new_figure(1, len(points), width=4.6 * len(points), height=3.5)
    for ax, (label, (distance, gain)) in zip(np.ravel(axes), points.items(), strict=True):
        x, y = np.mean(distance, axis=0), np.mean(gain, axis=0)
        n = len(np.asarray(gain))
        ax.plot(x, y, "o", color=COLOURS[looks[label]], markersize=3.5, label=f"mean of {n} seeds")
        grid = np.linspace(0.05, x.max(), 200)
        for (name, form), style in zip(fits[label].items(), ("-", "--"), strict=True):
            ax.plot(grid, form(grid), style, color="#333333", linewidth=1.4, label=name)
        ax.set(title=label, xlabel="√KL to the base", ylabel="gain in gold reward")
        plain_legend(ax)
    return figure


def plot_collapse(
    entropies: Mapping[str, ArrayLike], passes: Mapping[str, ArrayLike], ks: Sequence[int]
) -> Figure:
    """Histogram of the entropy of each token, and pass@k with the level of blind guessing.

    Args:
        entropies: ``before`` and ``after`` → nats, one per sampled token.
        passes: label → [S, K], pass@k per seed; the mean over seeds is drawn.
        ks: the K values of k, powers of two.
    """
    figure, (left, right) = new_figure(1, 2, width=9.5, height=3.4)
    colours = {"before": "reference", "after": "policy"}
    for name, nats in entropies.items():
        look = {"color": COLOURS[colours[name]], "alpha": 0.6, "label": name}
        left.hist(np.asarray(nats), bins=np.linspace(0, 2.4, 25), density=True, **look)
    for (name, curves), style in zip(passes.items(), ("--", "-", ":"), strict=False):
        colour = COLOURS[colours.get(name, "length")]
        right.plot(
            ks, np.mean(curves, axis=0), style, color=colour, marker="o", markersize=4, label=name
        )
    left.set(xlabel="entropy of the next token (nats)", ylabel="density", yscale="log")
    right.set(xlabel="k, answers per problem", ylabel="pass@k", ylim=(0, 1.03))
    powers_of_two(right, max(ks))
    plain_legend(left)
    plain_legend(right, loc="lower right")
    return figure
