"""The four curves of a training run, over several seeds."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from rlvr_lab.pictures.style import COLOURS, dark, new_figure, plot_band

__all__ = ["plot_training_over_seeds"]

_PANELS = {
    "pass_rate": ("Pass rate", "share of correct answers", "right"),
    "kl": ("KL to the base model", "nats per answer", "kl"),
    "length": ("Length of the answers", "tokens", "length"),
    "entropy": ("Entropy", "nats per token", "entropy"),
}


def plot_training_over_seeds(curves: Mapping[str, np.ndarray], guessing: float) -> Figure:
    """Pass rate, KL, length and entropy over the steps, each with its band over seeds.

    Args:
        curves: ``pass_rate``, ``kl``, ``length`` and ``entropy``, each [S, T], one row per seed.
        guessing: accuracy of a blind guess, drawn as a level in the first panel.
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
    axes[0, 0].axhline(guessing, color=grey, linestyle=(0, (5, 2)), linewidth=1.4)
    end = (curves["pass_rate"].shape[1], guessing + 0.03)
    axes[0, 0].annotate("blind guess", end, color=dark(grey), fontsize=9, ha="right")
    seeds = len(curves["pass_rate"])
    figure.suptitle(f"mean over {seeds} seeds, band: 95 % bootstrap", fontsize=9, color=dark(grey))
    return figure
