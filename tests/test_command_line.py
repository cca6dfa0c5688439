"""The terminal does what the notebooks do, and says plainly what is wrong."""

import os
import signal

import pytest

import rlvr_lab.__main__ as command_line
from rlvr_lab.__main__ import main
from rlvr_lab.records.checkpoint import load_checkpoint
from rlvr_lab.records.runs import Recording, Run

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


@pytest.mark.parametrize("algorithm", ["policy-gradient", "ppo", "trpo"])
def test_resume_goes_on_where_it_stopped_with_the_whole_curve(tmp_path, algorithm):
    whole, part, kept = tmp_path / "whole.json", tmp_path / "part.json", tmp_path / "run.ckpt"
    train = ["train", "--algorithm", algorithm]
    tiny = [*TINY, "--fisher-groups", "1"] if algorithm == "trpo" else TINY
    main([*train, "--steps", "3", *tiny, "--out", str(whole)])
    main([*train, "--steps", "2", *tiny, "--checkpoint", str(kept)])
    main(["train", "--resume", str(kept), "--steps", "3", "--out", str(part)])
    for key in ("step", "reward", "kl", "length"):
        assert Run.load(part).curve(key).tolist() == Run.load(whole).curve(key).tolist()


def test_a_worlds_own_options_and_the_rewards_have_flags(tmp_path):
    out = tmp_path / "run.json"
    lab = ["--world", "lab", "--p-right", "0.2", "--rewards", "accuracy=2", "truncation=-1"]
    assert main(["train", *lab, "--steps", "1", *TINY, "--out", str(out)]) == 0
    config = Run.load(out).config
    assert config.world_options == {"p_right": 0.2}
    assert config.rewards == {"accuracy": 2.0, "truncation": -1.0}
    assert config.optimizer == "sgd", "the world's own settings"


def test_a_run_can_be_written_as_a_table(tmp_path):
    table = tmp_path / "run.csv"
    main(["train", "--steps", "2", *TINY, "--csv", str(table)])
    lines = table.read_text().splitlines()
    assert lines[0].startswith("step,reward,") and len(lines) == 3


def test_pairs_and_a_proxy_are_recorded_over_seeds(tmp_path):
    out = tmp_path / "dpo.json"
    short = ["--steps", "2", "--pairs", "50", "--seeds", "2", "--out", str(out)]
    assert main(["dpo", "--loss", "simpo", "--measure-every", "1", *short]) == 0
    recording = Recording.load(out)
    assert [run.config.loss for run in recording.runs] == ["simpo", "simpo"]
    assert recording.curves("gold").shape == (2, 3)
    assert main(["overoptimise", "--optimiser", "grpo", "--batch-size", "32", *short]) == 0
    assert Recording.load(out).curves("proxy").shape == (2, 2)
    assert Recording.load(out).command.startswith("python -m rlvr_lab overoptimise --optimiser")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "gpro"], "none of reinforce, rloo, grpo"),
        (["--group-size", "1"], "group_size: must be at least 2"),
        (["--kl-coef", "-1"], "kl_coef: must be not negative"),
        (["--base", "nowhere/at-all"], "offline"),
        (["--resume", "nowhere"], "no whole checkpoint"),
        (["--gamma", "0.9"], "--gamma: not a setting of --algorithm policy-gradient"),
        (["--p-right", "0.5"], "--p-right: not a setting of"),
        (["--rewards", "charm=1"], "rewards: must be names of accuracy"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, capsys):
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_ctrl_c_ends_the_run_after_its_step_and_keeps_what_was_done(tmp_path, monkeypatch, capsys):
    def five_steps(config, state):
        for step in range(1, 6):
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)
            state.step = step
            yield {"step": step, "reward": 0.0, "pass_rate": 0.0, "length": 1.0, "kl": 0.0}

    monkeypatch.setattr(command_line, "train", five_steps)
    out, kept = tmp_path / "run.json", tmp_path / "run.ckpt"
    before = signal.getsignal(signal.SIGINT)
    arguments = ["train", *TINY, "--out", str(out), "--checkpoint", str(kept)]
    assert main([*arguments, "--checkpoint-every", "0"]) == 0
    assert Run.load(out).curve("step").tolist() == [1, 2]
    assert load_checkpoint(kept).state.step == 2
    assert "what was done is kept" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_evaluate_prints_pass_rates(capsys):
    assert main(["evaluate", "sums", "--problems", "8"]) == 0
    assert "pass@16" in capsys.readouterr().out
