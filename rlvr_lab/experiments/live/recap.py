"""The live run of notebook 01: which loss on pairs, β, the margin, and the reference as a switch."""

from dataclasses import replace

from rlvr_lab.experiments.live.runs import live_study
from rlvr_lab.training.pairs import DpoConfig

__all__ = ["PRESETS", "START", "STUDY", "VARIANTS"]

START = DpoConfig(
    pairs=3_000, flip=0.0, stop=0.15, length_bias=0.3, beta=0.1, steps=60, measure_every=2
)
"""DPO in the world of notebook 01's section 5, where annotators like long answers."""

PRESETS = {
    "DPO": START,
    "length-normalised DPO": replace(START, loss="ln_dpo", beta=0.6),
    "SimPO": replace(START, loss="simpo", beta=0.6),
}
"""Name → loss with its β. DPO's β counts a whole answer, the others' a token, and an answer has about six."""

VARIANTS = {
    **PRESETS,
    **{f"β = {beta:g}": replace(START, beta=beta) for beta in (0.03, 0.3)},
    "reference off": replace(START, reference=False),
    "SimPO, γ = 0": replace(PRESETS["SimPO"], margin=0.0),
}
"""Name → one of the presets, or a preset with one dial moved."""

STUDY = live_study(
    "the dials of notebook 01's live run",
    "recap",
    VARIANTS,
    [
        *("chosen", "rejected", "reward_chosen", "reward_rejected", "margin", "held_out"),
        *("gold", "length", "kl", "distance"),
    ],
)
