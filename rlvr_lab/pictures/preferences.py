"""Pictures of RLHF: a proxy and the gold reward over √KL, and reliability diagrams (notebook 02)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_lab.pictures.style import COLOURS, axes_or_new, new_figure, plain_legend, plot_band
from rlvr_lab.records.calibration import Reliability
from rlvr_lab.records.runs import Recording

__all__ = ["plot_climb", "plot_climbs", "plot_reliability"]


def plot_climb(records: Sequence[Mapping[str, Any]], total: int) -> tuple[Figure, str]:
    """One climb while it goes on: proxy and gold reward by step, KL beside them; with words."""
    figure, (left, right) = new_figure(1, 2, width=9, height=3.2)
    steps = [record["step"] for record in records]
    for key, colour, style in (("proxy", "reward", "--"), ("gold", "right", "-")):
        values = [record[key] for record in records]
        left.plot(steps, values, style, color=COLOURS[colour], linewidth=2, label=key)
    right.plot(steps, [record["kl"] for record in records], color=COLOURS["kl"], linewidth=2)
    left.set(xlabel="step", ylabel="reward", xlim=(0, total))
    right.set(xlabel="step", ylabel="KL to the base (nats)", xlim=(0, total))
    plain_legend(left)
    words = "No step yet."
    if records:
        last = records[-1]
        words = (
            f"Step {last['step']}: proxy {last['proxy']:.1f}, gold {last['gold']:.1f}, "
            f"KL {last['kl']:.1f}."
        )
    return figure, words


def plot_climbs(
    recordings: Mapping[str, Recording], looks: Mapping[str, tuple[str, str]]
) -> Figure:
    """Proxy and gold reward against √KL, mean over seeds with bands, a curve a recording.

    The place on the x axis is the mean √KL of the seeds at that step.
    """
    figure, axes = new_figure(1, 2, width=9.5, height=3.8)
    for ax, key in zip(axes, ("proxy", "gold"), strict=True):
        for label, recording in recordings.items():
            colour, style = looks[label]
            away = recording.curves("distance").mean(axis=0)
            plot_band(recording.curves(key), ax, label, colour, away, style)
        ax.set(title=f"{key} reward", xlabel="√KL to the base", ylabel="reward per answer")
        ax.get_legend().remove()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def plot_reliability(
    diagrams: Mapping[str, Reliability],
    looks: Mapping[str, tuple[str, str]],
    ax: Axes | None = None,
) -> Axes:
    """Share of right answers against confidence; the area of a mark is its number of answers."""
    ax = axes_or_new(ax)
    ax.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    for label, diagram in diagrams.items():
        colour, style = looks[label]
        size = 15 + 200 * diagram.count / diagram.count.sum()
        ax.plot(diagram.confidence, diagram.accuracy, style, color=COLOURS[colour], label=label)
        ax.scatter(diagram.confidence, diagram.accuracy, s=np.asarray(size), color=COLOURS[colour])
    ax.set(xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    plain_legend(ax, loc="upper left")
    return ax
