"""A sick run next to its healthy neighbour, one panel for each metric that matters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rlvr_lab.pictures.style import COLOURS, INK, new_figure, step_ticks
from rlvr_lab.records.doctor_log import RunLog

__all__ = ["plot_neighbours"]

Records = Sequence[Mapping[str, Any]]


def plot_neighbours(sick: Records, healthy: Records, metrics: Mapping[str, str]) -> Figure:
    """One panel per metric: the sick run in red, the healthy run of the same seed dashed.

    Args:
        sick: its records.
        healthy: records of its neighbour.
        metrics: name of a metric → title with unit.

    Raises:
        ValueError: for no metrics.
    """
    if not metrics:
        raise ValueError("metrics: need at least one")
    figure, axes = new_figure(1, len(metrics), width=2.9 * len(metrics), height=2.6)
    for ax, (metric, title) in zip(np.atleast_1d(axes), metrics.items(), strict=True):
        for records, name, look in (
            (healthy, "healthy", {"color": COLOURS["reference"], "linestyle": "--"}),
            (sick, "this run", {"color": COLOURS["wrong"], "linestyle": "-"}),
        ):
            log = RunLog(records)
            ax.plot(log.steps, log.column(metric), label=name, **look)
        ax.set_title(title, loc="left", fontsize=10, color=INK)
        ax.set_xlabel("step")
        ax.xaxis.set_major_locator(step_ticks())
    np.atleast_1d(axes)[0].legend(frameon=False, fontsize=9)
    return figure
