"""Pictures of what RL does to the set of problems that a model can solve (notebook 02)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    axes_or_new,
    label_ends,
    new_figure,
    plain_legend,
    plot_band,
)

__all__ = ["plot_answer_entropy", "plot_balance", "plot_pass_at_k"]


def plot_pass_at_k(
    curves: Mapping[str, ArrayLike],
    ks: Sequence[int],
    looks: Mapping[str, tuple[str, str]],
    guess: float,
    ax: Axes | None = None,
) -> Axes:
    """pass@k against k, mean over replicates with bands, and the level of blind guessing.

    Args:
        curves: label → [S, K].
        ks: K numbers of answers.
        looks: label → (meaning of ``COLOURS``, line style).
        guess: probability that a blind guess is correct; drawn as 1 − (1 − guess)^k.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    for label, values in curves.items():
        colour, style = looks[label]
        plot_band(values, ax, label, colour, ks, style, replicates="tables")
    blind = 1 - (1 - guess) ** np.asarray(ks, dtype=float)
    ax.plot(ks, blind, ":", color=INK, linewidth=1.5, label="blind guessing")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(list(ks)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(list(ks), [str(k) for k in ks])
    ax.set(xlabel="k, answers per problem", ylabel="pass@k", ylim=(0, 1))
    plain_legend(ax, loc="lower right", bbox_to_anchor=(1, 0.08))
    return ax


def plot_balance(
    kept: ArrayLike,
    found: ArrayLike,
    parts: Mapping[str, ArrayLike],
    steps: Sequence[int],
    guess: float,
) -> Figure:
    """Loss and discovery over the steps (left), and what they add up to (right).

    Args:
        kept: [S, T], share of the problems that only words solve which are still solved.
        found: [S, T], share of the problems that neither language solves which are solved.
        parts: ``lost``, ``found`` and ``net`` [S, T], as shares of all problems.
        steps: T recorded steps.
        guess: share of problems that as many blind guesses solve; a dotted line on the left.
    """
    figure, (left, right) = new_figure(1, 2, width=9.5, height=3.6)
    left.set(title="Solved at least once", ylabel="share of this class", ylim=(0, 1.02))
    right.set(title="Change since the base", ylabel="share of all problems")
    left.axhline(guess, color=INK, linewidth=1.2, linestyle=":")
    right.axhline(0, color=INK, linewidth=0.8)
    classes = [(kept, "wrong", "-", "words only"), (found, "right", "--", "neither")]
    changes = [
        (parts["lost"], "wrong", "-", "words only"),
        (parts["found"], "right", "--", "neither"),
        (parts["net"], "policy", "-", "all problems"),
    ]
    for ax, lines in ((left, classes), (right, changes)):
        for values, colour, style, _ in lines:
            plot_band(values, ax, "", colour, steps, style)
        ends = [
            (steps[-1], float(np.mean(values, axis=0)[-1]), text, COLOURS[colour])
            for values, colour, _, text in lines
        ]
        if ax is left:
            ends.append((steps[-1], guess, "blind guessing", INK))
        ax.get_legend().remove()
        ax.set(xlabel="RL step", xlim=(steps[0], steps[-1]))
        label_ends(ax, ends)
    return figure


def plot_answer_entropy(
    entropies: Mapping[str, ArrayLike], looks: Mapping[str, tuple[str, str]], ax: Axes | None = None
) -> Axes:
    """Histogram over problems of the entropy of the answers to one problem, in nats.

    Args:
        entropies: label → one entropy per problem, of all replicates together.
        looks: label → (meaning of ``COLOURS``, line style).
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    top = max(float(np.max(values)) for values in entropies.values())
    edges = np.linspace(0, max(top, 0.1), 21)
    for label, values in entropies.items():
        colour, style = looks[label]
        share = np.histogram(values, edges)[0] / np.size(values)
        ax.stairs(share, edges, color=COLOURS[colour], linestyle=style, linewidth=2, label=label)
    ax.set(xlabel="entropy of the answers to one problem (nats)", ylabel="share of problems")
    plain_legend(ax, loc="upper right")
    return ax
