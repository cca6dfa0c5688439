"""Pictures of language mixing under RL (notebook 08)."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlvr_lab.pictures.seeds import effect_row, plot_effects
from rlvr_lab.pictures.style import COLOURS, INK, axes_or_new, new_figure, plain_legend

__all__ = ["plot_language_choice", "plot_weights"]


def plot_language_choice(
    shares: Mapping[str, Mapping[str, ArrayLike]],
    looks: Mapping[str, tuple[str, str]],
    ax: Axes | None = None,
) -> Axes:
    """Share of results in number words for each class of additions, one mark per policy.

    Args:
        shares: policy → class of additions → [S], one share per seed. The first class stands on top.
        looks: policy → (meaning of ``COLOURS``, marker).
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    classes = list(next(iter(shares.values())))
    gap = 0.62 / max(1, len(shares))
    for number, (policy, by_class) in enumerate(shares.items()):
        meaning, marker = looks[policy]
        for row, name in enumerate(classes):
            y = len(classes) - 1 - row + gap * ((len(shares) - 1) / 2 - number)
            effect_row(ax, y, by_class[name], COLOURS[meaning], marker, spread=0.2 * gap)
        ax.plot([], [], marker, color=COLOURS[meaning], label=policy)
    ax.set_yticks(range(len(classes)), classes[::-1])
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(classes) - 0.4))
    ax.set_xlabel("share of results written in number words")
    ax.axvline(0.5, color=INK, linewidth=0.8, zorder=1)
    ax.grid(axis="y", visible=False)
    plain_legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def plot_weights(mixing: Mapping[str, ArrayLike], cost: Mapping[str, ArrayLike]) -> Figure:
    """What a consistency reward does to mixing (left) and to the accuracy, paired by seed (right).

    Args:
        mixing: reward → [S], share of chains in both languages.
        cost: reward → [S], accuracy minus that without a consistency reward.
    """
    rows = max(len(mixing), len(cost))
    figure, (left, right) = new_figure(1, 2, width=10, height=1.2 + 0.5 * rows)
    plot_effects(mixing, "share of chains in both languages", left, dict.fromkeys(mixing, "wrong"))
    plot_effects(cost, "accuracy − accuracy without the reward", right)
    left.set_xlim(-0.02, max(1.0, *(float(np.max(values)) for values in mixing.values())))
    return figure
