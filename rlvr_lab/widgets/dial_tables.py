"""The dials of the training dashboards, by kind of run."""

from collections.abc import Sequence

from rlvr_lab.training.config import RunConfig
from rlvr_lab.widgets.dials import Dial, choose, count, slide, slide_log, tick
from rlvr_lab.widgets.sampling_dials import (
    BETAS,
    BONUS,
    GROUP,
    POLICY_GRADIENT,
    PROMPTS,
    RATE,
    SEED,
    STEPS,
)

__all__ = ["DIALS", "dials_of"]

PPO = (
    slide_log("epsilon", "clip", "clip ε", "ε: how far the ratio of a token may move.", -3, 0),
    slide(
        "lambda",
        "lam",
        "λ",
        "λ of GAE: 0 trusts the value model alone, 1 what was really earned.",
        [0.0, 0.5, 0.8, 0.9, 0.95, 1.0],
    ),
    slide(
        "gamma",
        "gamma",
        "γ",
        "γ of GAE: below 1 a reward counts less the later it comes.",
        [0.5, 0.8, 0.9, 0.95, 1.0],
    ),
    count("epochs", "epochs", "inner epochs", "Passes over each batch of answers.", 1, 8),
    slide("beta", "kl_coef", "KL weight β", "β: weight of the KL in every token's reward.", BETAS),
    RATE,
    slide_log(
        "value_lr", "value_learning_rate", "value rate", "Learning rate of the value model.", -6, 0
    ),
    choose(
        "whiten",
        "whiten_advantages",
        "whiten A over",
        "Over what the advantages get mean 0 and standard deviation 1 (detail 7).",
    ),
    slide(
        "value_clip",
        "value_clip",
        "value clip",
        "ε of the value loss (detail 9); off is the plain squared error.",
        [None, 0.1, 0.2, 0.5],
    ),
    tick(
        "whiten_rewards",
        "whiten_rewards",
        "whiten rewards",
        "Divide the token rewards by their standard deviation.",
    ),
    tick("anneal", "anneal", "anneal", "The learning rates fall linearly to 0 (detail 4)."),
    tick("clamp", "clamp_kl", "clamp the KL", "Penalise max(log-ratio, 0) and not the log-ratio."),
    slide(
        "target_kl",
        "target_kl",
        "stop at KL",
        "End a batch's epochs when the mean KL per token passes this.",
        [None, 0.003, 0.01, 0.03],
    ),
    slide(
        "warmup",
        "critic_warmup",
        "warm-up",
        "Batches on which the value model alone is trained before step 1. Fixed during a run.",
        [0, 2, 5, 10],
    ),
    BONUS,
    GROUP,
    PROMPTS,
    STEPS,
    SEED,
)

TRPO = (
    slide(
        "delta",
        "max_kl",
        "limit δ",
        "δ: the largest mean KL per token that a step may cause, in nats.",
        [0.001, 0.005, 0.01, 0.02, 0.05, 0.08, 0.2],
    ),
    tick(
        "natural",
        "natural",
        "natural gradient",
        "On: the step follows the natural gradient F⁻¹g. Off: the plain gradient g, scaled and searched "
        "to the same δ.",
    ),
    choose(
        "schedule",
        "delta_schedule",
        "schedule of δ",
        "Constant, or quadratic: δ shrinks to 0 over the run.",
    ),
    count(
        "cg",
        "cg_iterations",
        "CG products",
        "Products with the Fisher matrix that are spent on a direction.",
        1,
        10,
    ),
    GROUP,
    PROMPTS,
    STEPS,
    SEED,
)

PAIRS = (
    choose(
        "loss",
        "loss",
        "loss",
        "DPO compares both answers with the reference; ln_dpo divides by their lengths; SimPO divides by "
        "the lengths and has no reference.",
    ),
    slide(
        "beta",
        "beta",
        "β",
        "β of the loss: implicit reward per nat, of a whole answer in DPO and of a token in the losses that "
        "divide by the length.",
        [0.03, 0.1, 0.3, 1.0, 3.0],
    ),
    tick(
        "reference",
        "reference",
        "reference",
        "Off: log π_ref is left out of what the loss compares. SimPO has none to leave out.",
        enabled=lambda config: config.loss not in ("simpo", "orpo"),
    ),
    slide(
        "margin",
        "margin",
        "margin γ",
        "γ of SimPO: the gap that it asks for.",
        [0.0, 0.5, 1.5],
        enabled=lambda config: config.loss == "simpo",
    ),
    slide(
        "pairs",
        "pairs",
        "pairs",
        "Number of preference pairs. Fixed during a run.",
        [100, 300, 1_000, 3_000],
    ),
    slide(
        "flip",
        "flip",
        "flipped labels",
        "Share of pairs whose label is wrong. Fixed during a run.",
        [0.0, 0.1, 0.25, 0.4],
    ),
    RATE,
    STEPS,
    SEED,
)

OVEROPTIMISE = (
    choose(
        "optimiser",
        "optimiser",
        "optimiser",
        "PPO or GRPO. Fixed during a run.",
        {"PPO": "ppo", "GRPO": "grpo"},
    ),
    slide(
        "pairs",
        "pairs",
        "pairs",
        "Preference pairs on which the proxy is fitted. Fixed during a run.",
        [100, 300, 3_000, 30_000],
    ),
    slide(
        "flip",
        "flip",
        "flipped labels",
        "Share of those pairs whose label is wrong. Fixed during a run.",
        [0.0, 0.1, 0.25, 0.4],
    ),
    slide(
        "beta",
        "kl_coef",
        "KL weight β",
        "β: weight of the KL to the base, which holds the policy where the proxy was fitted.",
        [0.0, 0.05, 0.1, 0.2, 0.5, 1.0],
    ),
    RATE,
    STEPS,
    SEED,
)

_WEIGHTED = ("tis", "icepop", "sequence")
STALE = (
    slide(
        "lag",
        "lag",
        "lag k",
        "The sampler is the policy as it was k steps ago. 0: the policy itself.",
        [0, 1, 2, 4, 8, 16],
    ),
    slide(
        "noise",
        "noise",
        "noise σ",
        "Standard deviation of Gaussian noise on each logit of the sampler.",
        [0.0, 0.1, 0.3, 0.5, 1.0, 1.5],
    ),
    choose("rounding", "rounding", "rounding", "How the sampler's weights are rounded."),
    choose(
        "correction",
        "correction",
        "correction",
        "What the update does about the mismatch. PPO's clip: the ratio is π/μ. The others weight each token by "
        "π_old/μ: truncated or masked per token, or truncated per answer.",
        {
            "none": "none",
            "PPO's clip on π/μ": "clip",
            "token, truncated (TIS)": "tis",
            "token, masked (IcePop)": "icepop",
            "answer, truncated": "sequence",
        },
    ),
    slide(
        "cap",
        "cap",
        "cap",
        "The largest weight; above it a weight is truncated, or with IcePop set to 0.",
        [1.2, 1.5, 2.0, 3.0, 5.0, 10.0],
        enabled=lambda config: config.correction in _WEIGHTED,
    ),
    slide(
        "floor",
        "floor",
        "floor",
        "With IcePop a weight below this is set to 0.",
        [0.0, 0.2, 0.5, 0.8],
        enabled=lambda config: config.correction == "icepop",
    ),
    RATE,
    GROUP,
    PROMPTS,
    STEPS,
    SEED,
)

DIALS: dict[str, tuple[Dial, ...]] = {
    "policy-gradient": POLICY_GRADIENT,
    "ppo": PPO,
    "trpo": TRPO,
    "pairs": PAIRS,
    "overoptimise": OVEROPTIMISE,
    "stale": STALE,
}
"""Kind of a configuration → its dials, in the order of the panel."""


def dials_of(config: RunConfig, names: Sequence[str] | None = None) -> list[Dial]:
    """The dials of a dashboard that opens with this configuration.

    Args:
        config: its kind, or that of the nearest class that it comes from, decides.
        names: the dials to show, in their order; by default all but those that are shown only when
            asked for.

    Raises:
        ValueError: for a kind without dials, or a dial that it does not have.
    """
    for kind in type(config).__mro__:
        if (key := vars(kind).get("KIND", "")) in DIALS:
            break
    else:
        raise ValueError(f"config: there are no dials for runs of {type(config).__name__}")
    known = {dial.name: dial for dial in DIALS[key] if dial.applies(config)}
    if names is None:
        return [dial for dial in known.values() if not dial.asked]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"dials: {unknown[0]!r} is none of {', '.join(known)}")
    return [known[name] for name in names]
