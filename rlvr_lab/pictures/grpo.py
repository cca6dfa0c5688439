"""The pictures of notebook 06: silent groups, KL estimators as losses, and runs with a KL."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    axes_or_new,
    dark,
    label_ends,
    new_figure,
    plain_legend,
)
from rlvr_lab.records.statistics import bootstrap_band

__all__ = [
    "plot_exact_grpo",
    "plot_kl_against_steps",
    "plot_kl_cosines",
    "plot_kl_pulls",
    "plot_pass_rate_at_equal_kl",
    "plot_silent_groups",
]

_LOOKS: dict[str, tuple[str, Any]] = {
    "k1": ("reference", (0, (5, 2))),
    "k2": ("policy", "-"),
    "k3": ("kl", (0, (6, 2, 1, 2))),
    "reward": ("reward", (0, (1, 1))),
    "no KL": ("length", "-"),
}


def _look(name: str) -> tuple[str, Any]:
    """Colour and line style of a variant, by the first word of ``_LOOKS`` that its name contains."""
    for word in ("no KL", "reward", "k1", "k2", "k3"):
        if word in name:
            meaning, style = _LOOKS[word]
            return COLOURS[meaning], style
    return COLOURS["policy"], "-"


def plot_silent_groups(
    p: ArrayLike, chances: Mapping[int, ArrayLike], ax: Axes | None = None
) -> Axes:
    """Probability that a group has zero spread against the pass rate, a curve for each G.

    Args:
        p: pass rates of the question, the x axis.
        chances: G → probability at each ``p``.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    p = np.asarray(p, dtype=float)
    for i, (size, chance) in enumerate(sorted(chances.items()), start=1):
        values, shade = np.asarray(chance, dtype=float), 0.3 + 0.7 * i / len(chances)
        ax.plot(p, values, color=COLOURS["policy"], alpha=shade, linewidth=1 + shade)
        at = int(np.argmin(abs(p - 0.5)))
        place = at if size < 8 else int(np.argmin(abs(p - (0.25 if size == 8 else 0.1))))
        ax.annotate(
            f"G = {size}",
            (p[place], values[place]),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=dark(COLOURS["policy"]),
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="pass rate p of the question")
    ax.set_ylabel("probability that all G\nadvantages are zero")
    return ax


def plot_kl_pulls(
    log_ratio: ArrayLike,
    values: Mapping[str, ArrayLike],
    pulls: Mapping[str, ArrayLike],
    axes: Any = None,
) -> np.ndarray:
    """Left: each estimator's value; right: the factor of ∇ log π when it is differentiated.

    Args:
        log_ratio: log π − log π_ref of the sampled token, the x axis, in nats.
        values: name → estimate in nats.
        pulls: name → factor of ∇ log π.
        axes: two axes.
    """
    if axes is None:
        _, axes = new_figure(1, 2, width=9.0, height=3.3)
    x = np.asarray(log_ratio, dtype=float)
    titles = ("value of the estimate (nats)", "factor of ∇ log π in its gradient")
    for ax, curves, title in zip(axes, (values, pulls), titles, strict=True):
        ends = []
        for name, heights in curves.items():
            colour, style = _look(name)
            y = np.asarray(heights, dtype=float)
            ax.plot(x, y, color=colour, linestyle=style, linewidth=2.2)
            ends.append((float(x[-1]), float(y[-1]), name, colour))
        ax.axhline(0, color=INK, linewidth=0.8, zorder=1)
        ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
        ax.set_xlim(float(x[0]), float(x[-1]))
        ax.set_xlabel("log π − log π_ref of the sampled token (nats)")
        ax.set_title(title, loc="left", fontsize=10, color=INK)
        ax.set_ylim(-4.2, 4.2)
        label_ends(ax, [(x_, min(y_, 4.1), n, c) for x_, y_, n, c in ends])
    return axes


def plot_kl_cosines(
    share: ArrayLike, panels: Mapping[str, Mapping[str, ArrayLike]], axes: Any = None
) -> Figure:
    """Cosine between a loss's expected gradient and a KL's, on the way from the reference to a policy.

    Args:
        share: of the way, from 0 (the reference) to 1 (the policy), the x axis.
        panels: title → name of the loss → cosines, [worlds, points]; each world is a thin line, their mean
            a thick one.
        axes: one for each panel.
    """
    if axes is None:
        _, axes = new_figure(1, len(panels), width=4.8 * len(panels), height=3.5)
    share = np.asarray(share, dtype=float)
    for ax, (title, curves) in zip(np.ravel(axes), panels.items(), strict=True):
        ends = []
        for name, values in curves.items():
            colour = _look(name)[0]
            style, faint = ("-", 0.3) if "per token" in name else ((0, (1, 1.2)), 0.6)
            y = np.asarray(values, dtype=float)
            ax.plot(share, y.T, color=colour, linestyle=style, linewidth=0.8, alpha=faint)
            ax.plot(share, y.mean(axis=0), color=colour, linestyle=style, linewidth=2.4)
            ends.append((float(share[-1]), float(y[:, -1].mean()), name, colour))
        ax.set_xlim(0, float(share[-1]))
        ax.set_ylim(0.2, 1.03)
        ax.set_title(title, loc="left", fontsize=10, color=INK)
        ax.set(xlabel="share of the way from π_ref to π", ylabel="cosine of the angle")
        label_ends(ax, ends, size=8.5)
    return np.ravel(axes)[0].figure


def plot_kl_against_steps(
    curves: Mapping[str, Mapping[str, ArrayLike]], axes: Any = None
) -> np.ndarray:
    """Pass rate and KL over the steps: the mean over seeds of each variant, labelled at its end.

    Args:
        curves: name → {"pass_rate": [S, T], "kl": [S, T]}.
        axes: two axes.
    """
    if axes is None:
        _, axes = new_figure(1, 2, width=9.0, height=3.6)
    units = {"pass_rate": "pass rate", "kl": "KL to the reference (nats per answer)"}
    for ax, (key, unit) in zip(axes, units.items(), strict=True):
        ends = []
        for name, found in curves.items():
            colour, style = _look(name)
            y = np.asarray(found[key], dtype=float).mean(axis=0)
            steps = np.arange(1, len(y) + 1)
            ax.plot(steps, y, color=colour, linestyle=style, linewidth=2)
            ends.append((float(steps[-1]), float(y[-3:].mean()), name, colour))
        ax.set(xlabel="step", ylabel=unit)
        ax.set_xlim(1, steps[-1])
        ax.set_ylim(bottom=0)
        label_ends(ax, ends, size=8.5)
    return axes


def plot_pass_rate_at_equal_kl(
    edges: Sequence[float], curves: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    """Mean pass rate in bins of KL, a line for each variant, with 95 % intervals over seeds.

    Args:
        edges: of the bins, in nats per answer.
        curves: name → [S, bins], NaN where a seed has no step in a bin.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    middle = (np.asarray(edges)[:-1] + np.asarray(edges)[1:]) / 2
    for i, (name, found) in enumerate(curves.items()):
        colour, style = _look(name)
        mean, low, high = bootstrap_band(np.asarray(found, dtype=float))
        x = middle + 0.01 * (i - (len(curves) - 1) / 2)
        errors = np.maximum([mean - low, high - mean], 0)
        ax.errorbar(
            x, mean, errors, color=colour, linestyle=style, marker="o", markersize=4,
            linewidth=1.8, capsize=2, label=name,
        )  # fmt: skip
    ax.set(xlabel="KL to the reference (nats per answer)", ylabel="pass rate")
    plain_legend(ax, loc="lower right")
    return ax


def plot_exact_grpo(runs: Mapping[str, Mapping[str, ArrayLike]], axes: Any = None) -> np.ndarray:
    """GRPO without sampling noise: the probabilities of the answers, and both KLs, step by step.

    Args:
        runs: "now" and, if wanted, "before" → {"probability": [T+1, 3], "kl": [T+1],
            "forward_kl": [T+1]}; "before" is drawn faint.
        axes: two axes.
    """
    if axes is None:
        _, axes = new_figure(1, 2, width=9.0, height=3.3)
    names = ("correct", "wrong, common", "wrong, rare")
    colours = (COLOURS["right"], COLOURS["wrong"], COLOURS["reference"])
    ends: tuple[list, list] = ([], [])
    for which, run in runs.items():
        faint = {"alpha": 0.35, "linewidth": 1.2} if which == "before" else {"linewidth": 2.2}
        probability = np.asarray(run["probability"], dtype=float)
        steps = np.arange(len(probability))
        for j, (name, colour) in enumerate(zip(names, colours, strict=True)):
            style = ("-", (0, (5, 2)), (0, (1, 1)))[j]
            axes[0].plot(steps, probability[:, j], color=colour, linestyle=style, **faint)
            if which == "now":
                ends[0].append((float(steps[-1]), float(probability[-1, j]), name, colour))
        pairs = (("kl", "KL(π‖π_ref)", "-"), ("forward_kl", "KL(π_ref‖π)", (0, (5, 2))))
        for key, name, style in pairs:
            y = np.asarray(run[key], dtype=float)
            axes[1].plot(steps, y, color=COLOURS["kl"], linestyle=style, **faint)
            if which == "now":
                ends[1].append((float(steps[-1]), float(y[-1]), name, COLOURS["kl"]))
    axes[0].set(xlabel="step", ylabel="probability of the answer", ylim=(0, 1.02))
    axes[1].set(xlabel="step", ylabel="nats")
    axes[1].set_ylim(bottom=0)
    for ax, labels in zip(axes, ends, strict=True):
        ax.set_xlim(0, steps[-1])
        label_ends(ax, labels, size=8.5)
    return axes
