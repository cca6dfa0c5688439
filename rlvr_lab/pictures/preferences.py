"""Pictures of RLHF: the optimum, DPO and its variants, a climb, reliability (notebooks 01, 02)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    axes_or_new,
    dark,
    legend_below,
    new_figure,
    plain_legend,
    plot_band,
)
from rlvr_lab.records.calibration import Reliability
from rlvr_lab.records.runs import Recording

__all__ = [
    "plot_climb",
    "plot_climbs",
    "plot_optimum",
    "plot_pair_weight",
    "plot_published_ranges",
    "plot_pull",
    "plot_reliability",
]


def plot_climb(records: Sequence[Mapping[str, Any]], total: int) -> tuple[Figure, str]:
    """One climb during the run: proxy and gold reward by step, KL beside them; with words."""
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
    recordings: Mapping[str, Recording],
    looks: Mapping[str, tuple[str, str]],
    ylims: Sequence[tuple[float, float] | None] = (None, None),
) -> Figure:
    """Proxy and gold reward against √KL, mean over seeds with bands, one curve per recording.

    The place on the x axis is the mean √KL of the seeds at that step. ``ylims`` are the limits of the two
    panels, for pictures that are compared with each other.
    """
    figure, axes = new_figure(1, 2, width=9.5, height=3.8)
    for ax, key, ylim in zip(axes, ("proxy", "gold"), ylims, strict=True):
        for label, recording in recordings.items():
            colour, style = looks[label]
            away = recording.curves("distance").mean(axis=0)
            plot_band(recording.curves(key), ax, label, colour, away, style)
        ax.set(
            title=f"{key} reward", xlabel="√KL to the base", ylabel="reward per answer", ylim=ylim
        )
    legend_below(figure)
    return figure


def plot_reliability(
    diagrams: Mapping[str, Reliability],
    looks: Mapping[str, tuple[str, str]],
    ax: Axes | None = None,
    limit: float = 1.0,
) -> Axes:
    """Share of correct answers against confidence up to ``limit``; the area of a mark is its number of answers."""
    ax = axes_or_new(ax)
    ax.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    ax.text(0.9 * limit, 0.93 * limit, "calibrated", ha="right", va="bottom", fontsize=8)
    for label, diagram in diagrams.items():
        colour, style = looks[label]
        size = 15 + 200 * diagram.count / diagram.count.sum()
        ax.plot(diagram.confidence, diagram.accuracy, style, color=COLOURS[colour], label=label)
        ax.scatter(diagram.confidence, diagram.accuracy, s=np.asarray(size), color=COLOURS[colour])
    ax.set(xlabel="confidence", ylabel="share correct", xlim=(0, limit), ylim=(0, limit))
    plain_legend(ax, loc="upper left")
    return ax


def plot_optimum(
    ref: ArrayLike, best: ArrayLike, rewards: ArrayLike, beta: float, ax: Axes | None = None
) -> Axes:
    """Probabilities of a few answers under π_ref and under π*, from the worst answer to the best."""
    ax = axes_or_new(ax)
    order = np.argsort(rewards)
    places = np.arange(len(order))
    for shift, values, colour, name in (
        (-0.2, ref, "reference", "π_ref"),
        (0.2, best, "policy", f"π*, β = {beta:g}"),
    ):
        ax.bar(places + shift, np.asarray(values)[order], 0.4, color=COLOURS[colour], label=name)
    ax.set_xticks(places, [Formatter.fix_minus(f"r = {x:.2f}") for x in np.asarray(rewards)[order]])
    ax.set(ylabel="probability", ylim=(0, 1), xlabel=f"{len(order)} answers, from worst to best")
    plain_legend(ax, loc="upper left")
    return ax


def plot_pair_weight(beta: float, compare: float = 0.1, ax: Axes | None = None) -> Axes:
    """DPO's weight σ(−β·margin) of a pair against its margin in nats, for β and one more β."""
    ax = axes_or_new(ax)
    margin = np.linspace(-60, 60, 241)
    for b, style, colour in ((compare, "--", "reference"), (beta, "-", "policy")):
        weight = 1 / (1 + np.exp(b * margin))
        ax.plot(margin, weight, style, color=COLOURS[colour], linewidth=2, label=f"β = {b:g}")
    ax.axvline(0, color="#999999", linewidth=0.8)
    for x, words in ((-58, "ordered incorrectly"), (30, "ordered correctly")):
        ax.text(x, 0.3, words, fontsize=8, color=dark(COLOURS["reference"]))
    ax.set(
        xlabel="log-ratio of the chosen − log-ratio of the rejected answer (nats)",
        ylabel="weight of the pair",
        ylim=(0, 1.02),
    )
    plain_legend(ax, loc="upper right")
    return ax


def plot_pull(settings: Sequence[tuple[bool, bool, float]], beta: float = 0.3) -> Figure:
    """Weight of one pair, and pull on each token of its chosen answer, against that answer's length.

    The rejected answer has ten tokens; each token has log π = −1.5, and −1.6 under the reference.

    Args:
        settings: (reference, divide by the length, γ); the last is the present one, the one before it
            stays in the picture, grey and dashed.
        beta: β of the loss.
    """
    figure, axes = new_figure(1, 2, width=9, height=3)
    n = np.arange(2, 41, dtype=float)
    for (reference, divide, gamma), now in zip(
        settings, [False, True][-len(settings) :], strict=True
    ):
        token = -1.5 + 1.6 * reference  # what one token adds to the compared sum
        compared, rejected = (np.full_like(n, token), token) if divide else (token * n, token * 10)
        weight = 1 / (1 + np.exp(beta * (compared - rejected) - gamma))
        words = f"{'with' if reference else 'no'} reference, {'mean' if divide else 'sum'}, γ = {gamma:g}"
        look = {"color": COLOURS["policy" if now else "reference"], "linewidth": 2}
        for ax, y in zip(axes, (weight, beta * weight / (n if divide else 1)), strict=True):
            ax.plot(n, y, "-" if now else "--", label=words + ("" if now else " (before)"), **look)
    for ax, name, top in zip(
        axes, ("weight of the pair", "pull on each token"), (1.02, 0.32), strict=True
    ):
        ax.set(xlabel="tokens of the chosen answer", ylabel=name, ylim=(0, top))
    lines, labels = axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def plot_published_ranges(
    ranges: Mapping[str, tuple[float, float, str]], start: tuple[str, float], xlabel: str
) -> Figure:
    """Published scores as ranges over settings, with the score of the starting model as a labelled line.

    Args:
        ranges: method → (lowest, highest, how many settings, in words).
        start: name and score of the model that all others start from.
        xlabel: what the score is.
    """
    figure, ax = new_figure(width=8, height=2.9)
    name, score = start
    ax.axvline(score, linestyle="--", color=COLOURS["reference"], linewidth=1.5)
    ax.annotate(
        f"{name}: {score:g}",
        (score, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-4, -10),
        textcoords="offset points",
        ha="right",
        fontsize=9,
        color=dark(COLOURS["reference"]),
    )
    for place, (low, high, settings) in enumerate(ranges.values()):
        colour = COLOURS["right" if high > score else "policy"]
        ax.plot([low, high], [place, place], "-o", color=colour, linewidth=3)
        words = f"{low:g}" if low == high else f"{low:g} – {high:g}"
        ax.annotate(
            f"{words} ({settings})",
            (max(high, score), place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=dark(colour),
        )
    ax.set_yticks(range(len(ranges)), list(ranges))
    ax.set(xlabel=xlabel, ylim=(-0.6, len(ranges) - 0.2), xlim=(46, 61))
    return figure
