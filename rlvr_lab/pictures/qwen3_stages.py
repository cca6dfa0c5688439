"""What the stages of a model with two modes do to each task and flag (notebook 10, sections 1 and 3)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlvr_lab.pictures.seeds import effect_row
from rlvr_lab.pictures.style import COLOURS, INK, legend_below, new_figure, plot_guessing
from rlvr_lab.records.claims import effect_over_seeds

__all__ = ["plot_costs", "plot_modes"]

_LOOKS = [("policy", "o", "-"), ("right", "^", "--"), ("reward", "s", ":")]


def plot_modes(
    panels: Mapping[str, Mapping[str, Sequence[ArrayLike]]],
    stages: Sequence[str],
    unit: str,
    guess: float | None = None,
) -> Figure:
    """One metric after each stage: a panel for each task, a line for each flag, a faint dot for each seed.

    Args:
        panels: task → flag → one array [S] for each stage, one number per seed. At most three flags.
        stages: their names, in order.
        unit: of the metric.
        guess: level of blind guessing.

    Raises:
        ValueError: with more than three flags, or a row that has not one array for each stage.
    """
    figure, axes = new_figure(1, len(panels), width=4.8 * len(panels), height=3.9)
    for ax, (task, flags) in zip(np.ravel(axes), panels.items(), strict=True):
        if len(flags) > len(_LOOKS):
            raise ValueError(f"panels: at most {len(_LOOKS)} flags, got {list(flags)}")
        for shift, ((flag, values), look) in enumerate(zip(flags.items(), _LOOKS, strict=False)):
            if len(values) != len(stages):
                raise ValueError(f"panels: {task}, {flag} needs {len(stages)} arrays")
            _line(ax, flag, [np.asarray(v, dtype=float) for v in values], look, 0.09 * (shift - 1))
        if guess is not None:
            plot_guessing(ax, guess, left=True)
        ax.set_xticks(range(len(stages)), [name.replace(" ", "\n") for name in stages])
        ax.set(ylabel=unit, title=task)
    legend_below(figure, ncols=len(_LOOKS))
    return figure


def _line(
    ax: Axes, flag: str, values: list[np.ndarray], look: tuple[str, str, str], shift: float
) -> None:
    """Means with 95 % intervals, joined; the lines are moved apart a little so that all can be seen."""
    hue, mark, style = look
    x, colour = np.arange(len(values)) + shift, COLOURS[hue]
    found = [effect_over_seeds(v) for v in values]
    means = [effect.mean for effect in found]
    bars = [[e.mean - e.low for e in found], [e.high - e.mean for e in found]]
    for place, seeds in zip(x, values, strict=True):
        ax.plot([place] * len(seeds), seeds, ".", color=colour, alpha=0.35, markersize=5)
    ax.errorbar(x, means, bars, color=colour, marker=mark, linestyle=style, linewidth=1.8,
                capsize=2.5, markersize=6.5, label=f"{flag}, n = {len(values[0])} seeds")  # fmt: skip


def plot_costs(
    effects: Mapping[str, Mapping[str, ArrayLike]], unit: str, colours: Sequence[str] = ()
) -> Figure:
    """Paired effects of several rewards on several cells: a panel for each cell, a row for each reward.

    All panels have one scale.

    Args:
        effects: cell → reward → [S], one difference per seed. All cells have the same rewards.
        unit: of the differences.
        colours: a meaning of ``COLOURS`` for each reward; by default ``policy``.
    """
    names = list(next(iter(effects.values())))
    hues = list(colours) or ["policy"] * len(names)
    size = {"width": 1.8 + 2.6 * len(effects), "height": 1.2 + 0.42 * len(names)}
    figure, axes = new_figure(1, len(effects), **size)
    for ax, (title, rows) in zip(np.ravel(axes), effects.items(), strict=True):
        for y, (name, hue) in enumerate(zip(reversed(names), reversed(hues), strict=True)):
            found = effect_row(ax, y, rows[name], COLOURS[hue])
            text = f"{found.mean:+.2f}".replace("-", "\N{MINUS SIGN}")
            ax.annotate(text, (found.mean, y + 0.22), ha="center", fontsize=8.5, color=INK)
        ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
        ax.set(xlabel=unit, ylim=(-0.5, len(names) - 0.35))
        ax.set_title(title, fontsize=10, color=INK)
        ax.set_yticks(range(len(names)), names[::-1])
        if ax is not np.ravel(axes)[0]:
            ax.tick_params(axis="y", labelleft=False)
        ax.grid(axis="y", visible=False)
    limits = [ax.get_xlim() for ax in np.ravel(axes)]
    widest = (min(low for low, _ in limits), max(high for _, high in limits))
    for ax in np.ravel(axes):
        ax.set_xlim(widest)
    return figure
