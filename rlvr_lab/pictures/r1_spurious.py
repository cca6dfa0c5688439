"""Picture of training on rewards that say nothing of correctness (notebook 08)."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import legend_below, new_figure, plot_band, plot_guessing

__all__ = ["plot_rewards"]

_PANELS = {
    "accuracy": ("Accuracy", "share of correct answers", (0, 1.02)),
    "chains": ("Whole answers with a chain", "share of answers", (0, 1.02)),
    "length": ("Length of the answers", "tokens", (0, None)),
    "entropy": ("Entropy", "nats per token", (0, None)),
}


def plot_rewards(
    curves: Mapping[str, Mapping[str, ArrayLike]],
    steps: Sequence[int],
    looks: Mapping[str, tuple[str, str]],
    guess: float,
) -> Figure:
    """Four panels over the steps with one band for each reward.

    Args:
        curves: reward → ``accuracy``, ``chains``, ``length`` and ``entropy``, each [S, T].
        steps: T recorded steps.
        looks: reward → (meaning of ``COLOURS``, line style).
        guess: accuracy of blind guessing, a level in the first panel.
    """
    figure, axes = new_figure(2, 2, height=5.6)
    for ax, (key, (title, unit, limits)) in zip(axes.flat, _PANELS.items(), strict=True):
        for reward, own in curves.items():
            colour, style = looks[reward]
            plot_band(own[key], ax, reward, colour, steps, style)
        ax.set_title(title, loc="left", fontsize=10, fontweight="bold")
        ax.set(ylabel=unit, ylim=limits, xlabel="step" if ax in axes[-1] else "")
    plot_guessing(axes[0, 0], guess)
    legend_below(figure, ncols=3, fontsize=9)
    return figure
