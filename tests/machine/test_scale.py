"""TRL's trainer trains what the configuration says: same tokens, same rewards, same steps as ours."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from rlvr_lab.__main__ import main
from rlvr_lab.machine.replay import Replay, recorded_answers
from rlvr_lab.machine.scale import SINGLE, hand_over, make_trainer, without_added_tokens
from rlvr_lab.policy.loading import encode_prompts, load_policy
from rlvr_lab.policy.words import build_tokenizer
from rlvr_lab.records.runs import Run
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS
from tests.benchmarks.two_processes import TrlAdvantages, flat, ours

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("trl", reason="TRL is not installed: pip install -e '.[scale]' brings it")

TINY = {"steps": 2, "prompts_per_step": 2, "group_size": 4, "max_new_tokens": 16, "device": "cpu"}
SMALL = replace(PRESETS["grpo"], **TINY, kl_coef=0.04)
PLAIN = {"kl_coef": 0.0}
PLAIN = {"optimizer": "sgd", "learning_rate": 0.05}
SAME = 1e-4
"""Relative distance of the parameters after plain gradient steps: float32 sums in another order give 1e-5."""


@pytest.mark.parametrize(
    ("preset", "settings", "rows", "same"),
    [
        # AdamW takes a whole step where a gradient is nothing but rounding.
        ("grpo", {"kl_coef": 0.04}, 4, 2e-3),
        ("grpo", {**PLAIN, "kl_coef": 0.04, "temperature": 0.7, "clip_low": 0.05}, None, SAME),
        ("grpo", {**PLAIN, "max_grad_norm": None, "updates_per_batch": 2}, None, SAME),
        ("grpo", {**PLAIN, "max_grad_norm": 0.02, "learning_rate": 1.0}, None, SAME),
        ("grpo", {**PLAIN, "entropy_coef": 0.05}, None, SAME),
        ("dr-grpo", {**PLAIN, "kl_coef": 0.04, "updates_per_batch": 2}, 4, SAME),
        ("dapo", {**PLAIN, "kl_coef": 0.04, "updates_per_batch": 2}, 4, SAME),
        ("gspo", {**PLAIN, "updates_per_batch": 2}, None, SAME),
        ("cispo", {**PLAIN, "updates_per_batch": 3, "clip_high": 0.02}, 4, SAME),
        ("grpo", {**PLAIN, "ratio": "none"}, None, SAME),
    ],
)
def test_on_the_same_answers_trl_takes_our_steps(
    preset: str, settings: dict[str, Any], rows: int | None, same: float, tmp_path: Path
) -> None:
    rewards = {"accuracy": 1.0, "format": 0.25}  # sums and means of these are exact in float32
    config = replace(PRESETS[preset], **TINY, rewards=rewards, **settings)
    before, us, answers = ours(TrlAdvantages.of(config))
    hand_over(config, tmp_path, rows_per_device=rows, replay=answers)
    trl = flat(load_policy(tmp_path, "cpu").model)
    assert (us - before).norm() > 0.02, "a run that moves nothing shows nothing"
    assert (trl - us).norm() / (us - before).norm() < same


def test_the_records_are_those_of_our_own_run(tmp_path: Path) -> None:
    records = list(train(SMALL))
    answers = recorded_answers(SMALL)
    found = hand_over(SMALL, tmp_path, replay=answers)
    assert [record["step"] for record in found] == [1, 2]
    for mine, theirs in zip(records, found, strict=True):
        for name in ("reward", "reward_accuracy", "pass_rate", "length", "truncated"):
            assert theirs[name] == pytest.approx(mine[name], abs=1e-6), name
        assert theirs["zero_spread"] == mine["zero_spread"]


def test_trl_reads_our_prompts_and_stops_where_we_stop(tmp_path: Path) -> None:
    trainer, policy = make_trainer(SMALL, tmp_path)
    prompts = [row["prompt"] for row in trainer.train_dataset]
    assert len(prompts) == SMALL.steps * SMALL.prompts_per_step
    ids, mask = encode_prompts(policy, prompts)
    wanted = [row[keep.bool()].tolist() for row, keep in zip(ids, mask, strict=True)]
    assert trainer._tokenize_prompts(prompts)[0] == wanted
    assert sorted(trainer.eos_token_ids) == policy.stop_ids


def test_the_base_and_its_dtype_are_what_is_trained(tmp_path: Path) -> None:
    other = replace(SMALL, base="lab", dtype="bfloat16")
    trainer, _ = make_trainer(other, tmp_path)
    wanted = load_policy("lab", "cpu", torch.bfloat16).model
    for name, model in (("policy", trainer.model), ("reference", trainer.ref_model)):
        assert torch.equal(flat(model), flat(wanted)), name
        assert model.dtype == torch.bfloat16, name
    assert trainer.args.use_cpu


def test_a_base_that_only_this_project_can_read_is_trained_without_a_reference(
    tmp_path: Path,
) -> None:
    letters = replace(SMALL, world="letters", max_new_tokens=6)
    with pytest.raises(ValueError, match=r"^kl_coef: .* LetterLlama .* the closest is 0"):
        make_trainer(letters, tmp_path)
    trainer, _ = make_trainer(replace(letters, kl_coef=0.0), tmp_path)
    assert trainer.ref_model is None


def test_a_tokenizer_that_begins_every_text_is_told_not_to() -> None:
    tokenizer = build_tokenizer()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    start = tokenizer.convert_ids_to_tokens(0)
    fast.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, 0)]
    )
    assert fast("1+2")["input_ids"][0] == 0
    plain = without_added_tokens(fast)
    assert plain("1+2")["input_ids"] == fast("1+2", add_special_tokens=False)["input_ids"]
    assert fast("1+2")["input_ids"][0] == 0, "the original stays as it was"
    assert without_added_tokens(plain) is plain


def test_more_arguments_may_not_change_the_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="engine: num_generations is 4 because of the config"):
        make_trainer(SMALL, tmp_path, engine={"num_generations": 8})
    trainer, _ = make_trainer(
        SMALL, tmp_path, engine={"logging_first_step": True, "num_generations": 4}
    )
    assert trainer.args.logging_first_step


def test_one_process_where_several_were_asked_for_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "MASTER_PORT", "29500"
    )  # as `accelerate launch --cpu --num_processes 2` does
    with pytest.raises(ValueError, match="has started one") as error:
        make_trainer(SMALL, tmp_path)
    assert str(error.value) == SINGLE


def test_rloo_trains_and_cannot_replay(tmp_path: Path) -> None:
    rloo = replace(PRESETS["rloo"], constant_length=1.0, kl_coef=0.05, device="cpu", steps=1)
    rloo = replace(rloo, prompts_per_step=2, group_size=4, max_new_tokens=16)
    records = hand_over(rloo, tmp_path)
    assert len(records) == 1 and records[0]["kl_per_token"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="replay: RLOOTrainer cannot read"):
        make_trainer(rloo, tmp_path, replay=Replay(torch.zeros(1, 1, 1), torch.ones(1, 1)))


def test_the_command_trains_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--steps", "1", "--prompts-per-step", "2", "--group-size", "4", "--device", "cpu"]
    (tmp_path / "more.yaml").write_text("logging_first_step: true\n")
    engine = ["--engine", str(tmp_path / "more.yaml")]
    assert main(["scale", *small, "--out", str(tmp_path / "run"), *engine]) == 0
    run = Run.load(tmp_path / "run" / "run.json")
    assert run.config.group_size == 4 and run.curve("reward").shape == (1,)
    load_policy(tmp_path / "run")
    assert main(["scale", *small, "--dry-run"]) == 0
    assert "num_generations=4" in capsys.readouterr().out
    assert main(["scale", *small]) == 2
    assert "--out: name a folder" in capsys.readouterr().err
    assert main(["scale", *small, "--out", str(tmp_path), "--engine", "nowhere.yaml"]) == 2
    assert "there is no file nowhere.yaml" in capsys.readouterr().err
    assert main(["scale", *small, "--out", str(tmp_path), "--replay", "nowhere"]) == 2
    assert "there is no file nowhere" in capsys.readouterr().err


OFFLINE = """
    import socket, sys, time, warnings
    warnings.simplefilter("ignore")
    asked = []

    def refuse(host):
        if isinstance(host, str) and host not in ("localhost", "127.0.0.1", "::1", ""):
            asked.append(host)
            raise OSError(f"{host}: nothing may leave this machine")

    real_connect, real_lookup = socket.socket.connect, socket.getaddrinfo

    def connect(self, address):
        if isinstance(address, tuple):
            refuse(address[0])
        return real_connect(self, address)

    def lookup(host, *more, **named):
        refuse(host.decode() if isinstance(host, bytes) else host)
        return real_lookup(host, *more, **named)

    socket.socket.connect, socket.getaddrinfo = connect, lookup
    from dataclasses import replace
    from rlvr_lab.machine import scale
    from rlvr_lab.training.policy_gradient import PRESETS
    if sys.argv[2] == "planted":
        scale.without_telemetry = lambda: None
    config = replace(PRESETS["grpo"], steps=1, prompts_per_step=2, group_size=4, device="cpu", kl_coef=0.04)
    scale.hand_over(config, sys.argv[1])
    time.sleep(2)  # a report is sent by a thread of its own
    print(asked)
"""


@pytest.mark.parametrize(("planted", "silent"), [("no", True), ("planted", False)])
def test_making_and_running_a_trainer_asks_no_other_machine(
    planted: str, silent: bool, tmp_path: Path
) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "HF_HUB_OFFLINE")}
    environment = {k: v for k, v in environment.items() if not k.endswith("TELEMETRY")}
    environment.pop("DO_NOT_TRACK", None)
    command = [sys.executable, "-c", textwrap.dedent(OFFLINE), str(tmp_path), planted]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines()[-1] == "[]") is silent, done.stdout + done.stderr
