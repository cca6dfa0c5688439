"""The dials of runs that sample answers: what they share, and those of policy gradient."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as W

from rlvr_lab.objectives.objective import ESTIMATORS
from rlvr_lab.widgets.dials import SLOW, Dial, choose, count, dial, round_to, slide, slide_log, tick

__all__ = [
    "BETAS",
    "BONUS",
    "GROUP",
    "POLICY_GRADIENT",
    "PROMPTS",
    "RATE",
    "SEED",
    "STEPS",
]


def _write_length(settings: Any, by_length: bool) -> dict[str, Any]:
    """A box that was not moved writes nothing, so DAPO's average over all tokens stays."""
    return {"average": "sequence" if by_length else "constant"}


def _write_epsilon(settings: Any, low: float) -> dict[str, Any]:
    """Both sides of the clip; their distance stays, as in DAPO."""
    wider = settings.clip_high - settings.clip_low
    return {"clip_low": round_to(low), "clip_high": round_to(low + wider)}


def _write_std(settings: Any, divide: bool) -> dict[str, Any]:
    return {"divide_by_std": bool(divide) and settings.baseline == "group"}


def _write_baseline(settings: Any, baseline: str) -> dict[str, Any]:
    """Only the group's mean may be divided by a std: another baseline takes the division away."""
    return {"baseline": baseline, "divide_by_std": settings.divide_by_std and baseline == "group"}


def _weight(name: str, reward: str, label: str, tooltip: str, values: Sequence[float]) -> Dial:
    return slide(name, f"rewards.{reward}", label, tooltip, values)


STEPS = count("steps", "steps", "steps", "Length of the run. Fixed during a run.", 1, 10_000)
SEED = count(
    "seed",
    "seed",
    "seed",
    "Of problems and sampling; the same seed gives the same curve. Fixed during a run.",
    0,
    2**31 - 1,
)
GROUP = slide(
    "group",
    "group_size",
    "group size G",
    "G: answers sampled for each prompt and compared with one another.",
    [2, 4, 8, 16, 32, 64],
)
PROMPTS = slide(
    "prompts",
    "prompts_per_step",
    "prompts N",
    "N: prompts in a step's batch. A step samples N·G answers.",
    [1, 2, 4, 8, 16, 32],
    asked=True,
)
RATE = slide_log("lr", "learning_rate", "learning rate", "Learning rate of the optimiser.", -6, 0)
TEMPERATURE = dial(
    "temperature",
    "temperature",
    "Of the sampling: below 1 answers are less varied, above 1 more.",
    lambda known: W.FloatSlider(
        min=0.1, max=2, step=0.05, description="temperature", readout_format=".2f", **SLOW
    ),
    write=lambda config, value: {"temperature": round(value, 4)},
)
BETAS = [0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 1.0]
BETA = slide(
    "beta",
    "kl_coef",
    "KL weight β",
    "β: weight of the KL to the reference policy. 0 lets the policy go where it likes.",
    BETAS,
)
BONUS = slide(
    "bonus",
    "entropy_coef",
    "entropy bonus",
    "Weight of the mean entropy per token, which is added to what is maximised.",
    [0.0, 0.001, 0.003, 0.01, 0.03, 0.1],
    asked=True,
)

POLICY_GRADIENT = (
    _weight(
        "consistency",
        "language",
        "consistency",
        "Weight of the language consistency reward: the share of a chain that is in the language it "
        "uses more often. 0 leaves it out.",
        [0.0, 0.03, 0.1, 0.3, 1.0],
    ),
    _weight(
        "length_weight",
        "length",
        "length reward",
        "Weight of Kimi's length reward: in each group, short correct answers gain and long answers "
        "lose up to a half. 0 leaves it out.",
        [0.0, 0.25, 0.5, 1.0, 2.0],
    ),
    slide(
        "length_from",
        "length_from",
        "from step",
        "The first step at which the length reward counts (Kimi's warm-up).",
        [1, 6, 11, 16, 21, 31],
    ),
    choose(
        "baseline",
        "baseline",
        "baseline",
        "What a reward is compared with before it becomes an advantage.",
        asked=True,
        write=_write_baseline,
    ),
    tick(
        "length",
        "average",
        "normalise by length",
        "On: each answer counts as the mean over its own tokens (GRPO's 1/|o|). "
        "Off: the sum over tokens is divided by one constant (Dr. GRPO), "
        "or, in DAPO, by the tokens of the whole batch.",
        read=lambda config: config.average == "sequence",
        write=_write_length,
    ),
    tick(
        "std",
        "divide_by_std",
        "divide by std",
        "On: advantages are divided by the standard deviation of their group. "
        "Only algorithms that compare with the group mean have this choice.",
        write=_write_std,
        enabled=lambda config: config.baseline == "group",
    ),
    GROUP,
    PROMPTS,
    TEMPERATURE,
    BETA,
    RATE,
    choose(
        "kl_in",
        "kl_in",
        "KL in the",
        "Where the KL term stands: in the loss (GRPO), or taken off each answer's reward before "
        "the advantages are computed (PPO, RLOO).",
    ),
    choose(
        "estimator",
        "kl_estimator",
        "estimator",
        "Which estimate of the KL is differentiated when it stands in the loss: k1 pulls at nothing, "
        "k2 along the reverse KL, k3 (GRPO) along the forward KL.",
        {name: name for name in ESTIMATORS},
    ),
    slide_log(
        "epsilon",
        "clip_low",
        "clip ε",
        "ε: how far the probability ratio may move before it is clipped (DAPO keeps its wider "
        "upper side). It matters only with more than one update on a batch.",
        -4,
        0,
        write=_write_epsilon,
        enabled=lambda config: config.ratio not in ("none", "squared"),
    ),
    slide(
        "above",
        "clip_high",
        "wider above",
        "By how much the upper side of the clip is wider than ε (clip-higher: DAPO has 0.08).",
        [0.0, 0.08, 0.2, 0.4],
        read=lambda config: round_to(config.clip_high - config.clip_low),
        write=lambda settings, wider: {"clip_high": round_to(settings.clip_low + wider)},
        enabled=lambda config: config.ratio not in ("none", "squared"),
        asked=True,
    ),
    count(
        "updates",
        "updates_per_batch",
        "updates",
        "Passes over each batch of answers. Above 1 the ratio leaves 1 and ε begins to act.",
        1,
        8,
    ),
    slide(
        "p",
        "world_options.p_right",
        "p",
        "p: probability that an answer of the length laboratory is correct; the environment decides it. "
        "Fixed during a run.",
        [0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95],
        asked=True,
        enabled=lambda config: config.world == "lab",
    ),
    slide(
        "terms",
        "world_options.min_terms",
        "min. numbers",
        "Difficulty of the sums: each has at least so many numbers, and at most eight. Fixed during a run.",
        [2, 4, 6, 8],
        asked=True,
        enabled=lambda config: config.world == "sums",
    ),
    BONUS,
    STEPS,
    SEED,
)
