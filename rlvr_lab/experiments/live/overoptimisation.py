"""The live run of notebook 02: pairs and errors of the proxy, β, and the optimiser."""

from dataclasses import replace

from rlvr_lab.experiments.live.runs import live_study
from rlvr_lab.experiments.overoptimisation import ProxyConfig

__all__ = ["START", "STUDY", "VARIANTS"]

START = ProxyConfig(pairs=300, flip=0.25, steps=50)
"""The configuration of notebook 02's recorded runs of PPO on 300 pairs with a quarter of the labels wrong."""

VARIANTS = {
    "start": START,
    "3,000 pairs": replace(START, pairs=3_000),
    "no flips": replace(START, flip=0.0),
    "β = 0.2": replace(START, kl_coef=0.2),
    "GRPO": replace(START, optimiser="grpo"),
}
"""Name → the dashboard's start with one dial moved."""

STUDY = live_study(
    "the dials of notebook 02's live run",
    "overoptimisation",
    VARIANTS,
    ("proxy", "gold", "kl", "distance", "entropy"),
)
