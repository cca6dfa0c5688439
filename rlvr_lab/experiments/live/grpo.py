"""The live run of notebook 06: G, β, the estimator of the KL and its place, temperature."""

from dataclasses import replace

from rlvr_lab.experiments.kl_runs import KL_BASE
from rlvr_lab.experiments.live.runs import live_study

__all__ = ["START", "STUDY", "VARIANTS"]

START = replace(KL_BASE, steps=30)
"""The settings of notebook 06's recorded KL runs, so that what is claimed of β there holds here."""

VARIANTS = {
    "start": START,
    **{f"G = {size}": replace(START, group_size=size) for size in (2, 4, 32)},
    "temperature 0.6": replace(START, temperature=0.6),
}
"""Name → the dashboard's start with one dial moved; β, estimator and place are in ``kl_runs``."""

STUDY = live_study(
    "G and the temperature of notebook 06's live run",
    "grpo",
    VARIANTS,
    ("pass_rate", "length", "kl", "entropy", "zero_spread"),
)
