"""GRPO's entropy on the sums: does the covariance law predict it, and what do its two remedies cost (notebook 06)?

Measured by ``python -m rlvr_lab record entropy``. The law itself is in ``exact.entropy_law``. Every variant is a
change to one common configuration with four updates per batch, so that the clip acts; every seed sees the same
problems and the same test in every variant.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.exact.entropy_law import entropy_change
from rlvr_lab.experiments.evaluated import EvaluatedConfig, short_record, variant_of
from rlvr_lab.experiments.kl_runs import equal_kl
from rlvr_lab.experiments.study import replicates
from rlvr_lab.objectives.kl import entropy
from rlvr_lab.policy.logprobs import state_logits
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.tasks.evaluation import pass_at_k
from rlvr_lab.tasks.task import grade
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = [
    "ENTROPY_BASE",
    "ENTROPY_VARIANTS",
    "GREEDY",
    "RATES",
    "EntropyConfig",
    "at_equal_pass_rate",
    "entropy_curves",
    "law_correlation",
    "measure_entropy",
    "sampled_covariance",
]

GREEDY = 0.01
"""Temperature of the nearly greedy answers."""
RATES = (0.3, 0.5, 0.7, 0.9)
"""Edges of the bins of the pass rate in which the entropies of two variants are compared."""
STEP = ("pass_rate", "entropy", "clip_fraction", "covariance", "predicted", "change")
TEST = ("accuracy", "pass@8", "greedy", "test_entropy")


def sampled_covariance(
    logprobs: Float[Tensor, "B T"], advantages: Float[Tensor, " B"], mask: Bool[Tensor, "B T"]
) -> float:
    """Cov(log π(o_t), A) over the trained tokens of a batch, in nats times units of the advantage.

    Each token has the advantage of its answer. It is what a training loop can log (arXiv:2505.22617); unlike
    the law it knows one token per prefix, and it mixes prefixes.

    >>> mask = torch.ones(2, 1).bool()
    >>> round(sampled_covariance(torch.tensor([[-0.1], [-2.1]]), torch.tensor([1.0, -1.0]), mask), 6)
    1.0
    """
    x = logprobs[mask].double()
    a = advantages[:, None].expand_as(mask)[mask].double()
    return float(((x - x.mean()) * (a - a.mean())).mean())


@dataclass(frozen=True)
class EntropyConfig(EvaluatedConfig, kind="entropy"):
    """A policy-gradient run that keeps, for each step, what the law says of it; and now and then a test.

    A record holds ``pass_rate`` and ``entropy`` of the batch (nats per token), ``clip_fraction``, and ``covariance``
    (``sampled_covariance`` of the batch). Two numbers are means over the batch's prefixes, which are held fixed:
    ``change``, the entropy of the next token after the step's updates minus that before them; and ``predicted``, the
    same to first order, −Cov_{a ~ π(·|s)}(log π, Δ log π). Of the test, where there is one: ``accuracy`` (pass@1),
    ``pass@8``, ``greedy`` (accuracy at temperature ``GREEDY``) and ``test_entropy``.
    """

    every: int = 6
    test_problems: int = 96
    test_samples: int = 8

    def opening(self, state: TrainState) -> dict[str, Any]:
        """The test of the base."""
        return {**dict.fromkeys(STEP), **self.test(state)}

    def measure(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """Pass rate and entropy of the batch."""
        found = PolicyGradientConfig.measure(self, state, experience)
        return {key: found[key] for key in ("pass_rate", "entropy")}

    def update(self, state: TrainState, experience: Experience) -> dict[str, float]:
        """One step, and what the law says of it."""
        batch, mask = experience.batch, experience.batch.completion_mask
        advantages = self.objective.advantages(
            experience.rewards,
            self.group_size,
            batch.old_logprobs,
            experience.reference.logprobs,
            mask,
        )
        before = self._tables(state, experience)
        clipped = PolicyGradientConfig.update(self, state, experience)["clip_fraction"]
        after = self._tables(state, experience)
        return {
            "clip_fraction": clipped,
            "covariance": sampled_covariance(batch.old_logprobs, advantages, mask),
            "predicted": float(entropy_change(before, after - before).mean()),
            "change": float((entropy(after) - entropy(before)).mean()),
        }

    @torch.no_grad()
    def _tables(self, state: TrainState, experience: Experience) -> Float[Tensor, "tokens V"]:
        """log π of the whole vocabulary at each trained token of the batch, in float64."""
        batch = experience.batch
        logits = state_logits(state.policy.model, batch, self.temperature)
        return logits[batch.completion_mask].double().log_softmax(-1)

    def after(self, state: TrainState) -> dict[str, Any]:
        """The test, when it is due."""
        return self.test(state) if state.step % self.every == 0 else dict.fromkeys(TEST)

    def test(self, state: TrainState) -> dict[str, Any]:
        """The answers to the test problems: sampled eight times, and nearly greedy."""
        answers = self.test_answers(state)
        right = np.array([verdict.correct for verdict in answers.verdicts], dtype=bool)
        counts = right.reshape(-1, self.test_samples).sum(axis=1)
        prompts = [problem.prompt for problem in answers.problems]
        generator = torch.Generator(state.policy.device).manual_seed(state.step)
        batch = sample(state.policy, prompts, 1, self.max_new_tokens, generator, GREEDY)
        verdicts = grade(state.task, answers.problems, batch.texts, batch.truncated.tolist())
        n, tokens = self.test_samples, answers.batch.completion_mask
        return {
            "accuracy": float(right.mean()),
            "pass@8": float(np.mean([pass_at_k(n, int(c), 8) for c in counts])),
            "greedy": sum(verdict.correct for verdict in verdicts) / len(verdicts),
            "test_entropy": float(answers.batch.entropy[tokens].double().mean()),
        }


ENTROPY_BASE = EntropyConfig(steps=12, updates_per_batch=4)

ENTROPY_VARIANTS: dict[str, dict[str, Any]] = {
    "GRPO": {},
    "one update": {"updates_per_batch": 1},
    "clip-higher 0.28": {"clip_high": 0.28},
    "clip-higher 1": {"clip_high": 1.0},
    "entropy bonus 0.03": {"entropy_coef": 0.03},
    "entropy bonus 0.1": {"entropy_coef": 0.1},
}
"""Name → what it changes in ``ENTROPY_BASE``."""


def measure_entropy(
    seeds: int, variants: Mapping[str, Any] = ENTROPY_VARIANTS, first: int = 0
) -> Iterator[Run]:
    """Run every variant with every seed.

    Raises:
        ValueError: when ``seeds`` < 1.
    """
    for seed in replicates(seeds, first):
        for changes in variants.values():
            config = replace(ENTROPY_BASE, **changes, seed=seed, table=seed)
            yield Run(config, [short_record(record) for record in train(config)])


def entropy_curves(
    recording: Recording, name: str, key: str, first: int = 0
) -> Float[np.ndarray, "S T"]:
    """One metric of one variant over the records, a row for each seed from ``first`` on.

    Records 1, 2, … are those of the steps; record 0 is the test of the base.

    Raises:
        ValueError: when the recording has no run of this variant.
    """
    runs = variant_of(recording.runs, replace(ENTROPY_BASE, **ENTROPY_VARIANTS[name]))
    return Recording([run for run in runs if run.config.seed >= first]).curves(key)


def law_correlation(
    recording: Recording, name: str, key: str, first: int = 0, trend: bool = True
) -> Float[np.ndarray, " S"]:
    """Correlation over the steps between ``key`` and the measured ``change`` of the entropy, for each seed.

    Args:
        recording: the runs.
        name: of the variant.
        key: ``predicted``, or ``covariance``, whose sign is turned: the law has a minus.
        first: the first seed.
        trend: False takes away the mean over the seeds at each step, so that only the question is left which of two
            runs has the larger change at the *same* step.
    """
    change = entropy_curves(recording, name, "change", first)[:, 1:]
    found = entropy_curves(recording, name, key, first)[:, 1:] * (-1 if key == "covariance" else 1)
    if not trend:
        change, found = change - change.mean(axis=0), found - found.mean(axis=0)
    return np.array([np.corrcoef(x, y)[0, 1] for x, y in zip(found, change, strict=True)])


def at_equal_pass_rate(
    recording: Recording, name: str, other: str = "GRPO", first: int = 0
) -> Float[np.ndarray, " S"]:
    """Entropy of one variant minus that of another at equal pass rate of the batch, nats per token, for each seed.

    The mean over the bins of ``RATES`` in which both have a step; NaN where there is none.
    """
    bins = []
    for one in (name, other):
        rate, spread = (
            entropy_curves(recording, one, key, first)[:, 1:] for key in ("pass_rate", "entropy")
        )
        bins.append(equal_kl(rate, spread, RATES))
    gaps = bins[0] - bins[1]
    there = np.isfinite(gaps)
    sums = np.where(there, gaps, 0.0).sum(axis=1)
    return np.divide(
        sums, there.sum(axis=1), out=np.full(len(gaps), np.nan), where=there.any(axis=1)
    )
