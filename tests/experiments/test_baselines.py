"""Training with and without a baseline differs in the baseline alone."""

from dataclasses import replace

import pytest

from rlvr_lab.experiments.baselines import BASELINES, KEPT, measure_baselines


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
    assert all(list(run.records[0]) == list(KEPT) for run in runs)
    with pytest.raises(ValueError, match="seeds"):
        list(measure_baselines(0))
