"""``training.train`` against a reference that shares no code with it, on a grid of settings.

In float64 every parameter after every step and every field of every record agree to 1e-10.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest
import torch

from rlvr_lab.records.checkpoint import load_checkpoint, save_checkpoint
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.state import TrainState
from tests.reference import policy_gradient
from tests.reference.plain import base_policy, double, elsewhere, frozen, snapshot
from tests.reference.record import differences

BASE = PolicyGradientConfig(
    steps=1,
    prompts_per_step=4,
    group_size=4,
    max_new_tokens=12,
    optimizer="sgd",
    learning_rate=0.05,
    max_grad_norm=None,
    device="cpu",
)
LAB = {"world": "lab", "max_new_tokens": 8, "rewards": {"accuracy": 1.0}}
OFF_POLICY = {"updates_per_batch": 3, "minibatches": 2, "prompts_per_step": 5, "group_size": 3}
PLAIN = {"divide_by_std": False}
IN_REWARD = {"kl_coef": 0.1, "kl_in": "reward"}

CASES = {
    "grpo": {"steps": 3, "optimizer": "adamw", "learning_rate": 1e-3, "max_grad_norm": 1.0},
    "dr-grpo": {**PLAIN, "average": "constant", "seed": 1},
    "another constant": {"average": "constant", "constant_length": 4.5},
    "off-policy": {"steps": 2, **OFF_POLICY, "learning_rate": 0.5, "clip_low": 0.1, "clip_high": 0.3},
    "off-policy, tokens": {**OFF_POLICY, "average": "token", "learning_rate": 0.3, "seed": 2},
    "off-policy gspo": {
        **OFF_POLICY, **IN_REWARD, "ratio": "sequence", "clip_low": 0.02, "clip_high": 0.01,
        "learning_rate": 0.2,
    },
    "off-policy cispo": {
        **OFF_POLICY, **IN_REWARD, "ratio": "cispo", "minibatches": 3, "clip_high": 0.1,
        "average": "token",
    },
    "off-policy without a ratio": {
        **OFF_POLICY, "ratio": "none", "minibatches": 4, "kl_coef": 0.1, "learning_rate": 0.01,
    },
    "off-policy kimi": {
        **OFF_POLICY, **PLAIN, "ratio": "squared", "average": "constant", "constant_length": 1.0, "tau": 0.3,
        "learning_rate": 0.01, "steps": 2,
    },
    "off-policy kimi, log Z": {
        **OFF_POLICY, **PLAIN, "ratio": "squared", "baseline": "log_z", "average": "constant", "tau": 0.05,
        "rewards": {"accuracy": 1.0}, "learning_rate": 0.05, "seed": 5,
    },
    "off-policy adam": {**OFF_POLICY, "optimizer": "adamw", "learning_rate": 3e-3, "steps": 2},
    "small minibatches": {"steps": 2,
        "minibatches": 4, "optimizer": "adamw", "learning_rate": 1e-3, "rewards": {"accuracy": 1.0},
        "seed": 3,
    },
    "far from the reference": {
        "steps": 2, "kl_coef": 0.1, "learning_rate": 0.1, "updates_per_batch": 2, "minibatches": 2,
        "max_grad_norm": 1.5,
    },
    "kl in the reward": {"steps": 2, "kl_coef": 0.2, "kl_in": "reward", "learning_rate": 0.3},
    "warm": {"temperature": 1.4, "updates_per_batch": 2, "kl_coef": 0.1, "kl_estimator": "k2"},
    "cold nucleus": {"temperature": 0.7, "top_p": 0.8, "updates_per_batch": 2, "minibatches": 2},
    "small norm": {"max_grad_norm": 0.01, "learning_rate": 1.0},
    "large norm": {"max_grad_norm": 1e3},
    "bonus": {"rewards": {"accuracy": 1.0, "format": 0.7}, "group_size": 6},
    "one answer": {**PLAIN, "baseline": "batch", "group_size": 1, "prompts_per_step": 10},
    "no spread": {"steps": 2, "rewards": {"accuracy": 1.0}, "max_new_tokens": 2, "seed": 4},
    "lab": {**LAB, "world_options": {"p_right": 0.3}, "steps": 3, "average": "token"},
    "lab off-policy": {
        **LAB, **OFF_POLICY, "world_options": {"p_right": 0.7}, "learning_rate": 0.2, "temperature": 1.2,
        "kl_coef": 0.1, "kl_in": "reward",
    },
    "other base": {**LAB, "base": "sums", "learning_rate": 0.02},
    "entropy bonus": {**OFF_POLICY, "entropy_coef": 0.3, "temperature": 1.3, "learning_rate": 0.1, "seed": 6},
    "entropy bonus without spread": {
        "steps": 2, "rewards": {"accuracy": 1.0}, "max_new_tokens": 2, "seed": 4, "entropy_coef": 0.1,
        "minibatches": 3,
    },
    "lab, entropy bonus and KL": {
        **LAB, "world_options": {"p_right": 0.4}, "entropy_coef": 0.05, "kl_coef": 0.1, "average": "constant",
        "updates_per_batch": 2, "minibatches": 2, "optimizer": "adamw", "learning_rate": 1e-3,
    },
}  # fmt: skip


def pairs_of_choices() -> dict[str, dict]:
    """Thirty cases in which every two choices of two different fields meet."""
    found = {}
    for i, baseline in enumerate(("group", "leave_one_out", "batch", "none", "maxrl", "log_z")):
        for j, ratio in enumerate(("token", "sequence", "cispo", "none", "squared")):
            adam = (i // 2 + j) % 2 == 1
            found[f"{baseline} {ratio}"] = {
                "baseline": baseline,
                "ratio": ratio,
                "divide_by_std": baseline == "group" and j > 0,
                "average": ("sequence", "token", "constant")[(i + j) % 3],
                "kl_estimator": ("k1", "k2", "k3")[(i + 2 * j) % 3],
                # MaxRL refuses the negative rewards that a KL in the reward makes.
                "kl_in": "reward" if baseline != "maxrl" and j in ((3,), (0, 4))[i % 2] else "loss",
                "kl_coef": 0.1,
                "optimizer": "adamw" if adam else "sgd",
                "learning_rate": 1e-3 if adam else 0.1,
                "updates_per_batch": 2,
                "seed": 10 + i,
                "max_new_tokens": 10,
                "prompts_per_step": 2,
            }
    return found


CASES |= pairs_of_choices()

LIVE = {
    2: {"learning_rate": 0.1, "clip_high": 0.4, "updates_per_batch": 2, "group_size": 3},
    3: {
        "average": "token",
        "kl_coef": 0.1,
        "temperature": 0.8,
        "minibatches": 2,
        "entropy_coef": 0.05,
    },
    4: {**PLAIN, "baseline": "leave_one_out", "ratio": "cispo", "kl_in": "reward"},
}
FLOAT32 = {
    "sums": {"steps": 2},
    "sums off-policy": {**OFF_POLICY, "kl_coef": 0.1, "device": "cpu:0"},
    "other base": {**LAB, "base": "sums", "learning_rate": 0.02},
    "lab": {**LAB, "world_options": {"p_right": 0.3}, "seed": 5},
}


def settings_at(config: PolicyGradientConfig, step: int) -> PolicyGradientConfig:
    for first, changes in LIVE.items():
        config = replace(config, **changes) if step >= first else config
    return config


GRID = {
    PolicyGradientConfig: [
        replace(BASE, **options) for options in (*CASES.values(), *FLOAT32.values())
    ]
    + [settings_at(BASE, step) for step in LIVE]
}


def our_run(config: PolicyGradientConfig, dtype=torch.float64, live=None) -> Iterator[tuple]:
    """Record and parameters after each step of the reference."""
    model = base_policy(config.base or config.world, dtype).model
    # With π = π_ref a log-ratio is rounding, and dividing by its spread would blow that up.
    reference = elsewhere(model) if dtype == torch.float64 else frozen(model)
    for record in policy_gradient.train(config, model, reference, live):
        yield record, snapshot(model)


def their_run(config: PolicyGradientConfig, state: TrainState, live_config=None) -> Iterator[tuple]:
    for record in train(config, state=state, live_config=live_config):
        yield record, snapshot(state.policy.model)


def begin(config: PolicyGradientConfig) -> TrainState:
    """The state in float64 whose policy has left its reference."""
    state = config.begin(base_policy(config.base or config.world))
    state.reference.model = elsewhere(state.policy.model)
    return state


def assert_same(ours, theirs, weights: float = 1e-10, fields: float = 1e-10) -> None:
    """Two runs agree, step by step: in their weights and in the fields of their records."""
    count = 0
    for (record, here), (their_record, there) in zip(ours, theirs, strict=True):
        count += 1
        assert differences(record, their_record, fields) == [], f"step {count}"
        furthest = max(float((a - b).abs().max()) for a, b in zip(here, there, strict=True))
        assert furthest <= weights, f"step {count}: a parameter is off by {furthest:.1e}"
    assert count > 0


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_its_definition(name: str) -> None:
    config = replace(BASE, **CASES[name])
    with double():
        assert_same(our_run(config), their_run(config, begin(config)))


def test_a_run_whose_settings_change_is_its_definition() -> None:
    config = replace(BASE, steps=4)
    with double():
        state = begin(config)
        ours = our_run(config, live=lambda step: settings_at(config, step))
        live = lambda: settings_at(config, state.step + 1)  # noqa: E731
        assert_same(ours, their_run(config, state, live))


@pytest.mark.parametrize("name", FLOAT32)
def test_a_run_in_float32_is_its_definition(name: str) -> None:
    """From the base that the configuration names. SGD only: Adam divides by √v, so that where a
    gradient is hardly more than rounding, so is its whole step.
    """
    config = replace(BASE, **FLOAT32[name])
    state = config.begin()
    assert_same(our_run(config, torch.float32), their_run(config, state), 1e-6, 2e-5)


def test_a_resumed_run_is_the_run_in_one_piece(tmp_path) -> None:
    config = replace(BASE, steps=3, kl_coef=0.1)
    state = config.begin()
    first = list(islice(their_run(config, state), 2))
    save_checkpoint(config, state, tmp_path / "half")
    found = load_checkpoint(tmp_path / "half")
    config, state = found.config, found.state
    assert_same(our_run(config, torch.float32), first + list(their_run(config, state)), 1e-6, 2e-5)


def test_an_interrupted_run_goes_on_with_what_adam_remembers() -> None:
    config = replace(BASE, steps=2, optimizer="adamw", learning_rate=1e-3)
    with double():
        state = begin(config)
        first = list(islice(their_run(config, state), 1))
        assert_same(our_run(config), first + list(their_run(config, state)))


def test_the_grid_meets_every_side_of_the_clip(monkeypatch) -> None:
    """Good and bad answers, above and below the clip range, token by token and answer by answer."""
    seen = {"token": set(), "sequence": set()}
    original = policy_gradient.is_dead

    def watch(config, ratio: float, advantage: float) -> bool:
        side = (
            "above"
            if ratio > 1 + config.clip_high
            else "below"
            if ratio < 1 - config.clip_low
            else ""
        )
        seen[config.ratio].add((advantage > 0, side) if advantage else (None, ""))
        return original(config, ratio, advantage)

    monkeypatch.setattr(policy_gradient, "is_dead", watch)
    with double():
        for name in ("off-policy", "off-policy gspo"):
            list(our_run(replace(BASE, **{**CASES[name], "steps": 1})))
    for sides in seen.values():
        assert sides >= {(good, side) for good in (True, False) for side in ("above", "below", "")}


def test_the_grid_meets_groups_with_and_without_spread() -> None:
    """First a batch in which nothing differs, then one of both kinds of groups."""
    with double():
        run = our_run(replace(BASE, **CASES["small minibatches"]))
        first, second = (record["zero_spread"] for record, _ in run)
    assert first == 1 and 0 < second < 1
