"""PPO: its first step is the policy gradient, its switches do what they say, it learns and it clips."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.objectives.averages import token_mean
from rlvr_lab.objectives.kl import adapted_kl_coef
from rlvr_lab.objectives.losses import reinforce_loss
from rlvr_lab.objectives.trust_region import flatten
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.training import ppo
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import NonFiniteLossError
from rlvr_lab.training.ppo import PPOConfig, fill, policy_loss
from rlvr_lab.training.rollouts import collect

SMALL = PPOConfig(steps=2, prompts_per_step=4, group_size=4, critic_warmup=0, device="cpu")


def filled(config: PPOConfig):
    """State, buffer and mean KL reward of the first step."""
    state = config.begin()
    return state, *fill(config, state, collect(config, state))


def gradient(loss: torch.Tensor, model) -> torch.Tensor:
    return flatten(torch.autograd.grad(loss, list(model.parameters())))


def test_the_first_inner_step_is_the_policy_gradient() -> None:
    config = replace(SMALL, gamma=1.0, lam=1.0, whiten_advantages="none", kl_coef=0.0)
    state, buffer, _ = filled(config)
    model = state.policy.model
    found = gradient(policy_loss(config, token_logprobs(model, buffer.batch), buffer), model)
    # With V = 0 and λ = 1 every token's advantage is its answer's reward.
    rewards = buffer.returns[:, 0]
    plain = reinforce_loss(token_logprobs(model, buffer.batch), rewards, buffer.mask, token_mean)
    torch.testing.assert_close(found, gradient(plain, model), rtol=0, atol=1e-6)
    assert float(found.norm()) > 1e-2


def test_at_the_start_nothing_is_clipped_and_the_kl_is_0() -> None:
    _state, buffer, kl_reward = filled(SMALL)
    assert kl_reward == pytest.approx(0.0, abs=1e-5)
    assert not buffer.values.any(), "the value head starts at 0"
    record = next(train(replace(SMALL, epochs=1, minibatches=1)))
    assert record["clip_fraction"] == 0 and record["ratio_outside"] == 0
    assert record["ratio_low"] == pytest.approx(1, abs=1e-3)
    assert record["ratio_high"] == pytest.approx(1, abs=1e-3)
    assert record["approx_kl"] == pytest.approx(0, abs=1e-5)


def test_later_epochs_leave_the_clip_range() -> None:
    config = replace(SMALL, steps=1, epochs=6, learning_rate=1e-3, clip=0.1)
    record = next(train(config))
    assert record["ratio_high"] > 1.1 or record["ratio_low"] < 0.9
    assert record["ratio_outside"] > 0 and record["approx_kl"] > 1e-4


@pytest.mark.slow
def test_it_learns_to_add_and_its_reward_pays_for_the_kl() -> None:
    records = list(train(PPOConfig(steps=10, prompts_per_step=12, device="cpu")))
    assert records[0]["pass_rate"] < 0.35
    assert records[-1]["pass_rate"] > records[0]["pass_rate"] + 0.25
    assert records[-1]["kl"] > 0.3 and records[-1]["kl_reward"] < -0.002
    assert records[-1]["kl_reward"] == pytest.approx(-0.01 * records[-1]["kl"], rel=1e-3)


def test_same_seed_same_curve() -> None:
    runs = [[r["loss"] for r in train(SMALL)] for _ in range(2)]
    other = [r["loss"] for r in train(replace(SMALL, seed=1))]
    assert runs[0] == runs[1] != other


def test_the_coefficient_follows_the_kl() -> None:
    assert adapted_kl_coef(1.0, kl=2.0, target=2.0) == 1.0
    assert adapted_kl_coef(1.0, kl=100.0, target=2.0) == pytest.approx(1.02)
    assert adapted_kl_coef(1.0, kl=0.0, target=2.0) == pytest.approx(0.98)
    records = list(train(replace(SMALL, adaptive_kl=5.0, kl_coef=0.1)))
    assert records[-1]["kl_coef"] < 0.1


def test_a_truncated_answer_can_be_fined() -> None:
    config = replace(SMALL, max_new_tokens=3, group_size=8, kl_coef=0.0)
    fine = {"accuracy": 1.0, "format": 0.1, "truncation": -1.0}
    free, fined = (next(train(c)) for c in (config, replace(config, rewards=fine)))
    assert free["truncated"] > 0
    assert fined["reward"] == pytest.approx(free["reward"] - free["truncated"])
    assert fined["reward_truncation"] == free["truncated"] and fined["loss"] != free["loss"]


def test_a_loss_that_is_not_finite_stops_with_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    state = SMALL.begin()
    before = flatten(list(state.policy.model.parameters())).clone()
    monkeypatch.setattr(ppo, "value_loss", lambda *_: torch.full((), torch.nan, requires_grad=True))
    with pytest.raises(NonFiniteLossError, match="step 1: loss nan"):
        next(train(SMALL, state=state))
    assert torch.equal(before, flatten(list(state.policy.model.parameters())))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gamma", 1.5),
        ("lam", -1.0),
        ("epochs", 0),
        ("clip", -0.1),
        ("value_clip", 0.0),
        ("kl_coef", -0.1),
        ("minibatches", 99),
        ("learning_rate", 0.0),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(field: str, value) -> None:
    with pytest.raises(ValueError, match=f"{field}: must be"):
        PPOConfig(**{field: value})


def test_what_the_epochs_read_is_fixed() -> None:
    _, buffer, _ = filled(SMALL)
    with pytest.raises(AttributeError):
        buffer.mask = buffer.mask
