"""Pictures of trust regions: a step and its limit, accepted fractions, curves against measured KL (04)."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    axes_or_new,
    dark,
    label_ends,
    new_figure,
    plain_legend,
    plot_band,
    plot_guessing,
)

__all__ = ["plot_against_kl", "plot_fractions", "plot_trust_region"]

_STEPS = {"natural": ("policy", "-"), "plain": ("reward", "-.")}


def plot_trust_region(
    steps: Mapping[str, tuple[ArrayLike, ArrayLike]], fractions: ArrayLike, delta: float
) -> Figure:
    """Left the KL along each full step with its limit δ, right the gain against the KL.

    Args:
        steps: ``natural`` and ``plain`` → (KL in nats, gain in reward), each [n].
        fractions: [n], fraction of the full step.
        delta: δ, in nats.
    """
    figure, (left, right) = new_figure(1, 2, width=9.5, height=3.5)
    fractions = np.asarray(fractions)
    for name, (kl, gain) in steps.items():
        colour, style = _STEPS[name]
        left.plot(fractions, kl, style, color=COLOURS[colour], linewidth=2, label=name)
        right.plot(kl, gain, style, color=COLOURS[colour], linewidth=2, label=name)
    left.plot(fractions, delta * fractions**2, "--", color="#707070", label="quadratic model")
    left.axhline(delta, color=COLOURS["wrong"], linewidth=1)
    left.text(
        0.01, delta, "limit δ", color=dark(COLOURS["wrong"]), va="bottom", fontsize=9,
        transform=left.get_yaxis_transform(),
    )  # fmt: skip
    left.axvline(1, color="#BBBBBB", linewidth=0.8)
    left.text(
        1, 0.02, " full step", color="#707070", fontsize=9, transform=left.get_xaxis_transform()
    )
    left.set(xlabel="fraction of the full step", ylabel="KL(π_old‖π) (nats)")
    seen = [np.interp(1.5 * delta, np.asarray(kl), np.asarray(gain)) for kl, gain in steps.values()]
    right.set_ylim(0, 1.1 * max(seen))
    right.axvline(delta, color=COLOURS["wrong"], linewidth=1)
    right.set(xlabel="KL(π_old‖π) (nats)", ylabel="gain in expected reward", xlim=(0, 1.5 * delta))
    right.text(
        delta, 0.02, " δ", color=dark(COLOURS["wrong"]), fontsize=9,
        transform=right.get_xaxis_transform(),
    )  # fmt: skip
    plain_legend(left, loc="upper left", bbox_to_anchor=(0.0, 0.92))
    plain_legend(right, loc="lower right")
    return figure


def plot_fractions(fractions: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    """How much of the full step the line search accepted, as shares of all steps, a bar for each run.

    Args:
        fractions: label → accepted fraction of every step, any shape; 0 where none was accepted.
        ax: where to draw.
    """
    ax = new_figure(width=8.0, height=2.2)[1] if ax is None else ax
    kinds = {"full step": (1.0, 1.0), "½": (0.5, 0.5), "¼": (0.25, 0.25), "⅛ or less": (0.0, 0.125)}
    names = list(fractions)[::-1]
    left = np.zeros(len(names))
    for i, (kind, (low, high)) in enumerate(kinds.items()):
        values = [np.asarray(fractions[name]).ravel() for name in names]
        share = np.array([np.mean((v >= low) & (v <= high)) for v in values])
        ax.barh(
            names, share, left=left, height=0.6, color=COLOURS["policy"], alpha=1 - 0.27 * i,
            edgecolor="white",
        )  # fmt: skip
        for y, (start, width) in enumerate(zip(left, share, strict=True)):
            if width > 0.04:
                named = width > (0.03 if len(kind) == 1 else 0.075)
                words = (f"{kind}\n" if named else "") + f"{100 * width:.0f} %"
                ink = "white" if i < 2 else INK
                ax.text(
                    start + width / 2, y, words, ha="center", va="center", fontsize=8, color=ink
                )
        left += share
    ax.grid(axis="y", visible=False)
    ax.set(xlim=(0, 1), xlabel="share of all steps, by the fraction of the full step accepted")
    ax.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.0f} %")
    return ax


def plot_against_kl(
    grid: ArrayLike, rates: Mapping[str, ArrayLike], ax: Axes | None = None, guess: float = 0.1
) -> Axes:
    """Pass rate against the sum of the measured KLs of all steps so far, a band for each label.

    Args:
        grid: [K], nats per token.
        rates: ``natural`` and ``plain`` → pass rates at the grid, [S, K].
        ax: where to draw.
        guess: level of blind guessing.
    """
    ax = axes_or_new(ax)
    for name, values in rates.items():
        colour, style = _STEPS[name]
        plot_band(values, ax, name, colour, grid, style)
    ends = [
        (
            float(np.asarray(grid)[-1]),
            float(np.mean(np.asarray(v)[:, -1])),
            n,
            COLOURS[_STEPS[n][0]],
        )
        for n, v in rates.items()
    ]
    plot_guessing(ax, guess)
    ax.set(xlabel="sum of the measured KL of all steps so far (nats per token)", ylim=(0, 1))
    ax.set(ylabel="pass rate")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8))
    label_ends(ax, ends)
    ax.get_legend().remove()
    return ax
