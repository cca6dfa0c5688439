"""Training with and without a baseline differs in the baseline alone."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.baselines import BASELINES, KEPT, measure_baselines, rewards_and_scores
from rlvr_lab.training.optimise import trained


def test_two_runs_with_equal_batches_differ_in_the_baseline_alone() -> None:
    for answers in (256, 16):
        none, others = (config for name, config in BASELINES.items() if f" {answers} " in name)
        assert none.prompts_per_step * none.group_size == answers
        assert none.changes_to(others) == ["baseline: none -> leave_one_out"]


def test_each_configuration_runs_from_each_seed() -> None:
    small = {
        name: replace(config, steps=1, prompts_per_step=2, group_size=4)
        for name, config in BASELINES.items()
    }
    runs = list(measure_baselines(2, small))
    assert [(r.config.baseline, r.config.seed) for r in runs] == [
        (c.baseline, seed) for c in small.values() for seed in (0, 1)
    ]
    assert all(set(run.records[0]) == set(KEPT) for run in runs)
    with pytest.raises(ValueError, match="seeds"):
        list(measure_baselines(0))


def test_scores_add_up_to_the_gradient_that_the_trainer_takes() -> None:
    config = replace(BASELINES["no baseline, 16 answers"], prompts_per_step=2, constant_length=1)
    state = config.begin()
    before = [p.detach().clone() for p in trained(state.policy.model)]
    rewards, scores = rewards_and_scores(state, config)
    assert all(torch.equal(a, b) for a, b in zip(before, trained(state.policy.model), strict=True))
    by_scores = (rewards[..., None] * scores).mean(dim=(0, 1))
    found = config.update(state, config.collect(state))
    assert float(by_scores.norm()) == pytest.approx(found["grad_norm"], rel=1e-3)
    taken = torch.cat([p.grad.flatten() for p in trained(state.policy.model)])
    cosine = torch.nn.functional.cosine_similarity(-by_scores, taken, dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-4)
