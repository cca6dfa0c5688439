"""The dashboard of notebook 06 that needs no training: GRPO without sampling noise."""

from functools import cache

import ipywidgets as W
from matplotlib.figure import Figure

from rlvr_lab.exact.grpo_dynamics import Dynamics, exact_grpo
from rlvr_lab.pictures.grpo import plot_exact_grpo
from rlvr_lab.widgets.live_figures import ExactDashboard

__all__ = ["draw_exact_grpo", "exact_grpo_dashboard"]

_WHOLE = {"layout": W.Layout(width="300px"), "style": {"description_width": "110px"}}


@cache
def _default() -> Dynamics:
    return exact_grpo()


def draw_exact_grpo(
    group_size: int, beta: float, epsilon: float, estimator: str, kl_in: str, updates: int
) -> tuple[Figure, str]:
    """The picture for these settings, with the run at the default settings faint behind it."""
    now = exact_grpo(group_size, beta, epsilon, estimator, kl_in, updates)
    runs = {"before": vars(_default()), "now": vars(now)}
    axes = plot_exact_grpo(runs)
    probability, kl = float(now.probability[-1, 0]), float(now.kl[-1])
    words = (
        f"GRPO without sampling noise, G = {group_size}, β = {beta:g} ({estimator} in the {kl_in}), "
        f"ε = {epsilon:g}, {updates} updates: after {len(now.clipped)} steps the probability of the "
        f"correct answer is {probability:.2f} at a KL of {kl:.2f} nats; the clip acted on "
        f"{float(now.clipped.mean()):.0%} of the answers. Faint: the default settings."
    )
    axes[0].set_title(f"correct {probability:.3f}, KL {kl:.2f} nats", loc="left", fontsize=10)
    axes[1].set_title(f"clipped {float(now.clipped.mean()):.0%}", loc="left", fontsize=10)
    return axes[0].figure, words


def exact_grpo_dashboard() -> ExactDashboard:
    """Controls for G, β, ε, the estimator, the place of the KL and the number of updates."""
    return ExactDashboard(
        draw_exact_grpo,
        group_size=W.SelectionSlider(
            options=[2, 4, 8, 16], value=8, description="group size G", **_WHOLE
        ),
        beta=W.SelectionSlider(
            options=[0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0],
            value=0.0,
            description="KL weight β",
            **_WHOLE,
        ),
        epsilon=W.SelectionSlider(
            options=[0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0],
            value=0.2,
            description="clip ε",
            **_WHOLE,
        ),
        estimator=W.Dropdown(
            options=["k1", "k2", "k3"], value="k3", description="estimator", **_WHOLE
        ),
        kl_in=W.Dropdown(
            options=["loss", "reward"], value="loss", description="KL in the", **_WHOLE
        ),
        updates=W.IntSlider(value=4, min=1, max=8, description="updates", **_WHOLE),
    )
