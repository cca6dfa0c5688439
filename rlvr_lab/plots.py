"""Metrics in, pictures out: one function a picture, ``plot_x(data, ax=None) -> Axes``.

Object-oriented matplotlib with the Agg canvas only. pyplot keeps global state, and a figure drawn in a
training thread must not meddle with one that a cell is drawing.

One colour, one meaning, through the whole course (``COLOURS``, after Okabe and Ito). Line style, marker
or a label at the line's end says the same again, so that colour is never the only cue.
"""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from IPython.display import Image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from rlvr_lab.metrics import bootstrap_band

__all__ = [
    "COLOURS",
    "describe_run",
    "new_figure",
    "plot_band",
    "plot_curve",
    "plot_gradient_share",
    "plot_kl_estimators",
    "plot_length_drift",
    "plot_lengths",
    "plot_run",
    "plot_std_multiplier",
    "read_change",
    "show",
]

Record = Mapping[str, Any]

COLOURS = {
    "policy": "#0072B2",
    "reference": "#707070",
    "reward": "#E69F00",
    "kl": "#CC79A7",
    "wrong": "#D55E00",
    "right": "#009E73",
    "length": "#000000",
    "entropy": "#56B4E9",
}
_STYLES = {"reference": (0, (5, 2)), "right": "-", "wrong": "-", "length": (0, (1, 1))}
_MARKERS = {"right": "o", "wrong": "X"}
_MEANING = {
    "pass_rate": "right",
    "reward_accuracy": "right",
    "reward_format": "reference",
    "length_right": "right",
    "length_wrong": "wrong",
}
_UNITS = {
    "reward": "reward per answer",
    "pass_rate": "share of right answers",
    "kl": "nats per token",
    "entropy": "nats per token",
    "length": "tokens",
    "length_right": "tokens",
    "length_wrong": "tokens",
}
_RUN_STYLES = [(0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (8, 3))]
_GRID, _INK, _DPI = "#E4E4E4", "#333333", 100


# --- figures -----------------------------------------------------------------------------------------


def new_figure(
    rows: int = 1, cols: int = 1, width: float = 9.0, height: float | None = None
) -> tuple[Figure, Any]:
    """A figure with an Agg canvas, and its axes (one ``Axes``, or an array when there are several).

    Args:
        rows: rows of axes.
        cols: columns of axes.
        width: in inches; 9 fills a notebook cell.
        height: in inches; by default 3 for each row.
    """
    figure = Figure(figsize=(width, height or 3.0 * rows), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, cols)
    for ax in np.atleast_1d(axes).flat:
        _tidy(ax)
    return figure, axes


def show(figure: Figure, alt: str) -> Image:
    """The figure as a PNG that carries ``alt``, its description in words, in the output's metadata.

    Args:
        figure: what to draw.
        alt: one or two sentences saying what the picture shows, for readers who cannot see it.

    Raises:
        ValueError: when ``alt`` is empty.
    """
    if not alt.strip():
        raise ValueError("alt: say in words what the picture shows")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Description": alt})
    return Image(data=buffer.getvalue(), format="png", alt=alt)


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#999999")
    ax.grid(True, color=_GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=9, colors=_INK, length=3)
    ax.xaxis.label.set(color=_INK, size=9)
    ax.yaxis.label.set(color=_INK, size=9)


def _axes(ax: Axes | None) -> Axes:
    return new_figure(height=3.4)[1] if ax is None else ax


def _dark(colour: str) -> tuple[float, float, float]:
    """The colour darkened until small text in it can be read on white."""
    return tuple(0.6 * part for part in to_rgb(colour))


def _legend(ax: Axes, **options: Any) -> None:
    ax.legend(frameon=False, fontsize=9, labelcolor=_INK, **options)


def _label_ends(ax: Axes, ends: list[tuple[float, float, str, str]], size: float = 9) -> None:
    """Write ``(x, y, text, colour)`` right of the line ends, moved apart where they would collide."""
    ends = sorted((end for end in ends if math.isfinite(end[1])), key=lambda end: end[1])
    if not ends:
        return
    low, high = ax.get_ylim()
    inches = ax.get_position().height * ax.figure.get_size_inches()[1]
    gap = 1.25 * size / 72 / max(inches, 0.5)
    wanted = [(end[1] - low) / (high - low) for end in ends]
    places = list(wanted)
    for _ in range(60):
        for i in range(len(places) - 1):
            overlap = gap - (places[i + 1] - places[i])
            if overlap > 0:
                places[i] -= overlap / 2
                places[i + 1] += overlap / 2
    shift = min(0.0, 1.0 - places[-1])
    for (x, _, text, colour), place in zip(ends, places, strict=True):
        ax.annotate(
            text,
            xy=(x, place + shift),
            xycoords=ax.get_xaxis_transform(),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=_dark(colour),
            fontsize=size,
            annotation_clip=False,
        )


# --- curves of a run ---------------------------------------------------------------------------------


def _column(records: Iterable[Record], key: str) -> np.ndarray:
    """One metric over the records; NaN where it is missing, None or not finite."""
    values = [record.get(key) for record in records]
    column = np.array([math.nan if value is None else float(value) for value in values])
    return np.where(np.isfinite(column), column, math.nan)


def _smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over the last ``window`` values that exist; a gap in the data stays a gap."""
    smooth = np.full(len(values), math.nan)
    for i in range(len(values)):
        recent = values[max(0, i - window + 1) : i + 1]
        if not np.isnan(values[i]):
            smooth[i] = np.nanmean(recent)
    return smooth


def plot_curve(
    records: Sequence[Record],
    key: str,
    ax: Axes | None = None,
    label: str | None = None,
    smooth: int = 1,
    colour: str | None = None,
    style: Any = None,
    faint: bool = False,
) -> Axes:
    """One metric of a run over its steps; with ``smooth`` > 1 the raw data stays faint underneath.

    Args:
        records: metrics records of ``train``.
        key: the metric, e.g. ``"reward"``. Missing, None and NaN leave gaps.
        ax: where to draw.
        label: for the legend.
        smooth: window of the trailing mean, in steps; 1 draws the data as they are.
        colour: by default the metric's own of ``COLOURS``.
        style: line style, by default the metric's own.
        faint: draw it as background, without raw data.

    Raises:
        ValueError: when ``smooth`` < 1.
    """
    if smooth < 1:
        raise ValueError(f"smooth: need a window of at least 1 step, got {smooth}")
    ax = _axes(ax)
    meaning = _MEANING.get(key, key)
    colour = colour or COLOURS.get(meaning, COLOURS["policy"])
    style = style or _STYLES.get(meaning, "-")
    steps = [record.get("step", i) for i, record in enumerate(records)]
    values = _column(records, key)
    marker = _MARKERS.get(meaning) or ("." if np.isfinite(values).sum() < 2 else None)
    if smooth > 1 and not faint:
        ax.plot(steps, values, color=colour, linewidth=1, alpha=0.3)
    ax.plot(
        steps,
        _smoothed(values, smooth),
        color=colour,
        linestyle=style,
        linewidth=1.4 if faint else 2,
        alpha=0.55 if faint else 1,
        marker=marker,
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        markevery=max(1, len(steps) // 8),
        label=label,
    )
    ax.set_xlabel("step")
    ax.set_ylabel(_UNITS.get(key, key.replace("_", " ")))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if label:
        _legend(ax)
    return ax


def plot_lengths(
    records: Sequence[Record], ax: Axes | None = None, smooth: int = 1, total: int | None = None
) -> Axes:
    """Length of all, right and wrong answers over the steps of a run, in tokens.

    Args:
        records: metrics records of ``train``.
        ax: where to draw.
        smooth: window of the trailing mean, in steps.
        total: the last step the axis shall reach; by default that of the records.
    """
    ax = _axes(ax)
    names = {"length": "all", "length_right": "right", "length_wrong": "wrong"}
    for key in names:
        plot_curve(records, key, ax, smooth=smooth)
    ax.set_ylim(bottom=0)
    _x_limits(ax, [records], total)
    _label_ends(ax, [end for key in names for end in _end(records, key, names[key], smooth)])
    return ax


def _end(records: Sequence[Record], key: str, text: str, smooth: int) -> list:
    """Where the label of a curve belongs: its last finite point."""
    values = _smoothed(_column(records, key), smooth)
    there = np.flatnonzero(np.isfinite(values))
    if not len(there):
        return []
    step = records[there[-1]].get("step", there[-1])
    return [(step, values[there[-1]], text, COLOURS[_MEANING.get(key, key)])]


def _x_limits(ax: Axes, runs: Iterable[Sequence[Record]], total: int | None) -> None:
    steps = [r.get("step", i) for run in runs for i, r in enumerate(run)] or [0]
    first, last = min(steps), max(max(steps), total or 0)
    ax.set_xlim(first - 0.01 * max(1, last - first), max(last, first + 1))


_PANELS = [
    ("Reward", "per answer", {"reward": "reward", "pass_rate": "pass rate"}),
    ("KL to the reference", "nats per token", {"kl": ""}),
    (
        "Length of the answers",
        "tokens",
        {"length": "all", "length_right": "right", "length_wrong": "wrong"},
    ),
    ("Entropy", "nats per token", {"entropy": ""}),
]


def plot_run(
    records: Sequence[Record],
    axes: Any = None,
    label: str = "",
    earlier: Mapping[str, Sequence[Record]] | None = None,
    smooth: int = 5,
    total: int | None = None,
) -> np.ndarray:
    """The picture of a run: reward, KL to the reference, length and entropy, four panels.

    Where ``record["changed"]`` is not empty a numbered mark stands in every panel; the line below the
    panels says what changed.

    Args:
        records: metrics records of ``train``; may be empty.
        axes: four axes; by default a new 2 × 2 figure (``axes.flat[0].figure``).
        label: the run's settings, for the legend.
        earlier: label → records of runs to compare with; drawn faint, each with its own line style.
        smooth: window of the trailing mean, in steps; the raw data stays faint underneath.
        total: number of steps planned, so that a live picture keeps its axis.

    Returns:
        The four axes, as an array of the shape they came in.
    """
    earlier = dict(earlier or {})
    marks = [(r.get("step", i), c) for i, r in enumerate(records) for c in r.get("changed") or []]
    if axes is None:
        _, axes = new_figure(2, 2, height=4.3)
    axes = np.asarray(axes)
    figure = axes.flat[0].figure
    for ax, (title, unit, keys) in zip(axes.flat, _PANELS, strict=True):
        for style, run in zip(_RUN_STYLES * len(earlier), earlier.values(), strict=False):
            for key in keys:
                if key not in ("length", "pass_rate"):
                    plot_curve(run, key, ax, smooth=smooth, style=style, faint=True)
        for key in keys:
            style = (0, (1, 1)) if key == "pass_rate" else None
            plot_curve(records, key, ax, smooth=smooth, style=style)
        ax.set_title(title, loc="left", fontsize=10, fontweight="bold", color=_INK, pad=5)
        ax.set_ylabel(unit)
        top = ax.dataLim.y1 if np.isfinite(ax.dataLim.y1) and ax.dataLim.y1 > 0 else 1.0
        ax.set_ylim(min(0.0, ax.dataLim.y0 if np.isfinite(ax.dataLim.y0) else 0.0), 1.12 * top)
        if "reward" in keys:
            ax.set_ylim(top=max(1.12, 1.05 * top))
        _x_limits(ax, [records, *earlier.values()], total)
        _label_ends(
            ax,
            [e for k, text in keys.items() if text for e in _end(records, k, text, smooth)],
            size=8.5,
        )
        for number, (step, _) in enumerate(marks, start=1):
            _mark(ax, step, number)
    for ax in axes.flat[:-2] if axes.ndim == 2 else []:
        ax.set_xlabel("")
    _strips(figure, label, list(earlier), marks)
    return axes


def _mark(ax: Axes, step: float, number: int) -> None:
    ax.axvline(step, color=_INK, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    ax.text(
        step,
        0.98,
        str(number),
        transform=ax.get_xaxis_transform(),
        ha="center",
        va="top",
        fontsize=8,
        color="white",
        bbox={"boxstyle": "circle,pad=0.2", "facecolor": _INK, "edgecolor": "white"},
    )
