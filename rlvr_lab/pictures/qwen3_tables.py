"""The tables and the budget curves of the Qwen3 report as pictures (notebook 10)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, Formatter, NullLocator
from numpy.typing import ArrayLike

from rlvr_lab.pictures.r1_tables import plot_scores
from rlvr_lab.pictures.style import COLOURS, INK, dark, label_ends, new_figure

__all__ = ["plot_budgets", "plot_composition", "plot_distillation_vs_rl"]

Score = float | ArrayLike | None

# Hollow for the first stages, filled for the last: the eye finds where a row ends.
_MARKS = [("reference", "o"), ("entropy", "^"), ("reward", "s"), ("policy", "D")]
_NONE = 0.5  # where non-thinking mode stands on the axis of budgets


def plot_composition(
    rows: Mapping[str, Mapping[str, Sequence[Score]]],
    stages: Sequence[str],
    breaks: Sequence[str] = (),
    unit: str = "score (%)",
    guess: Mapping[str, float] | None = None,
    xlim: tuple[float, float] = (0, 101),
    first: int = 1,
) -> Figure:
    """What each training stage does to each task: a panel for each mode, a row for each task, a mark for each stage.

    At the right of a row stand the changes from each stage to the next, in the stages' order.

    Args:
        rows: task → mode → a value for each stage: a number, one number per seed (the mean is the mark, the
            seeds are faint dots) or None where there is none. All tasks have the same modes.
        stages: names in order of training; two, three or four.
        breaks: tasks above which a thin line separates groups.
        unit: of the values.
        guess: task → level of blind guessing, drawn as a short dotted line across the row.
        xlim: of both panels.
        first: number of the first stage; the others count on.

    Raises:
        ValueError: with another number of stages, or a row that has not one value for each.
    """
    if not 2 <= len(stages) <= len(_MARKS):
        raise ValueError(f"stages: two to {len(_MARKS)}, got {list(stages)}")
    modes = list(next(iter(rows.values())))
    figure, axes = new_figure(1, len(modes), width=10, height=1.3 + 0.27 * len(rows))
    marks = _MARKS[-len(stages) :]
    for ax, mode in zip(np.ravel(axes), modes, strict=True):
        for y, (task, values) in enumerate(reversed(rows.items())):
            if len(values[mode]) != len(stages):
                raise ValueError(f"rows: {task}, {mode} needs {len(stages)} values")
            _stage_row(ax, y, values[mode], marks)
            if task in breaks:
                ax.axhline(y + 0.5, color="#999999", linewidth=0.8)
            if guess and task in guess:
                ax.plot([guess[task]] * 2, [y - 0.4, y + 0.4], ":", color=INK, linewidth=1.6)
        ax.set_yticks(range(len(rows)), list(rows)[::-1])
        if ax is not np.ravel(axes)[0]:
            ax.tick_params(axis="y", labelleft=False)
        ax.set(xlabel=unit, xlim=xlim, ylim=(-0.6, len(rows) - 0.4))
        ax.set_title(mode, fontsize=10, color=INK)
        ax.grid(axis="y", visible=False)
        drawn = np.array([[v is not None for v in row[mode]] for row in rows.values()])
        for k in (1 + np.flatnonzero((drawn[:, 1:] & drawn[:, :-1]).any(axis=0))).tolist():
            _beside(ax, k, len(rows) - 0.15, f"{first + k - 1}→{first + k}", INK)
    handles = [_mark([], [], ax, *look, last=k == len(marks) - 1) for k, look in enumerate(marks)]
    names = [f"{first + k}: after {stage}" for k, stage in enumerate(stages)]
    if guess:
        handles += ax.plot([], [], ":", color=INK, linewidth=1.6)
        names.append("blind guessing")
    place = {"loc": "outside lower center", "ncols": len(names), "frameon": False}
    figure.legend(handles, names, fontsize=9, labelcolor=INK, **place)
    return figure


def _stage_row(ax: Axes, y: float, values: Sequence[Score], marks: Sequence[tuple]) -> None:
    seeds = [None if v is None else np.atleast_1d(np.asarray(v, dtype=float)) for v in values]
    means = [None if v is None else float(v.mean()) for v in seeds]
    known = [mean for mean in means if mean is not None]
    ax.plot([min(known), max(known)], [y, y], color="#C8C8C8", linewidth=2, zorder=1)
    for k, (mean, look) in enumerate(zip(means, marks, strict=True)):
        if mean is None:
            continue
        if len(seeds[k]) > 1:
            spread = y + np.linspace(-0.2, 0.2, len(seeds[k]))
            ax.plot(seeds[k], spread, ".", color=COLOURS[look[0]], alpha=0.4, markersize=4)
        _mark([mean], [y], ax, *look, last=k == len(marks) - 1)
    for k, (one, two) in enumerate(pairwise(means), start=1):
        if one is not None and two is not None:
            hue = COLOURS["reference" if two == one else "wrong" if two < one else "right"]
            _beside(ax, k, y, Formatter.fix_minus(f"{two - one:+.1f}"), dark(hue))


def _beside(ax: Axes, column: int, y: float, text: str, colour: str | tuple) -> None:
    """Write ``text`` right of the axes, in one of the columns 1, 2, … of changes."""
    place = (0.91 + 0.12 * column, y)
    ax.annotate(
        text, place, xycoords=ax.get_yaxis_transform(), va="center", fontsize=8, color=colour
    )


def _mark(x: ArrayLike, y: ArrayLike, ax: Axes, hue: str, mark: str, last: bool) -> Line2D:
    face = COLOURS[hue] if last else "white"
    return ax.plot(x, y, mark, color=COLOURS[hue], markerfacecolor=face, markeredgewidth=1.7,
                   markersize=5.5 if last else 7.5, zorder=4 if last else 3)[0]  # fmt: skip


def plot_distillation_vs_rl(
    rows: Mapping[str, Mapping[str, float]], hours: Mapping[str, float]
) -> Figure:
    """Scores of the start and of two ways to go on from it, and beside them what each way costs.

    Args:
        rows: benchmark → method → score in %; the last method is drawn on top, filled.
        hours: method → GPU hours, for the methods that have a number.
    """
    back = {
        benchmark: {f"{name}{_hours(hours, name)}": values[name] for name in reversed(values)}
        for benchmark, values in rows.items()
    }
    return plot_scores(
        {"Qwen3-8B; at the right the filled mark minus the diamond": back},
        differences=True,
        legend_at=None,
        width=8.5,
    )


def _hours(hours: Mapping[str, float], name: str) -> str:
    return f" ({hours[name]:,.0f} GPU hours)" if name in hours else ""


def plot_budgets(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    non_thinking: Mapping[str, float],
    unit: str = "pass@1 (%)",
    ax: Axes | None = None,
) -> Axes:
    """Accuracy against the thinking budget on a logarithmic axis; non-thinking mode stands hollow at its left.

    Args:
        curves: benchmark → (budgets in thousands of tokens, accuracy), [n] each. At most five.
        non_thinking: benchmark → accuracy without thinking.
        unit: of the accuracy.
        ax: where to draw.
    """
    ax = new_figure(width=8, height=3.8)[1] if ax is None else ax
    hues = ["policy", "right", "kl", "wrong", "reward"]
    ends, budgets = [], set()
    for (name, (x, y)), hue, mark in zip(curves.items(), hues, "osD^v", strict=False):
        x, y, colour = np.asarray(x, dtype=float), np.asarray(y, dtype=float), COLOURS[hue]
        ax.plot(x, y, f"-{mark}", color=colour, linewidth=2, markersize=6)
        ax.plot([_NONE, x[0]], [non_thinking[name], y[0]], ":", color=colour, linewidth=1.3)
        ax.plot([_NONE], [non_thinking[name]], mark, color=colour, markerfacecolor="white",
                markeredgewidth=1.8, markersize=7)  # fmt: skip
        ends.append((float(x[-1]), float(y[-1]), name, colour))
        budgets |= set(x.tolist())
    places = [_NONE, *sorted(budgets)]
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(places))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(places, ["no\nthinking", *(f"{x:g}K" for x in places[1:])])
    ax.set(xlabel="thinking budget (tokens)", ylabel=unit, ylim=(0, 100))
    ax.set_xlim(_NONE / 1.15, places[-1])
    label_ends(ax, ends)
    return ax
