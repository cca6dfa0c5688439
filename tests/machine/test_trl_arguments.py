"""Every field of the configuration reaches TRL or is refused by name; nothing is dropped silently."""

from contextlib import suppress
from dataclasses import fields, replace
from typing import Any, Literal, get_args, get_origin

import pytest

from rlvr_lab.machine.field_map import FIELDS, TRL_REFUSES, VERL_REFUSES, table
from rlvr_lab.machine.scale_rewards import problems_of_run
from rlvr_lab.machine.trl_arguments import trl_plan
from rlvr_lab.machine.verl_overrides import verl_overrides
from rlvr_lab.tasks.worlds import make_task
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig

GRPO = PRESETS["grpo"]
KL = {"kl_coef": 0.04}
VALUES: dict[str, list[tuple[dict[str, Any], Any]]] = {
    "steps": [({}, 3)],
    "seed": [({}, 1)],
    "world": [({}, "codes"), ({}, "lab")],
    "world_options": [({}, {"max_terms": 5})],
    "prompts_per_step": [({}, 8)],
    "group_size": [({}, 8)],
    "max_new_tokens": [({}, 30)],
    "temperature": [({}, 0.7)],
    "top_p": [({}, 0.9)],
    "rewards": [({}, {"accuracy": 1.0}), ({}, {"accuracy": 1.0, "format": 0.2})],
    "device": [({}, "cuda:1")],
    "divide_by_std": [({}, False)],
    "constant_length": [({"average": "constant"}, 12.0)],
    "clip_low": [({}, 0.1)],
    "clip_high": [({}, 0.3), ({"ratio": "cispo", "average": "token"}, 0.3)],
    "kl_coef": [({}, 0.04)],
    "updates_per_batch": [({}, 2)],
    "minibatches": [({}, 2), ({"average": "token"}, 2)],
    "learning_rate": [({}, 1e-4)],
    "max_grad_norm": [({}, None), ({}, 2.0)],
    "entropy_coef": [({"average": "token"}, 0.01)],
}
"""Field → (settings it is read with, another value) for the fields whose values no type lists."""
ONCE = {"ratio": "none", "average": "constant", "constant_length": 1.0, "divide_by_std": False}
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("kl_estimator", "k1"): KL,
    ("kl_estimator", "k2"): KL,
    ("kl_in", "reward"): KL,
    ("baseline", "leave_one_out"): ONCE,
    ("ratio", "cispo"): {"average": "token"},
    ("ratio", "none"): {"updates_per_batch": 2},
}
"""(Field, value) → the settings it is read with."""
ELSEWHERE = {
    "base": "test_scale.test_the_base_and_its_dtype_are_what_is_trained",
    "dtype": "test_scale.test_the_base_and_its_dtype_are_what_is_trained",
    "tau": "test_tau_is_read_by_nothing_that_is_handed_over",
}


def changes() -> list[tuple[str, dict[str, Any], Any]]:
    found = []
    for field in fields(PolicyGradientConfig):
        if field.name in ELSEWHERE:
            continue
        if get_origin(field.type) is Literal:
            options = [v for v in get_args(field.type) if v != getattr(GRPO, field.name)]
            found += [(field.name, SETTINGS.get((field.name, v), {}), v) for v in options]
        else:
            found += [(field.name, *pair) for pair in VALUES[field.name]]
    return found


def changed(name: str, settings: dict[str, Any], value: Any) -> tuple[PolicyGradientConfig, ...]:
    before = replace(GRPO, steps=2, **settings)
    more = {}
    if name == "baseline" and value != "group":
        more = {"divide_by_std": False}
        before = replace(before, divide_by_std=False)
    return before, replace(before, **{name: value}, **more)


def trl(config: PolicyGradientConfig) -> tuple:
    plan = trl_plan(config)
    task = make_task(config.world, config.world_options)
    return plan.trainer, plan.arguments, problems_of_run(config, task), list(config.rewards)


def test_every_field_has_a_row_and_a_test() -> None:
    names = {field.name for field in fields(PolicyGradientConfig)}
    assert names == set(FIELDS)
    assert names == {name for name, _, _ in changes()} | set(ELSEWHERE)
    assert all(f"\n{name} " in table() for name in names)


@pytest.mark.parametrize("engine", [trl, verl_overrides])
@pytest.mark.parametrize(("name", "settings", "value"), changes())
def test_a_field_changes_what_is_handed_over_or_is_refused_by_name(
    name: str, settings: dict[str, Any], value: Any, engine: Any
) -> None:
    before, after = changed(name, settings, value)
    stated = None  # what cannot be said at all before the change
    with suppress(ValueError):
        stated = engine(before)
    try:
        assert engine(after) != stated
    except ValueError as error:
        assert str(error).startswith(f"{name}: {getattr(after, name)!r} is not in ")
        assert "the closest is" in str(error)


def test_tau_is_read_by_nothing_that_is_handed_over() -> None:
    for settings in ({"ratio": "squared"}, {"baseline": "log_z", "divide_by_std": False}):
        for engine in (trl, verl_overrides):
            with pytest.raises(ValueError, match=r"^(ratio|baseline): "):
                engine(replace(GRPO, **settings))


@pytest.mark.parametrize("refusals", [TRL_REFUSES, VERL_REFUSES])
def test_a_refusal_names_a_field_and_the_closest(refusals: tuple) -> None:
    for field, _, why in refusals:
        assert field in FIELDS and "the closest is" in why


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"baseline": "leave_one_out", "divide_by_std": False}, "ratio: 'token'"),
        ({**vars(PRESETS["rloo"])}, "constant_length: None"),
        ({**vars(PRESETS["rloo"]), "constant_length": 1.0, "average": "token"}, "average: 'token'"),
        ({**vars(PRESETS["rloo"]), "constant_length": 1.0, **KL, "kl_in": "loss"}, "kl_in: 'loss'"),
        (
            {**vars(PRESETS["rloo"]), "constant_length": 1.0, "entropy_coef": 0.1},
            "entropy_coef: 0.1",
        ),
        ({"ratio": "none", "updates_per_batch": 2}, "ratio: 'none'"),
        ({"ratio": "none", "minibatches": 2}, "ratio: 'none'"),
        ({"ratio": "cispo"}, "average: 'sequence'"),
    ],
)
def test_what_two_fields_make_together_is_refused_too(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message} is not in TRL"):
        trl_plan(replace(GRPO, **settings))


def test_used_once_an_answer_has_ratio_1_so_none_and_token_are_the_same_in_trl() -> None:
    assert trl(replace(GRPO, ratio="none")) == trl(GRPO)


def test_a_kind_with_fields_of_its_own_is_refused() -> None:
    class Other(PolicyGradientConfig):
        """Its own fields would be lost."""

    for engine in (trl_plan, verl_overrides):
        with pytest.raises(ValueError, match=r"^algorithm: .*Other"):
            engine(Other())


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        ("grpo", {"loss_type": "grpo", "scale_rewards": "group", "epsilon_high": 0.2}),
        ("dr-grpo", {"loss_type": "dr_grpo", "scale_rewards": "none"}),
        ("dapo", {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28}),
        ("gspo", {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4}),
        ("cispo", {"loss_type": "cispo", "importance_sampling_level": "token"}),
    ],
)
def test_the_presets_in_trls_words(preset: str, said: dict[str, Any]) -> None:
    plan = trl_plan(PRESETS[preset])
    assert plan.trainer == "GRPO"
    assert said.items() <= plan.arguments.items()
    assert plan.arguments["use_bias_correction_kl"] is False
    assert (plan.arguments["adam_beta1"], plan.arguments["adam_beta2"]) == (0.9, 0.95)
    assert plan.arguments["weight_decay"] == 0.0
    assert plan.arguments["lr_scheduler_type"] == "constant"


def test_cispos_bound_is_absolute_in_trl() -> None:
    assert trl_plan(PRESETS["cispo"]).arguments["epsilon_high"] == 1.28


def test_rloo_goes_to_its_own_trainer() -> None:
    plan = trl_plan(replace(PRESETS["rloo"], constant_length=1.0, **KL))
    assert plan.trainer == "RLOO" and plan.arguments["beta"] == 0.04
    assert "scale_rewards" not in plan.arguments and "entropy_coef" not in plan.arguments


@pytest.mark.parametrize(
    ("settings", "processes", "rows", "wanted"),
    [
        ({}, 1, None, (256, 1, 1, 1, 60)),
        ({}, 4, None, (64, 1, 1, 1, 60)),
        ({}, 4, 16, (16, 4, 4, 1, 60)),
        ({"minibatches": 4, "updates_per_batch": 3}, 2, 16, (16, 2, 8, 3, 720)),
    ],
)
def test_the_arithmetic_of_batches(
    settings: dict[str, int], processes: int, rows: int | None, wanted: tuple[int, ...]
) -> None:
    config = replace(GRPO, **settings)
    found = trl_plan(config, processes=processes, rows_per_device=rows).arguments
    names = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation")
    got = tuple(found[name] for name in (*names, "num_iterations", "max_steps"))
    assert got == wanted
    # A generation batch is all answers of one step, and one optimiser step is one minibatch.
    assert processes * got[0] * got[2] == config.prompts_per_step * config.group_size
    assert found["logging_steps"] == config.updates_per_batch * config.minibatches


def test_a_division_that_leaves_a_rest_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^prompts_per_step: 16 is not divisible by 3"):
        trl_plan(GRPO, processes=3)
    with pytest.raises(ValueError, match=r"^minibatches: 3 parts"):
        trl_plan(replace(GRPO, minibatches=3))
    with pytest.raises(ValueError, match=r"^rows_per_device: must divide the 256 answers"):
        trl_plan(GRPO, rows_per_device=7)


def test_verl_says_the_same_of_dr_grpo_with_a_kl() -> None:
    said = verl_overrides(
        replace(PRESETS["dr-grpo"], constant_length=30.0, **KL, kl_estimator="k2")
    )
    for one in (
        "algorithm.norm_adv_by_std_in_grpo=False",
        "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm",
        "actor_rollout_ref.actor.loss_scale_factor=30.0",
        "actor_rollout_ref.actor.kl_loss_type=k2",
        "actor_rollout_ref.actor.kl_loss_coef=0.04",
        "actor_rollout_ref.actor.optim.betas=[0.9,0.95]",
    ):
        assert one in said
