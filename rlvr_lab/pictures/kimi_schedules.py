"""Pictures of the schedules of rollouts and training (notebook 09, section 5)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from rlvr_lab.exact.rollout_timeline import KINDS, Event, Timeline
from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    label_ends,
    legend_below,
    new_figure,
    plain_legend,
    plot_band,
)

__all__ = ["plot_lengths_taken", "plot_schedules", "plot_step_shares", "plot_timelines"]

LOOKS = {
    "rollout": (COLOURS["policy"], ""),
    "train": (COLOURS["reward"], "////"),
    "transfer": (COLOURS["kl"], "xxxx"),
    "idle": ("#FFFFFF", "...."),
}
"""Kind of event → (colour, hatch)."""
_TEXT = {"ha": "center", "va": "center", "fontsize": 6.5, "clip_on": True, "in_layout": False}
_LABELS = {
    "rollout": {"color": "white", **_TEXT},
    "train": {
        "color": INK,
        "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85},
        **_TEXT,
    },
}
_LINES = ["-", (0, (5, 2)), (0, (1, 1)), "-.", (0, (3, 1, 1, 1))]
_MEANINGS = ["reference", "policy", "right", "reward", "kl"]


def plot_timelines(runs: Mapping[str, Timeline], until: float | None = None) -> Figure:
    """A row for each device, a bar for each event; a number on a bar is the version of the weights.

    Args:
        runs: title → timeline; all share the time axis.
        until: the last second that is drawn; by default the longest run's end.
    """
    height = 1.1 + sum(0.55 + 0.19 * run.devices for run in runs.values())
    figure, axes = new_figure(len(runs), 1, width=9.5, height=height)
    until = max(run.end for run in runs.values()) if until is None else until
    for ax, (title, run) in zip(np.atleast_1d(axes).flat, runs.items(), strict=True):
        _bars(ax, run, until)
        ax.set_title(title, loc="left", fontsize=10, color=INK)
        ax.set_xlim(0, until)
    np.atleast_1d(axes).flat[-1].set_xlabel("time (seconds)")
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=INK, linewidth=0.4, label=kind)
        for kind, (colour, hatch) in LOOKS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(LOOKS), frameon=False)
    return figure


def _bars(ax: Axes, run: Timeline, until: float) -> None:
    shown = [event for event in run.events if event.start < until]
    for kind in KINDS:  # one collection for each kind: single bars take a second to draw
        colour, hatch = LOOKS[kind]
        boxes = [_box(event) for event in shown if event.kind == kind]
        style = {"facecolor": colour, "hatch": hatch, "edgecolor": INK, "linewidth": 0.3}
        ax.add_collection(PolyCollection(boxes, **style), autolim=False)
    labelled: set[tuple[str, int, int]] = set()
    for event in sorted(shown, key=lambda event: (event.start, event.device)):
        row = run.train_devices[0] if event.kind == "train" else event.device
        key = event.kind, row, event.version  # a version is written once on a row
        middle = (event.start + event.end) / 2
        wide = event.seconds > until / 40 and middle < until
        if event.kind in ("rollout", "train") and wide and key not in labelled:
            labelled.add(key)
            ax.text(middle, event.device, f"v{event.version}", **_LABELS[event.kind])
    ax.set_yticks(range(run.devices), [str(device) for device in range(run.devices)])
    ax.tick_params(axis="y", labelsize=7)
    ax.set(ylim=(run.devices - 0.4, -0.6), ylabel="device")
    ax.grid(visible=False)


def _box(event: Event) -> list[tuple[float, float]]:
    low, high = event.device - 0.4, event.device + 0.4
    return [(event.start, low), (event.end, low), (event.end, high), (event.start, high)]


def plot_schedules(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    grid: ArrayLike,
    across: str,
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Curves of several schedules against one setting, a panel for each quantity, mean and band over seeds.

    Args:
        panels: title with its unit → schedule → curves [S, T].
        grid: [T], values of the setting.
        across: name of the setting.
        limits: title → limits of its y axis.
    """
    figure, axes = new_figure(1, len(panels), width=3.5 * len(panels), height=3.7)
    for ax, (title, curves) in zip(np.ravel(axes), panels.items(), strict=True):
        for k, (schedule, values) in enumerate(curves.items()):
            plot_band(values, ax, schedule, _MEANINGS[k], grid, _LINES[k])
            mean = np.asarray(values, dtype=float).mean(axis=0)
            ax.plot(grid, mean, "os^Dv"[k], color=COLOURS[_MEANINGS[k]], markersize=4)
        ax.set(title=title, xlabel=across)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6))
        if limits and title in limits:
            ax.set_ylim(limits[title])
    legend_below(figure)
    return figure


def plot_lengths_taken(curves: Mapping[str, ArrayLike], mean: float) -> Figure:
    """Mean length of the answers trained so far, mean and band over seeds, next to the mean of all answers.

    Args:
        curves: schedule → [S, T], mean length of all answers trained up to update 1 … T, in tokens.
        mean: of all answers, in tokens.
    """
    figure, ax = new_figure(width=7.5, height=3.4)
    for k, (schedule, values) in enumerate(curves.items()):
        plot_band(values, ax, schedule, _MEANINGS[k], style=_LINES[k])
    ax.axhline(mean, color=INK, linestyle=":", linewidth=1.2)
    ax.set(xlabel="update", ylabel="mean length so far (tokens)", ylim=(0, None))
    label_ends(ax, [(ax.get_xlim()[1], mean, "all answers", INK)], 9)
    plain_legend(ax, loc="lower right")
    return figure


def plot_step_shares(
    ours: Mapping[str, Sequence[float]], published: Mapping[str, float], unit: str
) -> Figure:
    """The share of a step that rollouts take: one point for each seed and the mean, and published numbers below.

    Args:
        ours: setting → one share per seed.
        published: system → share.
        unit: of the shares.
    """
    rows = [*ours.items(), *((name, [value]) for name, value in published.items())]
    figure, ax = new_figure(width=7.5, height=0.9 + 0.36 * len(rows))
    for row, (_, values) in enumerate(rows):
        mine = row < len(ours)
        colour = COLOURS["policy" if mine else "reference"]
        if mine:
            ax.plot(values, np.full(len(values), row), "o", color=colour, alpha=0.3, markersize=4)
        mean = float(np.mean(values))
        ax.plot([mean], [row], "o" if mine else "D", color=colour, markersize=7)
        ax.annotate(f"{mean:.0f}", (mean, row), (0, 6), textcoords="offset points", fontsize=8)
    names = [f"here: {n} (n = {len(v)})" for n, v in ours.items()]
    ax.set_yticks(range(len(rows)), [*names, *published])
    ax.set(xlim=(0, 100), ylim=(len(rows) - 0.4, -0.7), xlabel=unit)
    ax.grid(axis="y", visible=False)
    return figure
