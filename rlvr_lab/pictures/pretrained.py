"""RL on a real pretrained model: accuracy before, during and after (notebook 11, section 2)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from rlvr_lab.pictures.style import COLOURS, STYLES, legend_below, new_figure, plot_band

__all__ = ["plot_pretrained"]


def plot_pretrained(panels: Mapping[str, Mapping[str, Float[np.ndarray, "S T"]]]) -> Figure:
    """A panel for each kind of question: training accuracy, held-out accuracy, and the greedy line.

    Args:
        panels: title → metric → one row per seed, one column per step: ``pass_rate`` (of the answers a step trained
            on), and ``accuracy`` and ``accuracy_greedy`` on held-out problems, NaN where they were not measured. The
            dashed line is ``accuracy_greedy`` of the first column, that of the untrained model.
    """
    figure, axes = new_figure(1, len(panels), width=4.5 * len(panels), height=3.6)
    axes = np.atleast_1d(axes)
    for ax, (title, curves) in zip(axes, panels.items(), strict=True):
        steps = np.arange(curves["pass_rate"].shape[1])
        label = "training words, sampled"
        plot_band(curves["pass_rate"][:, 1:], ax, label, COLOURS["policy"], steps[1:])
        for key, marker, fill in (("accuracy", "o", "none"), ("accuracy_greedy", "s", "full")):
            means = curves[key].mean(axis=0)
            there = np.isfinite(means)
            way = "sampled" if key == "accuracy" else "greedy"
            ax.plot(
                steps[there],
                means[there],
                marker,
                color=COLOURS["right"],
                fillstyle=fill,
                label=f"held-out words, {way}",
                zorder=3,
            )
        ax.axhline(
            curves["accuracy_greedy"][:, 0].mean(),
            color=COLOURS["reference"],
            linestyle=STYLES["reference"],
            label="untrained model, greedy",
        )
        ax.set(title=title, xlabel="step", ylim=(0, 1.03))
    axes[0].set_ylabel("share of correct answers")
    legend_below(figure, ncols=2, fontsize=9)
    return figure
