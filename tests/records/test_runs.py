"""Runs on disk: whole, or a clear sentence; nothing is lost."""

import csv
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from rlvr_lab.records.runs import Recording, Run, curves, record
from rlvr_lab.training import PRESETS, PPOConfig, TRPOConfig, train
from rlvr_lab.training.pairs import DpoConfig

HEAD = '{"command": "", "versions": {}, "runs": [{%s}]}'
CONFIG = replace(PRESETS["grpo"], steps=2, prompts_per_step=2, group_size=4, device="cpu")


@pytest.fixture(scope="module")
def run() -> Run:
    return Run(CONFIG, list(train(CONFIG)), "python -m rlvr_lab train")


def test_what_is_saved_is_what_is_loaded(run, tmp_path):
    again = Run.load(run.save(tmp_path / "very/deep/run.json"))
    assert again == run
    assert again.versions["torch"]


def test_records_that_could_not_be_read_again_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="runs: each record needs a step"):
        Run(CONFIG, [{"step": 1, "loss": 0.5}, {"loss": 0.4}]).save(tmp_path / "run.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "config",
    [
        PPOConfig(rewards={"model": 1.0, "truncation": -0.5}),
        TRPOConfig(world="lab", world_options={"p_right": 0.2}),
        DpoConfig(loss="simpo"),
    ],
)
def test_every_kind_of_configuration_comes_back(config, tmp_path):
    run = Run(config, [{"step": 1, "loss": 0.5, "gap": None}])
    assert Run.load(run.save(tmp_path / "run.json")) == run


def test_curves_and_csv(run, tmp_path):
    assert curves([run, run], "reward").shape == (2, 2)
    with run.to_csv(tmp_path / "run.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["reward"]) for r in rows] == run.curve("reward").tolist()
    assert "samples" not in rows[0]
    with pytest.raises(KeyError, match="rewards: no such metric"):
        run.curve("rewards")
    with pytest.raises(ValueError, match="runs"):
        curves([], "reward")


def test_a_missing_value_is_nan_in_a_curve(run):
    gap = Run(CONFIG, [{**r, "length_right": None} for r in run.records])
    assert np.isnan(gap.curve("length_right")).all()


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"config": {"steps"',
        "[]",
        HEAD % '"kind": "juggling", "config": {}, "records": {}',
        HEAD % '"kind": "ppo", "config": {"colour": 1}, "records": {}',
        HEAD % '"kind": "ppo", "config": {}, "records": {"kl": [1]}',
        HEAD % '"kind": "ppo", "config": {}, "records": {"step": [1], "kl": []}',
    ],
)
def test_a_corrupt_recording_is_a_clear_sentence(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"path: .*run\.json is (damaged|no recording)"):
        Run.load(path)
    assert path.read_text() == text


def test_a_recording_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no recording"):
        Run.load(tmp_path / "run.json")


def test_an_interrupted_save_leaves_the_earlier_run(run, tmp_path, monkeypatch):
    path = run.save(tmp_path / "run.json")
    before = path.read_text()

    def full(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        Run(CONFIG, []).save(path)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_the_part_that_a_killed_process_left_is_removed_when_it_is_old(run, tmp_path):
    path = tmp_path / "run[1].json"
    old, young, other = (
        tmp_path / f"{name}.part"
        for name in ("run[1].json.0123abcd", "run[1].json.4567abcd", "run1.json.0123abcd")
    )
    for part in (old, young, other):
        part.write_bytes(b"half")
    for part in (old, other):
        os.utime(part, (0, 0))
    assert Run.load(run.save(path)) == run
    assert set(tmp_path.iterdir()) == {path, young, other}, (
        "another process may write the young one"
    )


def test_who_may_read_a_run_is_up_to_the_umask(run, tmp_path):
    before = os.umask(0o022)
    try:
        assert run.save(tmp_path / "run.json").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_a_recording_of_several_seeds(tmp_path):
    config = DpoConfig(pairs=100, steps=4, measure_every=2, seed=3)
    recording = record(config, 2)
    assert [run.config.seed for run in recording.runs] == [3, 4]
    assert recording.curves("step").tolist() == [[0, 2, 4]] * 2
    assert recording.runs[0].records != recording.runs[1].records
    once = [list(r.values()) for r in record(config, 1).runs[0].records]
    assert once == [list(r.values()) for r in recording.runs[0].records]
    assert Recording.load(recording.save(tmp_path / "two.json")) == recording
    with pytest.raises(ValueError, match="holds 2 runs"):
        Run.load(tmp_path / "two.json")
    with pytest.raises(ValueError, match="seeds: need at least 1"):
        record(config, 0)


def test_a_recording_keeps_numbers_with_so_many_digits():
    config = replace(CONFIG, steps=1)
    (whole,) = train(config)
    (kept,) = record(config, 1, digits=3).runs[0].records
    assert kept["entropy"] == float(f"{whole['entropy']:.3g}") != whole["entropy"]
    assert "samples" not in kept and "seconds_update" not in kept and "changed" not in kept


def test_curves_are_cut_to_the_shortest():
    long, short = (
        Run(CONFIG, [{"step": k, "x": k} for k in (1, 2, 3)]),
        Run(CONFIG, [{"step": 1, "x": 9}]),
    )
    assert curves([long, short], "x").tolist() == [[1], [9]]
    assert json.loads(json.dumps(long.records)) == long.records


def test_a_metric_that_comes_later_is_no_curve():
    late = Run(CONFIG, [{"step": 1, "x": 1}, {"step": 2, "x": 2, "y": 3}])
    with pytest.raises(KeyError, match="y: no such metric"):
        late.curve("y")
