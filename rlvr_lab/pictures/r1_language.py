"""Pictures of language mixing under RL (notebook 08)."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from rlvr_lab.pictures.seeds import effect_row
from rlvr_lab.pictures.style import COLOURS, INK, axes_or_new, plain_legend

__all__ = ["plot_language_choice"]


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
