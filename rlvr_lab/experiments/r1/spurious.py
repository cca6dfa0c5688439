"""RL with a reward that says nothing of correctness: what moves? (notebook 08; arXiv:2506.10947)

On one base each run maximises one reward: the truth, the form alone, incorrect answers, the same number for
each answer, or a coin. A coin has no direction on the average, so what it moves is either noise or something
that the update adds by itself, such as the clip. Both are told apart in ``experiments.r1.drift``.

Recorded by ``python -m rlvr_lab record r1/spurious``.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch

from rlvr_lab.experiments.answer_kinds import answer_kind
from rlvr_lab.experiments.base_models import sums_base
from rlvr_lab.experiments.evaluated import EvaluatedConfig, runs_from
from rlvr_lab.experiments.kept_bases import kept_base
from rlvr_lab.experiments.pretraining import fit
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy, encode_prompts, load_policy
from rlvr_lab.policy.logprobs import prefill
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.sums import Sums, SumsMixture
from rlvr_lab.tasks.task import Problem, Verdict
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = [
    "GUESS",
    "NO_CLIP",
    "STUDY",
    "VARIANTS",
    "SpuriousConfig",
    "bases_of",
    "measure_spurious",
    "prior_base",
    "think_probability",
]

GUESS = 0.1
"""Probability that a blind guess is correct."""
NO_CLIP: dict[str, Any] = {"clip_low": 1.0, "clip_high": 1e6}
"""Bounds of the ratio that it does not reach."""
CHAINS = ("chain", "short_chain", "wait")


@dataclass(frozen=True)
class SpuriousConfig(EvaluatedConfig, kind="r1-spurious"):
    """GRPO on the sums with one reward.

    Attributes:
        prior: what the base usually does: ``guesses`` (the recipe of the shipped base: half of its answers are
            direct guesses) or ``chains`` (the same base after a short supervised stage in which most
            answers are chains).

    A record holds, of the test: ``accuracy``, ``length``, ``entropy`` (nats per token); ``chains`` and
    ``guesses``, shares of the answers; ``right_chains`` and ``right_guesses``, the share of correct answers
    among them, None where there are none; ``think``, the probability of ``<think>`` as the first token,
    exact; ``moved``, the largest change of a parameter since the base; and of the last rollouts ``kl``, to
    the base, nats per answer.
    """

    prior: Literal["guesses", "chains"] = "guesses"
    prompts_per_step: int = 8
    test_problems: int = 64
    steps: int = field(default=40, kw_only=True)

    FIXED = (*EvaluatedConfig.FIXED, "prior")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "sums", "sums: the kinds are those of its answers")

    def opening(self, state: TrainState) -> dict[str, Any]:
        """The test of the base, whose KL to itself is 0."""
        return {**super().opening(state), "kl": 0.0}

    def measure(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """The KL of the rollouts."""
        return {"kl": experience.kl}

    def test(self, state: TrainState) -> dict[str, Any]:
        """The test's answers, and what is read off the network itself."""
        problems = state.task.problems(self.test_problems, random.Random(self.test_name))
        return {
            **super().test(state),
            "think": think_probability(state.policy, [problem.prompt for problem in problems]),
            "moved": distance(state.policy, state.reference),
        }

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """The usual means, and the kinds of the answers."""
        size = batch.group_size
        kinds = [answer_kind(problems[i // size], text) for i, text in enumerate(batch.texts)]
        found: dict[str, Any] = super().describe(problems, batch, verdicts)
        for name, those in (("chains", CHAINS), ("guesses", ("guess",))):
            right = [v.correct for v, kind in zip(verdicts, kinds, strict=True) if kind in those]
            found[name] = len(right) / len(kinds)
            found[f"right_{name}"] = sum(right) / len(right) if right else None
        return found


@torch.no_grad()
def think_probability(policy: Policy, prompts: list[str]) -> float:
    """The probability that an answer begins with ``<think>``, exact, the mean over prompts."""
    _, logits = prefill(policy.model, *encode_prompts(policy, prompts))
    word = policy.tokenizer.convert_tokens_to_ids("<think>")
    return float(logits.double().softmax(-1)[:, word].mean())


@torch.no_grad()
def distance(policy: Policy, other: Policy) -> float:
    """The largest difference between two parameters at the same place."""
    pairs = zip(policy.model.parameters(), other.model.parameters(), strict=True)
    return max(float((one - two).abs().max()) for one, two in pairs)


# ---------------------------------------------------------------------------------- making them


def prior_base(seed: int, prior: str = "guesses") -> Policy:
    """A base of the sums, as it is, or taught for a moment to write a chain most of the time.

    The second one gets 60 supervised steps on a mixture with 15 % direct guesses instead of 50 %.
    """
    if prior == "guesses":
        return sums_base(seed)[0]

    def make() -> Policy:
        policy, mixture = sums_base(seed)[0], SumsMixture(direct=0.15, malformed=0.12)
        rng = random.Random(f"mostly chains {seed}")
        fit(policy, Sums(), mixture.solve, 60, 5e-4, adamw(trained(policy.model), 5e-4), rng)
        return policy

    return kept_base(f"spurious_mostly_chains_{seed}", make)


def bases_of(seed: int, variants: Mapping[str, SpuriousConfig]) -> dict[str, Policy]:
    """The bases that the variants of one seed start from; each is made once."""
    return {prior: prior_base(seed, prior) for prior in {c.prior for c in variants.values()}}


def _again(policy: Policy, seed: int) -> Policy:
    """The policy as it was loaded, however it was trained since."""
    return load_policy(policy.name)


_FOUR = {"rewards": {"random": 1.0}, "updates_per_batch": 4}
VARIANTS: dict[str, SpuriousConfig] = {
    "truth": SpuriousConfig(rewards={"accuracy": 1.0}),
    "format": SpuriousConfig(rewards={"format": 1.0}),
    "incorrect": SpuriousConfig(rewards={"incorrect": 1.0}),
    "constant": SpuriousConfig(rewards={"constant": 1.0}),
    "random": SpuriousConfig(rewards={"random": 1.0}),
    "clipped": SpuriousConfig(**_FOUR),
    "unclipped": SpuriousConfig(**_FOUR, **NO_CLIP),
    "mostly_chains": SpuriousConfig(**_FOUR, prior="chains"),
}
"""Five rewards with one update for each batch; the coin with four updates, with and without the clip, and
from a base that mostly writes chains."""


def measure_spurious(
    seeds: int, variants: Mapping[str, SpuriousConfig], first: int
) -> Iterator[Run]:
    """Each variant from the base of each seed.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        bases = bases_of(seed, variants)
        for name, config in variants.items():
            again = partial(_again, bases[config.prior])
            yield from runs_from(again, {name: config}, 1, seed)


STUDY = Study(
    "RL with rewards that say nothing of correctness",
    VARIANTS,
    measure_spurious,
    5,
    "r1/spurious",
    first=1,
)
