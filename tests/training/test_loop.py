"""The loop, with an algorithm that only counts: what it calls, when, and what a record holds."""

from dataclasses import dataclass, replace

import pytest
from torch import nn

from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import NonFiniteLossError
from rlvr_lab.training.state import TrainState
from tests.reference.plain import random_policy


@dataclass(frozen=True)
class Count(RunConfig):
    """Adds ``by`` at each step; a record after every ``every`` steps."""

    by: int = 1
    size: int = 3
    every: int = 1
    first: bool = False

    FIXED = (*RunConfig.FIXED, "size")

    def begin(self) -> TrainState:
        return TrainState(random_policy(), numbers={"sum": 0.0})

    def opening(self, state):
        return {"sum": state.numbers["sum"]} if self.first else None

    def collect(self, state):
        return self.by

    def measure(self, state, experience):
        return {"before": state.numbers["sum"]}

    def update(self, state, experience):
        if experience == 13:
            raise NonFiniteLossError("thirteen")
        state.numbers["sum"] += experience
        return {"added": experience}

    def after(self, state):
        return None if state.step % self.every else {"sum": state.numbers["sum"]}


def without_times(records) -> list[dict]:
    records = list(records)
    assert all(0 <= r.pop("seconds_update") < 60 for r in records if r["step"])
    return records


def test_a_record_is_measured_before_updated_and_measured_again() -> None:
    assert without_times(train(Count(steps=2, by=5))) == [
        {"step": 1, "before": 0.0, "added": 5, "sum": 5.0, "changed": []},
        {"step": 2, "before": 5.0, "added": 5, "sum": 10.0, "changed": []},
    ]


def test_an_opening_comes_before_step_1_and_steps_can_go_without_a_record() -> None:
    config = Count(steps=4, every=2, first=True)
    records = without_times(train(config))
    assert [(r["step"], r["sum"]) for r in records] == [(0, 0.0), (2, 2.0), (4, 4.0)]
    assert records[0] == {"step": 0, "sum": 0.0, "changed": []}


def test_a_run_goes_on_from_a_given_state_without_another_opening() -> None:
    config = Count(steps=3, first=True)
    state = config.begin()
    state.step = 1
    assert [r["step"] for r in train(config, state=state)] == [2, 3]
    assert state.step == 3 and state.numbers["sum"] == 2.0
    assert list(train(config, state=state)) == []


def test_a_live_change_holds_from_the_next_step_on_and_is_told_once() -> None:
    config, state = Count(steps=4), Count().begin()
    later = replace(config, by=10)
    records = train(config, state=state, live_config=lambda: config if state.step < 2 else later)
    assert [(r["added"], r["changed"]) for r in records] == [
        (1, []),
        (1, []),
        (10, ["by: 1 -> 10"]),
        (10, []),
    ]


@pytest.mark.parametrize(("field", "value"), [("size", 4), ("seed", 1), ("steps", 9)])
def test_what_is_fixed_cannot_change_not_even_after_another_change(field, value) -> None:
    config, state = Count(steps=4), Count().begin()
    live = [config, replace(config, by=2), replace(config, by=2, **{field: value})]
    run = train(config, state=state, live_config=lambda: live[state.step])
    next(run), next(run)
    with pytest.raises(ValueError, match=rf"^{field}: fixed during a run"):
        next(run)


def test_a_run_cannot_become_one_of_another_algorithm() -> None:
    class Other(Count, kind="other"):
        pass

    del RunConfig.KINDS["other"]
    with pytest.raises(ValueError, match=r"^live_config: a run of .* cannot become one of other$"):
        next(train(Count(), live_config=Other))


def test_an_update_that_is_not_finite_is_told_with_its_step() -> None:
    config, state = Count(), Count().begin()
    state.step = 6
    with pytest.raises(NonFiniteLossError, match=r"^step 7: thirteen$"):
        next(train(replace(config, by=13), state=state))
    assert state.step == 6


def test_the_modules_of_a_state_are_those_that_there_are() -> None:
    policy, other = random_policy(0), random_policy(1)
    full = TrainState(policy, other, value_model=nn.Identity())
    assert full.modules["policy"] is policy.model and full.modules["reference"] is other.model
    assert list(full.modules) == ["policy", "reference", "value"]
    bare = TrainState(policy)
    assert list(bare.modules) == ["policy"]
    assert bare.step == 0 and bare.rewards == bare.numbers == {}
