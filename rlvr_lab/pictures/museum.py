"""The curves of an exhibit of the museum of broken runs, next to the healthy run of the same seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlvr_lab.experiments.museum_faults import METRICS
from rlvr_lab.pictures.style import COLOURS, INK, STYLES, new_figure, step_ticks

__all__ = ["describe_exhibit", "exhibit_table", "plot_exhibit"]

Records = Sequence[Mapping[str, Any]]

_PANELS: dict[str, tuple[str, str]] = {
    "reward": ("per answer", "reward"),
    "accuracy": ("share of answers", "right"),
    "loss": ("loss", "policy"),
    "grad_norm": ("before clipping", "policy"),
    "first_ratio": ("mean over tokens", "policy"),
    "first_clip": ("share of tokens", "policy"),
    "kl": ("nats per answer", "kl"),
    "entropy": ("nats per token", "entropy"),
    "length": ("tokens", "length"),
    "truncated": ("share of answers", "wrong"),
    "zero_spread": ("share of groups", "policy"),
    "largest": ("per answer", "policy"),
}
"""Metric → unit, meaning of its colour; its title stands in ``METRICS``."""
_STEPS = (1, 2, 3, 4, 8, 16, 24)  # a wider table breaks its lines in the notebook
_LABEL = 38  # width of a row's title and key


def plot_exhibit(broken: Records, healthy: Records) -> Figure:
    """Small multiples of twelve metrics of a run, with the healthy run of the same seed behind it.

    Args:
        broken: records of the exhibit.
        healthy: records of the healthy run.
    """
    figure, axes = new_figure(3, 4, width=11.5, height=6.6)
    for ax, (key, (unit, meaning)) in zip(axes.flat, _PANELS.items(), strict=True):
        _line(ax, healthy, key, color=COLOURS["reference"], linewidth=1.1, zorder=2)
        style = STYLES.get(meaning, "-")
        _line(ax, broken, key, color=COLOURS[meaning], linestyle=style, linewidth=2, zorder=3)
        ax.set_title(METRICS[key][0], loc="left", fontsize=10, fontweight="bold", color=INK)
        ax.set_ylabel(unit)
        ax.xaxis.set_major_locator(step_ticks())
        drawn = [record[key] for run in (broken, healthy) for record in run]
        if max(drawn) - min(drawn) < 1e-3:  # rounding errors should not look like a curve
            ax.set_ylim(min(drawn) - 0.05, min(drawn) + 1)
    for ax in axes[-1]:
        ax.set_xlabel("step")
    lines = [
        Line2D([], [], color=INK, linewidth=2, label="this run"),
        Line2D([], [], color=COLOURS["reference"], linewidth=1.1, label="healthy run, same seed"),
    ]
    figure.legend(
        handles=lines,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    return figure


def _line(ax: Axes, records: Records, key: str, **look: Any) -> None:
    steps = [record["step"] for record in records]
    values = np.array([record[key] for record in records], dtype=float)
    ax.plot(steps, values, **look)


def describe_exhibit(broken: Records, healthy: Records) -> str:
    """The picture in words: where each curve starts and ends, in both runs."""
    parts = []
    for key in _PANELS:
        ends = [f"{run[0][key]:.2g} to {run[-1][key]:.2g}" for run in (broken, healthy)]
        parts.append(f"{METRICS[key][0]}: {ends[0]} ({ends[1]})")
    start = f"Twelve curves of a run over {len(broken)} steps, from the first to the last step, "
    return start + "and in brackets those of the healthy run. " + "; ".join(parts) + "."


def exhibit_table(
    broken: Records,
    healthy: Records,
    tolerances: Mapping[str, float],
    steps: Sequence[int] = _STEPS,
) -> str:
    """The metrics at a few steps, each with the healthy run below it, and its tolerance (– where it has none)."""
    found = [{record["step"]: record for record in run} for run in (broken, healthy)]
    shown = [step for step in steps if step in found[0]]
    lines = ["step".ljust(_LABEL) + "".join(f"{step:>9}" for step in shown) + "  tolerance"]
    for key in _PANELS:
        row, below = ("".join(f"{_short(run[step][key]):>9}" for step in shown) for run in found)
        limit = f"{tolerances[key]:g}" if key in tolerances else "–"
        label = f"{METRICS[key][0]:<27}{key}"
        lines += [f"{label:<{_LABEL}}{row}  {limit:>9}", "  healthy".ljust(_LABEL) + below]
    return "\n".join(lines)


def _short(value: float) -> str:
    """At most eight characters.

    >>> [_short(x) for x in (1e-5, -0.000701, -0.01857, 2.6458, -47559.3)]
    ['0', '-0.0007', '-0.0186', '2.65', '-47559']
    """
    size = abs(value)
    if size < 5e-4:
        return "0"
    return f"{value:.0f}" if size >= 1000 else f"{value:.3g}" if size >= 1e-3 else f"{value:.1g}"
