"""The figures of the Kimi k1.5 report as pictures, and a published trend over training (notebook 09)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    dark,
    new_figure,
    plain_legend,
)

__all__ = ["plot_long2short", "plot_slopes", "plot_trend"]

# Where a label may stand around its point, in points of the page: the first free place is taken.
_PLACES = [
    (dx, dy)
    for far in (6, 14, 24, 36)
    for dx, dy in ((far, 0), (-far, 0), (0, far), (0, -far), (far, far), (-far, far), (far, -far), (-far, -far))
]  # fmt: skip


def plot_slopes(panels: Mapping[str, Mapping[str, Mapping[str, float]]], unit: str) -> Figure:
    """Slopes of accuracy on length: a panel for each figure, a row for each benchmark, a mark for each model.

    Args:
        panels: title → model → benchmark → slope. At most two models in a panel.
        unit: of the slopes.
    """
    figure, axes = new_figure(1, len(panels), width=4.6 * len(panels), height=3.1)
    looks = [("policy", "o", COLOURS["policy"]), ("reward", "D", "white")]
    top = 1.12 * max(v for p in panels.values() for m in p.values() for v in m.values())
    for ax, (title, models) in zip(np.ravel(axes), panels.items(), strict=True):
        names = list(next(iter(models.values())))
        for (model, slopes), (hue, mark, face) in zip(models.items(), looks, strict=False):
            rows = [len(names) - 1 - names.index(name) for name in slopes]
            ax.plot(list(slopes.values()), rows, mark, color=COLOURS[hue], markerfacecolor=face,
                    markeredgewidth=1.8, markersize=7, label=model)  # fmt: skip
        ax.set_yticks(range(len(names)), names[::-1])
        ax.set(xlabel=unit, xlim=(0, top), ylim=(-1.6, len(names) - 0.4))
        ax.set_title(title, fontsize=10, color=INK)
        ax.grid(axis="y", visible=False)
        plain_legend(ax, loc="lower center", ncols=2)  # in the free row below the last benchmark
    return figure


def plot_long2short(
    panels: Mapping[str, Mapping[str, tuple[float, float]]],
    ours: Sequence[str],
    start: str,
    unit: str = "mean tokens per answer",
) -> Figure:
    """Accuracy against tokens: a panel for each benchmark, a labelled point for each model.

    Args:
        panels: benchmark → model → (mean tokens, accuracy in %).
        ours: the models that come from ``start``: filled, and joined to it by a thin line.
        start: the long model, a square.
        unit: of the x axis.
    """
    figure, axes = new_figure(1, len(panels), width=5.2 * len(panels), height=4.2)
    for ax, (title, models) in zip(np.ravel(axes), panels.items(), strict=True):
        for name, (tokens, accuracy) in models.items():
            if name in ours:
                line = zip(models[start], (tokens, accuracy), strict=True)
                ax.plot(*line, color="#C8C8C8", linewidth=1, zorder=1)
            hue = "policy" if name in ours or name == start else "reference"
            ax.plot([tokens], [accuracy], "s" if name == start else "o", color=COLOURS[hue],
                    markerfacecolor="white" if hue == "reference" else COLOURS[hue],
                    markeredgewidth=1.6, markersize=7, zorder=3)  # fmt: skip
        tokens, accuracy = np.array(list(models.values()), dtype=float).T
        wide, high = np.ptp(tokens), np.ptp(accuracy)
        ax.set_xlim(max(0, tokens.min() - 0.3 * wide), tokens.max() + 0.3 * wide)
        ax.set_ylim(accuracy.min() - 0.12 * high, accuracy.max() + 0.12 * high)
        ax.set(xlabel=unit, ylabel="accuracy (%)")
        ax.set_title(title, fontsize=10, color=INK)
    figure.canvas.draw()  # so that the places of the axes are known before the labels look for room
    for ax, models in zip(np.ravel(axes), panels.values(), strict=True):
        _label_points(ax, {n: (*p, n in ours or n == start) for n, p in models.items()})
    return figure


def _label_points(ax: Axes, points: Mapping[str, tuple[float, float, bool]]) -> None:
    """Write each point's name at the first place around it that is free; the crowded points first."""
    pixels = {name: ax.transData.transform((x, y)) for name, (x, y, _) in points.items()}
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in pixels.values()]

    def crowd(name: str) -> float:
        return -sum(1 / (1 + np.hypot(*(pixels[name] - other))) for other in pixels.values())

    inside = ax.get_window_extent()
    for name in sorted(points, key=crowd):
        x, y, own = points[name]
        colour = dark(COLOURS["policy" if own else "reference"])
        best = None
        for dx, dy in _PLACES:
            text = ax.annotate(
                name, (x, y), (dx, dy), textcoords="offset points", fontsize=8, color=colour,
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                va="bottom" if dy > 0 else "top" if dy < 0 else "center",
                arrowprops={"arrowstyle": "-", "color": "#AAAAAA", "linewidth": 0.6, "shrinkB": 4},
            )  # fmt: skip
            box = text.get_window_extent(ax.figure.canvas.get_renderer())
            hits = sum(box.overlaps(other) for other in taken)
            hits += not (inside.x0 <= box.x0 and box.x1 <= inside.x1)
            hits += not (inside.y0 <= box.y0 and box.y1 <= inside.y1)
            if best is None or hits < best[0]:
                if best is not None:
                    best[1].remove()
                best = (hits, text, box)
            else:
                text.remove()
            if hits == 0:
                break
        taken.append(best[2])


def plot_trend(
    steps: ArrayLike,
    accuracy: ArrayLike,
    length: ArrayLike,
    names: tuple[str, str] = ("accuracy", "tokens per answer"),
    guess: float | None = None,
) -> Figure:
    """Two quantities of one training run, each over the steps, and one against the other.

    Args:
        steps: [n], training steps.
        accuracy: [n], at these steps.
        length: [n], at these steps.
        names: of the two axes.
        guess: accuracy of blind guessing, drawn as a dotted line.
    """
    figure, (left, middle, right) = new_figure(1, 3, width=10.5, height=3.1)
    left.plot(steps, accuracy, "-o", color=COLOURS["policy"], markersize=4)
    middle.plot(steps, length, "-s", color=COLOURS["length"], markersize=4)
    right.plot(length, accuracy, "-", color="#C8C8C8", linewidth=1, zorder=1)
    dots = right.scatter(length, accuracy, c=steps, cmap="viridis", s=26, zorder=3)
    bar = figure.colorbar(dots, ax=right, pad=0.02)
    bar.set_label("training step", size=9, color=INK)
    bar.ax.tick_params(labelsize=8, colors=INK)
    for ax, labels in zip(
        (left, middle, right),
        (("training step", names[0]), ("training step", names[1]), names[::-1]),
        strict=True,
    ):
        ax.set(xlabel=labels[0], ylabel=labels[1])
        ax.set_xlim(left=0)
        ax.set_ylim(bottom=0)
        if guess is not None and labels[1] == names[0]:
            ax.axhline(guess, color=COLOURS["reference"], linestyle=":", linewidth=1.2)
    return figure
