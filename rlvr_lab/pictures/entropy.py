"""The pictures of the entropy in notebook 06: along an exact run, the law against steps, and the two remedies."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    label_ends,
    legend_below,
    new_figure,
    plain_legend,
    step_ticks,
)

__all__ = ["plot_entropy_law", "plot_entropy_path", "plot_entropy_remedies"]

_ANSWERS = (
    ("correct, common", "right", "-"),
    ("correct, rare", "right", (0, (5, 2))),
    ("wrong, common", "wrong", "-"),
    ("wrong, rare", "wrong", (0, (5, 2))),
)
_REMEDIES: tuple[tuple[str, str, Any], ...] = (
    ("clip", "policy", (0, (6, 2, 1, 2))),
    ("0.1", "wrong", (0, (1, 1))),
    ("bonus", "entropy", (0, (5, 2))),
    ("one update", "reference", (0, (3, 1.5))),
    ("", "length", "-"),
)  # the first that a variant's name contains


def plot_entropy_path(
    probability: ArrayLike, entropy: ArrayLike, predicted: ArrayLike, axes: Any = None
) -> np.ndarray:
    """An exact run on four answers: their probabilities, and the entropy beside what the law adds up to.

    Args:
        probability: [T+1, 4]: correct and common, correct and rare, wrong and common, wrong and rare.
        entropy: [T+1], in nats.
        predicted: [T], the change of the entropy in each step by the law.
        axes: two axes.
    """
    if axes is None:
        _, axes = new_figure(1, 2, width=9.0, height=3.3)
    probability, entropy = np.asarray(probability, float), np.asarray(entropy, float)
    steps, ends = np.arange(len(entropy)), []
    for j, (name, meaning, style) in enumerate(_ANSWERS):
        axes[0].plot(
            steps, probability[:, j], color=COLOURS[meaning], linestyle=style, linewidth=2.2
        )
        ends.append((float(steps[-1]), float(probability[-1, j]), name, COLOURS[meaning]))
    law = entropy[0] + np.concatenate([[0.0], np.cumsum(np.asarray(predicted, float))])
    axes[1].plot(steps, entropy, color=COLOURS["entropy"], linewidth=2.4)
    axes[1].plot(steps, law, color=INK, linestyle=(0, (1, 1)), linewidth=1.8)
    axes[0].set(xlabel="step", ylabel="probability of the answer", ylim=(0, 1.02))
    axes[1].set(
        xlabel="step", ylabel="entropy (nats)", ylim=(0, 1.05 * max(entropy.max(), law.max()))
    )
    for ax in axes:
        ax.set_xlim(0, steps[-1])
        ax.xaxis.set_major_locator(step_ticks())
    label_ends(axes[0], ends, size=8.5)
    named = (("entropy", entropy, COLOURS["entropy"]), ("sum of −Cov", law, INK))
    label_ends(axes[1], [(float(steps[-1]), float(y[-1]), n, c) for n, y, c in named], size=8.5)
    return axes


def plot_entropy_law(
    change: ArrayLike, panels: Mapping[str, ArrayLike], equal: Sequence[str] = (), axes: Any = None
) -> np.ndarray:
    """The measured change of the entropy in each step against what should predict it, a panel for each.

    Args:
        change: [S, T], nats per token.
        panels: the name of the x axis → [S, T].
        equal: names of panels whose x axis has the same unit; they get the line y = x.
        axes: as many axes as panels.
    """
    if axes is None:
        _, axes = new_figure(1, len(panels), width=9.0, height=3.5)
    y = np.asarray(change, dtype=float)
    share = np.linspace(0, 1, y.shape[1])
    for ax, (name, found) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        x = np.asarray(found, dtype=float)
        for t in range(y.shape[1]):
            colour = COLOURS["entropy"]
            label = {0: "first step", y.shape[1] - 1: "last step"}.get(t)
            ax.plot(
                x[:, t], y[:, t], "o", color=colour, alpha=0.95 - 0.7 * share[t], markersize=5,
                markeredgecolor=INK, markeredgewidth=0.5, linestyle="none", label=label,
            )  # fmt: skip
        ax.axhline(0, color=INK, linewidth=0.8)
        ax.axvline(0, color=INK, linewidth=0.8)
        if name in equal:
            ends = [min(x.min(), y.min()), max(x.max(), y.max(), 0.0)]
            ax.plot(ends, ends, color=INK, linestyle=(0, (1, 1)), linewidth=1.2, label="equal")
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
        ax.set(xlabel=name, ylabel="measured change of the entropy\n(nats per token)")
        plain_legend(ax, loc="best")
    return np.atleast_1d(axes)


def plot_entropy_remedies(
    curves: Mapping[str, Mapping[str, ArrayLike]], axes: Any = None
) -> np.ndarray:
    """Entropy and pass rate over the steps, and one against the other: the mean over seeds of each variant.

    Args:
        curves: name → {"entropy": [S, T], "pass_rate": [S, T]}.
        axes: three axes.
    """
    if axes is None:
        _, axes = new_figure(1, 3, width=9.6, height=3.6)
    for name, found in curves.items():
        meaning, style = next(look for word, *look in _REMEDIES if word in name)
        entropy, rate = (
            np.asarray(found[key], dtype=float).mean(axis=0) for key in ("entropy", "pass_rate")
        )
        steps = np.arange(1, len(entropy) + 1)
        pairs: list[tuple[Axes, np.ndarray, np.ndarray]] = [
            (axes[0], steps, entropy), (axes[1], steps, rate), (axes[2], rate, entropy),
        ]  # fmt: skip
        width = 1.5 if "1" in name and "clip" in name else 2.2
        for ax, x, y in pairs:
            ax.plot(x, y, color=COLOURS[meaning], linestyle=style, linewidth=width, label=name)
    axes[0].set(xlabel="step", ylabel="entropy (nats per token)")
    axes[1].set(xlabel="step", ylabel="pass rate", ylim=(0, 1))
    axes[2].set(xlabel="pass rate", ylabel="entropy (nats per token)", xlim=(0, 1))
    for ax in (axes[0], axes[2]):
        ax.set_ylim(bottom=0)
    for ax in axes[:2]:
        ax.xaxis.set_major_locator(step_ticks())
    legend_below(axes[0].figure, ncols=3)
    return axes
