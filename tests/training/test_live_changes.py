"""Rates and weights that change during a run hold from the next step on, in every algorithm."""

from dataclasses import replace

import pytest

from rlvr_lab.training.loop import train
from rlvr_lab.training.pairs import DpoConfig
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.ppo import PPOConfig

FEW = {"steps": 2, "prompts_per_step": 2, "group_size": 4, "max_new_tokens": 6, "device": "cpu"}
PPO = PPOConfig(**FEW, kl_coef=0.1)
PAIRS = DpoConfig(steps=2, pairs=20, batch_size=4, measure_every=1)


def second_step(config, **change):
    """State and record of the second step, before which the change is made."""
    state = config.begin()
    live = [config, replace(config, **change)]
    *_, record = train(config, state=state, live_config=lambda: live[state.step])
    return state, record


def rates(state) -> list[float]:
    return [group["lr"] for group in state.optimizer.param_groups]


@pytest.mark.parametrize("config", [PolicyGradientConfig(**FEW), PAIRS])
def test_the_learning_rate(config) -> None:
    state, record = second_step(config, learning_rate=0.25)
    assert rates(state) == [0.25] and len(record["changed"]) == 1


def test_both_learning_rates_of_ppo() -> None:
    state, _ = second_step(PPO, learning_rate=0.25, value_learning_rate=0.5)
    assert rates(state) == [0.25, 0.5]
    state, _ = second_step(PPO, anneal=True)
    assert rates(state) == [PPO.learning_rate / 2, PPO.value_learning_rate / 2]


def test_the_weight_of_the_kl_unless_it_is_steered() -> None:
    _, record = second_step(PPO, kl_coef=0.5)
    assert record["kl_coef"] == 0.5
    assert record["kl_reward"] == pytest.approx(-0.5 * record["kl"], rel=1e-3) != 0
    _, record = second_step(replace(PPO, adaptive_kl=5.0), kl_coef=0.5)
    assert record["kl_coef"] == pytest.approx(0.1 * 0.98**2)
