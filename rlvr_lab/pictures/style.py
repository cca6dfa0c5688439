"""The look of all pictures, and the two that every notebook needs: a band over seeds, and panels of them.

Object-oriented matplotlib with the Agg canvas only: pyplot keeps global state, and a figure drawn
in a training thread must not meddle with one that a cell is drawing.

One colour, one meaning, through the whole course (``COLOURS``, after Okabe and Ito). Line style,
marker or a label at the line's end says the same again: colour is never the only cue.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
from IPython.display import Image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from rlvr_lab.records.statistics import bootstrap_band

__all__ = [
    "COLOURS",
    "INK",
    "STYLES",
    "axes_or_new",
    "dark",
    "few_ticks",
    "label_ends",
    "legend_below",
    "new_figure",
    "plain_legend",
    "plot_band",
    "plot_guessing",
    "plot_panels",
    "show",
    "step_ticks",
]

COLOURS = {
    "policy": "#0072B2",
    "reference": "#707070",
    "reward": "#E69F00",
    "kl": "#CC79A7",
    "wrong": "#D55E00",
    "right": "#009E73",
    "length": "#000000",
    "entropy": "#56B4E9",
}
STYLES = {"reference": (0, (5, 2)), "right": "-", "wrong": "-", "length": (0, (1, 1))}
INK = "#333333"
_GRID, _DPI = "#E4E4E4", 100


def new_figure(
    rows: int = 1, cols: int = 1, width: float = 9.0, height: float | None = None
) -> tuple[Figure, Any]:
    """A figure with an Agg canvas, and its axes (one ``Axes``, or an array when there are several).

    Args:
        rows: rows of axes.
        cols: columns of axes.
        width: in inches; 9 fills a notebook cell.
        height: in inches; by default 3 for each row.
    """
    figure = Figure(figsize=(width, height or 3.0 * rows), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, cols)
    for ax in np.atleast_1d(axes).flat:
        _tidy(ax)
    return figure, axes


def show(figure: Figure, alt: str) -> Image:
    """The figure as a small PNG that carries ``alt``, its description, in the output's metadata.

    Args:
        figure: what to draw.
        alt: one or two sentences saying what the picture shows, for readers who cannot see it.

    Raises:
        ValueError: when ``alt`` is empty.
    """
    if not alt.strip():
        raise ValueError("alt: say in words what the picture shows")
    figure.canvas.draw()
    size = figure.canvas.get_width_height()
    pixels = PIL.Image.frombuffer("RGBA", size, figure.canvas.buffer_rgba()).convert("RGB")
    # 64 colours are enough for lines, bands and letters, and a fifth of the bytes.
    flat = pixels.quantize(64, PIL.Image.Quantize.FASTOCTREE, dither=PIL.Image.Dither.NONE)
    palette, paper = flat.getpalette() or [], flat.getpixel((0, 0))
    palette[3 * paper : 3 * paper + 3] = pixels.getpixel((0, 0))  # keep the background as it was
    flat.putpalette(palette)
    words = PIL.PngImagePlugin.PngInfo()
    words.add_itxt("Description", alt)
    buffer = io.BytesIO()
    flat.save(buffer, "png", pnginfo=words)  # optimize=True: 7 % smaller, seven times slower
    return Image(data=buffer.getvalue(), format="png", alt=alt)


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#999999")
    ax.grid(True, color=_GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=9, colors=INK, length=3)
    ax.xaxis.label.set(color=INK, size=9)
    ax.yaxis.label.set(color=INK, size=9)


def step_ticks() -> MaxNLocator:
    """Ticks at round numbers of steps."""
    return MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10])


def few_ticks() -> MaxNLocator:
    """About four ticks."""
    return MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10])


def axes_or_new(ax: Axes | None) -> Axes:
    return new_figure(height=3.4)[1] if ax is None else ax


def dark(colour: str) -> tuple[float, float, float]:
    """The colour darkened until small text in it can be read on white."""
    return tuple(0.6 * part for part in to_rgb(colour))


def plain_legend(ax: Axes, **options: Any) -> None:
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, handlelength=2.8, **options)


def label_ends(ax: Axes, ends: list[tuple[float, float, str, str]], size: float = 9) -> None:
    """Write ``(x, y, text, colour)`` right of line ends, moved apart where they would collide."""
    ends = sorted((end for end in ends if math.isfinite(end[1])), key=lambda end: end[1])
    if not ends:
        return
    low, high = ax.get_ylim()
    inches = ax.get_position().height * ax.figure.get_size_inches()[1]
    gap = 1.25 * size / 72 / max(inches, 0.5)
    wanted = [(end[1] - low) / (high - low) for end in ends]
    places = list(wanted)
    for _ in range(60):
        for i in range(len(places) - 1):
            overlap = gap - (places[i + 1] - places[i])
            if overlap > 0:
                places[i] -= overlap / 2
                places[i + 1] += overlap / 2
    shift = min(0.0, 1.0 - places[-1])
    for (x, _, text, colour), place in zip(ends, places, strict=True):
        ax.annotate(
            text,
            xy=(x, place + shift),
            xycoords=ax.get_xaxis_transform(),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=dark(colour),
            fontsize=size,
            annotation_clip=False,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )


def plot_band(
    curves: ArrayLike,
    ax: Axes | None = None,
    label: str = "",
    colour: str = "policy",
    steps: ArrayLike | None = None,
    style: Any = None,
    replicates: str = "seeds",
) -> Axes:
    """Mean over seeds with a bootstrap band of 95 %; the number of seeds goes into the label.

    Args:
        curves: [S, T], one row per seed; NaN where a seed has no value.
        ax: where to draw.
        label: for the legend.
        colour: a meaning of ``COLOURS`` or a colour.
        steps: [T], by default 1 … T.
        style: line style, by default the meaning's own.
        replicates: what the rows are, when not seeds.
    """
    ax = axes_or_new(ax)
    curves = np.asarray(curves, dtype=float)
    mean, low, high = bootstrap_band(curves)
    steps = np.arange(1, len(mean) + 1) if steps is None else np.asarray(steps)
    style, colour = style or STYLES.get(colour, "-"), COLOURS.get(colour, colour)
    ax.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
    count = f"n = {len(curves)} {replicates}"
    name = f"{label}, {count}" if label else count
    ax.plot(steps, mean, color=colour, linestyle=style, linewidth=2, label=name)
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(step_ticks())
    plain_legend(ax)
    return ax


def legend_below(figure: Figure, ncols: int = 2, **options: Any) -> None:
    """One legend below all panels, in the place of their own.

    Each name stands there once: not every panel has to hold all of them.
    """
    named = {}
    for ax in figure.axes:
        if (own := ax.get_legend()) is not None:
            own.remove()
        named |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    place = {"loc": "outside lower center", "ncols": ncols, "frameon": False}
    figure.legend(named.values(), list(named), **place, **options)


def plot_guessing(
    ax: Axes, guess: float, left: bool = False, words: str = "blind guessing"
) -> None:
    """A dotted line at the level of blind guessing, named at its right end or its left."""
    ax.axhline(guess, color=COLOURS["reference"], linestyle=":", linewidth=1.2)
    ax.annotate(
        words,
        (0.01 if left else 0.98, guess),
        (0, 2),
        xycoords=ax.get_yaxis_transform(),
        textcoords="offset points",
        ha="left" if left else "right",
        fontsize=9,
        color=INK,
    )


def plot_panels(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    units: Sequence[str],
    looks: Mapping[str, tuple[str, str]],
    ylim: tuple[float, float] | None = None,
    steps: ArrayLike | None = None,
    guess: float | None = None,
) -> Figure:
    """A panel for each title → label → curves [S, T]; ``looks``: label → (meaning, line style).

    ``guess`` draws the level of blind guessing.
    """
    figure, axes = new_figure(1, len(panels), width=max(6.5, 3.5 * len(panels)), height=3.6)
    for ax, (title, bands), unit in zip(np.ravel(axes), panels.items(), units, strict=True):
        for label, curves in bands.items():
            plot_band(curves, ax, label, looks[label][0], steps, looks[label][1])
        ax.set(title=title, ylabel=unit, ylim=ylim)
        if guess is not None:
            plot_guessing(ax, guess)
    legend_below(figure)
    return figure
