"""The live runs of notebook 07: the two check boxes, p and G in the length laboratory, difficulty of the sums."""

from dataclasses import replace

from rlvr_lab.experiments.live.runs import live_study
from rlvr_lab.tasks.worlds import WORLDS
from rlvr_lab.training.policy_gradient import PRESETS

__all__ = ["LAB", "LAB_VARIANTS", "STUDY", "SUMS", "SUMS_VARIANTS"]

LAB = replace(
    PRESETS["grpo"],
    **{"world": "lab", **WORLDS["lab"].settings, "steps": 60, "learning_rate": 0.01},
    world_options={"p_right": 0.5},
)
"""A third of the laboratory's learning rate leaves time to act."""

SUMS = replace(PRESETS["grpo"], steps=20, world_options={"min_terms": 4})

_CONSTANT = {"average": "constant"}
LAB_VARIANTS = {
    "start": LAB,
    "normalise by length off": replace(LAB, **_CONSTANT),
    "divide by std off": replace(LAB, divide_by_std=False),
    "both off": replace(LAB, **_CONSTANT, divide_by_std=False),
    **{f"p = {p}": replace(LAB, world_options={"p_right": p}) for p in (0.2, 0.8)},
    "G = 4": replace(LAB, group_size=4),
}
SUMS_VARIANTS = {
    "sums": SUMS,
    "sums, at least 2 terms": replace(SUMS, world_options={"min_terms": 2}),
    "sums, 8 terms": replace(SUMS, world_options={"min_terms": 8}),
    "sums, normalise by length off": replace(SUMS, **_CONSTANT),
    "sums, divide by std off": replace(SUMS, divide_by_std=False),
}

STUDY = live_study(
    "the dials of notebook 07's live runs",
    "biases",
    LAB_VARIANTS | SUMS_VARIANTS,
    (
        *("pass_rate", "length", "length_right", "length_wrong"),
        *("exact_length_right", "exact_length_wrong"),
    ),
)
