"""The exact dashboard of notebook 11: how far is the sampler from the policy, and what does each correction leave?"""

from functools import cache

import ipywidgets as W
import torch
from matplotlib.figure import Figure

from rlvr_lab.exact.mismatch import (
    climb,
    corrected_gradient,
    estimators,
    noisy_logprobs,
    per_token_kl,
    relative_bias,
)
from rlvr_lab.exact.oracle import World
from rlvr_lab.pictures.stale import plot_mismatch_bars
from rlvr_lab.widgets.live_figures import ExactDashboard

__all__ = ["draw_mismatch", "mismatch_dashboard"]

STEPS, RATE = 12, 0.05
"""The policy is a tiny model after so many steps of exact gradient ascent."""
_WHOLE = {"layout": W.Layout(width="300px"), "style": {"description_width": "90px"}}


@cache
def _path() -> list[World]:
    return climb(World.tiny(length=4), STEPS, RATE)


def draw_mismatch(lag: int, noise: float, cap: float) -> tuple[Figure, str]:
    """Bias and variance of each correction when the sampler is ``lag`` steps old and its logits are noisy.

    Args:
        lag: 0 … ``STEPS``.
        noise: σ on each logit; always the same draw, made larger or smaller.
        cap: of the capped corrections, above 0.5.
    """
    world = _path()[-1]
    sampler = noisy_logprobs(_path()[-1 - lag], noise, torch.Generator().manual_seed(0))
    found = {
        name: corrected_gradient(world, sampler, weights)
        for name, weights in estimators(cap).items()
    }
    bias = {name: relative_bias(one) for name, one in found.items()}
    variance = {name: one.variance for name, one in found.items()}
    numbers = ", ".join(f"{name} {bias[name]:.2g} and {variance[name]:.3g}" for name in found)
    kl = abs(per_token_kl(world, sampler))  # rounding can make a 0 negative
    words = (
        f"Sampler {lag} steps old, noise {noise:g}, KL {kl:.3f} nats per token. Relative "
        f"bias and variance: {numbers}."
    )
    return plot_mismatch_bars(bias, variance), words


def mismatch_dashboard() -> ExactDashboard:
    """Sliders for the lag, the noise and the cap."""
    return ExactDashboard(
        draw_mismatch,
        lag=W.IntSlider(value=8, min=0, max=STEPS, description="lag k", **_WHOLE),
        noise=W.FloatSlider(value=0.0, min=0, max=1.5, step=0.1, description="noise σ", **_WHOLE),
        cap=W.FloatSlider(value=2.0, min=1.0, max=10.0, step=0.5, description="cap", **_WHOLE),
    )
