"""The study of stale and noisy samplers: its variants, its test of the trained policy, its recording."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.experiments.stale import (
    BASE,
    CORRECTED,
    KEPT,
    LIVE,
    STUDY,
    VARIANTS,
    StaleStudyConfig,
    runs_of_variant,
    settled,
)
from rlvr_lab.records.runs import Run
from rlvr_lab.training.loop import train

SMALL = replace(
    BASE, steps=4, every=2, prompts_per_step=4, group_size=4, test_problems=8, device="cpu"
)


def test_a_variant_changes_what_its_name_says() -> None:
    changed = {name: set(BASE.changes_to(config)) for name, config in VARIANTS.items()}
    assert changed["on-policy"] == set()
    for one in CORRECTED:
        correction = set() if one == "none" else {f"correction: none -> {one}"}
        assert changed[f"lag 8, {one}"] == {"lag: 0 -> 8"} | correction
        fast = {"learning_rate: 0.0003 -> 0.001"}
        assert changed[f"fast, lag 8, {one}"] == {"lag: 0 -> 8"} | correction | fast
    assert changed["fast, lag 2, none"] == {"lag: 0 -> 2", "learning_rate: 0.0003 -> 0.001"}
    assert changed["noise 1, tis"] == {"noise: 0.0 -> 1.0", "correction: none -> tis"}
    assert changed["int4, none"] == {"rounding: none -> int4"}
    assert len(set(map(repr, VARIANTS.values()))) == len(VARIANTS)


def test_a_test_has_a_record_and_leaves_the_run_alone() -> None:
    states = []
    for config in (SMALL, replace(SMALL, every=1, test_samples=1)):
        states.append(config.begin())
        records = list(train(config, state=states[-1]))
        assert [r["step"] for r in records] == list(range(config.every, 5, config.every))
        assert set(KEPT) <= set(records[0])
    for a, b in zip(*(s.policy.model.parameters() for s in states), strict=True):
        assert torch.equal(a, b)


def test_the_accuracy_is_that_of_the_trained_policy(monkeypatch) -> None:
    """Of the policy after the update, on the same problems each time, graded strictly."""
    config = replace(SMALL, lag=2)
    state = config.begin()
    seen = []

    def sampled(policy, prompts, *rest):
        seen.append((policy, tuple(prompts), rest[0]))
        return original(policy, prompts, *rest)

    from rlvr_lab.experiments import stale

    original = stale.sample
    monkeypatch.setattr(stale, "sample", sampled)
    assert 0 <= config.accuracy(state) <= 1
    state.step = 4
    config.accuracy(state)
    assert [one[0] for one in seen] == [state.policy, state.policy]
    assert seen[0][1] == seen[1][1] and len(seen[0][1]) == 8 and seen[0][2] == 2
    other = replace(config, seed=config.seed + 1)
    other.accuracy(state)
    assert seen[2][1] != seen[0][1]


def test_the_live_start_is_the_worst_variant_without_its_test() -> None:
    worst = VARIANTS["fast, lag 8, none"]
    extra = {"every", "test_problems", "test_samples"}
    assert {k: v for k, v in worst.settings().items() if k not in extra} == LIVE.settings()


def test_runs_are_found_by_their_variant() -> None:
    records = [{"step": s, "accuracy": a} for s, a in ((4, 0.2), (8, 0.4), (12, 0.9))]
    runs = [
        Run(replace(VARIANTS[name], seed=seed), records)
        for seed in (3, 1)
        for name in ("on-policy", "lag 8, tis")
    ]
    found = runs_of_variant(runs, "lag 8, tis")
    assert [(run.config.lag, run.config.seed) for run in found] == [(8, 1), (8, 3)]
    assert settled(runs, "lag 8, tis").tolist() == pytest.approx([0.5, 0.5])
    assert settled(runs, "lag 8, tis", last=2).tolist() == pytest.approx([0.65, 0.65])
    with pytest.raises(ValueError, match="name: there is no run of 'int4, none'"):
        runs_of_variant(runs, "int4, none")


def test_bad_settings_are_named() -> None:
    for name in ("every", "test_problems", "test_samples"):
        with pytest.raises(ValueError, match=f"{name}: must be at least 1"):
            StaleStudyConfig(**{name: 0})


def test_the_recording_has_every_variant_with_its_seeds() -> None:
    found = recorded(STUDY.file)
    assert found.command == "python -m rlvr_lab record stale"
    for name in VARIANTS:
        runs = runs_of_variant(found.runs, name)
        assert [run.config.seed for run in runs] == [1, 2, 3, 4, 5]
        for run in runs:
            assert [r["step"] for r in run.records] == list(range(4, 33, 4))
            assert set(run.records[0]) == set(KEPT)
    assert len(found.runs) == 5 * len(VARIANTS)
