"""The live run of notebook 05: ε, λ, γ, inner epochs, and implementation details as switches."""

from dataclasses import replace

from rlvr_lab.experiments.live.runs import live_study
from rlvr_lab.training.ppo import PPOConfig

__all__ = ["START", "STUDY", "VARIANTS"]

START = PPOConfig(steps=16, prompts_per_step=8, group_size=8, critic_warmup=2)
"""PPO on 64 answers per step; a warm-up of two batches keeps the first curve within two seconds."""

VARIANTS = {
    "start": START,
    **{f"ε = {clip:g}": replace(START, clip=clip) for clip in (0.02, 1.0)},
    **{f"λ = {lam:g}": replace(START, lam=lam) for lam in (0.0, 1.0)},
    "γ = 0.8": replace(START, gamma=0.8),
    "1 epoch": replace(START, epochs=1),
    "4 epochs": replace(START, epochs=4),
    "advantages not whitened": replace(START, whiten_advantages="none"),
    "rewards whitened": replace(START, whiten_rewards=True),
    "learning rates fall to 0": replace(START, anneal=True),
    "no warm-up of the critic": replace(START, critic_warmup=0),
}
"""Name → the dashboard's start with one dial moved."""

STUDY = live_study(
    "the dials of notebook 05's live run",
    "ppo",
    VARIANTS,
    (
        *("pass_rate", "length", "kl", "explained_variance"),
        *("ratio_high", "ratio_outside", "epochs_done"),
    ),
)
