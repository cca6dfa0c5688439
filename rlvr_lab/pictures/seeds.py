"""Several seeds in one picture: the four curves of a training run, and paired effects."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, MaxNLocator
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    dark,
    new_figure,
    plot_band,
    plot_guessing,
    step_ticks,
)
from rlvr_lab.records.claims import Effect, effect_over_seeds

__all__ = [
    "effect_row",
    "plot_each_seed",
    "plot_effect_panels",
    "plot_effects",
    "plot_training_over_seeds",
]

_PANELS = {
    "pass_rate": ("Pass rate", "share of correct answers", "right"),
    "kl": ("KL to the base model", "nats per answer", "kl"),
    "length": ("Length of the answers", "tokens", "length"),
    "entropy": ("Entropy", "nats per token", "entropy"),
}


def plot_training_over_seeds(curves: Mapping[str, np.ndarray], guess: float) -> Figure:
    """Pass rate, KL, length and entropy over the steps, each with its band over seeds.

    Args:
        curves: ``pass_rate``, ``kl``, ``length`` and ``entropy``, each [S, T], one row per seed.
        guess: accuracy of blind guessing, drawn as a level in the first panel.
    """
    figure, axes = new_figure(2, 2, height=5.2)
    for ax, (key, (title, unit, colour)) in zip(axes.flat, _PANELS.items(), strict=True):
        plot_band(curves[key], ax, colour=colour, style="-")
        ax.get_legend().remove()
        ax.set_title(title, loc="left", fontsize=10, fontweight="bold")
        floor = min(0.0, round(float(curves[key].min()), 3))
        ax.set(ylabel=unit, ylim=(floor, None))
        ax.set_xlabel("step" if ax in axes[-1] else "")
    grey = COLOURS["reference"]
    axes[0, 0].set_ylim(0, 1.05)
    plot_guessing(axes[0, 0], guess)
    seeds = len(curves["pass_rate"])
    figure.suptitle(f"mean over {seeds} seeds, band: 95 % bootstrap", fontsize=9, color=dark(grey))
    return figure


def effect_row(
    ax: Axes,
    y: float,
    values: ArrayLike,
    colour: str,
    marker: str = "D",
    mark_zero: bool = False,
    spread: float = 0.16,
) -> Effect:
    """One paired effect at height ``y``: a dot per seed, the 95 % interval, the mean; returns the effect.

    With ``mark_zero`` the mean is hollow when the interval contains 0. ``spread``: half the height of the dots.
    """
    values, found = np.asarray(values, dtype=float), effect_over_seeds(values)
    jitter = np.linspace(-spread, spread, len(values))
    ax.plot(values, y + jitter, "o", color=colour, alpha=0.35, markersize=4, markeredgewidth=0)
    ax.plot([found.low, found.high], [y, y], color=dark(colour), linewidth=2)
    face = "white" if mark_zero and found.low <= 0 <= found.high else dark(colour)
    ax.plot(found.mean, y, marker, color=face, markeredgecolor=dark(colour), markersize=6)
    return found


def plot_effects(
    effects: Mapping[str, ArrayLike],
    unit: str,
    ax: Axes | None = None,
    colours: Mapping[str, str] | None = None,
) -> Axes:
    """Paired effects: a row each, with a dot for each seed, the mean and its 95 % interval, and a line at 0.

    Args:
        effects: name → [S], one number per seed. The first stands on top.
        unit: what is on the x axis.
        ax: where to draw.
        colours: name → a meaning of ``COLOURS``; by default ``policy``.
    """
    names = list(effects)
    ax = new_figure(width=8, height=1.1 + 0.48 * len(names))[1] if ax is None else ax
    for row, name in enumerate(names):
        values, y = np.asarray(effects[name], dtype=float), len(names) - 1 - row
        found = effect_row(ax, y, values, COLOURS[(colours or {}).get(name, "policy")])
        ax.annotate(
            Formatter.fix_minus(f"{found.mean:+.2f}"),
            (found.mean, y + 0.24),
            ha="center",
            fontsize=8.5,
            color=INK,
        )
    ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
    ax.set_yticks(range(len(names)), names[::-1])
    ax.set_ylim(-0.5, len(names) - 0.35)
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.set_xlabel(unit)
    return ax


def plot_effect_panels(
    panels: Mapping[str, Mapping[str, ArrayLike]], colours: Mapping[str, str] | None = None
) -> Figure:
    """``plot_effects`` side by side, a panel for each unit → name → [S].

    Args:
        panels: what is on the x axis → the effects.
        colours: as of ``plot_effects``.
    """
    rows = max(map(len, panels.values()))
    size = {"width": 5.0 * len(panels), "height": 1.2 + 0.5 * rows}
    figure, axes = new_figure(1, len(panels), **size)
    for ax, (unit, effects) in zip(np.ravel(axes), panels.items(), strict=True):
        plot_effects(effects, unit, ax, colours)
    return figure


def plot_each_seed(
    panels: Mapping[str, ArrayLike],
    unit: str,
    steps: ArrayLike,
    colours: Mapping[str, str] | None = None,
    ylim: tuple[float, float] | None = None,
    guess: float | None = None,
) -> Figure:
    """One panel for each title → curves [S, T], in which each seed is a line of its own and the mean a thick one.

    For distributions that a band would hide, such as runs of which some collapse.

    Args:
        panels: title → curves, one row for each seed.
        unit: of the y axis.
        steps: [T].
        colours: title → a meaning of ``COLOURS``; by default ``policy``.
        ylim: of all panels.
        guess: level of blind guessing.
    """
    figure, axes = new_figure(1, len(panels), width=3.4 * len(panels), height=3.2)
    for ax, (title, curves) in zip(np.ravel(axes), panels.items(), strict=True):
        colour = COLOURS[(colours or {}).get(title, "policy")]
        curves = np.asarray(curves, dtype=float)
        ax.plot(steps, curves.T, color=colour, alpha=0.45, linewidth=1)
        ax.plot(steps, curves.mean(axis=0), color=dark(colour), linewidth=2.6)
        ax.set_title(f"{title} (n = {len(curves)})", fontsize=10)
        ax.set(xlabel="step", ylabel=unit, ylim=ylim)
        ax.xaxis.set_major_locator(step_ticks())
        if guess is not None:
            plot_guessing(ax, guess)
    return figure
