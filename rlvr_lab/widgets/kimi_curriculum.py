"""The dashboard of notebook 09, section 4, that needs no training: what a sampler asks, by what is known."""

import ipywidgets as W
import numpy as np
from matplotlib.figure import Figure

from rlvr_lab.experiments.kimi.curriculum import STRATEGIES, TERMS, pool_of
from rlvr_lab.pictures.kimi_curriculum import plot_sampler
from rlvr_lab.training.curriculum import silent
from rlvr_lab.widgets.live_figures import ExactDashboard

__all__ = ["draw_sampler", "sampler_dashboard"]

_WHOLE = {"layout": W.Layout(width="300px"), "style": {"description_width": "110px"}}


def draw_sampler(
    strategy: str, skill: float, progress: float, hard_share: float, group_size: int
) -> tuple[Figure, str]:
    """The picture for these settings, for a model whose additions are each correct with probability ``skill``."""
    terms = np.array(TERMS)
    pool, rates = pool_of(hard_share), skill ** (terms - 1)
    asked = STRATEGIES[strategy](pool, progress, rates)
    wasted = silent(rates, group_size)
    figure = plot_sampler(list(TERMS), pool, asked, rates, wasted)
    share, hard = float(asked @ wasted), float(asked[terms > 8].sum())
    figure.axes[0].set_title(
        f"{hard:.0%} of the problems are hard, {share:.0%} of the groups silent", fontsize=10
    )
    words = (
        f"Strategy {strategy}, additions correct with probability {skill:.2f}, {progress:.0%} of the "
        f"budget spent: {hard:.0%} of the problems asked have 9 to 12 terms ({hard_share:.0%} of the "
        f"pool), and {share:.0%} of the groups of {group_size} answers have no spread."
    )
    return figure, words


def sampler_dashboard() -> ExactDashboard:
    """Controls for the strategy, the model's skill, the progress, the pool and the group size."""
    return ExactDashboard(
        draw_sampler,
        strategy=W.Dropdown(
            options=[name for name in STRATEGIES if name != "filter"],
            value="one_minus_s",
            description="strategy",
            **_WHOLE,
        ),
        skill=W.FloatSlider(
            value=0.55, min=0.5, max=1.0, step=0.01, description="P(addition)", **_WHOLE
        ),
        progress=W.FloatSlider(
            value=0.0, min=0.0, max=1.0, step=0.05, description="budget spent", **_WHOLE
        ),
        hard_share=W.FloatSlider(
            value=0.85, min=0.0, max=1.0, step=0.05, description="hard in pool", **_WHOLE
        ),
        group_size=W.SelectionSlider(
            options=[2, 4, 8, 16, 32], value=16, description="group size G", **_WHOLE
        ),
    )
