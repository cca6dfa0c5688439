"""Pictures of objectives and where they are flat, and of what switches do."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import COLOURS, axes_or_new, new_figure, plain_legend

__all__ = ["plot_clip", "plot_clip_signs"]


def plot_clip(
    ratio: ArrayLike,
    curves: Mapping[str, ArrayLike],
    flat: tuple[float, float],
    ax: Axes | None = None,
) -> Axes:
    """An objective against the ratio ρ, with the region of zero gradient shaded.

    Args:
        ratio: [n], ρ.
        curves: label → objective [n]; the first solid, the others dashed.
        flat: from which ρ to which ρ the first curve has no gradient.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    looks = ((COLOURS["policy"], "-", 2.4), (COLOURS["reference"], "--", 1.4))
    for (label, values), (colour, style, width) in zip(curves.items(), looks, strict=False):
        ax.plot(ratio, values, linestyle=style, color=colour, linewidth=width, label=label)
    ax.axvspan(*flat, color=COLOURS["wrong"], alpha=0.12, hatch="//", linewidth=0)
    ax.axvline(1.0, color="#999999", linewidth=0.8)
    ax.set(xlabel="ratio ρ = π / π_old", ylabel="objective", xlim=(min(ratio), max(ratio)))
    ax.text(np.mean(flat), 0.04, "no gradient", ha="center", transform=ax.get_xaxis_transform())
    plain_legend(ax, loc="best")
    return ax


def plot_clip_signs(
    ratio: ArrayLike, objective: Callable[[float], ArrayLike], unclipped: ArrayLike, epsilon: float
) -> Figure:
    """PPO's objective against ρ for A = 1 and for A = −1, each beside ρ·A.

    Args:
        ratio: [n], ρ.
        objective: A → the clipped objective [n].
        unclipped: [n], ρ·A for A = 1.
        epsilon: ε of the clip.
    """
    figure, axes = new_figure(1, 2, width=9.5, height=3.2)
    low, high = min(ratio), max(ratio)
    for ax, A, flat, what in zip(
        axes, (1.0, -1.0), ((1 + epsilon, high), (low, 1 - epsilon)), ("more", "less"), strict=True
    ):
        plot_clip(ratio, {"clipped": objective(A), "ρ·A": A * np.asarray(unclipped)}, flat, ax)
        ax.set_title(
            f"A {'>' if A > 0 else '<'} 0: make {'the token' if A > 0 else 'it'} {what} likely"
        )
    return figure
