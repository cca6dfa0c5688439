"""The faults of the museum: their meaning, which of them an exhibit offers, and the metric that shows each."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr_lab.experiments.museum import EXHIBITS

__all__ = [
    "CHOICES",
    "FAULTS",
    "METRIC",
    "METRICS",
    "TOLERANCES",
    "choices",
    "first_step",
    "glossary",
    "guide",
]

Records = Sequence[Mapping[str, Any]]

FAULTS: dict[str, str] = {
    "nothing": "nothing is wrong with this run",
    "no gradient": "the log-probabilities are detached before the loss",
    "constant reward": "the verifier cannot parse the correct answers, and then gives every answer 1",
    "answers cut off": "the limit on new tokens is too small for a chain of thought",
    "hidden question": "the prompt is cut before the question: the policy always reads the same prompt",
    "learned score": "the reward is a small reward model's score, without a verifier",
    "KL sign": "the KL to the reference is subtracted from the loss, not added",
    "stale π_old": "log π_old comes from a copy of the policy that is renewed every few steps only",
    "stale sampler": "the answers come from a copy renewed every few steps only; the loss has no ratio",
    "other temperature": "the update computes log π at another temperature than the sampler",
    "mixed order": "the advantages come back in another order than the answers they belong to",
    "groups of two": "G = 2 with division by the std; as many answers per step as in the healthy run",
    "std of the others": "leave-one-out, divided by the std of the other answers",
}
"""Name → what it means."""

CHOICES: dict[int, tuple[str, ...]] = {
    1: (
        "no gradient",
        "constant reward",
        "hidden question",
        "KL sign",
        "stale π_old",
        "mixed order",
    ),
    2: (
        "constant reward",
        "hidden question",
        "learned score",
        "groups of two",
        "mixed order",
        "KL sign",
    ),
    3: (
        "no gradient",
        "hidden question",
        "learned score",
        "groups of two",
        "answers cut off",
        "mixed order",
    ),
    4: (
        "other temperature",
        "stale sampler",
        "no gradient",
        "KL sign",
        "mixed order",
        "std of the others",
    ),
    5: (
        "stale π_old",
        "stale sampler",
        "KL sign",
        "mixed order",
        "hidden question",
        "answers cut off",
    ),
    6: (
        "no gradient",
        "constant reward",
        "stale π_old",
        "stale sampler",
        "other temperature",
        "mixed order",
        "groups of two",
    ),
    7: (
        "stale π_old",
        "std of the others",
        "mixed order",
        "learned score",
        "other temperature",
        "answers cut off",
    ),
    8: (
        "KL sign",
        "groups of two",
        "mixed order",
        "stale π_old",
        "constant reward",
        "learned score",
    ),
    9: (
        "std of the others",
        "constant reward",
        "hidden question",
        "mixed order",
        "answers cut off",
        "stale π_old",
    ),
    10: (
        "hidden question",
        "constant reward",
        "mixed order",
        "groups of two",
        "KL sign",
        "learned score",
    ),
    11: (
        "answers cut off",
        "mixed order",
        "groups of two",
        "constant reward",
        "no gradient",
        "other temperature",
    ),
    12: (
        "stale π_old",
        "other temperature",
        "mixed order",
        "KL sign",
        "no gradient",
        "std of the others",
    ),
    13: (
        "hidden question",
        "no gradient",
        "constant reward",
        "other temperature",
        "KL sign",
        "learned score",
    ),
}
"""Exhibit → the wrong faults among its eight; "nothing" and its own fault are added."""

TOLERANCES: dict[str, float] = {
    "reward": 0.3,
    "accuracy": 0.3,
    "grad_norm": 0.5,
    "first_ratio": 0.01,
    "first_clip": 0.01,
    "kl": 3.0,
    "entropy": 0.5,
    "length": 2.0,
    "truncated": 0.1,
    "zero_spread": 0.4,
    "largest": 1.0,
}
"""Metric → by how much it may differ from the healthy run of the same seed."""

METRICS: dict[str, tuple[str, str]] = {
    "reward": ("Logged reward", "mean per answer: 1 if correct, 0.1 for the form, so 1.1 at most"),
    "accuracy": (
        "Accuracy, held out",
        "share of correct answers to 64 other questions; a strict verifier",
    ),
    "loss": ("Loss", "mean over the inner steps; there is no tolerance for it"),
    "grad_norm": ("Gradient norm", "mean over the inner steps, before it is limited to 1"),
    "first_ratio": ("|ρ − 1|, first inner step", "mean over the tokens of answers with A ≠ 0"),
    "first_clip": ("Clipped, first inner step", "share of tokens whose gradient the clip removes"),
    "kl": ("KL to the reference", "distance from the model before RL, in nats per answer"),
    "entropy": ("Entropy", "of the next token, in nats; 0 if only one token is possible"),
    "length": ("Length of the answers", "in tokens"),
    "truncated": ("Answers cut off", "share of answers that reach the limit on new tokens"),
    "zero_spread": ("Silent groups", "share of groups with equal rewards, where all A are 0"),
    "largest": ("Largest |advantage|", "of the step, over all answers"),
}
"""Metric → the title of its panel, and what it is."""

METRIC: dict[str, str] = {
    "no gradient": "grad_norm",
    "constant reward": "zero_spread",
    "answers cut off": "truncated",
    "hidden question": "length",
    "learned score": "accuracy",
    "KL sign": "kl",
    "stale π_old": "first_ratio",
    "stale sampler": "first_ratio",
    "other temperature": "first_ratio",
    "mixed order": "accuracy",
    "groups of two": "zero_spread",
    "std of the others": "largest",
}
"""Fault → a metric that gives it away."""


def choices(number: int) -> dict[str, str]:
    """The faults that exhibit ``number`` offers, with their meaning, in the order of ``FAULTS``."""
    offered = {"nothing", EXHIBITS[number].fault, *CHOICES[number]}
    return {name: meaning for name, meaning in FAULTS.items() if name in offered}


def first_step(broken: Records, healthy: Records) -> int | None:
    """The first step at which any metric differs by more than its tolerance; None if there is none."""
    for one, other in zip(broken, healthy, strict=True):
        if any(abs(one[key] - other[key]) > limit for key, limit in TOLERANCES.items()):
            return one["step"]
    return None


def guide(number: int) -> str:
    """The faults that exhibit ``number`` offers, one to a line, as text to print."""
    return "\n".join(f"{name!r:<22}{meaning}" for name, meaning in choices(number).items())


def glossary() -> str:
    """What the metrics and the words of the museum mean, as text to print."""
    lines = ["panel".ljust(27) + "key".ljust(13) + "meaning"]
    lines += [f"{title:<27}{key:<13}{meaning}" for key, (title, meaning) in METRICS.items()]
    return "\n".join([*lines, "", _WORDS])


_WORDS = """\
Answers: 64 in each step; healthy: G = 8 to each of 8 questions (one group per question).
Form: one optional chain <think>…</think>, then "=" and a number.
A, advantage: reward minus the mean of its group, divided by its standard deviation.
Inner step: one optimiser step on the answers of a step; the healthy run takes two.
ρ = π/π_old: probability of a token now, divided by that when its answer was sampled (notebook 05).
Clip: removes the gradient of tokens whose ρ has left 0.8 to 1.2 in the direction of A (notebook 05).
Reference: the model before RL. Tolerance –: the metric has none, look at it all the same."""
