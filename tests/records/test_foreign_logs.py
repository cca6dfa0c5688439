"""Logs of TRL and tables: real files, this course's metrics, and a plain sentence for anything else."""

import json
import math
import shutil
from pathlib import Path

import pytest

from rlvr_lab.__main__ import main
from rlvr_lab.policy.data import data_folder
from rlvr_lab.records.doctor import RULES, diagnose, illnesses
from rlvr_lab.records.doctor_command import report
from rlvr_lab.records.foreign_logs import TRL_NAMES, from_trl, read_logs
from rlvr_lab.records.runs import Run

FOREIGN = data_folder() / "foreign"
METRICS = {metric for rule in RULES for metric in rule.reads}


def names(path: Path) -> list[str]:
    (log,) = read_logs(path)
    return [finding.rule for finding in illnesses(diagnose(log.records, log.settings))]


@pytest.mark.parametrize(
    ("run", "illness"),
    [
        ("trl_sound", []),
        ("trl_cut_off", ["answers cut off"]),
        ("trl_constant", ["constant reward"]),
        ("trl_infinite", ["numbers not finite"]),
        ("wandb_export.csv", []),
    ],
)
def test_what_trl_really_wrote_is_diagnosed(run: str, illness: list[str]) -> None:
    assert names(FOREIGN / run) == illness


def test_every_name_of_trl_is_in_its_log_and_read_by_a_rule() -> None:
    state = json.loads((FOREIGN / "trl_sound" / "trainer_state.json").read_text("utf-8"))
    written = {name for entry in state["log_history"] for name in entry}
    vllm = {"sampling/sampling_logp_difference/mean"}  # only with vLLM
    assert set(TRL_NAMES) - written == vllm
    assert set(TRL_NAMES.values()) - METRICS <= {"step", "learning_rate"}


def test_trls_numbers_arrive_under_our_names() -> None:
    state = json.loads((FOREIGN / "trl_sound" / "trainer_state.json").read_text("utf-8"))
    entry, (log,) = state["log_history"][4], read_logs(FOREIGN / "trl_sound")
    record = log.records[4]
    for theirs, ours in TRL_NAMES.items():
        if theirs in entry:
            assert record[ours] == entry[theirs], theirs
    assert record["reward_reward"] == entry["rewards/reward/mean"]
    assert len(log.records) == 30 and log.settings is None
    assert "kl" not in record  # ours is per answer, TRL's per token


def test_the_table_says_what_the_state_says() -> None:
    (table,), (state,) = read_logs(FOREIGN / "wandb_export.csv"), read_logs(FOREIGN / "trl_sound")
    assert len(table.records) == len(state.records)
    for one, other in zip(table.records, state.records, strict=True):
        assert one == pytest.approx(other)


def test_entries_of_evaluations_and_the_summary_are_left_out() -> None:
    history = [
        {"step": 1, "reward": 0.5, "unknown": 3, "rewards/f/mean": 0.4, "rewards/f/std": 0.1},
        {"step": 1, "eval_reward": 0.1},
        {"step": 1, "train_runtime": 9.0},
        {"reward": 0.1},
    ]
    assert from_trl(history) == [{"step": 1, "reward": 0.5, "reward_f": 0.4}]


def test_our_own_table_and_run_are_read(tmp_path: Path) -> None:
    run = Run.load(data_folder() / "runs" / "sums_grpo_seed0.json")
    (table,), (own,) = (
        read_logs(run.to_csv(tmp_path / "run.csv")),
        read_logs(run.save(tmp_path / "run.json")),
    )
    assert [r["kl"] for r in table.records] == [r["kl"] for r in own.records]
    assert own.settings == run.config.settings() and table.settings is None
    assert [r["step"] for r in table.records] == list(range(1, 41))


def test_a_chart_of_weights_and_biases_is_read(tmp_path: Path) -> None:
    path = tmp_path / "chart.csv"
    rows = ["Step,my run - train/reward,my run - train/reward__MIN", "1,0.5,0.4", "2,,", "3,NaN,0"]
    path.write_text("\n".join(rows))
    (log,) = read_logs(path)
    assert [record["step"] for record in log.records] == [1, 2, 3]
    assert log.records[0]["reward"] == 0.5 and log.records[1]["reward"] is None
    assert math.isnan(log.records[2]["reward"])
    assert not any("MIN" in name for name in log.records[0])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", "{", "is no JSON"),
        ("a.json", '{"log_history": []}', "no record of a training step"),
        ("a.json", '{"other": 1}', "is no recording"),
        ("a.json", "[1]", "is no recording"),
        ("a.csv", "reward\n0.5\n", "no column of steps"),
        ("a.csv", "", "no column of steps"),
        ("a.csv", "step,reward\n", "no column of steps"),
    ],
)
def test_any_other_file_is_refused_in_a_sentence(
    tmp_path: Path, name: str, content: str, said: str, capsys
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=r"^path: ") as error:
        read_logs(path)
    assert said in str(error.value)
    assert main(["doctor", str(path)]) == 2
    assert "path: " in capsys.readouterr().err


def test_a_binary_table_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is no table"):
        read_logs(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_logs(tmp_path / "b.json")
    with pytest.raises(FileNotFoundError, match=r"trainer_state\.json"):
        read_logs(tmp_path)


# ------------------------------------------------------------------------------------------ the command


def test_the_command_says_what_is_wrong_and_how_to_mend_it(capsys) -> None:
    assert main(["doctor", str(FOREIGN / "trl_cut_off" / "trainer_state.json")]) == 1
    said = capsys.readouterr().out
    assert "✗ answers cut off" in said and "Remedy: Raise the limit" in said and "TRL #5759" in said
    assert "does not feed: " in said and "value model dead" in said


def test_a_sound_run_leaves_with_0_and_its_notes(capsys) -> None:
    assert main(["doctor", str(FOREIGN / "trl_sound")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("The doctor finds nothing in 30 records.") and "(note)" in said


def test_a_setting_that_the_log_lacks_is_given_by_hand(tmp_path: Path, capsys) -> None:
    path = tmp_path / "run.csv"
    rows = [f"{k},0.6,{0.3 + 0.02 * k}" for k in range(1, 9)]
    path.write_text("\n".join(["step,zero_spread,pass_rate", *rows]))
    assert main(["doctor", str(path)]) == 0
    assert main(["doctor", str(path), "--set", "group_size=2"]) == 1
    assert "groups of two" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["doctor", str(path), "--set", "group_size"])


def test_a_recording_is_read_run_by_run(capsys) -> None:
    path = data_folder() / "runs" / "sick_museum.json"
    assert main(["doctor", str(path)]) == 1
    said = capsys.readouterr().out
    assert "run 1 (museum, seed 4):" in said and "of 60 runs are ill." in said


def test_the_folder_of_a_trainer_stands_for_its_state(tmp_path: Path) -> None:
    shutil.copy(FOREIGN / "trl_constant" / "trainer_state.json", tmp_path)
    assert names(tmp_path) == ["constant reward"]


def test_a_report_keeps_to_its_width() -> None:
    (log,) = read_logs(FOREIGN / "trl_cut_off")
    lines = report(diagnose(log.records), 30).splitlines()
    assert max(map(len, lines)) <= 100 and lines[0] == "✗ answers cut off"
