"""The seconds of a step: what is kept, that it adds up, and that nothing else changes the run."""

import time
from dataclasses import fields, replace
from pathlib import Path

import pytest

from rlvr_lab.experiments.kimi import step_times
from rlvr_lab.experiments.kimi.step_times import PARTS, STUDY, VARIANTS, StepTimesConfig, measure
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

SMALL = StepTimesConfig(steps=2, prompts_per_step=2, group_size=4, device="cpu", seed=3)


def test_the_parts_of_a_step_add_up_to_the_time_that_it_takes() -> None:
    started, records = time.perf_counter(), list(train(SMALL))
    whole = time.perf_counter() - started
    assert [record["step"] for record in records] == [1, 2]
    for record in records:
        assert set(record) == {
            *("step", "changed", "tokens", "length", "longest", "pass_rate"),
            *PARTS,
        }
        assert all(record[part] > 0 for part in PARTS)
    assert sum(record[part] for record in records for part in PARTS) < whole


def test_its_numbers_are_those_of_a_plain_run() -> None:
    same = {f.name: getattr(SMALL, f.name) for f in fields(PolicyGradientConfig)}
    plain = list(train(PolicyGradientConfig(**same)))
    for ours, theirs in zip(train(SMALL), plain, strict=True):
        for key in ("tokens", "length", "pass_rate"):
            assert ours[key] == theirs[key]
        assert ours["length"] <= ours["longest"] <= 40
    state = SMALL.begin()
    experience = SMALL.collect(state)
    assert SMALL.measure(state, experience)["longest"] == int(experience.batch.lengths.max())


def test_a_variant_differs_only_in_what_its_name_says() -> None:
    basic = StepTimesConfig()
    assert basic == StepTimesConfig(**vars(PolicyGradientConfig()) | {"steps": 30})
    assert {
        "256 answers": basic,
        "16 answers": replace(basic, prompts_per_step=4, group_size=4),
        "256 answers, 4 updates": replace(basic, updates_per_batch=4),
    } == VARIANTS
    assert basic.prompts_per_step * basic.group_size == 256


def test_the_study_starts_each_variant_from_the_seeds_own_base(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def base(seed: int) -> tuple:
        asked.append(seed)
        return load_policy("sums", "cpu"), seed

    monkeypatch.setattr(step_times, "sums_base", base)
    small = {"a": SMALL, "b": replace(SMALL, group_size=2)}
    runs = list(measure(2, small, 5))
    assert asked == [5, 5, 6, 6]
    assert [(run.config.seed, run.config.group_size) for run in runs] == [
        *((5, 4), (5, 2)),
        *((6, 4), (6, 2)),
    ]
    path = tmp_path / "times.json"
    Recording(runs).save(path)
    loaded: list[Run] = Recording.load(path).runs
    assert loaded[0].records == runs[0].records and "changed" not in runs[0].records[0]
    plain = next(iter(train(replace(SMALL, seed=5))))
    assert runs[0].records[0]["length"] == float(f"{plain['length']:.4g}")
    with pytest.raises(ValueError, match="seeds: need"):
        next(measure(0, small))


def test_the_study_is_as_recorded() -> None:
    assert (STUDY.variants, STUDY.seeds, STUDY.file, STUDY.first) == (
        *(VARIANTS, 5),
        *("kimi/step_times", 1),
    )
    assert STUDY.measure is measure
