"""The command line records each study with the variants, seeds and file that were asked for."""

from pathlib import Path

import pytest

from rlvr_lab.__main__ import main
from rlvr_lab.experiments import studies
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.experiments.study import Study
from rlvr_lab.policy.data import data_folder
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.training.policy_gradient import PRESETS


def counted(seeds, variants, first):
    """A study without training: the variant's number is its step count."""
    for steps in variants.values():
        for seed in range(first, first + seeds):
            config = PRESETS["grpo"].__class__(steps=steps, seed=seed)
            yield Run(config, [{"step": 1}])


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = Study("count", {"one": 1, "two": 2}, counted, 3, "counted", first=1)
    monkeypatch.setitem(studies.STUDIES, "counted", made_up)


def test_a_study_is_recorded_with_its_command(study: None, tmp_path: Path) -> None:
    out = tmp_path / "counted.json"
    words = [
        "record",
        "counted",
        "--seeds",
        "2",
        "--first",
        "5",
        "--only",
        "two",
        "--out",
        str(out),
    ]
    assert main(words) == 0
    found = Recording.load(out)
    assert [(run.config.steps, run.config.seed) for run in found.runs] == [(2, 5), (2, 6)]
    assert found.command == "python -m rlvr_lab " + " ".join(words)
    assert main(["record", "counted", "--out", str(out)]) == 0
    runs = Recording.load(out).runs
    assert [(r.config.steps, r.config.seed) for r in runs] == [
        (s, k) for s in (1, 2) for k in (1, 2, 3)
    ]


def test_an_unknown_variant_is_named(study: None, tmp_path: Path, capsys) -> None:
    assert main(["record", "counted", "--only", "three", "--out", str(tmp_path / "x.json")]) == 2
    assert "only: 'three' is none of one, two" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


def test_seeds_in_parallel_give_the_same_runs(tmp_path: Path) -> None:
    outs = [tmp_path / "one.json", tmp_path / "two.json"]
    for workers, out in zip(("1", "2"), outs, strict=True):
        words = ["record", "r1/tree_search", "--seeds", "2", "--only", "uct even 2"]
        assert main([*words, "--workers", workers, "--out", str(out)]) == 0
    one, two = (Recording.load(out).runs for out in outs)
    assert [run.config.seed for run in two] == [1, 2]
    assert [(run.config, run.records) for run in one] == [(run.config, run.records) for run in two]


def test_bad_settings_are_named_before_any_process_starts(tmp_path: Path, capsys) -> None:
    words = ["record", "r1/tree_search", "--workers", "2", "--out", str(tmp_path / "x.json")]
    assert main([*words, "--only", "three"]) == 2
    assert "only: 'three' is none of" in capsys.readouterr().err
    assert main([*words, "--seeds", "0"]) == 2
    assert "seeds: need at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_starts_with_its_first_variant_and_seed(name: str, monkeypatch) -> None:
    """``measure`` takes the variants, and the first seed, in this order."""
    found = STUDIES[name]
    assert (data_folder() / "runs" / f"{found.file}.json").is_file()
    with pytest.raises(ValueError, match="seeds"):
        list(found.runs(0, 0, list(found.variants)[:1]))
