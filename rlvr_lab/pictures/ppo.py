"""Pictures of PPO: GAE on one answer, its bias and noise, what critics explain, details one by one (05)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from rlvr_lab.pictures.seeds import effect_row
from rlvr_lab.pictures.style import (
    COLOURS,
    axes_or_new,
    dark,
    label_ends,
    new_figure,
    plain_legend,
    plot_band,
    plot_guessing,
    step_ticks,
)
from rlvr_lab.records.statistics import bootstrap_band

__all__ = [
    "plot_algorithms",
    "plot_bias_noise",
    "plot_critics",
    "plot_gae",
    "plot_gaps",
    "plot_inner_steps",
    "plot_switch",
]


def plot_inner_steps(low: ArrayLike, high: ArrayLike, kl: ArrayLike, eps: float) -> Figure:
    """Left the range of the ratios after each inner step with the clip range, right the KL.

    Args:
        low: [n], smallest ratio after 0, 1, … inner steps.
        high: [n], largest ratio.
        kl: [n], KL(π_old‖π) in nats.
        eps: ε of the clip.
    """
    figure, (left, right) = new_figure(1, 2, width=9.5, height=3.3)
    steps = np.arange(len(np.asarray(low)))
    left.fill_between(steps, low, high, color=COLOURS["policy"], alpha=0.2, linewidth=0)
    ends = []
    for values, word in ((high, "largest ρ"), (low, "smallest ρ")):
        left.plot(steps, values, color=COLOURS["policy"], linewidth=2)
        ends.append((float(steps[-1]), float(np.asarray(values)[-1]), word, COLOURS["policy"]))
    left.axhspan(1 - eps, 1 + eps, color=COLOURS["right"], alpha=0.15, linewidth=0)
    left.text(
        0.97 * steps[-1],
        1.0,
        "clip range 1 ± ε",
        color=dark(COLOURS["right"]),
        ha="right",
        va="center",
        fontsize=8.5,
    )
    left.set(xlabel="inner step", ylabel="ratio ρ", ylim=(0, None))
    left.xaxis.set_major_locator(step_ticks())
    label_ends(left, ends)
    right.plot(steps, kl, color=COLOURS["kl"], linewidth=2)
    right.set(xlabel="inner step", ylabel="KL(π_old‖π) (nats)", ylim=(0, None))
    right.xaxis.set_major_locator(step_ticks())
    return figure


def plot_switch(
    base: ArrayLike, other: ArrayLike, name: str, ax: Axes | None = None, guess: float = 0.1
) -> Axes:
    """Pass rate over the steps without and with one change, [S, T] each, with bands over seeds."""
    ax = new_figure(width=7.5, height=3.4)[1] if ax is None else ax
    plot_band(base, ax, "as it is", "reference", style="--")
    plot_band(other, ax, name, "wrong" if name.startswith("bug") else "policy", style="-")
    plot_guessing(ax, guess, left=True)
    ax.set(ylabel="share of correct answers", ylim=(0, 1))
    plain_legend(ax, loc="lower right")
    return ax


_LAMBDAS = {"between": ("policy", "-", "o"), "0": ("kl", ":", "v"), "1": ("right", "--", "^")}


def plot_gae(
    rewards: ArrayLike, values: ArrayLike, advantages: Mapping[float, ArrayLike]
) -> Figure:
    """Left the token rewards (bars) and V (line) of one answer, right its advantages for each λ.

    Args:
        rewards: r_t, [T].
        values: V(s_t), [T].
        advantages: λ → A_t, [T].
    """
    figure, (left, right) = new_figure(1, 2, width=9.5, height=3.4)
    tokens = np.arange(1, len(np.asarray(rewards)) + 1)
    left.bar(tokens, rewards, width=0.5, color=COLOURS["reward"], label="reward r")
    left.plot(tokens, values, "o-", color=COLOURS["policy"], linewidth=2, label="value V(s)")
    left.set_title("what GAE reads", fontsize=10)
    for lam, advantage in advantages.items():
        colour, style, marker = _LAMBDAS.get(f"{lam:g}", _LAMBDAS["between"])
        shown = {"color": COLOURS[colour], "linewidth": 2, "label": f"λ = {lam:g}"}
        right.plot(tokens, advantage, style, marker=marker, **shown)
    right.set_title("advantages", fontsize=10)
    for ax in (left, right):
        ax.axhline(0, color="#999999", linewidth=0.8)
        ax.set(xlabel="token t", xticks=tokens, ylim=(-0.6, 1.1))
        plain_legend(ax, loc="upper left")
    left.set_ylabel("reward")
    return figure


def plot_bias_noise(lam: ArrayLike, found: ArrayLike, ax: Axes | None = None) -> Axes:
    """Squared bias, squared noise and their sum against λ.

    Args:
        lam: [L].
        found: [L, 2], squared bias and squared noise.
        ax: where to draw.
    """
    ax = new_figure(width=7.5, height=3.3)[1] if ax is None else ax
    lam, found = np.asarray(lam), np.asarray(found)
    lines = {
        "bias²": (found[:, 0], "wrong", "-"),
        "noise²": (found[:, 1], "policy", "--"),
        "sum": (found.sum(axis=1), "length", ":"),
    }
    ends = []
    for name, (values, colour, style) in lines.items():
        ax.plot(lam, values, color=COLOURS[colour], linestyle=style, linewidth=2.2)
        ends.append((1.0, float(values[-1]), name, COLOURS[colour]))
    ax.set(xlabel="λ", ylabel="mean square, in reward²", xlim=(0, 1), ylim=(0, None))
    label_ends(ax, ends)
    return ax


_CRITICS = {
    "lookup table": ("right", "--"),
    "confidence head": ("policy", "-"),
    "linear head": ("reference", ":"),
}


def plot_critics(curves: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    """Explained variance of each critic over the steps, [S, T] each, with bands over seeds."""
    ax = axes_or_new(ax)
    ends = []
    for name, values in curves.items():
        colour, style = _CRITICS[name]
        plot_band(values, ax, name, colour, style=style)
        values = np.asarray(values, dtype=float)
        ends.append((values.shape[1], float(values[:, -3:].mean()), name, COLOURS[colour]))
    ax.axhline(0, color="#999999", linewidth=0.8)
    ax.set_ylabel("explained variance of the returns")
    ax.get_legend().remove()
    label_ends(ax, ends)
    return ax


def plot_gaps(
    gaps: Mapping[str, ArrayLike], base: str, xlabel: str, ax: Axes | None = None
) -> Axes:
    """Paired differences from ``base``, a row each: a dot per seed, mean and 95 % interval, sorted.

    Args:
        gaps: name → difference per seed, [S]. The names of mistakes begin with ``bug``.
        base: what everything is compared with, for the axis.
        xlabel: of what the differences are.
        ax: where to draw.
    """
    ax = new_figure(width=9.0, height=0.29 * len(gaps) + 1.1)[1] if ax is None else ax
    names = sorted(gaps, key=lambda name: float(np.mean(gaps[name])))
    for y, name in enumerate(names):
        bug = name.startswith("bug")
        colour, marker = COLOURS["wrong" if bug else "policy"], "D" if bug else "o"
        effect_row(ax, y, gaps[name], colour, marker, mark_zero=True)
    ax.axvline(0, color=COLOURS["reference"], linestyle="--", linewidth=1)
    ax.set_yticks(range(len(names)), [name.removeprefix("bug: ") for name in names], fontsize=8.5)
    ax.set_ylim(-0.7, len(names) - 0.3)
    ax.set_xlabel(f"{xlabel}, minus that of “{base}” with the same seed")

    def mark(colour: str, marker: str, full: bool, label: str) -> Line2D:
        edge = dark(COLOURS[colour])
        face = edge if full else "white"
        shown = {"markerfacecolor": face, "markeredgecolor": edge, "linestyle": ""}
        return Line2D([], [], marker=marker, label=label, **shown)

    marks = [
        mark("policy", "o", True, "detail"),
        mark("wrong", "D", True, "mistake on purpose"),
        mark("policy", "o", False, "interval contains 0"),
    ]
    plain_legend(ax, handles=marks, loc="upper left")
    return ax


_MARKERS = {
    "REINFORCE": ("length", (0, (1, 1)), "s"),
    "RLOO": ("reward", "--", "^"),
    "GRPO": ("policy", "-", "o"),
    "PPO": ("right", "-", "D"),
    "TRPO": ("kl", "-.", "v"),
}


def plot_algorithms(
    panels: Mapping[str, Mapping[str, ArrayLike]], units: Sequence[str], guess: float = 0.1
) -> Figure:
    """A panel for each title → algorithm → curves [S, T]; markers tell curves apart that lie together.

    Args:
        panels: the first one holds shares of correct answers.
        units: y labels of the panels.
        guess: level of blind guessing, for the first panel.
    """
    figure, axes = new_figure(1, len(panels), width=10.0, height=3.8)
    for ax, (title, bands), unit in zip(np.ravel(axes), panels.items(), units, strict=True):
        for i, (name, curves) in enumerate(bands.items()):
            colour, style, marker = _MARKERS[name]
            mean, low, high = bootstrap_band(np.asarray(curves, dtype=float))
            steps = np.arange(1, len(mean) + 1)
            ax.fill_between(steps, low, high, color=COLOURS[colour], alpha=0.12, linewidth=0)
            shown = {"color": COLOURS[colour], "linestyle": style, "marker": marker}
            ax.plot(
                steps, mean, linewidth=1.8, markersize=5, markevery=(2 * i, 10), label=name, **shown
            )
        ax.set(xlabel="step", ylabel=unit)
        ax.set_title(title, fontsize=10)
        ax.xaxis.set_major_locator(step_ticks())
    first = np.ravel(axes)[0]
    plot_guessing(first, guess)
    first.set_ylim(0, 1.02)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9
    )
    return figure
