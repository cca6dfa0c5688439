"""Runs and checkpoints: whole, or a clear sentence; nothing is lost."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from rlvr_lab.runs import Run, curves, load_checkpoint, save_checkpoint
from rlvr_lab.training import PRESETS, TrainState, train

CONFIG = replace(PRESETS["grpo"], steps=2, prompts_per_step=2, group_size=4, device="cpu")


@pytest.fixture(scope="module")
def run() -> Run:
    return Run(CONFIG, list(train(CONFIG)), "python -m rlvr_lab train")


def test_what_is_saved_is_what_is_loaded(run, tmp_path):
    again = Run.load(run.save(tmp_path / "deep/run.json"))
    assert again == run
    assert again.versions["torch"]


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


@pytest.mark.parametrize("text", ["", '{"config": {"steps"', "[]", '{"config": {"colour": 1}}'])
def test_a_corrupt_run_is_a_clear_sentence(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"path: .*run\.json is (damaged|no saved run)"):
        Run.load(path)
    assert path.read_text() == text


def test_a_run_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run file"):
        Run.load(tmp_path / "run.json")


def test_an_interrupted_save_leaves_the_earlier_run(run, tmp_path, monkeypatch):
    path = run.save(tmp_path / "run.json")
    before = path.read_text()
    monkeypatch.setattr(json, "dump", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        run.save(path)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_checkpoint_that_is_not_whole(tmp_path):
    with pytest.raises(ValueError, match="no whole checkpoint"):
        load_checkpoint(tmp_path / "nowhere")
    folder = save_checkpoint(CONFIG, TrainState.begin(CONFIG), tmp_path / "checkpoint")
    (folder / "optimizer.pt").unlink()
    with pytest.raises(ValueError, match="no whole checkpoint"):
        load_checkpoint(folder)


def test_a_checkpoint_replaces_an_earlier_one(tmp_path):
    state = TrainState.begin(CONFIG)
    folder = save_checkpoint(CONFIG, state, tmp_path / "checkpoint")
    state.step = 1
    save_checkpoint(CONFIG, state, folder)
    assert load_checkpoint(folder, "cpu")[1].step == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]
