"""The benchmark tables of the DeepSeek-R1 paper as pictures (notebook 08)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, Formatter, NullLocator

from rlvr_lab.pictures.style import COLOURS, INK, dark, label_ends, new_figure, plain_legend

__all__ = ["plot_distilled", "plot_scores"]

Table = Mapping[str, Mapping[str, float | None]]

# The mark on top is the smallest, so that two equal scores can both be seen.
_MARKS = [("policy", "o", 6.0), ("reward", "D", 9.0), ("kl", "s", 7.0)]
_ROW = 0.24  # inches


def plot_scores(
    panels: Mapping[str, Table],
    breaks: Sequence[str] = (),
    missing: str = "",
    differences: bool = False,
    legend_at: float | None = 0.5,
    width: float = 8.0,
) -> Figure:
    """A panel for each table: a row for each benchmark, a mark for each model, joined by a line.

    Args:
        panels: title → benchmark → model → its score in %, None where there is none. At most three models in
            a panel; the first is drawn on top, filled.
        breaks: benchmarks above which a thin line separates groups.
        missing: what to write in a row where a model has no score.
        differences: write the first model's score minus the second's at the right.
        legend_at: height of the legend, which stands at the left, as a share of the panel. None: below the panels.
        width: inches of the figure.

    Raises:
        ValueError: with more than three models in a panel.
    """
    most = max(len(table) for table in panels.values())
    figure, axes = new_figure(1, len(panels), width=width, height=0.9 + _ROW * most)
    for ax, (title, table) in zip(np.ravel(axes), panels.items(), strict=True):
        models = list(next(iter(table.values())))
        if len(models) > len(_MARKS):
            raise ValueError(f"panels: at most {len(_MARKS)} models in a panel, got {models}")
        for y, (benchmark, values) in enumerate(reversed(table.items())):
            _row(ax, y, values, missing, differences)
            if benchmark in breaks:
                ax.axhline(y + 0.5, color="#999999", linewidth=0.8)
        for index in range(len(models) - 1, -1, -1):
            _marks(ax, table, models[index], index)
        ax.set_yticks(range(len(table)), list(table)[::-1])
        ax.set(xlabel="score (%)", xlim=(0, 101), ylim=(-0.6, len(table) - 0.4))
        ax.set_title(title, fontsize=10, color=INK)
        ax.grid(axis="y", visible=False)
        handles, names = (found[::-1] for found in ax.get_legend_handles_labels())
        if legend_at is None:
            figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
        else:
            plain_legend(ax, handles=handles, labels=names, loc="center left",
                         bbox_to_anchor=(0, legend_at))  # fmt: skip
    return figure


def _row(
    ax: Axes, y: int, values: Mapping[str, float | None], missing: str, differences: bool
) -> None:
    known = [value for value in values.values() if value is not None]
    ax.plot([min(known), max(known)], [y, y], color="#C8C8C8", linewidth=2, zorder=1)
    across = {"xycoords": ax.get_yaxis_transform(), "va": "center"}
    if missing and len(known) < len(values):
        ax.annotate(missing, (0.01, y), color=INK, fontsize=8, **across)
    first, second = list(values.values())[:2]
    if differences and first is not None and second is not None:
        text = Formatter.fix_minus(f"{first - second:+.1f}")
        sign = "reference" if first == second else "right" if first > second else "wrong"
        hue = COLOURS[sign]
        ax.annotate(text, (1.01, y), color=dark(hue), fontsize=8.5, **across)


def _marks(ax: Axes, table: Table, model: str, index: int) -> None:
    hue, mark, size = _MARKS[index]
    points = [
        (values[model], y)
        for y, values in enumerate(reversed(table.values()))
        if values[model] is not None
    ]
    face = COLOURS[hue] if index == 0 else "white"
    ax.plot(*zip(*points, strict=True), mark, color=COLOURS[hue], markersize=size,
            markerfacecolor=face, markeredgewidth=1.8, label=model, zorder=3)  # fmt: skip


def plot_distilled(
    sizes: Sequence[float],
    scores: Mapping[str, Sequence[float]],
    levels: Mapping[str, float],
    families: Sequence[str],
    other: str,
    ax: Axes | None = None,
) -> Axes:
    """Scores of distilled models against their size; filled for the first family, hollow for the second.

    Args:
        sizes: billions of parameters, one for each model.
        scores: benchmark → one score for each model, in %.
        levels: benchmark → the score of another model to compare with, drawn as a short line at the right.
        families: of each model, two in all.
        other: name of that other model.
        ax: where to draw.
    """
    ax = new_figure(width=8, height=3.9)[1] if ax is None else ax
    hues = ["policy", "right", "kl", "reward", "entropy"]
    order, first = np.argsort(sizes), families[0]
    ends = []
    for (benchmark, values), hue in zip(scores.items(), hues, strict=False):
        colour = COLOURS[hue]
        own = [i for i in order if families[i] == first]
        ax.plot([sizes[i] for i in own], [values[i] for i in own], "-o", color=colour, linewidth=2)
        rest = [i for i in order if families[i] != first]
        ax.plot([sizes[i] for i in rest], [values[i] for i in rest], "s", color=colour,
                markerfacecolor="white", markeredgewidth=1.8, markersize=7)  # fmt: skip
        ax.plot([88, 120], [levels[benchmark]] * 2, color=dark(colour), linewidth=2.5)
        ends.append((120, levels[benchmark], benchmark, colour))
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(sorted(sizes)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(sorted(sizes), [f"{size:g}" for size in sorted(sizes)])
    ax.set(xlabel="parameters of the student (billions)", ylabel="score (%)", ylim=(0, 101))
    ax.set_xlim(1.3, 120)
    ax.annotate(other, (103, max(levels.values()) + 2), ha="center", fontsize=8.5, color=INK)
    for name, mark, face in zip(dict.fromkeys(families), "os", (INK, "white"), strict=True):
        ax.plot([], [], mark, color=INK, markerfacecolor=face, markeredgewidth=1.8, label=name)
    plain_legend(ax, loc="lower right", bbox_to_anchor=(0.86, 0))
    label_ends(ax, ends, size=8.5)
    return ax
