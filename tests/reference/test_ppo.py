"""PPO against a run by hand: both models' weights after every step, every field of every record."""

import copy
from dataclasses import asdict, dataclass, replace

import pytest

from rlvr_lab.experiments.ppo_details import (
    EndUntrained,
    PaddedMean,
    PaddedScale,
    PaddedWhitening,
    ScaledRewards,
    ShiftedValues,
    TaxedRewards,
)
from rlvr_lab.tasks.length_lab import LengthLab
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Problem
from rlvr_lab.training.loop import train
from rlvr_lab.training.ppo import PPOConfig
from tests.reference.adam import assert_same_record, assert_same_weights, precise
from tests.reference.plain import base_policy, double, random_policy
from tests.reference.ppo import Run


def bugged(kind: type[PPOConfig], config: PPOConfig, **changes) -> PPOConfig:
    """The same settings with a mistake on purpose."""
    return kind(**{**asdict(config), **changes})


SMALL = PPOConfig(
    steps=2,
    prompts_per_step=3,
    group_size=2,
    max_new_tokens=8,
    learning_rate=2e-3,
    value_learning_rate=5e-3,
    critic_warmup=0,
    zero_value_head=False,
    device="cpu",
)
LAB = replace(SMALL, world="lab", rewards={"accuracy": 1.0}, max_new_tokens=6, group_size=4)
# A policy of a thousand parameters that has learned nothing: quick, and easily moved.
RAW = replace(
    LAB,
    base="random",
    epochs=4,
    learning_rate=0.02,
    value_learning_rate=0.03,
    kl_coef=0.2,
    seed=1,
)
CASES = {
    "plain": SMALL,
    "zero head": replace(RAW, zero_value_head=True, seed=2),
    "linear critic": replace(SMALL, critic="linear"),
    "linear, warm": replace(RAW, critic="linear", critic_warmup=2, max_grad_norm=0.5),
    "warm": replace(SMALL, critic_warmup=2, steps=1),
    "warm from 0": replace(RAW, zero_value_head=True, critic_warmup=3, anneal=True, gamma=0.9),
    "no whitening": replace(SMALL, whiten_advantages="none", gamma=0.9, lam=0.5),
    "batch whitening": replace(RAW, whiten_advantages="batch"),
    "whitened rewards": replace(RAW, whiten_rewards=True, lam=1.0),
    "one epoch": replace(SMALL, epochs=1, minibatches=1, seed=3),
    "three minibatches": replace(RAW, minibatches=3, temperature=0.8),
    "tight clips": replace(RAW, clip=0.05, value_clip=0.02),
    "no value clip": replace(RAW, value_clip=None, value_coef=2.0),
    "short gradients": replace(RAW, max_grad_norm=0.1, top_p=0.9),
    "any gradients": replace(RAW, max_grad_norm=None, adam_eps=1e-3),
    "annealed": replace(RAW, steps=3, anneal=True),
    "entropy": replace(RAW, entropy_coef=0.3, temperature=1.2),
    "stopped": replace(RAW, target_kl=0.012),
    "not stopped": replace(RAW, target_kl=0.05),
    "clamped": replace(RAW, clamp_kl=True),
    "steered up": replace(RAW, adaptive_kl=1e-3, steps=3),
    "steered down": replace(RAW, adaptive_kl=50.0, steps=3),
    "fined": replace(
        SMALL, rewards={"accuracy": 1.0, "format": 0.1, "truncation": -0.7}, max_new_tokens=4
    ),
    "reward model": replace(SMALL, rewards={"model": 1.0, "truncation": -0.5}, seed=6),
    "shifted": bugged(ShiftedValues, SMALL, max_new_tokens=6),
    "no end": bugged(
        EndUntrained, SMALL, whiten_advantages="batch", rewards={"accuracy": 1.0, "format": 0.5}
    ),
    "padding": bugged(PaddedWhitening, SMALL),
    "padded mean": bugged(PaddedMean, RAW),
    "padded scale": bugged(PaddedScale, RAW),
    "scaled rewards": bugged(ScaledRewards, RAW),
    "taxed rewards": bugged(TaxedRewards, RAW),
    "lab": replace(LAB, epochs=3, kl_coef=0.1),
    "lab, tossed": replace(
        LAB, world_options={"p_right": 0.3}, base="lab", seed=4, whiten_advantages="none"
    ),
    "lab, shifted": bugged(ShiftedValues, RAW),
    "lab, no end": bugged(EndUntrained, LAB),
    "lab, padding": bugged(PaddedWhitening, LAB),
    "four groups": replace(RAW, prompts_per_step=4, group_size=2, device="auto"),
}
GRID = {PPOConfig: list(CASES.values())}


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    precise(monkeypatch)
    with double():
        yield


@dataclass(frozen=True)
class RaggedSums(Sums):
    """Sums without the empty boxes, so that prompts differ in length."""

    def problems(self, count, rng) -> list[Problem]:
        drawn = super().problems(count, rng)
        return [replace(p, prompt=p.prompt.replace(".", "")) for p in drawn]


def compare(config: PPOConfig, task=None) -> list[dict]:
    """Both runs side by side; the package's records."""
    raw = config.base == "random"
    policy = random_policy(config.seed) if raw else base_policy(config.base or config.world)
    mine = copy.deepcopy(policy.model)
    state = config.begin(policy, task)
    judge = state.rewards.get("model")
    own_task = task or (Sums() if config.world == "sums" else LengthLab(**config.world_options))
    run = Run(config, mine, own_task, judge and judge.model.double())
    records = []
    run.warm_up()
    for theirs in train(config, state=state):
        assert_same_record(run.record(len(records) + 1), theirs)
        assert_same_weights(run.model, state.policy.model)
        assert_same_weights(run.value, state.value_model)
        records.append(theirs)
    assert len(records) == config.steps
    return records


@pytest.mark.parametrize("name", CASES)
def test_ppo_is_its_equations(name: str) -> None:
    records = compare(CASES[name])
    if name in ("stopped", "not stopped"):
        assert {r["epochs_done"] for r in records} == {1 if name == "stopped" else 2}
    if name == "tight clips":
        assert min(r["clip_fraction"] for r in records) > 0


def test_prompts_of_different_lengths() -> None:
    compare(replace(SMALL, learning_rate=4e-3), RaggedSums(2, 8))
