"""The recorded runs with a KL: the variants are what they say, and the comparisons are right."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from rlvr_lab.experiments import kl_runs, recorded
from rlvr_lab.experiments.kl_runs import (
    KL_BASE,
    KL_VARIANTS,
    LEARNING,
    WHILE_LEARNING,
    equal_kl,
    kl_curves,
    kl_variant,
    measure_kl_runs,
    measure_while_learning,
    settled,
    settled_at_kl,
)
from rlvr_lab.records.runs import Recording, Run


@pytest.mark.parametrize("name", KL_VARIANTS)
def test_a_variant_changes_what_it_says_and_nothing_else(name: str) -> None:
    config = kl_variant(name, seed=3)
    assert asdict(config) == {**asdict(KL_BASE), **KL_VARIANTS[name], "seed": 3}
    if "β" in name:
        place, estimator, beta = name.split()
        assert (config.kl_in, config.kl_coef) == (place, float(beta.removeprefix("β=")))
        assert config.kl_estimator == estimator or place == "reward"


def test_runs_are_measured_and_found_again(monkeypatch) -> None:
    small = replace(KL_BASE, steps=2, prompts_per_step=1, group_size=2)
    monkeypatch.setattr(kl_runs, "KL_BASE", small)
    runs = list(measure_kl_runs(2, ["no KL", "loss k3 β=1"]))
    assert [(r.config.seed, r.config.kl_coef) for r in runs] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert set(runs[0].records[0]) == set(kl_runs.KEPT)
    found = kl_curves(Recording(runs[::-1]), "loss k3 β=1", "pass_rate")
    np.testing.assert_array_equal(found, [runs[2].curve("pass_rate"), runs[3].curve("pass_rate")])
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        next(measure_kl_runs(0))


def made_up(points: dict[str, list[tuple[float, float]]]) -> Recording:
    """Runs of one step: variant → (KL, pass rate) of each seed."""
    return Recording(
        [
            Run(kl_variant(name, seed), [{"step": 1, "kl": kl, "pass_rate": rate}])
            for name, pairs in points.items()
            for seed, (kl, rate) in enumerate(pairs)
        ]
    )


def test_pass_rates_are_compared_at_equal_kl() -> None:
    kl, value = np.array([[0.3, 0.3, 0.7, 0.5]]), np.array([[1.0, 3.0, 9.0, 5.0]])
    found = equal_kl(kl, value, edges=(0.0, 0.2, 0.5, 0.7))
    np.testing.assert_array_equal(found, [[np.nan, 2.0, 5.0]])
    names = ["no KL", "loss k3 β=1"]
    recording = made_up({names[0]: [(2.0, 1.0), (2.0, 0.8)], names[1]: [(1.0, 0.5), (0.0, 0.4)]})
    np.testing.assert_allclose(settled(recording, "no KL", "pass_rate"), [1.0, 0.8])
    two = [{"step": step, "pass_rate": rate} for step, rate in ((1, 0.2), (2, 0.6), (3, 0.8))]
    late = settled(Recording([Run(kl_variant("no KL"), two)]), "no KL", "pass_rate", last=2)
    np.testing.assert_allclose(late, [0.7])
    found = settled_at_kl(recording, names, np.array([1.0, 1.5]))
    np.testing.assert_allclose(found, [[0.5, 0.75], [0.6, 0.7]])
    with pytest.raises(ValueError, match=r"every seed covers 1\.00 to 2\.00"):
        settled_at_kl(recording, names, np.array([0.5]))


def test_the_recording_holds_every_variant_and_every_seed() -> None:
    recording = recorded("grpo_kl")
    for name in KL_VARIANTS:
        assert len(kl_curves(recording, name, "kl")) == 10
    assert len(recording.runs) == 10 * len(KL_VARIANTS)
    assert recording.command.startswith("python -m rlvr_lab record kl-runs --seeds 10")
    assert json.dumps(recording.versions)


def test_runs_while_learning_are_short_and_found_by_name(monkeypatch) -> None:
    monkeypatch.setattr(kl_runs, "KL_BASE", replace(KL_BASE, prompts_per_step=1, group_size=2))
    monkeypatch.setattr(kl_runs, "LEARNING", 2)
    runs = list(measure_while_learning(1, first=3))
    assert [run.config for run in runs] == [
        replace(kl_variant(name, seed=3), steps=2) for name in WHILE_LEARNING
    ]
    for name, run in zip(WHILE_LEARNING, runs, strict=True):
        found = kl_curves(Recording(runs), name, "kl")
        np.testing.assert_array_equal(found, [run.curve("kl")])


def test_the_short_recording_holds_fresh_seeds() -> None:
    recording = recorded("grpo_kl_learning")
    assert {run.config.seed for run in recording.runs} == set(range(10, 20))
    for name in WHILE_LEARNING:
        assert kl_curves(recording, name, "kl").shape == (10, LEARNING)
