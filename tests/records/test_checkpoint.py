"""Checkpoints: training goes on as if it had never stopped, for every kind of run."""

import json
from dataclasses import replace
from itertools import islice

import pytest
import torch
from safetensors import safe_open

from rlvr_lab.experiments.overoptimisation import ProxyConfig
from rlvr_lab.experiments.ppo_details import ShiftedValues
from rlvr_lab.records import checkpoint
from rlvr_lab.records.checkpoint import keep_checkpoints, load_checkpoint, save_checkpoint
from rlvr_lab.training import PRESETS, PPOConfig, TRPOConfig, train
from rlvr_lab.training.pairs import DpoConfig
from rlvr_lab.training.rollouts import RolloutConfig

TINY = {"steps": 4, "prompts_per_step": 2, "group_size": 4, "max_new_tokens": 12, "device": "cpu"}
CONFIG = replace(PRESETS["grpo"], **TINY)
KINDS = {
    "policy gradient, AdamW": CONFIG,
    "policy gradient, SGD": replace(CONFIG, optimizer="sgd", learning_rate=0.1, kl_coef=0.1),
    "PPO": PPOConfig(**TINY, critic_warmup=1, adaptive_kl=1.0, anneal=True, zero_value_head=False),
    "a variant of PPO": ShiftedValues(**TINY),
    "TRPO": TRPOConfig(**TINY, fisher_groups=1, cg_iterations=2),
    "pairs": DpoConfig(steps=4, pairs=64, batch_size=16, measure_every=1),
    "a proxy": ProxyConfig(steps=4, pairs=64, batch_size=32),
}


def without_times(records):
    return [{k: v for k, v in r.items() if not k.startswith("seconds_")} for r in records]


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_is_the_same_run(tmp_path, kind):
    config = KINDS[kind]
    state = config.begin()
    whole = without_times(train(config, state=state))
    begun = config.begin()
    count = 2 + (whole[0]["step"] == 0)
    first = list(islice(train(config, state=begun), count))
    path = save_checkpoint(config, begun, tmp_path / "run.ckpt", first)
    found = load_checkpoint(path)
    assert found.config == config and found.state.step == 2
    rest = without_times(train(found.config, state=found.state))
    assert without_times(found.records) + rest == whole
    for name, module in state.modules.items():
        again = found.state.modules[name].state_dict()
        assert all(torch.equal(value, again[key]) for key, value in module.state_dict().items())


def test_it_holds_no_pickle(tmp_path):
    path = save_checkpoint(CONFIG, CONFIG.begin(), tmp_path / "run.ckpt")
    with safe_open(str(path), "pt") as file:
        about = json.loads(file.metadata()["about"])
    assert about["kind"] == "policy-gradient" and about["step"] == 0


def test_a_checkpoint_that_is_not_whole(tmp_path):
    with pytest.raises(ValueError, match="no whole checkpoint"):
        load_checkpoint(tmp_path / "nowhere")
    path = save_checkpoint(CONFIG, CONFIG.begin(), tmp_path / "run.ckpt")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no whole checkpoint"):
        load_checkpoint(path)


def test_what_was_loaded_hangs_on_the_file_no_more(tmp_path):
    state = CONFIG.begin()
    next(train(CONFIG, state=state))
    path = save_checkpoint(CONFIG, state, tmp_path / "run.ckpt")
    found = load_checkpoint(path).state
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    before, after = (s.optimizer.state_dict()["state"] for s in (state, found))
    for index, values in before.items():
        assert all(torch.equal(value, after[index][key]) for key, value in values.items())


def test_a_state_of_another_kind_is_refused(tmp_path):
    path = save_checkpoint(CONFIG, CONFIG.begin(), tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match="no whole checkpoint"):
        load_checkpoint(path, PPOConfig(**TINY).begin())


def test_a_run_of_ones_own_policy_goes_on_in_a_state_that_began_alike(tmp_path):
    small = replace(CONFIG, world="lab", max_new_tokens=8)
    state = small.begin(policy=RolloutConfig(base="lab", device="cpu").begin().policy)
    next(train(small, state=state))
    path = save_checkpoint(small, state, tmp_path / "run.ckpt")
    found = load_checkpoint(path, small.begin())
    for key, value in state.policy.model.state_dict().items():
        assert torch.equal(value, found.state.policy.model.state_dict()[key])


def test_the_earlier_file_is_there_until_the_new_one_takes_its_place(tmp_path, monkeypatch):
    state = CONFIG.begin()
    path = save_checkpoint(CONFIG, state, tmp_path / "run.ckpt")
    monkeypatch.setattr(checkpoint, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    state.step = 1
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(CONFIG, state, path)
    assert load_checkpoint(path).state.step == 0
    assert [p.name for p in tmp_path.iterdir()] == ["run.ckpt"]


def test_it_is_saved_as_the_run_goes_and_at_its_end(tmp_path, monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        checkpoint, "save_checkpoint", lambda c, state, p, records: saved.append(len(records))
    )
    state = CONFIG.begin()

    def steps():
        for step in range(1, 5):
            now[0] += 20
            state.step = step
            yield {"step": step}

    kept = keep_checkpoints(steps(), CONFIG, state, tmp_path / "x", [{"step": 0}], every=30)
    assert [r["step"] for r in kept] == [1, 2, 3, 4]
    assert saved == [3, 5], "after 40 seconds, and after the last step"


def test_the_last_step_is_saved_even_if_it_has_no_record(tmp_path):
    config = DpoConfig(steps=3, pairs=64, batch_size=16, measure_every=2)
    state = config.begin()
    kept = keep_checkpoints(train(config, state=state), config, state, tmp_path / "x", every=0)
    assert [r["step"] for r in kept] == [0, 2]
    assert load_checkpoint(tmp_path / "x").state.step == 3
