"""The live run of notebook 04: the size of the trust region, and natural against plain gradient."""

from dataclasses import replace

from rlvr_lab.experiments.live.runs import live_study
from rlvr_lab.training.trpo import TRPOConfig

__all__ = ["START", "STUDY", "VARIANTS"]

START = TRPOConfig(prompts_per_step=4, group_size=8, fisher_groups=4, steps=30)
"""32 answers per step, so that a step takes less than half a second; the Fisher matrix is taken over all of them."""

VARIANTS = {
    "start": START,
    **{f"δ = {delta:g}": replace(START, max_kl=delta) for delta in (0.005, 0.08)},
    "plain gradient": replace(START, natural=False),
}
"""Name → the dashboard's start with one dial moved."""

STUDY = live_study(
    "the dials of notebook 04's live run",
    "trust_region",
    VARIANTS,
    ("pass_rate", "max_kl", "step_kl", "fraction", "surrogate_gain", "kl", "length"),
)
