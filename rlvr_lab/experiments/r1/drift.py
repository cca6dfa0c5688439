"""The part of an update that does not depend on the reward (notebook 08).

A batch of answers of the base gets advantages A from a coin. From the base the update is done twice, once with A
and once with −A, and both times the change of a behaviour b is measured:

    Δ(A) = b(θ_A) − b(θ),   drift = (Δ(A) + Δ(−A)) / 2,   answer = (Δ(A) − Δ(−A)) / 2.

What follows the reward changes its sign with A and cancels in the drift. What remains is what the update does by
itself: the curvature of the policy, and the clip.

Recorded by ``python -m rlvr_lab record r1/drift``.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from rlvr_lab.experiments.evaluated import short_record
from rlvr_lab.experiments.r1.spurious import (
    NO_CLIP,
    SpuriousConfig,
    bases_of,
    think_probability,
)
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.objectives.objective import Objective
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.logprobs import state_logits
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Run
from rlvr_lab.rewards.verifiable import accuracy_rewards
from rlvr_lab.tasks.task import grade
from rlvr_lab.training.policy_gradient import improve
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = ["STUDY", "VARIANTS", "DriftConfig", "drift_of", "measure_drift", "signed"]

BEHAVIOURS = ("think", "entropy", "accuracy")


@dataclass(frozen=True)
class DriftConfig(SpuriousConfig, kind="r1-drift"):
    """Updates of the base with A and with −A, on ``steps`` independent batches.

    Each batch starts from the base again, with a new optimiser. A record holds for each behaviour
    ``drift_<b>`` and ``answer_<b>``: ``think`` (probability of ``<think>`` as the first token, exact),
    ``entropy`` (nats per token, at the tokens of fixed answers of the base) and ``accuracy`` (sampled with
    the same random numbers); ``kl``, the KL from the base to the new policy in nats per answer, the mean of
    both updates; and ``clip_fraction``.
    """

    rewards: dict[str, float] = field(default_factory=lambda: {"random": 1.0})
    updates_per_batch: int = 4
    prompts_per_step: int = 16
    steps: int = field(default=6, kw_only=True)
    test_problems: int = 48
    test_samples: int = 8


def signed(objective: Objective, sign: float) -> Objective:
    """The objective with its advantages times ``sign``."""
    return replace(
        objective, advantage=lambda rewards, size: sign * objective.advantage(rewards, size)
    )


def drifts(config: DriftConfig, state: TrainState) -> Iterator[dict[str, Any]]:
    """One record for each batch; the policy of ``state`` is the base, and is so again afterwards."""
    fixed = _Fixed(config, state)
    before = fixed.behaviour(state)
    for index in range(config.steps):
        state.step = index
        experience = config.collect(state)
        ends = [_updated(config, state, experience, sign, fixed) for sign in (1.0, -1.0)]
        plus, minus = (
            {name: end[name] - before[name] for name in (*BEHAVIOURS, "kl")} for end in ends
        )
        record: dict[str, Any] = {"step": index + 1}
        for name in BEHAVIOURS:
            record[f"drift_{name}"] = (plus[name] + minus[name]) / 2
            record[f"answer_{name}"] = (plus[name] - minus[name]) / 2
        record["kl"] = (plus["kl"] + minus["kl"]) / 2
        record["clip_fraction"] = sum(end["clip_fraction"] for end in ends) / 2
        yield short_record(record)


def _updated(
    config: DriftConfig, state: TrainState, experience: Experience, sign: float, fixed: "_Fixed"
) -> dict[str, float]:
    """The behaviour after an update with advantages times ``sign``; the base's weights come back."""
    fresh = config.begin(state.policy, state.task, state.rewards)
    done = improve(
        fresh,
        signed(config.objective_on(experience), sign),
        experience.batch,
        experience.rewards,
        experience.reference.logprobs,
        temperature=config.temperature,
        updates=config.updates_per_batch,
        minibatches=config.minibatches,
        max_norm=config.max_grad_norm,
    )
    found = {**fixed.behaviour(fresh), "clip_fraction": done["clip_fraction"]}
    state.policy.model.load_state_dict(state.reference.model.state_dict())
    return found


class _Fixed:
    """Test problems and answers of the base, at which each policy is measured."""

    def __init__(self, config: DriftConfig, state: TrainState) -> None:
        self.config = config
        rng = random.Random(config.test_name)
        self.problems = state.task.problems(config.test_problems, rng)
        self.prompts = [problem.prompt for problem in self.problems]
        self.batch = self._sample(state)
        self.base = self._log_distributions(state, self.batch)

    def _sample(self, state: TrainState) -> RolloutBatch:
        config, generator = self.config, torch.Generator(state.policy.device).manual_seed(0)
        size, limit = config.test_samples, config.max_new_tokens
        return sample(state.policy, self.prompts, size, limit, generator, config.temperature)

    @torch.no_grad()
    def _log_distributions(self, state: TrainState, batch: RolloutBatch) -> torch.Tensor:
        return state_logits(state.policy.model, batch, self.config.temperature).log_softmax(-1)

    def behaviour(self, state: TrainState) -> dict[str, float]:
        """``think``, ``entropy``, ``accuracy``, and the KL from the base, of the present policy."""
        mask = self.batch.completion_mask
        now = self._log_distributions(state, self.batch)
        entropy = -(now.exp() * now).sum(-1)
        kl = (self.base.exp() * (self.base - now)).sum(-1)
        answers = self._sample(state)
        verdicts = grade(state.task, self.problems, answers.texts, answers.truncated.tolist())
        return {
            "think": think_probability(state.policy, self.prompts),
            "entropy": float(entropy[mask].double().mean()),
            "accuracy": float(accuracy_rewards(verdicts).double().mean()),
            "kl": float(torch.where(mask, kl, 0.0).double().sum(dim=1).mean()),
        }


VARIANTS: dict[str, DriftConfig] = {
    "one_update": DriftConfig(updates_per_batch=1),
    "clipped": DriftConfig(),
    "unclipped": DriftConfig(**NO_CLIP),
    "chains_clipped": DriftConfig(prior="chains"),
    "chains_unclipped": DriftConfig(prior="chains", **NO_CLIP),
}
"""One update, where the clip cannot act; four, with and without the clip; the same from a base that mostly writes
chains."""


def measure_drift(seeds: int, variants: Mapping[str, DriftConfig], first: int) -> Iterator[Run]:
    """Each variant on the base of each seed, on the same batches.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        bases = bases_of(seed, variants)
        for config in variants.values():
            one = replace(config, seed=seed, table=seed)  # each leaves its base as it was
            yield Run(one, list(drifts(one, one.begin(bases[one.prior]))))


STUDY = Study(
    "what an update does whatever the reward", VARIANTS, measure_drift, 5, "r1/drift", first=1
)


# ---------------------------------------------------------------------------------- reading them


def drift_of(runs: Iterable[Run], key: str) -> Float[np.ndarray, " S"]:
    """The mean over the batches of one metric, such as ``drift_entropy``, for each run."""
    return np.array([run.curve(key).mean() for run in runs])
