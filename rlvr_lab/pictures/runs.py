"""Pictures of runs: records of ``train`` in, curves out, and the same in words.

``plot_run`` is drawn live, up to twice a second, in the thread that trains.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlvr_lab.pictures import style as plots
from rlvr_lab.pictures.style import COLOURS, INK, STYLES, label_ends

__all__ = ["describe_run", "name_setting", "plot_curve", "plot_run", "read_changes"]

Record = Mapping[str, Any]

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
    "kl": "nats per answer",
    "entropy": "nats per token",
    **dict.fromkeys(["length", "length_right", "length_wrong"], "tokens"),
}
_LENGTHS = {"length": "all", "length_right": "✓ right", "length_wrong": "✗ wrong"}
_PANELS = [
    ("Reward", "per answer", {"reward": "reward", "pass_rate": "pass rate"}),
    ("KL to the reference", "nats per answer", {"kl": ""}),
    ("Length of the answers", "tokens", _LENGTHS),
]
_LAST = {
    "entropy": ("Entropy", "nats per token", "entropy"),
    "reward_mixed": ("Both languages in one answer", "share of answers", "mixed languages"),
}  # metric → title, unit, and its name in a sentence
_RUN_STYLES = [(0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (8, 3))]
_ROW = 0.2  # inches of height for a line of legend
_NAMES = {
    "average": "normalise by length",
    "divide_by_std": "divide by std",
    "group_size": "group size",
    "kl_coef": "β",
    "kl_in": "KL in the",
    "kl_estimator": "KL estimator",
    "clip_low": "ε below",
    "clip_high": "ε above",
    "learning_rate": "learning rate",
    "updates_per_batch": "updates per batch",
    "rewards.language": "weight of the consistency reward",
    "rewards.length": "weight of the length reward",
    "length_from": "length reward from step",
}
_VALUES = {"True": "on", "False": "off", "token": "by all tokens"}
_VALUES |= {"sequence": "on", "constant": "off"}


def _column(records: Iterable[Record], key: str) -> np.ndarray:
    """One metric over the records; NaN where it is missing, None or not finite."""
    values = [record.get(key) for record in records]
    column = np.array([math.nan if value is None else float(value) for value in values])
    return np.where(np.isfinite(column), column, math.nan)


def _smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over the last ``window`` values that exist; a gap in the data stays a gap."""
    there = np.isfinite(values)
    recent = [values[max(0, i - window + 1) : i + 1] for i in range(len(values))]
    return np.array(
        [np.nanmean(r) if ok else math.nan for r, ok in zip(recent, there, strict=True)]
    )


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
    ax = plots.axes_or_new(ax)
    meaning = _MEANING.get(key, key)
    colour = colour or COLOURS.get(meaning, COLOURS["policy"])
    style = style or STYLES.get(meaning, "-")
    steps = [record.get("step", i) for i, record in enumerate(records)]
    values = _column(records, key)
    marker = _MARKERS.get(meaning) or ("o" if np.isfinite(values).sum() < 2 else None)
    if smooth > 1 and not faint:
        ax.plot(steps, values, color=colour, linewidth=1, alpha=0.3)
    look = {"linewidth": 1.4, "alpha": 0.55} if faint else {"linewidth": 2}
    look |= {"marker": marker, "markersize": 5, "markevery": max(1, len(steps) // 8)}
    look |= {"markeredgecolor": "white", "markeredgewidth": 0.6, "label": label}
    ax.plot(steps, _smoothed(values, smooth), color=colour, linestyle=style, **look)
    ax.set_xlabel("step")
    ax.set_ylabel(_UNITS.get(key, key.replace("_", " ")))
    ax.xaxis.set_major_locator(plots.step_ticks())
    if label:
        plots.plain_legend(ax)
    return ax


def _line_end(records: Sequence[Record], key: str, text: str, smooth: int) -> Any:
    """Where the label of a curve belongs, its last finite point; None if there is none."""
    values = _smoothed(_column(records, key), smooth)
    there = np.flatnonzero(np.isfinite(values))
    if not len(there):
        return None
    step = records[there[-1]].get("step", int(there[-1]))
    return step, values[there[-1]], text, COLOURS[_MEANING.get(key, key)]


def _step_limits(ax: Axes, runs: Iterable[Sequence[Record]], total: int | None) -> None:
    steps = [r.get("step", i) for run in runs for i, r in enumerate(run)] or [0]
    first, last = min(steps), max(max(steps), total or 0)
    ax.set_xlim(first - 0.01 * max(1, last - first), max(last, first + 1))


def name_setting(field: str, value: Any, joint: str = " ") -> str:
    """A field of ``PolicyGradientConfig`` and its value in the words of the controls.

    >>> name_setting("average", "sequence")
    'normalise by length on'
    """
    text = f"{value:g}" if isinstance(value, float) else str(value)
    name = _NAMES.get(field, field.replace("_", " ").replace("rewards.", "weight of "))
    return f"{name}{joint}{_VALUES.get(text, text)}"


def read_changes(changed: Sequence[str]) -> str:
    """The ``changed`` of a record in the words of the controls.

    >>> read_changes(["average: sequence -> constant", "kl_coef: 0.0 -> 0.1"])
    'normalise by length: on → off, β: 0.0 → 0.1'
    """
    pairs = dict(sentence.split(": ", 1) for sentence in changed if ": " in sentence)
    if "clip_low" in pairs and pairs.get("clip_high") == pairs["clip_low"]:
        pairs["ε"] = pairs.pop("clip_low")
        del pairs["clip_high"]
    said = []
    for field, values in pairs.items():
        old, _, new = values.partition(" -> ")
        said.append(f"{name_setting(field, old, ': ')} → {_VALUES.get(new, new)}")
    return ", ".join(said + [sentence for sentence in changed if ": " not in sentence])


def describe_run(records: Sequence[Record], last: str = "entropy") -> str:
    """The picture of a run in words: the alt text of ``plot_run`` with the same ``last``.

    >>> describe_run([])
    'Four empty panels for reward, KL to the reference, length and entropy: no step yet.'
    """
    end = _LAST[last][2]
    if not records:
        return f"Four empty panels for reward, KL to the reference, length and {end}: no step yet."
    named = {
        "reward": "reward",
        "pass_rate": "pass rate",
        "kl": "KL to the reference in nats per answer",
        "length": "length in tokens",
        "length_right": "that of right answers",
        "length_wrong": "that of wrong answers",
        "entropy": "entropy in nats per token",
        "reward_mixed": "share of answers in mixed languages",
    }
    now = {key: _column(records[-1:], key)[0] for key in named}
    parts = [f"{text} {now[key]:.3g}" for key, text in named.items() if now[key] == now[key]]
    changes = [
        f"At step {r['step']}: {read_changes(r['changed'])}." for r in records if r.get("changed")
    ]
    start = f"Curves of reward, KL, length and {end} over {len(records)} steps, now at "
    return " ".join([start + ", ".join(parts) + ".", *changes])


def plot_run(
    records: Sequence[Record],
    axes: Any = None,
    label: str = "",
    earlier: Mapping[str, Sequence[Record]] | None = None,
    smooth: int = 3,
    total: int | None = None,
    last: str = "entropy",
) -> np.ndarray:
    """The picture of a run: reward, KL to the reference, length and entropy, four panels.

    Where ``record["changed"]`` is not empty a numbered mark stands in every panel, and the line
    below the panels says what changed.

    Args:
        records: metrics records of ``train``; may be empty.
        axes: four axes; by default a new 2 × 2 figure (``axes.flat[0].figure``).
        label: the run's settings, for the legend.
        earlier: label → records of runs to compare with; drawn faint, each with its own line style.
        smooth: window of the trailing mean, in steps; the raw data stays faint underneath.
        total: number of steps planned, so that a live picture keeps its axis.
        last: metric of the last panel, ``entropy`` or ``reward_mixed``.

    Returns:
        The four axes, as an array of the shape they came in.

    Raises:
        ValueError: for an unknown ``last``.
    """
    if last not in _LAST:
        raise ValueError(f"last: must be one of {', '.join(_LAST)}, got {last!r}")
    earlier = dict(earlier or {})
    marks = [
        (r.get("step", i), read_changes(r["changed"]))
        for i, r in enumerate(records)
        if r.get("changed")
    ]
    if axes is None:
        rows = _legend_rows(label, list(earlier), [text for _, text in marks])
        _, axes = plots.new_figure(2, 2, height=3.9 + _ROW * sum(rows))
    axes = np.asarray(axes)
    panels = [*_PANELS, (*_LAST[last][:2], {last: ""})]
    for ax, panel in zip(axes.flat, panels, strict=True):
        _panel(ax, panel, records, earlier, smooth, total)
        for number, (step, _) in enumerate(marks, start=1):
            _mark(ax, step, number)
    if axes.ndim == 2:
        for ax in axes[:-1].flat:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
    _legends(axes, label, list(earlier), marks)
    return axes


def _panel(
    ax: Axes,
    panel: tuple[str, str, dict[str, str]],
    records: Sequence[Record],
    earlier: Mapping[str, Sequence[Record]],
    smooth: int,
    total: int | None,
) -> None:
    title, unit, keys = panel
    for style, run in zip(_RUN_STYLES * len(earlier), earlier.values(), strict=False):
        for key in keys:
            if key not in ("length", "pass_rate"):
                plot_curve(run, key, ax, smooth=smooth, style=style, faint=True)
    for key in keys:
        style = (0, (1, 1)) if key == "pass_rate" else None
        plot_curve(records, key, ax, smooth=smooth, style=style)
    ax.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK, pad=5)
    ax.set_ylabel(unit)
    low, high = ax.dataLim.y0, ax.dataLim.y1
    low, high = (low, high) if math.isfinite(low) and math.isfinite(high) else (0.0, 1.0)
    # Room on top for the marks; a floor of 0 unless the data, a KL measured by k1, go below it.
    top = max(high, 1.0 if keys.keys() & {"reward", "reward_mixed"} else 0.0) or 1.0
    ax.set_ylim(min(0.0, 1.1 * low), 1.14 * top)
    _step_limits(ax, [records, *earlier.values()], total)
    for line in ax.lines:
        line.set_markevery(max(1, round((ax.get_xlim()[1] - ax.get_xlim()[0]) / 8)))
    ends = [_line_end(records, key, text, smooth) for key, text in keys.items() if text]
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
    """Runs above the panels, changes below them, and the margins that make room for both.

    The margins are set by hand: the automatic layout draws every text twice.
    """
    figure: Figure = axes.flat[0].figure
    changes = [text for _, text in marks]
    above, below = _legend_rows(label, earlier, changes)
    width, height = figure.get_size_inches()
    columns = axes.shape[-1]
    figure.set_layout_engine(None)
    figure.subplots_adjust(
        left=0.62 / width,
        right=1 - 0.2 / width,
        top=1 - (0.3 + _ROW * above) / height,
        bottom=(0.5 + _ROW * below) / height,
        wspace=1.3 * columns / (width - 0.82 - 1.3 * (columns - 1)),
        hspace=0.28,
    )
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


def _badge(number: int) -> str:
    """A number in a black disc, as the marks have it."""
    return chr(0x2775 + number) if number <= 10 else f"({number})"
