"""R1-Zero: the paper's curves beside ours (notebook 08)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    label_ends,
    new_figure,
    plot_band,
    plot_guessing,
)

__all__ = ["plot_growth", "plot_zero"]

Curve = tuple[ArrayLike, ArrayLike]

_ACCURACY = [("policy", "-"), ("right", (0, (5, 2)))]


def plot_zero(
    paper: Mapping[str, Curve],
    levels: Mapping[str, float],
    paper_length: Curve,
    ours: Mapping[str, ArrayLike],
    our_length: ArrayLike,
    steps: ArrayLike,
    guess: float,
) -> Figure:
    """Accuracy (top) and length (bottom) over RL steps: the paper's curves (left) and ours (right).

    Args:
        paper: pass@1, then majority vote: name → (steps, accuracies) read off the paper's figure.
        levels: names of other models → their accuracy, drawn as horizontal lines.
        paper_length: (steps, tokens).
        ours: pass@1, then majority vote: name → [S, T].
        our_length: [S, T], tokens.
        steps: T.
        guess: accuracy of blind guessing in our world.
    """
    figure, axes = new_figure(2, 2, width=9.5, height=5.6)
    (left, right), (left_length, right_length) = axes
    ends = []
    for (name, (x, y)), (hue, line) in zip(paper.items(), _ACCURACY, strict=True):
        left.plot(x, y, color=COLOURS[hue], linestyle=line, linewidth=1.6, marker=".", markersize=4)
        ends.append((float(np.max(x)), float(y[-1]), name, COLOURS[hue]))
    for name, level in levels.items():
        left.axhline(level, color=COLOURS["reference"], linestyle=":", linewidth=1.2)
        left.annotate(name, (0.01, level), (0, 2), xycoords=left.get_yaxis_transform(),
                      textcoords="offset points", fontsize=8, color=INK)  # fmt: skip
    left.set(xlim=(0, np.max(x)), ylim=(0, 1.02), ylabel="accuracy")
    left.set_title("DeepSeek-R1-Zero: AIME 2024, 30 questions", fontsize=10, color=INK)
    label_ends(left, ends, size=8.5)
    _ours(right, ours, _ACCURACY, steps, 1.02)
    seeds = len(np.asarray(our_length))
    right.set_title(f"ours: sums, n = {seeds} seeds", fontsize=10, color=INK)
    plot_guessing(right, guess)
    left_length.plot(*paper_length, color=COLOURS["length"], linewidth=1.6)
    left_length.set(
        xlim=(0, np.max(x)), ylim=(0, None), xlabel="RL step", ylabel="tokens per answer"
    )
    _ours(right_length, {"": our_length}, [("length", "-")], steps)
    right_length.set_xlabel("RL step")
    return figure


def _ours(
    ax: Axes,
    bands: Mapping[str, ArrayLike],
    looks: Sequence[tuple],
    steps: ArrayLike,
    top: float | None = None,
) -> None:
    ends = []
    for (name, curves), (hue, line) in zip(bands.items(), looks, strict=True):
        plot_band(curves, ax, name, hue, steps, line)
        ends.append(
            (float(np.max(steps)), float(np.nanmean(curves, axis=0)[-1]), name, COLOURS[hue])
        )
    ax.get_legend().remove()
    ax.set(xlim=(np.min(steps), np.max(steps)), ylim=(0, top), xlabel="")
    label_ends(ax, [end for end in ends if end[2]], size=8.5)


def plot_growth(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    steps: ArrayLike,
    looks: Mapping[str, tuple[str, str]],
    unit: str = "tokens per answer",
) -> Figure:
    """Length over RL steps: a panel for each world, a labelled band for each setting.

    Args:
        panels: title → label → [S, T].
        steps: T.
        looks: label → (meaning of ``COLOURS``, line style).
        unit: of the y axis.
    """
    figure, axes = new_figure(1, len(panels), width=4.6 * len(panels), height=3.3)
    top = 1.05 * float(
        max(np.nanmax(curves) for bands in panels.values() for curves in bands.values())
    )
    for ax, (title, bands) in zip(np.ravel(axes), panels.items(), strict=True):
        _ours(ax, bands, [looks[name] for name in bands], steps, top)
        ax.set(xlabel="RL step", ylabel=unit)
        ax.set_title(title, fontsize=10, color=INK)
    return figure
