"""Pictures: metrics in, one figure out, ``plot_x(data, ax=None) -> Axes``."""

from rlvr_lab.pictures.gradients import in_the_plane, plot_bars, plot_clip, plot_gradient_arrows
from rlvr_lab.pictures.preferences import plot_climb, plot_climbs, plot_reliability
from rlvr_lab.pictures.runs import describe_run, plot_curve, plot_run
from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    STYLES,
    new_figure,
    plain_legend,
    plot_band,
    plot_panels,
    show,
    step_ticks,
)
from rlvr_lab.pictures.theory import (
    plot_gradient_share,
    plot_kl_estimators,
    plot_length_drift,
    plot_std_multiplier,
)

__all__ = [
    "COLOURS",
    "INK",
    "STYLES",
    "describe_run",
    "in_the_plane",
    "new_figure",
    "plain_legend",
    "plot_band",
    "plot_bars",
    "plot_climb",
    "plot_climbs",
    "plot_clip",
    "plot_curve",
    "plot_gradient_arrows",
    "plot_gradient_share",
    "plot_kl_estimators",
    "plot_length_drift",
    "plot_panels",
    "plot_reliability",
    "plot_run",
    "plot_std_multiplier",
    "show",
    "step_ticks",
]
