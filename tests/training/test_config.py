"""What every configuration can do: refuse by name, say what differs, be found under its name."""

from dataclasses import dataclass, fields
from typing import Literal

import pytest

from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.state import TrainState
from tests.reference.plain import random_policy


@dataclass(frozen=True)
class Example(RunConfig):
    """A configuration with a field of each kind."""

    colour: Literal["red", "blue"] = "red"
    count: int = 1
    weight: float = 0.0
    rate: float = 0.1
    limit: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "count")
        self.require_at_least(0, "weight")
        self.require_positive("rate", "limit")


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("colour", "green", "one of red, blue"),
        ("count", 0, "at least 1"),
        ("weight", -0.1, "not negative"),
        ("rate", 0.0, "positive"),
        ("rate", -1.0, "positive"),
        ("rate", None, "positive"),
        ("limit", 0.0, "positive or None"),
        ("steps", 0, "at least 1"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(field, value, rule) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: must be {rule}, got {value!r}$"):
        Example(**{field: value})


def test_the_edge_of_what_makes_sense_is_allowed() -> None:
    Example(colour="blue", count=1, weight=0.0, rate=1e-9, limit=None, steps=1)
    Example(limit=1e-9)


def test_steps_and_seed_have_defaults_and_are_given_by_name() -> None:
    assert (Example().steps, Example().seed) == (60, 0)
    assert [f.name for f in fields(Example) if f.kw_only] == ["steps", "seed"]
    assert Example.FIXED == ("steps", "seed")


def test_changes_are_listed_with_both_values() -> None:
    now = Example(count=2, rate=0.5)
    assert Example().changes_to(now) == ["count: 1 -> 2", "rate: 0.1 -> 0.5"]
    assert now.changes_to(now) == []


def test_the_entries_of_a_dictionary_are_settings_of_their_own() -> None:
    from rlvr_lab.training.policy_gradient import PolicyGradientConfig

    old = PolicyGradientConfig(rewards={"accuracy": 1.0, "language": 0.0})
    new = PolicyGradientConfig(rewards={"accuracy": 1.0, "language": 0.3, "format": 0.1})
    assert old.changes_to(new) == ["rewards.language: 0.0 -> 0.3", "rewards.format: None -> 0.1"]
    assert old.settings()["rewards.accuracy"] == 1.0 and "rewards" not in old.settings()
    assert old.settings()["kl_coef"] == 0.0


def test_a_kind_is_found_under_its_name_and_no_name_registers_nothing() -> None:
    before = dict(RunConfig.KINDS)

    class Named(RunConfig, kind="named for this test"):
        pass

    assert Named.KIND == "named for this test"
    assert before | {"named for this test": Named} == RunConfig.KINDS
    assert Example.KIND == "" and RunConfig.KIND == ""
    del RunConfig.KINDS["named for this test"]


def test_what_an_algorithm_need_not_supply_says_nothing() -> None:
    config, state = Example(), TrainState(random_policy())
    assert config.opening(state) is None
    assert config.measure(state, None) == {} and config.after(state) == {}
    for hook in (config.begin, lambda: config.collect(state), lambda: config.update(state, None)):
        with pytest.raises(NotImplementedError):
            hook()
