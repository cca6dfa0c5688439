"""Every field of a configuration that has a bound: the values at its edge, and those beyond."""

import pytest

from rlvr_lab.training.pairs import DpoConfig
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.training.rollouts import RolloutConfig
from rlvr_lab.training.trpo import TRPOConfig

NOTHING, TINY = 0.0, 1e-9
COUNT = ("at least 1", [0, -1], [1, 2])
WEIGHT = ("not negative", [-TINY], [NOTHING, 2.0])
POSITIVE = ("positive", [NOTHING, -TINY], [TINY, 2.0])
OPTIONAL = ("positive or None", [NOTHING, -TINY], [TINY, None])
SHARE = ("in [0, 1]", [-TINY, 1 + TINY], [NOTHING, 1.0])
GROUPS = ("at most prompts_per_step (16)", [17], [16])

ROLLOUTS = {
    "prompts_per_step": COUNT,
    "group_size": COUNT,
    "max_new_tokens": COUNT,
    "temperature": POSITIVE,
    "top_p": ("in (0, 1]", [NOTHING, 1 + TINY], [TINY, 1.0]),
}
BOUNDS = {
    RolloutConfig: ROLLOUTS,
    PolicyGradientConfig: {
        "updates_per_batch": COUNT,
        "minibatches": COUNT,
        "kl_coef": WEIGHT,
        "clip_high": WEIGHT,
        "entropy_coef": WEIGHT,
        "learning_rate": POSITIVE,
        "tau": POSITIVE,
        "constant_length": OPTIONAL,
        "max_grad_norm": OPTIONAL,
        "clip_low": ("between 0 and 1", [-TINY, 1 + TINY], [NOTHING, 1.0]),
    },
    PPOConfig: {
        "epochs": COUNT,
        "minibatches": COUNT,
        **dict.fromkeys(
            ("value_coef", "entropy_coef", "kl_coef", "adam_eps", "critic_warmup"), WEIGHT
        ),
        "clip": ("not negative", [-TINY], [NOTHING, 1.0]),
        **dict.fromkeys(("learning_rate", "value_learning_rate"), POSITIVE),
        **dict.fromkeys(("value_clip", "max_grad_norm", "target_kl", "adaptive_kl"), OPTIONAL),
        "gamma": SHARE,
        "lam": SHARE,
    },
    TRPOConfig: {
        "max_kl": POSITIVE,
        "damping": WEIGHT,
        "cg_iterations": COUNT,
        "fisher_groups": COUNT,
        "line_search_tries": COUNT,
    },
    DpoConfig: {
        "pairs": COUNT,
        "batch_size": COUNT,
        "measure_every": COUNT,
        "steps": COUNT,
        "beta": POSITIVE,
        "learning_rate": POSITIVE,
        "likelihood": WEIGHT,
        "margin": WEIGHT,
    },
}
ROWS = [(kind, field, *bound) for kind, table in BOUNDS.items() for field, bound in table.items()]
UPPER = [
    (PolicyGradientConfig, "minibatches", *GROUPS),
    (PPOConfig, "minibatches", *GROUPS),
    (PPOConfig, "clip", "at most 1", [1 + TINY], [1.0]),
    (TRPOConfig, "fisher_groups", *GROUPS),
    (TRPOConfig, "group_size", "at least 2", [1], [2]),
]


@pytest.mark.parametrize(("kind", "field", "rule", "refused", "allowed"), ROWS + UPPER)
def test_a_bound_is_where_it_is_said_to_be(kind, field, rule, refused, allowed) -> None:
    for value in allowed:
        assert getattr(kind(**{field: value}), field) == value
    for value in refused:
        with pytest.raises(ValueError) as error:
            kind(**{field: value})
        assert str(error.value).startswith(f"{field}: must be {rule}")
        assert str(error.value).endswith(f", got {value!r}")


@pytest.mark.parametrize("kind", [PolicyGradientConfig, PPOConfig, TRPOConfig])
def test_an_algorithm_refuses_what_rollouts_refuse(kind) -> None:
    with pytest.raises(ValueError, match=r"^temperature: must be positive"):
        kind(temperature=0.0)


@pytest.mark.parametrize("baseline", ["group", "leave_one_out", "maxrl", "log_z", "batch", "none"])
def test_baselines_that_compare_answers_need_two(baseline) -> None:
    settings = {"baseline": baseline, "divide_by_std": False}
    assert PolicyGradientConfig(**settings, group_size=2).group_size == 2
    if baseline in ("batch", "none"):
        assert PolicyGradientConfig(**settings, group_size=1).group_size == 1
    else:
        with pytest.raises(
            ValueError, match=rf"^group_size: must be at least 2 with .*'{baseline}'"
        ):
            PolicyGradientConfig(**settings, group_size=1)


def test_only_the_group_baseline_is_divided_by_the_std() -> None:
    assert PolicyGradientConfig(divide_by_std=True).divide_by_std
    for baseline in ("leave_one_out", "maxrl", "log_z", "batch", "none"):
        with pytest.raises(ValueError, match=r"^divide_by_std: must be False"):
            PolicyGradientConfig(baseline=baseline)


def test_maxrl_takes_a_kl_in_the_loss_alone() -> None:
    maxrl = {"baseline": "maxrl", "divide_by_std": False}
    PolicyGradientConfig(**maxrl, kl_coef=0.1, kl_in="loss")
    PolicyGradientConfig(**maxrl, kl_coef=0.0, kl_in="reward")
    PolicyGradientConfig(kl_coef=0.1, kl_in="reward")
    with pytest.raises(ValueError, match=r"^kl_in: must be loss"):
        PolicyGradientConfig(**maxrl, kl_coef=TINY, kl_in="reward")


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 1e9, -1e9])
def test_weights_of_rewards_are_finite(weight) -> None:
    with pytest.raises(ValueError, match=r"^rewards: must be names with finite weights"):
        RolloutConfig(rewards={"accuracy": 1.0, "format": weight})
    RolloutConfig(rewards={"accuracy": -1.0, "format": 0.0, "truncation": 1e9 - 0.5})


FIXED = ("steps", "seed", "world", "world_options", "base", "device", "dtype")


def test_what_a_live_change_must_leave_alone() -> None:
    assert set(RolloutConfig.FIXED) == set(TRPOConfig.FIXED) == set(FIXED)
    assert set(PolicyGradientConfig.FIXED) == {*FIXED, "optimizer"}
    assert set(PPOConfig.FIXED) == {
        *FIXED,
        "adam_eps",
        "zero_value_head",
        "critic",
        "critic_warmup",
    }
    assert set(DpoConfig.FIXED) == {"steps", "seed", "pairs", "flip", "length_bias", "stop"}
