"""Pictures of the curation of a mixed pool (notebook 09, section 1)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlvr_lab.pictures.seeds import effect_row
from rlvr_lab.pictures.style import COLOURS, INK, axes_or_new, new_figure, plain_legend

__all__ = ["plot_levels", "plot_ratings", "plot_removed", "plot_ways"]

_TESTS = (("wrong", "o"), ("policy", "s"), ("reward", "^"))
_WAYS = {
    "flawless chain": ("right", ""),
    "another chain": ("reward", "//"),
    "no chain": ("wrong", ".."),
}


def plot_removed(
    shares: Mapping[str, Mapping[str, ArrayLike]],
    blind: Mapping[str, float],
    ax: Axes | None = None,
) -> Axes:
    """Share of the items that each test removes, a row for each kind of item.

    Args:
        shares: test → kind → [S], one share per seed. The first kind stands on top.
        blind: kind → what blind guessing would give, a grey tick.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    kinds = list(next(iter(shares.values())))
    for number, (test, by_kind) in enumerate(shares.items()):
        meaning, marker = _TESTS[number]
        for kind, values in by_kind.items():
            y = len(kinds) - 1 - kinds.index(kind) + 0.16 - 0.32 * number
            effect_row(ax, y, values, COLOURS[meaning], marker, spread=0.06)
        ax.plot([], [], marker, color=COLOURS[meaning], label=test)
    for kind, level in blind.items():
        y = len(kinds) - 1 - kinds.index(kind)
        ax.plot([level, level], [y - 0.05, y + 0.4], color=INK, linestyle=":", linewidth=1.6)
    ax.plot([], [], color=INK, linestyle=":", label="blind guessing, 1 − (1 − g)⁸")
    ax.set_yticks(range(len(kinds)), kinds[::-1])
    ax.set(xlim=(-0.02, 1.04), ylim=(-0.6, len(kinds) - 0.4))
    seeds = len(next(iter(next(iter(shares.values())).values())))
    ax.set_xlabel(f"share of the items removed (dots: {seeds} seeds, lines: 95 % intervals)")
    ax.grid(axis="y", visible=False)
    plain_legend(ax, loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=3)
    return ax


def plot_ratings(
    terms: Sequence[ArrayLike], first: Sequence[ArrayLike], second: Sequence[ArrayLike], n: int
) -> Figure:
    """Pass rates against the number of terms, and two estimates of the same pass rate against each other.

    Args:
        terms: for each seed [M], the number of terms of each problem.
        first: for each seed [M], correct ones among n answers.
        second: the same, drawn again.
        n: answers to each problem in one estimate.
    """
    figure, (left, right) = new_figure(1, 2, height=3.6)
    sizes = sorted(set(np.concatenate([np.asarray(t) for t in terms]).tolist()))
    rows = []
    for t, one, two in zip(terms, first, second, strict=True):
        rate = (np.asarray(one) + np.asarray(two)) / (2 * n)
        rows.append([rate[np.asarray(t) == size].mean() for size in sizes])
        left.plot(sizes, rows[-1], color=COLOURS["policy"], alpha=0.35, linewidth=1)
    left.plot(sizes, np.mean(rows, axis=0), "o-", color=COLOURS["policy"], linewidth=2)
    left.set(xlabel="terms of the sum", ylabel="pass rate, with a chain", ylim=(0, 1.02))
    left.set_title(f"mean over {len(rows)} seeds, thin lines: seeds", fontsize=10)
    counts = np.zeros((n + 1, n + 1))
    for one, two in zip(first, second, strict=True):
        np.add.at(counts, (np.asarray(one), np.asarray(two)), 1)
    x, y = np.nonzero(counts)
    area = 260 * counts[x, y] / counts.max()
    right.scatter(x / n, y / n, s=area, color=COLOURS["policy"], alpha=0.6, linewidths=0)
    right.plot([0, 1], [0, 1], color=COLOURS["reference"], linestyle=(0, (5, 2)), linewidth=1)
    right.set(xlabel=f"pass rate of {n} answers", ylabel=f"of {n} other answers")
    right.set_title(f"{int(counts.sum())} problems, area: how many", fontsize=10)
    return figure


def plot_ways(panels: Mapping[str, Mapping[str, Mapping[str, ArrayLike]]]) -> Figure:
    """How correct answers were reached: a panel for each title, a stacked bar for each kind of item.

    Args:
        panels: title → kind → way (``flawless chain``, ``another chain``, ``no chain``) → [S], shares of all answers.
            A bar is as long as the accuracy; its parts are means over seeds.
    """
    kinds = list(next(iter(panels.values())))
    figure, axes = new_figure(1, len(panels), height=1.5 + 0.36 * len(kinds))
    for ax, (title, by_kind) in zip(np.ravel(axes), panels.items(), strict=True):
        for row, ways in enumerate(by_kind.values()):
            start = 0.0
            for way, (meaning, hatch) in _WAYS.items():
                width, y = float(np.mean(ways[way])), len(kinds) - 1 - row
                ax.barh(
                    y,
                    width,
                    0.62,
                    start,
                    color=COLOURS[meaning],
                    hatch=hatch,
                    edgecolor="white",
                    label=way if row == 0 else None,
                )
                start += width
        ax.set_yticks(range(len(kinds)), kinds[::-1])
        ax.set(title=title, xlim=(0, 1.02), xlabel="share of all answers")
        ax.grid(axis="y", visible=False)
    handles, labels = np.ravel(axes)[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def plot_levels(
    levels: Mapping[str, ArrayLike],
    marks: Mapping[str, float],
    unit: str,
    ax: Axes | None = None,
    colours: Mapping[str, str] | None = None,
) -> Axes:
    """One level for each condition: a dot for each seed, the mean and its 95 % interval.

    Args:
        levels: condition → [S]. The first stands on top.
        marks: name → a level to compare with, a dotted line.
        unit: what is on the x axis.
        ax: where to draw.
        colours: condition → a meaning of ``COLOURS``; by default ``policy``.
    """
    names = list(levels)
    ax = new_figure(width=8, height=1.2 + 0.36 * len(names))[1] if ax is None else ax
    for row, name in enumerate(names):
        colour = COLOURS[(colours or {}).get(name, "policy")]
        effect_row(ax, len(names) - 1 - row, levels[name], colour)
    for name, level in marks.items():
        ax.axvline(level, color=INK, linestyle=":", linewidth=1.2, zorder=1)
        ax.annotate(
            name,
            (level, 1.0),
            (2, 2),
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            fontsize=8.5,
            color=INK,
        )
    ax.set_yticks(range(len(names)), names[::-1])
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(names) - 0.4))
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(unit)
    return ax
