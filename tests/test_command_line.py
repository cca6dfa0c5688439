"""The terminal does what the notebooks do, and says plainly what is wrong."""

import json

import pytest

from rlvr_lab.__main__ import main
from rlvr_lab.records.runs import Run

TINY = ["--prompts-per-step", "2", "--group-size", "4", "--device", "cpu"]


def test_train_saves_a_run_that_names_its_command(tmp_path, capsys):
    out = tmp_path / "run.json"
    assert main(["train", "--preset", "dr-grpo", "--steps", "2", *TINY, "--out", str(out)]) == 0
    run = Run.load(out)
    assert run.command.startswith("python -m rlvr_lab train --preset dr-grpo --steps 2")
    assert run.config.average == "constant" and len(run.records) == 2
    assert "right" in capsys.readouterr().err  # the progress line


def test_the_command_in_a_run_makes_the_run_again(tmp_path):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    main(["train", "--world", "lab", "--steps", "2", *TINY, "--out", str(first)])
    command = Run.load(first).command.split()[3:]
    main([*command[:-1], str(second)])
    assert Run.load(first).curve("loss").tolist() == Run.load(second).curve("loss").tolist()


def test_resume_goes_on_where_it_stopped(tmp_path):
    whole, part, folder = tmp_path / "whole.json", tmp_path / "part.json", tmp_path / "checkpoint"
    main(["train", "--steps", "3", *TINY, "--out", str(whole)])
    main(["train", "--steps", "2", *TINY, "--checkpoint", str(folder)])
    main(["train", "--resume", str(folder), "--steps", "3", "--out", str(part)])
    assert Run.load(part).curve("loss").tolist() == Run.load(whole).curve("loss").tolist()[2:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "gpro"], "none of reinforce, rloo, grpo"),
        (["--group-size", "1"], "group_size: must be at least 2"),
        (["--kl-coef", "-1"], "kl_coef: must be not negative"),
        (["--base", "nowhere/at-all"], "offline"),
        (["--resume", "nowhere"], "no whole checkpoint"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, capsys):
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_ctrl_c_keeps_what_was_done(tmp_path, monkeypatch):
    import rlvr_lab.__main__ as command_line

    def two_steps_then_ctrl_c(config, state):
        yield {"step": 1, "reward": 0.0, "pass_rate": 0.0, "length": 1.0, "kl": 0.0}
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "train", two_steps_then_ctrl_c)
    out = tmp_path / "run.json"
    assert main(["train", "--out", str(out)]) == 0
    assert len(json.loads(out.read_text())["records"]) == 1


def test_evaluate_prints_pass_rates(capsys):
    assert main(["evaluate", "sums", "--problems", "8"]) == 0
    assert "pass@16" in capsys.readouterr().out
