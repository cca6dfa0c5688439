"""Process reward models as rewards: which aggregate is hacked, and is the model or the aggregate at fault?

Every variant trains the same base on the same problems. What differs is the judge of the steps (none, a
process reward model fitted to few or to many noisy labels, or the exact verifier), the aggregate (sum, mean
or minimum over the steps), and whether the outcome is rewarded too. Recorded by
``python -m rlvr_lab record r1/process_rewards``; notebook 08, section 9.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float

from rlvr_lab.experiments.base_models import sums_base
from rlvr_lab.experiments.evaluated import EvaluatedConfig, short_record
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Run, curves
from rlvr_lab.records.statistics import area_under_roc
from rlvr_lab.rewards.process import (
    AGGREGATES,
    ExactSteps,
    Judge,
    ProcessReward,
    number_ids,
    step_labels,
    steps_of,
)
from rlvr_lab.tasks.task import Answers, Task, grade
from rlvr_lab.tasks.worlds import make_task
from rlvr_lab.training.loop import train
from rlvr_lab.training.process_rewards import fit_process_reward, labelled_chains
from rlvr_lab.training.state import TrainState

__all__ = [
    "GUESS",
    "JUDGES",
    "NS",
    "STUDY",
    "VARIANTS",
    "ProcessConfig",
    "believed_and_true",
    "best_of",
    "by_aggregate",
    "fitted_judge",
    "majority_of",
    "measure_process_rewards",
    "texts_at",
]

GUESS = 0.1  # probability that a random digit is the answer
NS = (1, 2, 4, 8, 16)
"""N: from how many answers one is chosen."""
HELD_OUT = 64  # problems on which a judge is measured before RL, with max(NS) answers each


@dataclass(frozen=True)
class ProcessConfig(EvaluatedConfig, kind="r1-process"):
    """GRPO on the sums with a reward for the steps.

    Attributes:
        judge: of the steps: ``none``, ``model`` (a fitted process reward model) or ``exact``.
        aggregate: a name in ``rewards.process.AGGREGATES``.
        label_chains: number of the base's chains whose steps are labelled for the model.
        label_flip: probability that a label is flipped.
        fit_steps: optimiser steps of the model's fit.

    Records add: ``truncated`` (share of answers); ``steps`` (numbers per answer); ``steps_right`` (share of
    correct ones among all numbers; None without any); ``score`` (mean process reward per answer; None
    without a judge); ``believed`` (the judge's mean score over all numbers); ``auc`` (of these scores,
    on the answers of the test; None if one class is empty). Step 0 adds ``held_out_auc``, ``best_of``,
    ``blank``, ``majority`` and ``solved``, see ``rerank``. First and last record: ``samples``.

    Raises:
        ValueError: naming the field.
    """

    judge: Literal["none", "model", "exact"] = "model"
    aggregate: Literal["sum", "mean", "min"] = "mean"
    label_chains: int = 256
    label_flip: float = 0.3
    fit_steps: int = 60
    steps: int = field(default=30, kw_only=True)
    group_size: int = 8
    max_new_tokens: int = 24
    every: int = 5
    test_problems: int = 64
    test_samples: int = 4
    rewards: dict[str, float] = field(default_factory=lambda: {"process": 1.0, "format": 0.1})

    FIXED: ClassVar[tuple[str, ...]] = (
        *EvaluatedConfig.FIXED,
        *("judge", "aggregate", "label_chains", "label_flip", "fit_steps"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "sums", "sums: the steps are running sums")
        judged = "process" in self.rewards
        rule = "with the name 'process' if and only if there is a judge"
        self.require("rewards", judged == (self.judge != "none"), rule)
        self.require_at_least(1, "label_chains", "fit_steps")
        self.require("label_flip", 0 <= self.label_flip <= 1, "between 0 and 1")

    def opening(self, state: TrainState) -> dict[str, Any]:
        """The test of the base, and what the judge is worth on the base's answers to other problems."""
        opened = self.test(state)
        reward = state.rewards.get("process")
        return opened if reward is None else {**opened, **judge_base(self, state, reward)}

    def test(self, state: TrainState) -> dict[str, Any]:
        """Accuracy, length and entropy, and what the steps are like."""
        answers = self.test_answers(state)
        found = self.describe(answers.problems, answers.batch, answers.verdicts)
        found |= describe_steps(answers, state.rewards.get("process"), state.policy)
        if state.step in (0, self.steps):
            texts = answers.batch.texts[:: self.test_samples]
            pairs = zip(answers.problems, texts, strict=True)
            found["samples"] = [[problem.prompt, text] for problem, text in pairs][:6]
        return found


def describe_steps(
    answers: Answers, reward: ProcessReward | None, policy: Policy
) -> dict[str, float | None]:
    """The numbers of the answers, and what the judge says of them; see ``ProcessConfig``."""
    batch = answers.batch
    where = steps_of(batch, number_ids(policy.tokenizer))
    right = step_labels(answers, where)[where]
    found: dict[str, float | None] = {
        "truncated": float(batch.truncated.double().mean()),
        "steps": float(where.sum(dim=1).double().mean()),
        "steps_right": float(right.double().mean()) if len(right) else None,
        **dict.fromkeys(("score", "believed", "auc")),
    }
    if reward is not None and len(right):
        scores = reward.judge.scores(answers)[where]
        found["score"] = float(reward(answers).double().mean())
        found["believed"] = float(scores.double().mean())
        if 0 < float(right.mean()) < 1:
            found["auc"] = area_under_roc(scores.cpu(), right.cpu())
    return found


# --------------------------------------------------------------------- before RL: what a judge is worth


def judge_base(config: ProcessConfig, state: TrainState, reward: ProcessReward) -> dict[str, Any]:
    """AUC of the judge on answers of the base to held-out problems, and the best of N by its reward.

    Returns:
        ``held_out_auc``: over the numbers of answers with a chain (at least two numbers), the kind of
        answer that the model was fitted to. For each N in ``NS``, accuracy of the answer that is chosen
        among N: ``best_of`` (highest process reward), ``blank`` (highest reward if every step scored
        ½: what the aggregate alone does), ``majority`` (commonest answer), ``solved`` (pass@N, the limit
        for any choice).
    """
    problems = state.task.problems(HELD_OUT, random.Random(f"held out {config.table}"))
    generator = torch.Generator(state.policy.device).manual_seed(7000 + config.table)
    prompts = [problem.prompt for problem in problems]
    batch = sample(state.policy, prompts, max(NS), config.max_new_tokens, generator)
    verdicts = grade(state.task, problems, batch.texts, batch.truncated.tolist())
    answers = Answers(state.task, problems, batch, verdicts)
    where = steps_of(batch, reward.judge.numbers)
    chains = where & (where.sum(dim=1, keepdim=True) > 1)
    scores, labels = reward.judge.scores(answers), step_labels(answers, where)
    shape = (HELD_OUT, max(NS))
    right = np.array([verdict.correct for verdict in verdicts], dtype=float).reshape(shape)
    given = np.array([verdict.answer or "" for verdict in verdicts]).reshape(shape)
    total = reward(answers).double().cpu().numpy().reshape(shape)
    half = AGGREGATES[reward.aggregate](0.5 * where.to(scores), where)
    blank = half.double().cpu().numpy().reshape(shape)
    return {
        "held_out_auc": area_under_roc(scores[chains].cpu(), labels[chains].cpu()),
        "best_of": [best_of(total, right, n) for n in NS],
        "blank": [best_of(blank, right, n) for n in NS],
        "majority": [majority_of(given, right, n) for n in NS],
        "solved": [best_of(right, right, n) for n in NS],
    }


def best_of(scores: Float[np.ndarray, "M S"], right: Float[np.ndarray, "M S"], n: int) -> float:
    """Accuracy of the best of n answers by ``scores``; equally good answers are drawn at random.

    The S answers to each problem are cut into S/n groups, and each group gives one choice.

    Raises:
        ValueError: when n does not divide S.

    >>> best_of(np.array([[0.1, 0.9, 0.5, 0.5]]), np.array([[1.0, 0.0, 1.0, 0.0]]), 2)
    0.25
    """
    score, correct = _groups(scores, n), _groups(right, n)
    best = score == score.max(axis=1, keepdims=True)
    return float(((best * correct).sum(axis=1) / best.sum(axis=1)).mean())


def majority_of(given: np.ndarray, right: Float[np.ndarray, "M S"], n: int) -> float:
    """Accuracy of the commonest answer among n; equally common answers are drawn at random.

    Args:
        given: [M, S] the answers as text; "" where there is none: it does not vote.
        right: [M, S].
        n: see ``best_of``.

    Raises:
        ValueError: when n does not divide S.
    """
    groups = _groups(given, n)
    same = (groups[:, :, None] == groups[:, None, :]).sum(axis=2)
    votes = np.where(groups == "", 0, same).astype(float)
    # Each of the v answers that agree carries 1/v, so that tied *answers*, not rows, are equally likely.
    best = votes == votes.max(axis=1, keepdims=True)
    weight = best / np.maximum(votes, 1)
    return float(((weight * _groups(right, n)).sum(axis=1) / weight.sum(axis=1)).mean())


def _groups(values: np.ndarray, n: int) -> np.ndarray:
    if n < 1 or values.shape[1] % n:
        raise ValueError(f"n: must divide the number of answers {values.shape[1]}, got {n}")
    return values.reshape(-1, n)


# ---------------------------------------------------------------------------------------- recording

_BETTER = ProcessConfig(label_chains=1000, label_flip=0.0, fit_steps=100)

VARIANTS: dict[str, ProcessConfig] = {
    "outcome": ProcessConfig(judge="none", rewards={"accuracy": 1.0, "format": 0.1}),
    "prm_sum": ProcessConfig(aggregate="sum"),
    "prm_mean": ProcessConfig(aggregate="mean"),
    "prm_min": ProcessConfig(aggregate="min"),
    "better_sum": replace(_BETTER, aggregate="sum"),
    "better_mean": replace(_BETTER, aggregate="mean"),
    "better_min": replace(_BETTER, aggregate="min"),
    "prm_outcome": ProcessConfig(rewards={"process": 1.0, "accuracy": 1.0, "format": 0.1}),
    "exact_sum": ProcessConfig(judge="exact", aggregate="sum"),
    "exact_mean": ProcessConfig(judge="exact", aggregate="mean"),
    "exact_min": ProcessConfig(judge="exact", aggregate="min"),
}
"""Name → configuration."""

JUDGES = {"exact": "exact steps", "better": "better PRM", "prm": "noisy PRM"}
"""First part of a variant's name → what a picture calls it."""


def fitted_judge(config: ProcessConfig, base: Policy, task: Task) -> Judge | None:
    """The judge that a configuration names; a model is fitted to chains of ``base``."""
    if config.judge == "none":
        return None
    if config.judge == "exact":
        return ExactSteps(number_ids(base.tokenizer))
    chains = labelled_chains(base, task, config.label_chains, config.label_flip, config.seed)
    return fit_process_reward(base, *chains, steps=config.fit_steps, seed=config.seed)


def measure_process_rewards(
    seeds: int,
    variants: Mapping[str, ProcessConfig] = VARIANTS,
    first: int = 0,
) -> Iterator[Run]:
    """The variants for each seed, which has its own base, labels and problems.

    Variants that differ only in their rewards share one judge.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        judges: dict[tuple, Judge | None] = {}
        for variant in variants.values():
            config = replace(variant, seed=seed, table=seed)
            key = (config.judge, config.label_chains, config.label_flip, config.fit_steps)
            policy = sums_base(seed)[0]
            if key not in judges:
                judges[key] = fitted_judge(config, policy, make_task(config.world))
            judge = judges[key]
            given = {} if judge is None else {"process": ProcessReward(judge, config.aggregate)}
            records = train(config, state=config.begin(policy, rewards=given))
            yield Run(config, [short_record(record) for record in records])


def by_aggregate(
    runs: Mapping[str, list[Run]], key: str
) -> dict[str, dict[str, Float[np.ndarray, "S T"]]]:
    """One metric of all variants, sorted for a picture: aggregate → judge → curves over the tests.

    Args:
        runs: name of a variant → its runs.
        key: the metric.

    Returns:
        For each aggregate the judges that were recorded with it, and the outcome reward for comparison.
    """
    found = {}
    for how in AGGREGATES:
        names = {label: f"{judge}_{how}" for judge, label in JUDGES.items()}
        names = {label: name for label, name in names.items() if name in runs}
        found[how] = {label: curves(runs[name], key) for label, name in names.items()}
        found[how]["outcome alone"] = curves(runs["outcome"], key)
    return found


def believed_and_true(runs: list[Run]) -> dict[str, Float[np.ndarray, "S T"]]:
    """Two shares of correct numbers among all numbers of the test answers, over the tests.

    Returns:
        ``believed by the PRM``: the mean probability that it gives; ``true``: the exact share.
    """
    return {
        "believed by the PRM": curves(runs, "believed"),
        "true": curves(runs, "steps_right"),
    }


def texts_at(run: Run, step: int) -> list[list[str]]:
    """[prompt, answer] of a few answers of the test at a step.

    Raises:
        ValueError: when none were kept of that step.
    """
    for record in run.records:
        if record["step"] == step and record.get("samples"):
            return record["samples"]
    raise ValueError(f"step: no answers were kept of step {step}")


STUDY = Study(
    "process reward models and exact step rewards, by aggregate",
    VARIANTS,
    measure_process_rewards,
    5,
    "r1/process_rewards",
    first=1,
)
