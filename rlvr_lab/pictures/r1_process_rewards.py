"""Choosing one of N answers, against N (notebook 08, section 9)."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import axes_or_new, plain_legend, plot_band, plot_guessing

__all__ = ["plot_choice_of_n"]


def plot_choice_of_n(
    curves: Mapping[str, ArrayLike],
    ns: Sequence[int],
    looks: Mapping[str, tuple[str, str]],
    guess: float,
    ax: Axes | None = None,
) -> Axes:
    """Accuracy of the answer that is chosen among N, mean over seeds with bands.

    Args:
        curves: label → [S, K].
        ns: K values of N.
        looks: label → (meaning of ``COLOURS`` or a colour, line style).
        guess: accuracy of a blind guess; a choice among blind guesses is no better.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    for label, values in curves.items():
        colour, style = looks[label]
        plot_band(values, ax, label, colour, ns, style)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(list(ns)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(list(ns), [str(n) for n in ns])
    ax.set(xlabel="N, answers of the base to choose from", ylabel="accuracy", ylim=(0, 1.02))
    plain_legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))
    plot_guessing(ax, guess, left=True)
    return ax
