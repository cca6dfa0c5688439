"""Live changes: what is changed holds from the next step on, for every kind of run."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from rlvr_lab.experiments.overoptimisation import ProxyConfig
from rlvr_lab.training import PRESETS, PPOConfig, TRPOConfig, train
from rlvr_lab.training.pairs import DpoConfig
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

TINY = {"steps": 3, "prompts_per_step": 2, "group_size": 4, "max_new_tokens": 10, "device": "cpu"}
CASES = {
    "policy gradient": (
        replace(PRESETS["grpo"], **TINY),
        {"average": "constant", "divide_by_std": False, "rewards": {"accuracy": 1.0}},
    ),
    "PPO": (
        PPOConfig(**TINY, critic_warmup=1),
        {"epochs": 1, "clip": 0.05, "kl_coef": 0.5, "learning_rate": 1e-3},
    ),
    "TRPO": (TRPOConfig(**TINY, fisher_groups=1), {"max_kl": 0.001, "natural": False}),
    "pairs": (DpoConfig(steps=3, pairs=50, measure_every=1), {"beta": 1.0, "learning_rate": 1e-2}),
    "a proxy": (ProxyConfig(steps=3, pairs=50, batch_size=32), {"kl_coef": 1.0}),
}


def told(records):
    return [{k: v for k, v in r.items() if not k.startswith("seconds_")} for r in records]


@pytest.mark.parametrize("name", CASES)
def test_a_change_acts_as_if_the_run_went_on_with_other_settings(name: str) -> None:
    config, changes = CASES[name]
    later = replace(config, **changes)
    state = config.begin()
    live = lambda: config if state.step < 1 else later  # noqa: E731
    records = told(train(config, state=state, live_config=live))

    halved = config.begin()
    first = told(islice(train(config, state=halved), 1 + (records[0]["step"] == 0)))
    rest = told(train(later, state=halved))
    changed = {r["step"]: r.pop("changed") for r in records}
    assert changed.pop(2) == config.changes_to(later) and len(config.changes_to(later)) > 0
    assert not any(changed.values())
    assert [r | {"changed": []} for r in records] == first + rest
    for ours, theirs in zip(
        state.policy.model.parameters(), halved.policy.model.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_change_at_a_step_without_a_record_is_told_with_the_next_record() -> None:
    config = DpoConfig(steps=4, pairs=50, measure_every=2)
    state = config.begin()
    live = lambda: replace(config, beta=1.0) if state.step >= 2 else config  # noqa: E731
    changes = [(r["step"], r["changed"]) for r in train(config, state=state, live_config=live)]
    # It holds from step 3 on, which has no record.
    assert changes == [(0, []), (2, []), (4, ["beta: 0.1 -> 1.0"])]


@pytest.mark.parametrize("name", CASES)
def test_what_a_run_began_with_stays(name: str) -> None:
    config, _ = CASES[name]
    with pytest.raises(ValueError, match="seed: fixed during a run"):
        list(train(config, live_config=lambda: replace(config, seed=7)))
    with pytest.raises(ValueError, match="live_config: a run of"):
        other = TRPOConfig() if name != "TRPO" else PPOConfig()
        list(train(config, live_config=lambda: other))


# ------------------------------------------------------------------------ rates and weights

FEW = {"steps": 2, "prompts_per_step": 2, "group_size": 4, "max_new_tokens": 6, "device": "cpu"}
PPO = PPOConfig(**FEW, kl_coef=0.1, critic_warmup=0)
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
