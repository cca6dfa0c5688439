"""The settings that hold when none are given: the recorded runs and the notebooks count on them."""

import inspect
from dataclasses import FrozenInstanceError, fields

import pytest

from rlvr_lab.objectives import kl
from rlvr_lab.training import reward_models, supervised
from rlvr_lab.training.pairs import DpoConfig
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig, improve
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.training.trpo import TRPOConfig

ROLLOUTS = {
    "steps": 60,
    "seed": 0,
    "world": "sums",
    "world_options": {},
    "base": "",
    "prompts_per_step": 16,
    "group_size": 16,
    "max_new_tokens": 40,
    "temperature": 1.0,
    "top_p": 1.0,
    "rewards": {"accuracy": 1.0, "format": 0.1},
    "device": "auto",
    "dtype": "float32",
}
CONFIGS = {
    PolicyGradientConfig: {
        **ROLLOUTS,
        "baseline": "group",
        "divide_by_std": True,
        "average": "sequence",
        "constant_length": None,
        "ratio": "token",
        "clip_low": 0.2,
        "clip_high": 0.2,
        "kl_coef": 0.0,
        "kl_estimator": "k3",
        "kl_in": "loss",
        "updates_per_batch": 1,
        "minibatches": 1,
        "optimizer": "adamw",
        "learning_rate": 3e-4,
        "max_grad_norm": 1.0,
        "tau": 0.1,
        "entropy_coef": 0.0,
    },
    PPOConfig: {
        **ROLLOUTS,
        "gamma": 1.0,
        "lam": 0.95,
        "clip": 0.2,
        "epochs": 2,
        "minibatches": 2,
        "learning_rate": 3e-4,
        "value_learning_rate": 1e-3,
        "critic": "confidence",
        "critic_warmup": 10,
        "adam_eps": 1e-5,
        "anneal": False,
        "whiten_advantages": "minibatch",
        "whiten_rewards": False,
        "value_clip": 0.2,
        "value_coef": 0.5,
        "entropy_coef": 0.0,
        "max_grad_norm": 1.0,
        "target_kl": None,
        "zero_value_head": True,
        "kl_coef": 0.01,
        "clamp_kl": False,
        "adaptive_kl": None,
    },
    TRPOConfig: {
        **ROLLOUTS,
        "max_kl": 0.02,
        "delta_schedule": "constant",
        "damping": 0.3,
        "cg_iterations": 5,
        "fisher_groups": 4,
        "line_search_tries": 10,
        "natural": True,
    },
    DpoConfig: {
        "steps": 200,
        "seed": 0,
        "loss": "dpo",
        "pairs": 300,
        "flip": 0.25,
        "length_bias": 0.0,
        "stop": 0.0,
        "beta": 0.1,
        "margin": 0.5,
        "reference": True,
        "likelihood": 0.0,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "measure_every": 5,
    },
}
FUNCTIONS = {
    improve: {
        "temperature": 1.0,
        "updates": 1,
        "minibatches": 1,
        "max_norm": 1.0,
        "weights": None,
    },
    kl.adapted_kl_coef: {"rate": 0.1},
    supervised.encode_solutions: {"trained_from": 0},
    supervised.supervised_steps: {"batch_size": 128, "trained_from": 0},
    reward_models.preference_pairs: {"flip": 0.0, "seed": 0},
    reward_models.fit_reward_model: {
        "seed": 0,
        "steps": 300,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "hidden": 48,
        "device": "auto",
    },
    reward_models.fit_proxy: {
        "steps": 400,
        "batch_size": 256,
        "learning_rate": 1e-3,
        "weight_decay": 1e-2,
    },
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_configuration_is_what_it_says_without_settings(kind) -> None:
    config = kind()
    assert {f.name: getattr(config, f.name) for f in fields(config)} == CONFIGS[kind]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_what_it_says_without_settings(function) -> None:
    parameters = inspect.signature(function).parameters.values()
    found = {p.name: p.default for p in parameters if p.default is not p.empty}
    assert found == FUNCTIONS[function]


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_configuration_does_not_change_and_takes_steps_and_seed_by_name(kind) -> None:
    with pytest.raises(FrozenInstanceError):
        kind().seed = 1
    assert [f.name for f in fields(kind) if f.kw_only] == ["steps", "seed"]


def test_there_are_eight_presets_and_their_other_settings_are_the_usual() -> None:
    assert len(PRESETS) == 8
    usual = {k: v for k, v in CONFIGS[PolicyGradientConfig].items() if k in ROLLOUTS} | {
        "updates_per_batch": 1,
        "minibatches": 1,
        "learning_rate": 3e-4,
    }
    for preset in PRESETS.values():
        assert {name: getattr(preset, name) for name in usual} == usual
