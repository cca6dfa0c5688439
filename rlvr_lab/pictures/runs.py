"""Pictures of runs: records of ``train`` in, curves out, and the same in words.

``picture_of_run`` is drawn live, in a process of its own: what it gets and returns is plain data.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from IPython.display import Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlvr_lab.pictures import style as plots
from rlvr_lab.pictures.panels import PANELS, Panel, metric_words
from rlvr_lab.pictures.settings import read_changes
from rlvr_lab.pictures.style import COLOURS, INK, STYLES, label_ends, show

__all__ = ["describe_run", "picture_of_run", "plot_curve", "plot_run"]

Record = Mapping[str, Any]

_MARKERS = {"right": "o", "wrong": "X"}
_MEANING = {
    "pass_rate": "right",
    "reward_accuracy": "right",
    "reward_format": "reference",
    "length_right": "right",
    "length_wrong": "wrong",
    "chosen": "right",
    "reward_chosen": "right",
    "reward_rejected": "wrong",
    "rejected": "wrong",
    "gold": "right",
    "proxy": "reward",
    "step_kl": "kl",
    "max_kl": "reference",
    "ratio_outside": "reference",
}
_UNITS = {
    "reward": "reward per answer",
    "pass_rate": "share of right answers",
    "kl": "nats per answer",
    "entropy": "nats per token",
    **dict.fromkeys(["length", "length_right", "length_wrong"], "tokens"),
}
_ALONG = {"step": "step", "distance": "√KL (√nats)"}
_STANDARD = PANELS["policy-gradient"]
_RUN_STYLES = [(0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (8, 3))]
_ROW = 0.2  # inches of height for a line of legend


def _column(records: Iterable[Record], key: str) -> np.ndarray:
    """One metric over the records; NaN where it is missing, None or not finite."""
    values = [record.get(key) for record in records]
    column = np.array([math.nan if value is None else float(value) for value in values])
    return np.where(np.isfinite(column), column, math.nan)


def _smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over the last ``window`` values that exist; a gap in the data stays a gap."""
    there = np.isfinite(values)
    sums = np.cumsum(np.where(there, values, 0.0))
    counts = np.cumsum(there)
    sums[window:], counts[window:] = (
        sums[window:] - sums[:-window],
        counts[window:] - counts[:-window],
    )
    return np.where(there, sums / np.maximum(counts, 1), math.nan)


def plot_curve(
    records: Sequence[Record],
    key: str,
    ax: Axes | None = None,
    label: str | None = None,
    smooth: int = 1,
    colour: str | None = None,
    style: Any = None,
    faint: bool = False,
    along: str = "step",
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
        along: the metric on the x axis; smoothed like ``key`` unless it is the step.

    Raises:
        ValueError: when ``smooth`` < 1.
    """
    if smooth < 1:
        raise ValueError(f"smooth: need a window of at least 1 step, got {smooth}")
    ax = plots.axes_or_new(ax)
    meaning = _MEANING.get(key, key)
    colour = colour or _colour(key)
    style = style or STYLES.get(meaning, "-")
    places = _places(records, along, smooth)
    values = _column(records, key)
    marker = _MARKERS.get(meaning) or ("o" if np.isfinite(values).sum() < 2 else None)
    if smooth > 1 and not faint:
        ax.plot(_places(records, along, 1), values, color=colour, linewidth=1, alpha=0.3)
    look = {"linewidth": 1.4, "alpha": 0.55} if faint else {"linewidth": 2}
    look |= {"marker": marker, "markersize": 5, "markevery": max(1, len(values) // 8)}
    look |= {"markeredgecolor": "white", "markeredgewidth": 0.6, "label": label}
    ax.plot(places, _smoothed(values, smooth), color=colour, linestyle=style, **look)
    ax.set_xlabel(_ALONG.get(along, along))
    ax.set_ylabel(_UNITS.get(key, key.replace("_", " ")))
    if along == "step":
        ax.xaxis.set_major_locator(plots.step_ticks())
    if label:
        plots.plain_legend(ax)
    return ax


def _colour(key: str) -> str:
    return COLOURS.get(_MEANING.get(key, key), COLOURS["policy"])


def _places(records: Sequence[Record], along: str, smooth: int) -> np.ndarray:
    """Where the records stand on the x axis."""
    if along == "step":
        return np.array([float(record.get("step", i)) for i, record in enumerate(records)])
    return _smoothed(_column(records, along), smooth)


def _line_end(records: Sequence[Record], key: str, text: str, smooth: int, along: str) -> Any:
    """Where the label of a curve belongs, its last finite point; None if there is none."""
    values, places = _smoothed(_column(records, key), smooth), _places(records, along, smooth)
    there = np.flatnonzero(np.isfinite(values) & np.isfinite(places))
    if not len(there):
        return None
    last = there[-1]
    return float(places[last]), float(values[last]), text, _colour(key)


def _step_limits(ax: Axes, runs: Iterable[Sequence[Record]], total: int | None) -> None:
    steps = [r.get("step", i) for run in runs for i, r in enumerate(run)] or [0]
    first, last = min(steps), max(max(steps), total or 0)
    ax.set_xlim(first - 0.01 * max(1, last - first), max(last, first + 1))


def describe_run(records: Sequence[Record], panels: Sequence[Panel] = _STANDARD) -> str:
    """The picture of a run in words: the alt text of ``plot_run`` with the same ``panels``.

    >>> describe_run([])
    '4 empty panels for reward, KL to the reference, length and entropy: no step yet.'
    """
    names = [panel.words for panel in panels]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    if not records:
        return f"{len(panels)} empty panels for {listed}: no step yet."
    metrics = dict.fromkeys(key for panel in panels for key in panel.curves)
    now = {key: _column(records[-1:], key)[0] for key in metrics}
    parts = [f"{metric_words(key)} {x:.3g}" for key, x in now.items() if math.isfinite(x)]
    changes = [
        f"At step {r['step']}: {read_changes(r['changed'])}." for r in records if r.get("changed")
    ]
    start = f"Curves of {listed} over {records[-1].get('step', len(records))} steps, now at "
    return " ".join([start + ", ".join(parts) + ".", *changes])


def plot_run(
    records: Sequence[Record],
    axes: Any = None,
    label: str = "",
    earlier: Mapping[str, Sequence[Record]] | None = None,
    smooth: int = 3,
    total: int | None = None,
    panels: Sequence[Panel] = _STANDARD,
) -> np.ndarray:
    """The picture of a run; by default reward, KL to the reference, length and entropy.

    Where ``record["changed"]`` is not empty a numbered mark stands in every panel over the steps, and the
    line below the panels says what changed.

    Args:
        records: metrics records of ``train``; may be empty.
        axes: one for each panel; by default a new figure of two columns (``axes.flat[0].figure``).
        label: the run's settings, for the legend.
        earlier: label → records of runs to compare with; drawn faint, each with its own line style.
        smooth: window of the trailing mean, in steps; the raw data stays faint underneath.
        total: number of steps planned, so that a live picture keeps its axis.
        panels: what to show (``panels.panels_of`` knows what suits a configuration); an even number
            unless ``axes`` are given.

    Returns:
        The axes, as an array of the shape they came in.
    """
    earlier = dict(earlier or {})
    marks = [
        (r.get("step", i), read_changes(r["changed"]))
        for i, r in enumerate(records)
        if r.get("changed")
    ]
    # Panels over the steps share the axis of the one below them.
    crowded = any(panel.along != "step" for panel in panels)
    if axes is None:
        legend = _legend_rows(label, list(earlier), [text for _, text in marks])
        rows = len(panels) // 2
        _, axes = plots.new_figure(
            rows, 2, height=(2.2 if crowded else 1.95) * rows + _ROW * sum(legend)
        )
    axes = np.asarray(axes)
    for ax, panel in zip(axes.flat, panels, strict=True):
        _panel(ax, panel, records, earlier, smooth, total)
        for number, (step, _) in enumerate(marks, start=1):
            if panel.along == "step":
                _mark(ax, step, number)
    if axes.ndim == 2 and not crowded:
        for ax in axes[:-1].flat:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
    _legends(axes, label, list(earlier), marks)
    _margins(axes, panels, rows=_legend_rows(label, list(earlier), [text for _, text in marks]))
    return axes


def picture_of_run(
    records: Sequence[Record], panels: Sequence[Panel] = _STANDARD, **options: Any
) -> Image:
    """``plot_run(records, panels=panels, **options)`` as a picture with its words."""
    axes = plot_run(records, panels=panels, **options)
    return show(axes.flat[0].figure, describe_run(records, panels))


def _panel(
    ax: Axes,
    panel: Panel,
    records: Sequence[Record],
    earlier: Mapping[str, Sequence[Record]],
    smooth: int,
    total: int | None,
) -> None:
    for style, run in zip(_RUN_STYLES * len(earlier), earlier.values(), strict=False):
        for key in panel.curves:
            if key not in panel.aside:
                plot_curve(run, key, ax, smooth=smooth, style=style, faint=True, along=panel.along)
    for key in panel.curves:
        style = (0, (1, 1)) if key == "pass_rate" else None
        plot_curve(records, key, ax, smooth=smooth, style=style, along=panel.along)
    # With y given, drawing does not measure all tick labels to find a place for the title.
    look = {"fontsize": 10, "fontweight": "bold", "color": INK, "pad": 5}
    ax.set_title(panel.title, loc="left", y=1.0, **look)
    ax.set_ylabel(panel.unit)
    ax.yaxis.set_major_locator(plots.few_ticks())  # most of the time to draw goes into ticks
    low, high = ax.dataLim.y0, ax.dataLim.y1
    low, high = (low, high) if math.isfinite(low) and math.isfinite(high) else (0.0, 1.0)
    # Room on top for the marks; a floor of 0 unless the data, as a KL measured by k1, go below it.
    high = high if panel.top is None else max(high, panel.top)
    span = (high - min(low, 0.0) if high > 0 else high - low) or 1.0
    ax.set_ylim(low - 0.1 * span if low < 0 else 0.0, high + 0.14 * span)
    if panel.along == "step":
        _step_limits(ax, [records, *earlier.values()], total)
    else:
        right = ax.dataLim.x1 if math.isfinite(ax.dataLim.x1) and ax.dataLim.x1 > 0 else 1.0
        ax.set_xlim(0, 1.02 * right)
    for line in ax.lines:  # eight markers over the whole axis, also while the line still grows
        steps = line.get_xdata()
        apart = (steps[-1] - steps[0]) / (len(steps) - 1) if len(steps) > 1 else 0.0
        wide = ax.get_xlim()[1] - ax.get_xlim()[0]
        line.set_markevery(max(1, round(wide / 8 / apart)) if apart > 0 else 1)
    ends = [
        _line_end(records, key, text, smooth, panel.along)
        for key, text in panel.curves.items()
        if text
    ]
    label_ends(ax, [end for end in ends if end], size=8.5)


def _mark(ax: Axes, step: float, number: int) -> None:
    ax.axvline(step, color=INK, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    disc = {"boxstyle": "circle,pad=0.2", "facecolor": INK, "edgecolor": "white"}
    look = {"ha": "center", "va": "top", "fontsize": 7.5, "color": "white", "bbox": disc}
    ax.text(step, 0.97, str(number), transform=ax.get_xaxis_transform(), **look)


def _legend_rows(label: str, earlier: list[str], changes: list[str]) -> tuple[int, int]:
    """Rows of text above and below the panels."""
    runs = ([label] if label else []) + earlier
    return math.ceil(len(runs) / _columns(runs)), math.ceil(len(changes) / _columns(changes))


def _columns(texts: list[str]) -> int:
    return 1 if max(map(len, texts), default=0) > 56 else 2


def _legends(
    axes: np.ndarray, label: str, earlier: list[str], marks: list[tuple[float, str]]
) -> None:
    """Runs above the panels, changes below them."""
    figure: Figure = axes.flat[0].figure
    changes = [text for _, text in marks]
    look: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": INK}
    look |= {"borderaxespad": 0, "borderpad": 0.3, "labelspacing": 0.35}
    runs = [Line2D([], [], color=INK, linewidth=2, label=label)] if label else []
    runs += [
        Line2D([], [], color=INK, alpha=0.6, linewidth=1.4, linestyle=style, label=name)
        for style, name in zip(_RUN_STYLES * len(earlier), earlier, strict=False)
    ]
    if runs:
        columns = _columns([label, *earlier])
        figure.legend(handles=runs, loc="upper left", ncols=columns, handlelength=3.2, **look)
    if marks:
        handles = [
            Line2D([], [], linestyle="", label=f"{_badge(n)} step {step}: {text}")
            for n, (step, text) in enumerate(marks, start=1)
        ]
        look["handlelength"] = look["handletextpad"] = 0
        figure.legend(handles=handles, loc="lower left", ncols=_columns(changes), **look)


def _margins(axes: np.ndarray, panels: Sequence[Panel], rows: tuple[int, int]) -> None:
    """Room for the legends, for labels at the ends of lines, and for x labels between panels.

    Set by hand: the automatic layout draws every text twice.
    """
    figure: Figure = axes.flat[0].figure
    width, height = figure.get_size_inches()
    columns, (above, below) = axes.shape[-1], rows
    rightmost = [panel for i, panel in enumerate(panels) if i % columns == columns - 1]
    right = 0.85 if any(text for panel in rightmost for text in panel.curves.values()) else 0.2
    crowded = any(panel.along != "step" for panel in panels)
    figure.set_layout_engine(None)
    figure.subplots_adjust(
        left=0.75 / width,
        right=1 - right / width,
        top=1 - (0.3 + _ROW * above) / height,
        bottom=(0.5 + _ROW * below) / height,
        wspace=1.3 * columns / (width - 0.75 - right - 1.3 * (columns - 1)),
        hspace=0.6 if crowded else 0.28,
    )


def _badge(number: int) -> str:
    """A number in a black disc, as the marks have it."""
    return chr(0x2775 + number) if number <= 10 else f"({number})"
