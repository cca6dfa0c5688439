"""Sick runs that the museum lacks: one small training run for each further illness that the doctor names.

Every case is a variant of one healthy configuration with one setting chosen badly, or one method done wrong.
``python -m rlvr_lab record sick`` trains all of them. The museum's own faults are recorded with new seeds by
``python -m rlvr_lab record sick-museum``, so that no seed that set a threshold has to test one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from rlvr_lab.experiments.evaluated import short_record
from rlvr_lab.experiments.museum import EXHIBITS, MuseumConfig, measure_museum
from rlvr_lab.experiments.museum import VARIANTS as MUSEUM
from rlvr_lab.experiments.study import seeded
from rlvr_lab.objectives.averages import Average
from rlvr_lab.objectives.kl import entropy_bonus
from rlvr_lab.objectives.objective import Objective, Rows
from rlvr_lab.records.runs import Run
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.training.rollouts import Experience, describe_step
from rlvr_lab.training.state import TrainState

__all__ = [
    "CASES",
    "MUSEUM_CASES",
    "MUSEUM_THRESHOLDS",
    "TESTED",
    "THRESHOLDS",
    "VARIANTS",
    "Case",
    "measure_again",
    "measure_sick",
]

KEPT = {
    "step",
    "reward",
    "pass_rate",
    "accuracy",
    "kl",
    "entropy",
    "length",
    "length_right",
    "length_wrong",
    "truncated",
    "zero_spread",
    "explained_variance",
    "value_loss",
    "loss",
    "clip_fraction",
    "grad_norm",
    "first_ratio",
    "largest",
}
"""What the records keep: what the rules read."""

THRESHOLDS, TESTED = (1, 2), (3, 4, 5, 6)
"""The seeds of ``sick.json`` whose runs set the doctor's thresholds, and those that test them."""
MUSEUM_THRESHOLDS = (1, 2, 4, 5)
"""The same of the museum, whose seeds 1 to 3 are in ``museum.json`` and the others in ``sick_museum.json``; all other
seeds test."""


@dataclass(frozen=True)
class WatchedConfig(MuseumConfig, kind="sick"):
    """The healthy run: the museum's, with everything in the record that ``describe_step`` says."""

    def measure(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """What there is to say of the answers, and the accuracy on held-out problems before the update."""
        return describe_step(experience) | {"accuracy": self.accuracy(state)}


@dataclass(frozen=True)
class FlippedEntropy(WatchedConfig, kind="sick-flipped-entropy"):
    """The fault: the entropy bonus is added to the loss that is minimised, so entropy is punished."""

    def objective_on(self, experience: Experience) -> Objective:
        """−c·H becomes +c·H."""
        objective = self.objective

        def loss(rows: Rows, average: Average) -> Any:
            bonus = entropy_bonus(rows.logits, rows.mask, objective.entropy_coef)
            return objective.loss(rows, average) + 2 * bonus

        return replace(objective, loss=loss)


SOUND = WatchedConfig(
    steps=24,
    prompts_per_step=8,
    group_size=8,
    updates_per_batch=2,
    test_problems=32,
    test_samples=2,
)
SOUND_PPO = PPOConfig(steps=20, prompts_per_step=8, group_size=8)
LAB = PolicyGradientConfig(
    steps=25,
    world="lab",
    world_options={"p_right": 0.5},
    max_new_tokens=32,
    constant_length=4.5,
    average="constant",
    optimizer="sgd",
    learning_rate=0.03,
    max_grad_norm=None,
    rewards={"accuracy": 1.0},
)


class Case(NamedTuple):
    """One sick run.

    Attributes:
        config: the configuration.
        healthy: name of its healthy neighbour in ``VARIANTS``: the same run without the fault.
        rule: name of the rule that has to find it.
        fault: what is wrong, in words.
    """

    config: RunConfig
    healthy: str
    rule: str
    fault: str


def _lab(**change: Any) -> PolicyGradientConfig:
    return replace(LAB, **change)


CASES: dict[str, Case] = {
    "learning rate 10x": Case(
        replace(SOUND, learning_rate=3e-3),
        "healthy",
        "learning rate too high",
        "the learning rate is ten times too high",
    ),
    "learning rate 1e-4x": Case(
        replace(SOUND, learning_rate=3e-8),
        "healthy",
        "policy does not move",
        "the learning rate is ten thousand times too low",
    ),
    "no clip": Case(
        replace(SOUND, learning_rate=1e-3, clip_low=1.0, clip_high=1e6),
        "healthy",
        "policy destroyed",
        "a learning rate three times too high, and no clip",
    ),
    "sixteen passes": Case(
        replace(SOUND, updates_per_batch=16, learning_rate=1e-3),
        "healthy",
        "updates too large",
        "sixteen optimiser steps on each batch, with a high learning rate",
    ),
    "flipped entropy bonus": Case(
        FlippedEntropy(**{**asdict(SOUND), "entropy_coef": 5.0}),
        "healthy",
        "entropy collapse",
        "the entropy bonus has the wrong sign",
    ),
    "only form is paid": Case(
        replace(SOUND, rewards={"format": 1.0}),
        "healthy",
        "length collapse",
        "the reward pays for the form alone, and the shortest form is a guess",
    ),
    "heavy KL": Case(
        replace(SOUND, kl_coef=30.0),
        "healthy",
        "KL weight too high",
        "the weight of the KL is far too high",
    ),
    "flipped length reward": Case(
        replace(SOUND, rewards={"accuracy": 1.0, "length": -1.0}, learning_rate=1e-3),
        "healthy",
        "answers no longer stop",
        "the length reward has the wrong sign, so that the longest answer of a group gains",
    ),
    "dead critic": Case(
        replace(SOUND_PPO, value_learning_rate=1e-9, critic_warmup=0),
        "healthy PPO",
        "value model dead",
        "the value model's learning rate is practically 0",
    ),
    "1/|o|": Case(
        _lab(average="sequence"),
        "healthy lab",
        "incorrect answers grow",
        "the loss of an answer is divided by its length, and nothing else decides the length",
    ),
    "rare reward": Case(
        _lab(world_options={"p_right": 0.01}, group_size=8),
        "healthy lab",
        "reward too rare",
        "one answer in a hundred is correct, in groups of eight",
    ),
    "solved already": Case(
        _lab(world_options={"p_right": 0.995}, group_size=8),
        "healthy lab",
        "task already solved",
        "one answer in two hundred is incorrect, in groups of eight",
    ),
}
"""Name → sick run."""

VARIANTS: dict[str, RunConfig] = {
    "healthy": SOUND,
    "healthy PPO": SOUND_PPO,
    "healthy lab": LAB,
    **{name: case.config for name, case in CASES.items()},
}
"""Name → configuration, of the study ``sick``."""

MUSEUM_CASES: dict[int, str] = {
    1: "reward hacked",
    2: "no gradient",
    3: "constant reward",
    4: "stale weights",
    5: "other temperature",
    7: "KL with the wrong sign",
    8: "huge advantages",
    9: "groups of two",
    10: "answers cut off",
    11: "form without content",
    12: "stale weights",
    13: "moves without learning",
}
"""Exhibit of the museum → the rule that has to find it; exhibit 6 is healthy."""

assert set(EXHIBITS) - set(MUSEUM_CASES) == {6}


def measure_sick(
    seeds: int, variants: Mapping[str, RunConfig] = VARIANTS, first: int = 1
) -> Iterator[Run]:
    """Every variant with the seeds from ``first`` on; a seed sees the same problems in each.

    Raises:
        ValueError: for no seeds.
    """
    for one in seeded(variants, seeds, first):
        yield Run(one, [_short(record) for record in train(one)])


def measure_again(
    seeds: int, variants: Mapping[str, MuseumConfig] = MUSEUM, first: int = 4
) -> Iterator[Run]:
    """The museum's variants with other seeds.

    Raises:
        ValueError: for no seeds.
    """
    for run in measure_museum(seeds, variants, first):
        yield replace(run, records=[_short(record) for record in run.records])


def _short(record: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a record, with three digits."""
    return {
        key: float(f"{value:.3g}") if isinstance(value, float) else value
        for key, value in short_record(record).items()
        if key in KEPT
    }
