"""Accuracy against a thinking budget on the tiny world, and one chain that is cut (notebook 10, section 2)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    dark,
    legend_below,
    new_figure,
    plot_band,
    plot_guessing,
)

__all__ = ["plot_by_terms", "plot_cut", "plot_cut_chain"]


def plot_cut(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    budgets: Sequence[int],
    looks: Mapping[str, tuple[str, str]],
    predictions: Mapping[str, Mapping[str, ArrayLike]],
    guess: float,
) -> Figure:
    """Accuracy against the budget: a panel for each task, a band over seeds for each model.

    Args:
        panels: task → model → curves [S, K].
        budgets: K, in tokens.
        looks: model → (meaning of ``COLOURS``, line style).
        predictions: task → name → [K], drawn as thin grey lines; at most two in a panel.
        guess: level of blind guessing.
    """
    figure, axes = new_figure(1, len(panels), width=4.8 * len(panels), height=4.3)
    for ax, (task, models) in zip(np.ravel(axes), panels.items(), strict=True):
        for (name, values), mark in zip(predictions[task].items(), "x+", strict=False):
            ax.plot(budgets, values, marker=mark, linestyle=(0, (1, 1.5)), linewidth=1.2,
                    color=COLOURS["reference"], markersize=6, label=name, zorder=4)  # fmt: skip
        for name, values in models.items():
            plot_band(values, ax, name, looks[name][0], budgets, looks[name][1])
        plot_guessing(ax, guess)
        ax.set(title=task, xlabel="thinking budget (tokens)", ylabel="share of correct answers")
        ax.set(ylim=(0, 1.04))
        ax.set_xticks(list(budgets))
    legend_below(figure, ncols=3)
    return figure


_SHADES = LinearSegmentedColormap.from_list("accuracy", ["white", COLOURS["policy"]])


def plot_by_terms(
    panels: Mapping[str, ArrayLike], budgets: Sequence[int], terms: Sequence[int]
) -> Figure:
    """Mean accuracy for each number of terms and budget, as numbers on shaded cells.

    The thick staircase is where the chain just fits: right of it a chain ends by itself, left of it it is cut.

    Args:
        panels: title → [N, K], a row for each number of terms.
        budgets: K.
        terms: N.
    """
    figure, axes = new_figure(1, len(panels), width=4.8 * len(panels), height=3.7)
    for ax, (title, values) in zip(np.ravel(axes), panels.items(), strict=True):
        values = np.asarray(values, dtype=float)
        ax.imshow(values, cmap=_SHADES, vmin=0, vmax=1, aspect="auto")
        for (row, col), value in np.ndenumerate(values):
            ink = "white" if value > 0.6 else INK
            ax.annotate(f"{value:.2f}", (col, row), ha="center", va="center", fontsize=8, color=ink)
        _staircase(ax, budgets, terms)
        ax.set_xticks(range(len(budgets)), [str(k) for k in budgets])
        ax.set_yticks(range(len(terms)), [str(n) for n in terms])
        ax.set(xlabel="thinking budget (tokens)", ylabel="terms of the problem", title=title)
        ax.grid(visible=False)
    return figure


def _staircase(ax: Axes, budgets: Sequence[int], terms: Sequence[int]) -> None:
    """A line between the cells whose chain is cut and those whose chain fits."""
    x, y = [], []
    for row, n in enumerate(terms):
        fits = sum(k < n for k in budgets) - 0.5
        x += [fits, fits]
        y += [row - 0.5, row + 0.5]
    ax.plot(x, y, color=COLOURS["wrong"], linewidth=2.5, solid_joinstyle="miter")


def plot_cut_chain(
    question: str,
    chain: Sequence[int],
    budget: int,
    probabilities: ArrayLike,
    answer: int,
    correct: ArrayLike,
) -> Figure:
    """One problem's chain that is cut: the chain, the model's answer after the cut, and P(correct) at each budget.

    Args:
        question: the prompt, as a title.
        chain: the values that the model writes without a budget.
        budget: how many of them it may write.
        probabilities: [10], of each digit as the answer after the cut.
        answer: the correct digit.
        correct: P(correct) at the budgets 0, 1, 2, …
    """
    probabilities, correct = np.asarray(probabilities), np.asarray(correct)
    figure, (left, middle, right) = new_figure(1, 3, width=11, height=2.9)
    _boxes(left, chain, budget)
    left.set_title(question, fontsize=9.5, color=INK, loc="left")
    hues = [COLOURS["right" if digit == answer else "reference"] for digit in range(10)]
    bars = middle.bar(range(10), probabilities, color=hues)
    bars[answer].set_hatch("//")
    middle.set_xticks(range(10))
    middle.set(xlabel="answer (hatched: correct)", ylabel="probability", ylim=(0, 1.04))
    right.plot(range(len(correct)), correct, "-o", color=COLOURS["policy"], markersize=5)
    right.plot([budget], [correct[budget]], "o", color=COLOURS["wrong"], markersize=11,
               markerfacecolor="none", markeredgewidth=2)  # fmt: skip
    right.axvline(len(chain), color=COLOURS["reference"], linestyle=":", linewidth=1.4)
    right.annotate("chain ends", (len(chain), 1.02), ha="center", va="bottom", fontsize=8.5,
                   color=INK, annotation_clip=False)  # fmt: skip
    plot_guessing(right, 0.1)
    right.set(xlabel="thinking budget (tokens)", ylabel="P(correct)", ylim=(0, 1.04))
    right.set_xticks(range(len(correct)))
    return figure


def _boxes(ax: Axes, chain: Sequence[int], budget: int) -> None:
    """The chain's values in boxes: filled ones were written, hollow ones were cut off."""
    for place, value in enumerate(chain):
        kept = place < budget
        look = {"facecolor": COLOURS["entropy"], "edgecolor": dark(COLOURS["policy"])}
        if not kept:
            look = {"facecolor": "none", "edgecolor": COLOURS["reference"], "linestyle": ":"}
        ax.add_patch(Rectangle((place + 0.06, 0), 0.88, 0.9, linewidth=1.6, **look))
        ax.annotate(str(value), (place + 0.5, 0.45), ha="center", va="center", fontsize=13,
                    color=INK if kept else COLOURS["reference"])  # fmt: skip
    if budget < len(chain):
        ax.plot([budget] * 2, [-0.35, 1.25], color=COLOURS["wrong"], linewidth=2.2)
        ax.annotate("</think>", (budget, -0.4), ha="center", va="top", fontsize=9.5,
                    color=dark(COLOURS["wrong"]), annotation_clip=False)  # fmt: skip
    ax.set(xlim=(-0.6, 8.2), ylim=(-1.4, 1.9))
    ax.axis("off")
