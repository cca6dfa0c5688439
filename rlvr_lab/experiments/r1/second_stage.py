"""A second RL stage with a reward that nobody can verify, on top of reasoning RL (notebook 08).

DeepSeek-R1's last stage mixes rule-based rewards for reasoning with reward models for preferences (arXiv:2501.12948,
section 2.3.4). Here, for each seed: (1) the sums' base and ``STAGE_ONE`` steps of R1-Zero; (2) a short SFT on
the model's *own* correct answers, of which a share ``COURTEOUS`` gets the word ``ok`` at its end, so that both styles
occur; (3) annotators compare pairs of answers of this model, and a reward model is fitted to their choices
(Bradley–Terry); (4) RL on its score, with or without the verifier's reward.

The annotators prefer an answer that ends with ``ok`` and do not look at anything else; pairs of equally polite
answers are not shown to them. The reward model can be right about each pair and still give equally polite answers
scores that differ a little. ``rule`` is the same taste as a program, without such differences.

Recorded by ``python -m rlvr_lab record r1/second_stage``.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.experiments.answer_kinds import answer_kind
from rlvr_lab.experiments.base_models import sums_base
from rlvr_lab.experiments.evaluated import EvaluatedConfig, short_record
from rlvr_lab.experiments.kept_bases import kept_base
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Run
from rlvr_lab.rewards.text_reward_model import RewardModel
from rlvr_lab.tasks.sums import COURTESY, Sums
from rlvr_lab.tasks.task import Answers, Problem, Task, Verdict, grade
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.policy_gradient import PRESETS
from rlvr_lab.training.reward_models import fit_reward_model, taste_pairs
from rlvr_lab.training.state import TrainState
from rlvr_lab.training.supervised import supervised_steps

__all__ = [
    "GUESS",
    "STUDY",
    "VARIANTS",
    "SecondStageConfig",
    "StyleReward",
    "courteous_start",
    "fit_style",
    "is_polite",
    "rule",
    "taste",
]

GUESS = 0.1
"""Probability that a blind guess at one digit is correct."""
STAGE_ONE = 40
COURTEOUS = 0.25
PAIRS, HELD_OUT = 600, 200
SAMPLES = 8


def is_polite(text: str) -> bool:
    """Whether an answer ends with ``ok``.

    >>> is_polite("=7ok"), is_polite("=7"), is_polite("ok=7")
    (True, False, False)
    """
    return text.endswith(COURTESY)


def taste(problem: Problem, text: str, correct: bool) -> float:
    """What pleases the annotators: politeness. They do not look at ``correct``."""
    return float(is_polite(text))


def rule(answers: Answers) -> Float[Tensor, " B"]:
    """The annotators' taste as a rule: 1 for a polite answer, 0 for another."""
    return torch.tensor([float(is_polite(text)) for text in answers.batch.texts])


@dataclass(frozen=True)
class StyleReward:
    """The score of a reward model, in standard deviations of the scores at the start of stage 2.

    Attributes:
        model: the reward model.
        centre: mean score of the answers before stage 2.
        scale: their standard deviation.
    """

    model: RewardModel
    centre: float = 0.0
    scale: float = 1.0

    def __call__(self, answers: Answers) -> Float[Tensor, " B"]:
        """One standardised score for each answer."""
        scores = self.model(answers)
        return (scores - self.centre) / self.scale


@dataclass(frozen=True)
class SecondStageConfig(EvaluatedConfig, kind="r1-second-stage"):
    """GRPO on the sums after reasoning RL, with a test every fifth step.

    Attributes:
        rewards: weights of ``style`` (see ``StyleReward``), ``rule`` and ``accuracy``. A weight of 0 only watches;
            ``style`` is always watched.

    A record holds, over the M·S test answers: ``accuracy``, ``length``, ``entropy``; ``polite`` (share of answers
    that end with ``ok``); ``score`` (mean style reward), ``score_polite`` and ``spread_polite`` (mean and
    standard deviation among the polite answers; None without one); ``chains`` (share of answers with a whole
    chain). Record 0 also holds ``rm_accuracy``, the reward model's accuracy on held-out pairs. ``samples`` holds
    some answers as [prompt, text, verdict, score].
    """

    world_options: dict[str, Any] = field(default_factory=lambda: {"courtesy": True})
    rewards: dict[str, float] = field(default_factory=lambda: {"style": 1.0})
    every: int = 5
    test_problems: int = 64
    test_samples: int = 8
    steps: int = field(default=40, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "sums", "sums: the style is that of its answers")
        self.require("rewards", "style" in self.rewards, "with style; a weight of 0 only watches")

    def test(self, state: TrainState) -> dict[str, Any]:
        """What a record says of the answers to the test."""
        answers = self.test_answers(state)
        return describe_style(
            answers, state.rewards["style"](answers).double().cpu()
        ) | self.describe(answers.problems, answers.batch, answers.verdicts)


def describe_style(answers: Answers, scores: Float[Tensor, " B"]) -> dict[str, Any]:
    """The part of a record that belongs to the style and its scores; see ``SecondStageConfig``."""
    texts, size = answers.batch.texts, answers.batch.group_size
    polite = torch.tensor([is_polite(text) for text in texts])
    asked = [answers.problems[row // size] for row in range(len(texts))]
    kinds = [
        answer_kind(problem, text.removesuffix(COURTESY))
        for problem, text in zip(asked, texts, strict=True)
    ]
    liked = scores[polite]
    rows = range(0, len(texts), len(texts) // min(SAMPLES, len(answers.problems)))
    return {
        "polite": float(polite.double().mean()),
        "score": float(scores.mean()),
        "score_polite": float(liked.mean()) if len(liked) else None,
        "spread_polite": float(liked.std(correction=0)) if len(liked) else None,
        "chains": kinds.count("chain") / len(kinds),
        "samples": [
            [asked[i].prompt, texts[i], answers.verdicts[i].reason, round(float(scores[i]), 2)]
            for i in rows
        ],
    }


# ---------------------------------------------------------------------------------- making them


@dataclass(frozen=True)
class _OwnAnswers(Task):
    """Questions to which the model has given a correct answer: the data of the SFT."""

    answers: dict[Problem, list[str]]

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        return rng.choices(list(self.answers), k=count)

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        return Sums(courtesy=True).verify(problem, text, truncated)

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """One of the correct answers; with probability ``COURTEOUS`` it ends with ``ok``."""
        return rng.choice(self.answers[problem]) + COURTESY * (rng.random() < COURTEOUS)


def own_correct_answers(policy: Policy, count: int, seed: int) -> _OwnAnswers:
    """The correct ones of four answers to each of ``count`` problems."""
    task, size = Sums(), 4
    problems = task.problems(count, random.Random(f"own answers {seed}"))
    generator = torch.Generator(policy.device).manual_seed(seed)
    batch = sample(policy, [p.prompt for p in problems], size, 40, generator)
    found: dict[Problem, list[str]] = {}
    verdicts = grade(task, problems, batch.texts, batch.truncated.tolist())
    for row, (text, verdict) in enumerate(zip(batch.texts, verdicts, strict=True)):
        if verdict.correct:
            found.setdefault(problems[row // size], []).append(text)
    return _OwnAnswers(found)


def courteous_start(seed: int, device: str = "auto") -> Policy:
    """The policy before stage 2: base, ``STAGE_ONE`` steps of R1-Zero, then SFT on its own correct answers."""

    def make() -> Policy:
        zero = replace(PRESETS["grpo"], steps=STAGE_ONE, seed=seed, device=device)
        state = zero.begin(sums_base(seed, device)[0])
        list(train(zero, state=state))
        policy, own = state.policy, own_correct_answers(state.policy, 512, seed)
        optimizer, rng = adamw(trained(policy.model), 3e-4), random.Random(f"courtesy {seed}")
        list(supervised_steps(policy, own, own.solve, 60, lambda _: 3e-4, optimizer, rng))
        return policy

    return kept_base(f"r1_second_stage_start_{seed}", make, device)


def fit_style(policy: Policy, seed: int) -> StyleReward:
    """The reward model of one seed: annotators' pairs of the policy's own answers, Bradley–Terry, standardised."""
    task = Sums(courtesy=True)
    chosen = taste_pairs(policy, task, PAIRS, taste, seed=2 * seed)
    held_out = taste_pairs(policy, task, HELD_OUT, taste, seed=2 * seed + 1)
    model = fit_reward_model(
        chosen, held_out, seed, steps=120, batch_size=32, hidden=32, device="cpu"
    )
    raw = StyleReward(model)
    problems = task.problems(64, random.Random(f"standardise {seed}"))
    generator = torch.Generator(policy.device).manual_seed(seed)
    batch = sample(policy, [p.prompt for p in problems], 8, 40, generator)
    scores = raw(Answers(task, problems, batch, []))
    return replace(raw, centre=float(scores.mean()), scale=float(scores.std()))


VARIANTS: dict[str, SecondStageConfig] = {
    "correct": SecondStageConfig(rewards={"style": 0.0, "accuracy": 1.0}),
    "style": SecondStageConfig(),
    "style_correct": SecondStageConfig(rewards={"style": 1.0, "accuracy": 2.0}),
    "rule": SecondStageConfig(rewards={"style": 0.0, "rule": 1.0}),
    "style_no_std": SecondStageConfig(divide_by_std=False),
    "style_kl": SecondStageConfig(kl_coef=0.2),
}
"""The control (correctness alone); the reward model alone; with correctness. Then three changes to the reward model
alone: the rule in its place, no division by the group's std, a KL of 0.2 to the start (k3 per token, in the loss)."""


def measure_second_stage(
    seeds: int, variants: Mapping[str, SecondStageConfig], first: int
) -> Iterator[Run]:
    """Each variant from the start of each seed; texts are kept in the first and the last record.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        fitted = fit_style(courteous_start(seed), seed)
        for config in variants.values():
            one = replace(config, seed=seed, table=seed)
            rewards = {"style": fitted, "rule": rule}
            state = one.begin(courteous_start(seed), rewards=rewards)
            records = [short_record(record) for record in train(one, state=state)]
            records[0]["rm_accuracy"] = fitted.model.accuracy
            for record in records[1:-1]:
                del record["samples"]
            yield Run(one, records)


STUDY = Study(
    "a second stage of RL on style, with and without correctness",
    VARIANTS,
    measure_second_stage,
    5,
    "r1/second_stage",
    first=1,
)
