"""Pictures of a sampler that is not the policy: weights, and the exact bias and variance they leave."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    axes_or_new,
    new_figure,
    plain_legend,
)

__all__ = ["plot_bias_and_variance", "plot_mismatch_bars", "plot_weight_rules"]

_LOOKS = [
    ("reference", (0, (1, 1))),
    ("policy", "-"),
    ("policy", (0, (5, 2))),
    ("wrong", "-"),
    ("right", "-"),
    ("right", (0, (5, 2))),
    ("kl", (0, (6, 2, 1, 2))),
]
"""One for each estimator, in their order: hue by level (token, answer), dashes where it is capped."""
SMALLEST = 1e-3
"""A bias below is drawn as this: an exact 0 has no place on a logarithmic axis."""


def plot_weight_rules(
    ratio: ArrayLike, rules: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    """The weight of a token as a function of its ratio ρ = π_old/μ, a line for each rule.

    Args:
        ratio: [n], ρ in ascending order.
        rules: name → weight [n].
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    looks = [("reference", (0, (1, 1))), ("policy", "-"), ("wrong", (0, (5, 2)))]
    for (name, weights), (hue, line) in zip(rules.items(), looks, strict=False):
        ax.plot(ratio, weights, color=COLOURS[hue], linestyle=line, linewidth=2, label=name)
    ax.set(xlabel="ratio ρ = π_old / μ of the token", ylabel="weight in the loss")
    plain_legend(ax)
    return ax


def plot_bias_and_variance(
    panels: Mapping[str, tuple[Sequence[float], Mapping[str, ArrayLike], Mapping[str, ArrayLike]]],
) -> Figure:
    """Relative bias (above) and variance (below) of several estimators, a column for each kind of mismatch.

    Args:
        panels: label of the x axis → (its values [n], name → relative bias [n], name → variance [n]).
    """
    figure, axes = new_figure(2, len(panels), width=max(6.0, 4.6 * len(panels)), height=6.0)
    axes = np.asarray(axes).reshape(2, -1)
    for column, (label, (x, bias, variance)) in enumerate(panels.items()):
        for ax, curves, floor in (
            (axes[0, column], bias, SMALLEST),
            (axes[1, column], variance, 0.0),
        ):
            for (name, y), (hue, line) in zip(curves.items(), _LOOKS, strict=False):
                y = np.maximum(np.asarray(y, dtype=float), floor)
                ax.plot(x, y, color=COLOURS[hue], linestyle=line, linewidth=2, label=name)
            ax.set(yscale="log", xlabel=label)
        axes[0, column].set_ylim(bottom=0.8 * SMALLEST)
    axes[0, 0].set_ylabel("relative bias ‖E[ĝ] − ∇J‖ / ‖∇J‖")
    axes[1, 0].set_ylabel("variance of ĝ, one answer")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def plot_mismatch_bars(bias: Mapping[str, float], variance: Mapping[str, float]) -> Figure:
    """Relative bias and variance of each estimator for one sampler, as bars with their numbers.

    Args:
        bias: name → relative bias.
        variance: name → variance of the estimate from one answer.
    """
    figure, axes = new_figure(1, 2, width=9.0, height=3.2)
    titles = ("relative bias", "variance of one answer's estimate")
    for ax, values, title in zip(axes, (bias, variance), titles, strict=True):
        names = list(values)[::-1]
        numbers = np.array([max(values[name], SMALLEST) for name in names])
        hues = [COLOURS[hue] for hue, _ in _LOOKS[: len(names)]][::-1]
        ax.barh(names, numbers, left=0, color=hues, alpha=0.85)
        ax.set(xscale="log", xlim=(SMALLEST, max(10.0, 4 * numbers.max())))
        ax.set_title(title, fontsize=10, color=INK)
        for place, name in enumerate(names):
            text = f"{values[name]:.3g}" if values[name] > 1e-9 else "0"
            ax.text(numbers[place] * 1.1, place, text, va="center", fontsize=9, color=INK)
    axes[1].set_yticklabels([])
    return figure
