"""The loop: that it learns, reports truthfully, resumes bit for bit and stops cleanly."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.objectives.losses import grpo_loss
from rlvr_lab.tasks.worlds import WORLDS
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import NonFiniteLossError
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig

SMALL = replace(PRESETS["grpo"], steps=4, prompts_per_step=4, group_size=4, device="cpu")
LAB = replace(SMALL, world="lab", **WORLDS["lab"].settings)


def without_times(records):
    return [{k: v for k, v in r.items() if not k.startswith("seconds_")} for r in records]


def test_same_seed_same_curve():
    assert without_times(train(SMALL)) == without_times(train(SMALL))
    assert without_times(train(SMALL)) != without_times(train(replace(SMALL, seed=1)))


def test_it_learns_to_add():
    """The default run, three of its minutes' worth shortened to fifteen steps."""
    records = list(train(replace(PRESETS["grpo"], steps=15, device="cpu")))
    assert records[0]["pass_rate"] < 0.4
    assert records[-1]["pass_rate"] > 0.8
    assert records[-1]["length"] > records[0]["length"] + 2
    assert records[-1]["kl"] > 0.3


def test_every_preset_runs_and_moves_the_policy():
    for name, preset in PRESETS.items():
        config = replace(preset, steps=1, prompts_per_step=4, group_size=8, device="cpu")
        state = config.begin()
        (record,) = train(config, state=state)
        assert record["grad_norm"] > 0, name
        moved = zip(
            state.policy.model.parameters(), state.reference.model.parameters(), strict=True
        )
        assert any(not torch.equal(a, b) for a, b in moved), name


def test_the_cell_of_notebook_06_is_the_loss_of_the_package():
    """The formula written out in the notebook against ``grpo_loss``, on random inputs."""
    torch.manual_seed(0)
    mask = torch.arange(7) < torch.tensor([[7], [3], [1], [5]])
    logprobs, old = -torch.rand(4, 7), -torch.rand(4, 7)
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0])
    groups = rewards.view(-1, 4)
    centred = groups - groups.mean(dim=1, keepdim=True)
    a = (centred / (groups.std(dim=1, keepdim=True, correction=0) + 1e-6)).flatten()
    torch.testing.assert_close(a, group_advantages(rewards, 4))
    ratio = torch.exp(logprobs - old)
    surrogate = torch.minimum(ratio * a[:, None], ratio.clamp(0.8, 1.2) * a[:, None])
    cell = -((surrogate * mask).sum(dim=1) / mask.sum(dim=1)).mean()
    torch.testing.assert_close(cell, grpo_loss(logprobs, old, a, mask))


def test_flipping_a_switch_takes_effect_at_the_next_step_and_says_so():
    state = LAB.begin()

    def live():
        return replace(LAB, average="sequence" if state.step < 2 else "constant")

    config = replace(LAB, steps=4)
    live_config = lambda: replace(live(), steps=4)  # noqa: E731
    records = list(train(config, state=state, live_config=live_config))
    assert [r["changed"] for r in records] == [[], [], ["average: sequence -> constant"], []]


def test_some_things_are_fixed_during_a_run():
    with pytest.raises(ValueError, match="world: fixed during a run"):
        list(train(SMALL, live_config=lambda: replace(SMALL, world="lab")))


def test_lengths_take_off_under_one_over_o_and_not_under_the_constant():
    """Notebook 07 in ten steps: exact lengths, both switches of the average."""
    ends = {}
    for average in ("sequence", "constant"):
        config = replace(
            PRESETS["grpo"], world="lab", **WORLDS["lab"].settings, average=average, device="cpu"
        )
        ends[average] = list(train(replace(config, steps=10)))[-1]
    gap = {k: r["exact_length_wrong"] - r["exact_length_right"] for k, r in ends.items()}
    assert gap["sequence"] > 8 and abs(gap["constant"]) < 2


def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_state(monkeypatch):
    state = SMALL.begin()
    run = train(SMALL, state=state)
    next(run)
    good = [p.detach().clone() for p in state.policy.model.parameters()]
    broken = replace(SMALL.objective, loss=lambda rows, _: rows.logprobs.sum() * float("nan"))
    monkeypatch.setattr(PolicyGradientConfig, "objective", broken)
    with pytest.raises(NonFiniteLossError, match=r"step 2: loss nan.*learning rate"):
        next(run)
    assert state.step == 1
    for now, was in zip(state.policy.model.parameters(), good, strict=True):
        assert torch.equal(now, was)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("group_size", 1),
        ("group_size", 0),
        ("kl_coef", -0.1),
        ("temperature", 0.0),
        ("top_p", 0.0),
        ("clip_low", 1.5),
        ("learning_rate", -1.0),
        ("average", "median"),
        ("baseline", "value"),
        ("steps", 0),
        ("minibatches", 99),
        ("constant_length", 0.0),
    ],
)
def test_a_senseless_setting_is_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: must be .*got {value!r}"):
        PolicyGradientConfig(**{field: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"world": "chess"}, "world: must be one of sums, lab, codes, letters"),
        ({"world": "lab", "world_options": {"colour": 1}}, "world_options: lab has no 'colour'"),
        ({"world": "lab", "world_options": {"p_right": 1.0}}, "p_right: must lie"),
        ({"rewards": {}}, "rewards: must be names with finite weights"),
        ({"rewards": {"accuracy": float("inf")}}, "rewards: must be names with finite weights"),
    ],
)
def test_a_world_or_a_reward_that_there_is_not_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        PolicyGradientConfig(**options)


def test_an_unknown_reward_is_named_before_anything_is_trained():
    with pytest.raises(ValueError, match="rewards: must be names of accuracy"):
        replace(SMALL, rewards={"charm": 1.0}).begin()


def test_maxrl_takes_no_rewards_that_a_kl_could_make_negative():
    with pytest.raises(ValueError, match="kl_in: must be loss with baseline='maxrl'"):
        replace(PRESETS["maxrl"], kl_in="reward", kl_coef=0.1)


def test_division_by_the_std_belongs_to_the_group_baseline():
    with pytest.raises(ValueError, match="divide_by_std"):
        PolicyGradientConfig(baseline="leave_one_out")
