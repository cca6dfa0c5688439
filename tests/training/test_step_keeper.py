"""What a keeper keeps, when it computes log π after the update, and that a run does not notice it."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.state import TrainState
from rlvr_lab.training.step_keeper import StepKeeper

CONFIG = PolicyGradientConfig(
    world="lab", steps=9, prompts_per_step=2, group_size=4, max_new_tokens=6, rewards={"accuracy": 1.0},
    optimizer="sgd", learning_rate=0.1, max_grad_norm=None, device="cpu",
)  # fmt: skip


def test_it_keeps_the_first_some_in_between_and_the_latest() -> None:
    keeper = StepKeeper(most=3)
    seen = [[one.step for one in keeper.steps] for _ in train(CONFIG, watch=keeper)]
    assert seen[:5] == [[1], [1, 2], [1, 3], [1, 4], [1, 4, 5]]
    assert seen[-1] == [1, 4, 7, 9]
    assert all(one.after is not None for one in keeper.steps)


def test_a_run_that_is_watched_is_the_run_that_is_not() -> None:
    records = [list(train(CONFIG, watch=watch)) for watch in (None, StepKeeper(most=9))]
    for plain, watched in zip(*records, strict=True):
        same = [key for key in plain if not key.startswith("seconds_")]
        assert {key: plain[key] for key in same} == {key: watched[key] for key in same}


def test_after_is_that_of_the_step_and_not_of_a_later_one() -> None:
    state = CONFIG.begin()
    batches, found = [], []

    class Watched(StepKeeper):
        def __call__(self, config, state, experience):
            batches.append(experience.batch)
            return super().__call__(config, state, experience)

    keeper = Watched(most=4)  # keeps steps 1, 4, 7
    for record in train(CONFIG, state=state, watch=keeper):
        if record["step"] == 4:
            break
        found.append(token_logprobs(state.policy.model, batches[-1]).detach())
    kept = {one.step: one for one in keeper.steps}
    assert torch.equal(kept[1].after, found[0])


def test_the_latest_step_has_no_after_once_the_policy_moves_on() -> None:
    state, keeper = CONFIG.begin(), StepKeeper(most=1)
    for step in range(3):
        experience = CONFIG.collect(state)
        look_again = keeper(CONFIG, state, experience)
        CONFIG.update(state, experience)
        if step == 2:  # the second step is the latest, but the third update has been taken
            break
        state.step += 1
        look_again()
    assert [(one.step, one.after is None) for one in keeper.steps] == [(1, False), (2, True)]
    with pytest.raises(ValueError, match="step 2 was not kept"):
        keeper.steps[-1].weigh("run", at="after")


def test_the_latest_step_is_measured_when_somebody_asks() -> None:
    state, keeper = CONFIG.begin(), StepKeeper(most=1)
    for _ in range(2):
        experience = CONFIG.collect(state)
        look_again = keeper(CONFIG, state, experience)
        CONFIG.update(state, experience)
        state.step += 1
        look_again()
    wanted = token_logprobs(state.policy.model, experience.batch).detach()
    assert torch.equal(keeper.steps[-1].after, wanted)


def test_an_eager_keeper_measures_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    count = []
    name = "rlvr_lab.training.inspected_kinds.token_logprobs"
    monkeypatch.setattr(name, lambda *given: count.append(1) or given[1].old_logprobs)
    for eager, passes in ((False, 3), (True, 9)):
        keeper = StepKeeper(most=3)
        keeper.eager = eager
        count.clear()
        list(train(CONFIG, watch=keeper))
        assert len(count) == passes


def test_a_kind_that_cannot_be_shown_is_not_kept() -> None:
    keeper = StepKeeper()
    assert keeper(RunConfig(), TrainState(CONFIG.begin().policy), None) is None
    assert keeper.steps == []


def test_the_loop_calls_a_watch_before_and_after_each_update() -> None:
    order = []

    class Noted(PolicyGradientConfig):
        def update(self, state, experience):
            order.append("update")
            return super().update(state, experience)

    def watch(config, state, experience):
        order.append(("before", config.learning_rate, state.step))
        return lambda: order.append(("after", state.step))

    config = Noted(**{**CONFIG.__dict__, "steps": 2})
    live = replace(config, learning_rate=0.2)
    list(train(config, watch=watch, live_config=lambda: live))
    assert order == [
        ("before", 0.2, 0),
        "update",
        ("after", 1),
        ("before", 0.2, 1),
        "update",
        ("after", 2),
    ]
