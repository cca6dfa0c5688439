"""Recordings: saved whole, read back, refused when damaged."""

import pytest

from rlvr_lab.recordings import Recording


def a_recording() -> Recording:
    recording = Recording({"pairs": 3}, command="python -m rlvr_lab overoptimise")
    for shift in (0.0, 0.5):
        recording.add({"step": k, "gold": k / 3 + shift} for k in range(4))
    return recording


def test_what_is_saved_is_read_back(tmp_path):
    path = a_recording().save(tmp_path / "deep" / "x.json")
    assert Recording.load(path) == a_recording()
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_curves_have_one_row_a_run_and_are_cut_to_the_shortest():
    recording = a_recording()
    recording.add([{"step": 0, "gold": 1.0}])
    assert recording.curves("gold").shape == (3, 1)
    with pytest.raises(KeyError, match="step, gold"):
        recording.curves("proxy")


def test_values_are_rounded_to_five_digits():
    assert a_recording().runs[0]["gold"][1] == 0.33333


def test_damage_is_reported(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "other.json").write_text('{"colour": 1}')
    for name in ("bad", "other"):
        with pytest.raises(ValueError, match="no recording"):
            Recording.load(tmp_path / f"{name}.json")
    with pytest.raises(FileNotFoundError, match="there is no recording"):
        Recording.load(tmp_path / "none.json")
    with pytest.raises(ValueError, match="records"):
        Recording({}).add([])
