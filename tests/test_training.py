"""The loop: that it learns, reports truthfully, resumes bit for bit and stops cleanly."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from rlvr_lab import training
from rlvr_lab.advantages import group_advantages
from rlvr_lab.losses import grpo_loss
from rlvr_lab.masking import constant_mean, sequence_mean, token_mean
from rlvr_lab.runs import load_checkpoint, save_checkpoint
from rlvr_lab.training import (
    PRESETS,
    WORLDS,
    NonFiniteLossError,
    TrainConfig,
    TrainState,
    describe,
    train,
)

SMALL = replace(PRESETS["grpo"], steps=4, prompts_per_step=4, group_size=4, device="cpu")
LAB = replace(SMALL, **WORLDS["lab"])
TIMES = {"seconds_rollout", "seconds_reward", "seconds_update"}


def without_times(records):
    return [{k: v for k, v in r.items() if k not in TIMES} for r in records]


def test_same_seed_same_curve():
    assert without_times(train(SMALL)) == without_times(train(SMALL))
    assert without_times(train(SMALL)) != without_times(train(replace(SMALL, seed=1)))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_run_is_the_same_run(tmp_path, optimizer):
    config = replace(SMALL, optimizer=optimizer)
    whole = without_times(train(config))
    state = TrainState.begin(config)
    first = without_times(islice(train(config, state=state), 2))
    save_checkpoint(config, state, tmp_path / "checkpoint")
    config, state = load_checkpoint(tmp_path / "checkpoint", "cpu")
    assert first + without_times(train(config, state=state)) == whole


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
        state = TrainState.begin(config)
        (record,) = train(config, state=state)
        assert record["grad_norm"] > 0, name
        moved = zip(
            state.policy.model.parameters(), state.reference.model.parameters(), strict=True
        )
        assert any(not torch.equal(a, b) for a, b in moved), name


@pytest.mark.parametrize(
    "options",
    [
        {"ratio": "sequence"},
        {"ratio": "cispo"},
        {"baseline": "maxrl", "divide_by_std": False},
        {"baseline": "none", "divide_by_std": False},
        {"kl_coef": 0.1},
        {"kl_coef": 0.1, "kl_in": "reward"},
        {"kl_coef": 0.1, "kl_estimator": "k2"},
        {"updates_per_batch": 2, "minibatches": 2},
        {"top_p": 0.9, "temperature": 0.7},
    ],
)
def test_every_column_of_the_table_runs(options):
    records = list(train(replace(SMALL, steps=2, **options)))
    assert all(torch.isfinite(torch.tensor(r["loss"])) for r in records)


def test_the_update_is_the_gradient_of_the_stated_loss():
    """One SGD step equals −lr times autograd of ``grpo_loss`` on every row, silent rows included."""
    config = replace(
        SMALL, optimizer="sgd", learning_rate=1.0, max_grad_norm=None, steps=1, kl_coef=0.0,
        prompts_per_step=6, average="token", format_bonus=0.0,
    )  # fmt: skip
    caught = {}
    original = training._update

    def spy(config, state, batch, advantages, ref_logprobs, step):
        caught.update(batch=batch, advantages=advantages)
        model = state.policy.model
        lp = training.token_logprobs(model, batch)  # every row, the plain way
        loss = grpo_loss(
            lp, batch.old_logprobs, advantages, batch.completion_mask, average=token_mean
        )
        caught["gradient"] = torch.autograd.grad(loss, list(model.parameters()))
        return original(config, state, batch, advantages, ref_logprobs, step)

    state = TrainState.begin(config)
    training._update = spy
    try:
        list(train(config, state=state))
    finally:
        training._update = original
    silent = (caught["advantages"] == 0).float().mean()
    assert 0 < silent < 1, "the test needs groups with and without spread"
    for now, was, g in zip(
        state.policy.model.parameters(), state.reference.model.parameters(), caught["gradient"],
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(was - g, now, atol=1e-5, rtol=1e-4)


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
    state = TrainState.begin(LAB)

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
        config = replace(PRESETS["grpo"], **WORLDS["lab"], average=average, device="cpu")
        ends[average] = list(train(replace(config, steps=10)))[-1]
    gap = {k: r["exact_length_wrong"] - r["exact_length_right"] for k, r in ends.items()}
    assert gap["sequence"] > 8 and abs(gap["constant"]) < 2


def test_averages_of_the_config():
    x, mask = torch.rand(3, 5), torch.ones(3, 5).bool()
    for name, average in (
        ("sequence", sequence_mean),
        ("token", token_mean),
        ("constant", constant_mean(40)),
    ):
        torch.testing.assert_close(
            training._average(TrainConfig(average=name))(x, mask), average(x, mask)
        )


def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_state(monkeypatch):
    state = TrainState.begin(SMALL)
    run = train(SMALL, state=state)
    next(run)
    good = [p.detach().clone() for p in state.policy.model.parameters()]
    monkeypatch.setattr(training, "ppo_clip_loss", lambda lp, *_, **__: lp.sum() * float("nan"))
    with pytest.raises(NonFiniteLossError, match=r"step 2.*learning_rate"):
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
        ("p_right", 1.0),
    ],
)
def test_a_senseless_setting_is_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: must be .*got {value!r}"):
        TrainConfig(**{field: value})


def test_division_by_the_std_belongs_to_the_group_baseline():
    with pytest.raises(ValueError, match="divide_by_std"):
        TrainConfig(baseline="leave_one_out")


def test_describe_names_what_differs():
    assert describe(TrainConfig()) == "GRPO, defaults"
    assert describe(PRESETS["dr-grpo"]) == "divide_by_std=False, average=constant"
