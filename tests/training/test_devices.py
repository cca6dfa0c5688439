"""Every algorithm on a second device: no tensor is made on the wrong one, and the numbers are those of the CPU."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.policy import logprobs, sampling
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.memory_plan import Limits
from rlvr_lab.policy.sampling import sample
from rlvr_lab.rewards.registry import REWARDS
from rlvr_lab.training.loop import train
from rlvr_lab.training.on_policy_distillation import distillation_step
from rlvr_lab.training.optimise import adamw
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.training.supervised import supervised_step
from rlvr_lab.training.trpo import TRPOConfig
from tests.policy.elsewhere import Elsewhere, TwoDevices

SMALL = {"steps": 1, "prompts_per_step": 3, "group_size": 4, "max_new_tokens": 12, "device": "meta"}
CASES = {
    **{name: replace(PRESETS[name], **SMALL) for name in ("reinforce", "gspo", "cispo", "maxrl")},
    "KL, bonus, minibatches": PolicyGradientConfig(
        kl_coef=0.1, entropy_coef=0.1, minibatches=2, updates_per_batch=2, **SMALL
    ),
    "KL in the reward": replace(PRESETS["rloo"], kl_coef=0.1, **SMALL),
    "Kimi": PolicyGradientConfig(ratio="squared", baseline="log_z", divide_by_std=False, **SMALL),
    "all rewards": replace(PRESETS["dr-grpo"], **SMALL, rewards=dict.fromkeys(REWARDS, 1.0)),
    "ppo": PPOConfig(**{**SMALL, "group_size": 1, "prompts_per_step": 8}),
    "trpo": TRPOConfig(**SMALL, fisher_groups=2),
}


@pytest.fixture(autouse=True)
def generators(monkeypatch):
    """There are no random numbers elsewhere: they are drawn here."""
    real = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": real())


def numbers(record: dict) -> dict[str, float]:
    return {
        name: value
        for name, value in record.items()
        if isinstance(value, float) and not name.startswith("seconds")
    }


@pytest.mark.parametrize("config", CASES.values(), ids=CASES.keys())
def test_a_step_elsewhere_is_a_step_here(config) -> None:
    (here,) = train(replace(config, device="cpu"))
    with TwoDevices():
        (there,) = train(config)
    assert numbers(there) == pytest.approx(numbers(here), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("bonus", [0.0, 0.1])
def test_so_is_a_step_in_parts(bonus, monkeypatch) -> None:
    limits = Limits(logits=44 * 4 * 5, activations=300_000)
    monkeypatch.setattr(logprobs, "limits_on", lambda device: limits)
    test_a_step_elsewhere_is_a_step_here(PolicyGradientConfig(entropy_coef=bonus, **SMALL))


@pytest.mark.parametrize("world", ["sums", "lab"])
def test_the_loop_without_waiting_stays_there(world) -> None:
    with TwoDevices():
        policy = load_policy(world, "meta")
        words = ["right", "wrong"] * 2 if world == "lab" else None
        prompts = ["?", "?"] if world == "lab" else ["1+2?", "7+5+8+3....?"]
        options = {"top_p": 0.9, "forced_words": words, "loop": "static"}
        batch = sample(policy, prompts, 2, 20, torch.Generator(), **options)
        held = [x for x in vars(batch).values() if isinstance(x, torch.Tensor)]
        assert len(held) == 8 and all(isinstance(x, Elsewhere) for x in held)


def test_students_learn_there() -> None:
    with TwoDevices():
        policy, teacher = load_policy("sums", "meta"), load_policy("sums", "meta")
        optimizer = adamw(policy.model.parameters(), 1e-3)
        batch = sample(policy, ["1+2?", "7+5+8+3....?"], 2, 8, torch.Generator())
        for form in ("full", "sampled"):
            distillation_step(policy, teacher, batch, optimizer, form)
        supervised_step(policy, [("1+2?", "3"), ("3+4+5?", "12")], optimizer)


def test_a_tensor_on_the_wrong_device_is_found(monkeypatch) -> None:
    real = sampling.multinomial_draw
    monkeypatch.setattr(sampling, "multinomial_draw", lambda *given: real(*given).cpu())
    with TwoDevices(), pytest.raises(RuntimeError, match="expected all tensors on the same device"):
        list(train(replace(PRESETS["grpo"], **SMALL)))
    with TwoDevices():
        moved = torch.ones(3, device="meta")
        assert isinstance(moved, Elsewhere) and float(moved.sum()) == 3
        assert (moved + torch.tensor(1.0)).tolist() == [2.0] * 3  # a number may lie anywhere
        with pytest.raises(RuntimeError, match="add: expected all tensors"):
            moved + torch.ones(3)
