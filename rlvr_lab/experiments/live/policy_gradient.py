"""The live run of notebook 03: which baseline, and how many questions per step."""

from dataclasses import replace

from rlvr_lab.experiments.live.runs import live_study
from rlvr_lab.training.policy_gradient import PRESETS

__all__ = ["START", "STUDY", "VARIANTS"]

START = replace(PRESETS["rloo"], baseline="none", prompts_per_step=4, group_size=4, steps=60)
"""REINFORCE with the raw reward on 16 answers per step, as in ``experiments.baselines``."""

VARIANTS = {
    "start": START,
    **{
        f"baseline {name}": replace(START, baseline=name)
        for name in ("batch", "group", "leave_one_out")
    },
    **{f"{n} questions": replace(START, prompts_per_step=n) for n in (2, 16)},
}
"""Name → the dashboard's start with one dial moved."""

STUDY = live_study(
    "the dials of notebook 03's live run",
    "policy_gradient",
    VARIANTS,
    ("pass_rate", "length", "kl", "grad_norm"),
)
