"""Kimi k1.5's length reward: when it stalls RL, and where it shortens answers (notebook 09).

Two studies, on one base model for each seed. ``kimi/length`` starts from the sums' base, half of whose answers are
direct guesses of three tokens, while a chain takes about eleven. The reward as published is on from the first
step, from step 21 (the paper's warm-up), or never; two controls keep only its part for correct answers, or only its
part for incorrect ones.

``kimi/shrink`` starts from a base that has something to shorten: ``WordyMixture`` teaches chains that say their
last number again, ``<think>720wait0wait0</think>=0``. The repetitions add nothing, so they can go at no loss.

A third study, ``kimi/length_shipped``, starts each of its seeds from the *same* base, the shipped one, so that its
seeds differ only in problems and samples.

Recorded by ``python -m rlvr_lab record kimi/length``, ``… kimi/shrink`` and ``… kimi/length_shipped``.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rlvr_lab.experiments.answer_kinds import ANSWER_KINDS, answer_kind
from rlvr_lab.experiments.base_models import sums_base
from rlvr_lab.experiments.evaluated import EvaluatedConfig, runs_from
from rlvr_lab.experiments.kept_bases import kept_base
from rlvr_lab.experiments.pretraining import fit
from rlvr_lab.experiments.study import Study
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.sums import Sums, SumsMixture
from rlvr_lab.tasks.task import Problem, Verdict
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = [
    "GUESS",
    "SHIPPED_STUDY",
    "SHIPPED_VARIANTS",
    "SHRINK_STUDY",
    "SHRINK_VARIANTS",
    "STUDY",
    "VARIANTS",
    "DelayedLengthConfig",
    "LengthConfig",
    "WordyMixture",
    "wordy_base",
]

GUESS = 0.1
"""Probability that a blind guess at one digit is correct."""
REWARDS = {"accuracy": 1.0, "format": 0.1}
WITH_LENGTH = {**REWARDS, "length": 1.0}
LENGTH_REWARDS = ("length", "length_correct", "length_incorrect")


@dataclass(frozen=True)
class DelayedLengthConfig(PolicyGradientConfig, kind="kimi-length-live"):
    """A policy-gradient run whose length reward counts from a later step on.

    Attributes:
        rewards: with ``length`` (see ``rewards.length``), or with one of its two parts.
        length_from: the first step whose updates see the length reward; earlier ones only record it. The
            paper trains without it first ("warm-up") and then with a constant weight (section 2.3.3).
    """

    rewards: dict[str, float] = field(default_factory=lambda: dict(WITH_LENGTH))
    length_from: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "length_from")

    def collect(self, state: TrainState) -> Experience:
        """The answers of the next step, with the weights that hold at that step."""
        if state.step + 1 >= self.length_from:
            return super().collect(state)
        weights = {n: 0.0 if n in LENGTH_REWARDS else w for n, w in self.rewards.items()}
        return super(DelayedLengthConfig, replace(self, rewards=weights)).collect(state)


@dataclass(frozen=True)
class LengthConfig(EvaluatedConfig, DelayedLengthConfig, kind="kimi-length"):
    """GRPO on the sums with a length reward and a test every fifth step.

    A record holds, over the M·S test answers: ``accuracy``, ``length`` (tokens), ``entropy``; ``length_right``
    and ``length_wrong`` (None without such an answer); and the ``share_`` of each kind of answer.
    """

    rewards: dict[str, float] = field(default_factory=lambda: dict(WITH_LENGTH))
    every: int = 5
    test_problems: int = 64
    test_samples: int = 8
    steps: int = field(default=40, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "sums", "sums: the kinds are those of its answers")

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """What a record says of the answers to the test."""
        lengths = batch.lengths.double().tolist()
        right = [x for x, v in zip(lengths, verdicts, strict=True) if v.correct]
        wrong = [x for x, v in zip(lengths, verdicts, strict=True) if not v.correct]
        asked = [problem for problem in problems for _ in range(batch.group_size)]
        kinds = Counter(answer_kind(p, text) for p, text in zip(asked, batch.texts, strict=True))
        return {
            **super().describe(problems, batch, verdicts),
            "length_right": sum(right) / len(right) if right else None,
            "length_wrong": sum(wrong) / len(wrong) if wrong else None,
            **{f"share_{kind}": kinds[kind] / len(asked) for kind in ANSWER_KINDS},
        }


# ----------------------------------------------------------------------------- the published reward

WARM_UP = 20
"""Steps without the length reward in the variants with a warm-up."""

VARIANTS: dict[str, LengthConfig] = {
    name: LengthConfig(rewards={**REWARDS, part: weight}, length_from=start)
    for name, part, weight, start in (
        ("none", "length", 0.0, 1),
        ("always", "length", 1.0, 1),
        ("warm_up", "length", 1.0, WARM_UP + 1),
        ("always_correct", "length_correct", 1.0, 1),
        ("always_incorrect", "length_incorrect", 1.0, 1),
    )
}
"""No length reward; the published one from step 1, and from step 21; only its part for correct answers from step 1;
only its part for incorrect answers from step 1. The weight is 1."""


def measure_length(
    seeds: int, variants: Mapping[str, LengthConfig] = VARIANTS, first: int = 0
) -> Iterator[Run]:
    """Each variant from the sums' base of each seed.

    Raises:
        ValueError: for no seeds.
    """
    return runs_from(lambda seed: sums_base(seed, "cpu")[0], variants, seeds, first)


STUDY = Study(
    "the length reward, always on and after a warm-up",
    VARIANTS,
    measure_length,
    10,
    "kimi/length",
    first=1,
)

SHIPPED_VARIANTS: dict[str, LengthConfig] = {
    "none": VARIANTS["none"],
    "always": VARIANTS["always"],
    "always_1.5": LengthConfig(rewards={**REWARDS, "length": 1.5}),
    "always_2": LengthConfig(rewards={**REWARDS, "length": 2.0}),
}
"""No length reward; the published one from step 1 with weight 1, 1.5 and 2."""


def measure_shipped(
    seeds: int, variants: Mapping[str, LengthConfig] = SHIPPED_VARIANTS, first: int = 0
) -> Iterator[Run]:
    """Each variant from the shipped base, with the problems and samples of each seed.

    Raises:
        ValueError: for no seeds.
    """
    return runs_from(lambda seed: load_policy("sums", "cpu"), variants, seeds, first)


SHIPPED_STUDY = Study(
    "the length reward from one base with many seeds",
    SHIPPED_VARIANTS,
    measure_shipped,
    10,
    "kimi/length_shipped",
    first=1,
)

# ------------------------------------------------------------------------------ something to shorten


@dataclass(frozen=True)
class WordyMixture(SumsMixture):
    """The mixture of the sums, in which a chain says its last number again and again.

    Attributes:
        most_repeats: of the last number, each after ``wait``; their number is uniform between 0 and this.
        others: as of ``SumsMixture``.

    Raises:
        ValueError: when ``most_repeats`` is negative.

    >>> mixture = WordyMixture(direct=0.0, slip=0.0)
    >>> mixture.solve(Problem("7+5+8.....?", 0, 2), random.Random(7))
    '<think>720wait0wait0</think>=0'
    """

    direct: float = 0.40
    hasty: float = 0.0
    malformed: float = 0.0
    slip: float = 0.08
    wait_after_slip: float = 0.0
    wait_after_right: float = 0.0
    most_repeats: int = 6

    def __post_init__(self) -> None:
        if self.most_repeats < 0:
            raise ValueError(f"most_repeats: must not be negative, got {self.most_repeats}")

    def chain(self, problem: Problem, rng: random.Random) -> tuple[list[str], int]:
        """The words of a chain with its repetitions, and its final sum."""
        words, total = super().chain(problem, rng)
        return words + ["wait", str(total)] * rng.randint(0, self.most_repeats), total


WORDY_STEPS = 60


def wordy_base(seed: int, device: str = "cpu") -> Policy:
    """The sums' base of one seed after supervised steps on ``WordyMixture``; made once and kept."""

    def make() -> Policy:
        policy = sums_base(seed, device)[0]
        optimizer, rng = adamw(trained(policy.model), 1e-3), random.Random(f"wordy {seed}")
        fit(policy, Sums(), WordyMixture().solve, WORDY_STEPS, 1.5e-3, optimizer, rng)
        return policy

    return kept_base(f"kimi_wordy_{seed}", make, device)


SHRINK_VARIANTS: dict[str, LengthConfig] = {
    name: LengthConfig(rewards={**REWARDS, "length": weight}, length_from=start)
    for name, weight, start in (
        ("none", 0.0, 1),
        ("always", 1.0, 1),
        ("always_2", 2.0, 1),
        ("warm_up_2", 2.0, WARM_UP + 1),
    )
}
"""No length reward; weight 1 and weight 2 from step 1; weight 2 from step 21."""


def measure_shrink(
    seeds: int, variants: Mapping[str, LengthConfig] = SHRINK_VARIANTS, first: int = 0
) -> Iterator[Run]:
    """Each variant from the wordy base of each seed.

    Raises:
        ValueError: for no seeds.
    """
    return runs_from(wordy_base, variants, seeds, first)


SHRINK_STUDY = Study(
    "the length reward where there is something to shorten",
    SHRINK_VARIANTS,
    measure_shrink,
    5,
    "kimi/shrink",
    first=1,
)
