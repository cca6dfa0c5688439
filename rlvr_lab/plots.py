"""Metrics in, pictures out: one function a picture, ``plot_x(data, ax=None) -> Axes``.

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

from rlvr_lab.metrics import bootstrap_band

__all__ = [
    "COLOURS",
    "INK",
    "STYLES",
    "axes_or_new",
    "label_ends",
    "new_figure",
    "plain_legend",
    "plot_band",
    "plot_gradient_share",
    "plot_kl_estimators",
    "plot_length_drift",
    "plot_panels",
    "plot_std_multiplier",
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
    # 128 colours are enough for lines and letters, and a quarter of the bytes.
    flat = pixels.quantize(128, PIL.Image.Quantize.FASTOCTREE, dither=PIL.Image.Dither.NONE)
    palette, paper = flat.getpalette() or [], flat.getpixel((0, 0))
    palette[3 * paper : 3 * paper + 3] = pixels.getpixel((0, 0))  # keep the background as it was
    flat.putpalette(palette)
    words = PIL.PngImagePlugin.PngInfo()
    words.add_itxt("Description", alt)
    buffer = io.BytesIO()
    flat.save(buffer, "png", pnginfo=words)
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
    return MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10])


def axes_or_new(ax: Axes | None) -> Axes:
    return new_figure(height=3.4)[1] if ax is None else ax


def _dark(colour: str) -> tuple[float, float, float]:
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
            color=_dark(colour),
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
) -> Axes:
    """Mean over seeds with a bootstrap band of 95 %; the number of seeds goes into the label.

    Args:
        curves: [S, T], one row a seed; NaN where a seed has no value.
        ax: where to draw.
        label: for the legend.
        colour: a meaning of ``COLOURS`` or a colour.
        steps: [T], by default 1 … T.
        style: line style, by default the meaning's own.
    """
    ax = axes_or_new(ax)
    curves = np.asarray(curves, dtype=float)
    mean, low, high = bootstrap_band(curves)
    steps = np.arange(1, len(mean) + 1) if steps is None else np.asarray(steps)
    style, colour = style or STYLES.get(colour, "-"), COLOURS.get(colour, colour)
    ax.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
    name = f"{label}, n = {len(curves)} seeds" if label else f"n = {len(curves)} seeds"
    ax.plot(steps, mean, color=colour, linestyle=style, linewidth=2, label=name)
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(step_ticks())
    plain_legend(ax)
    return ax


def plot_panels(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    units: Sequence[str],
    looks: Mapping[str, tuple[str, str]],
    ylim: tuple[float, float] | None = None,
    steps: ArrayLike | None = None,
) -> Figure:
    """A panel for each title → label → curves [S, T]; ``looks``: label → (meaning, line style)."""
    figure, axes = new_figure(1, len(panels), width=max(6.5, 3.5 * len(panels)), height=3.6)
    named = {}  # each curve once: not every panel has to hold all of them
    for ax, (title, bands), unit in zip(np.ravel(axes), panels.items(), units, strict=True):
        for label, curves in bands.items():
            plot_band(curves, ax, label, looks[label][0], steps, looks[label][1])
        ax.set(title=title, ylabel=unit, ylim=ylim)
        ax.get_legend().remove()
        named |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(named.values(), list(named), loc="outside lower center", ncols=2, frameon=False)
    return figure


def plot_std_multiplier(
    p: ArrayLike,
    multipliers: Mapping[int, ArrayLike],
    limit: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """What dividing by the std multiplies the gradient by, against the pass rate of the prompt.

    Args:
        p: pass rates, the x axis.
        multipliers: group size G → multiplier at each ``p``.
        limit: the curve for G → ∞.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    p = np.asarray(p, dtype=float)
    curves = {f"G = {g}": np.asarray(multipliers[g], dtype=float) for g in sorted(multipliers)}
    highest = max((float(np.nanmax(values)) for values in curves.values()), default=1.0)
    for i, values in enumerate(curves.values(), start=1):
        shade = 0.25 + 0.75 * i / len(curves)
        ax.plot(p, values, color=COLOURS["policy"], alpha=shade, linewidth=1 + 1.2 * shade)
    if limit is not None:
        curves["G → ∞"] = np.asarray(limit, dtype=float)
        style = STYLES["reference"]
        ax.plot(p, limit, color=COLOURS["reference"], linestyle=style, linewidth=1.6)
    ax.set_ylim(0, 1.15 * highest)
    ax.set_xlim(float(p[0]), float(p[-1]))
    ax.set_xlabel("pass rate p of the prompt")
    ax.set_ylabel("multiplier of the gradient ∇p")
    _label_inside(ax, p, curves, 1.1 * highest)
    return ax


def _label_inside(ax: Axes, x: np.ndarray, curves: Mapping[str, np.ndarray], top: float) -> None:
    """Write each name on its curve, at the x where the curves lie furthest apart."""
    heights = np.sort(np.minimum(list(curves.values()), top), axis=0)
    apart = np.diff(heights, axis=0).min(axis=0) if len(heights) > 1 else np.zeros(len(x))
    margin = 0.04 * (x[-1] - x[0])
    apart[(x < x[0] + margin) | (x > x[-1] - margin)] = -1
    place = int(apart.argmax())
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    for name, values in curves.items():
        colour = COLOURS["reference" if "∞" in name else "policy"]
        at = (x[place], min(values[place], top))
        ax.annotate(
            name, at, ha="center", va="center", fontsize=8.5, color=_dark(colour), bbox=white
        )


def plot_length_drift(
    p: ArrayLike, drifts: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    """Exact drift of the mean length against the pass rate, one curve for each average.

    Args:
        p: pass rates, the x axis.
        drifts: name of the average → drift at each ``p``, in tokens per unit of learning rate.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    p = np.asarray(p, dtype=float)
    colours = [COLOURS["wrong"], COLOURS["policy"], COLOURS["right"], COLOURS["kl"]]
    styles = ["-", (0, (5, 2)), (0, (1, 1)), (0, (6, 2, 1, 2))]
    for i, (name, drift) in enumerate(drifts.items()):
        ax.plot(p, drift, color=colours[i % 4], linestyle=styles[i % 4], linewidth=2.2, label=name)
    ax.axhline(0, color=INK, linewidth=0.8, zorder=1)
    ax.set_xlim(float(p[0]), float(p[-1]))
    ax.set_xlabel("pass rate p of the prompt")
    ax.set_ylabel("drift of the mean length,\ntokens per unit of learning rate")
    for height, text in ((0.97, "answers grow longer ↑"), (0.03, "answers grow shorter ↓")):
        side = "top" if height > 0.5 else "bottom"
        ax.text(0.01, height, text, transform=ax.transAxes, va=side, fontsize=8.5, color="#666666")
    ax.margins(y=0.18)
    plain_legend(ax, loc="upper right")
    return ax


def plot_gradient_share(shares: Mapping[str, Mapping[str, float]], ax: Axes | None = None) -> Axes:
    """Share of the gradient that each kind of prompt gets, in groups of bars.

    Args:
        shares: setting (one colour) → kind of prompt (one group) → share between 0 and 1.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    kinds = list(next(iter(shares.values())))
    width = 0.8 / len(shares)
    looks = [("policy", ""), ("reward", "//"), ("kl", ".."), ("right", "xx")]
    for i, (setting, by_kind) in enumerate(shares.items()):
        places = np.arange(len(kinds)) + (i - (len(shares) - 1) / 2) * width
        meaning, hatch = looks[i % len(looks)]
        bars = ax.bar(
            places,
            [by_kind[kind] for kind in kinds],
            width=0.94 * width,
            color=COLOURS[meaning],
            hatch=hatch,
            edgecolor="white",
            label=setting,
        )
        ax.bar_label(bars, fmt=lambda share: f"{100 * share:.0f} %", fontsize=9, color=INK)
    ax.set_xticks(range(len(kinds)), kinds)
    ax.grid(axis="x", visible=False)
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    ax.set_ylabel("share of the gradient")
    ax.margins(y=0.12)
    plain_legend(ax)
    return ax


def plot_kl_estimators(
    log_ratio: ArrayLike, estimates: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    """The estimators k1, k2, k3 of the KL as functions of the log-ratio of one token.

    Args:
        log_ratio: log π − log π_ref, the x axis, in nats.
        estimates: name → value of the estimator at each ``log_ratio``, in nats.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    x = np.asarray(log_ratio, dtype=float)
    looks = [("reference", (0, (5, 2))), ("policy", "-"), ("kl", (0, (6, 2, 1, 2)))]
    for i, (name, values) in enumerate(estimates.items()):
        meaning, style = looks[i % len(looks)]
        ax.plot(x, values, color=COLOURS[meaning], linestyle=style, linewidth=2.2, label=name)
    ax.axhline(0, color=INK, linewidth=0.8, zorder=1)
    ax.set_xlabel("log π − log π_ref of the sampled token (nats)")
    ax.set_ylabel("estimate (nats)")
    ax.set_xlim(float(x.min()), float(x.max()))
    plain_legend(ax)
    return ax
