"""The grids leave no setting out: a field that never changes could be ignored unseen."""

import importlib
from dataclasses import fields
from itertools import combinations, product
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from tests.reference.test_policy_gradient import GRID as POLICY_GRADIENT
from tests.reference.test_policy_gradient import PolicyGradientConfig

MODULES = sorted(p.stem for p in Path(__file__).parent.glob("test_*.py") if p != Path(__file__))
GRIDS: dict[type, list] = {}
for name in MODULES:
    module = importlib.import_module(f"tests.reference.{name}")
    for kind, configs in getattr(module, "GRID", {}).items():
        GRIDS.setdefault(kind, []).extend(configs)
# Equations are compared in float64. What bfloat16 changes is tested in ``tests/training/test_dtype.py``.
ROUNDED = "dtype"
FIELDS = [(kind, field) for kind in GRIDS for field in fields(kind) if field.name != ROUNDED]
NAMES = [f"{kind.__name__}.{field.name}" for kind, field in FIELDS]


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=NAMES)
def test_every_field_takes_two_values_and_every_choice(kind, field) -> None:
    values = {_hashable(getattr(config, field.name)) for config in GRIDS[kind]}
    assert len(values) >= 2, f"{field.name} is {values} throughout"
    if get_origin(field.type) is Literal:
        assert values == set(get_args(field.type))


def _hashable(value):
    return tuple(value.items()) if isinstance(value, dict) else value


# MaxRL refuses the negative rewards that a KL in the reward makes; an estimator is for the loss.
IMPOSSIBLE = {("maxrl", "reward"), ("k1", "reward"), ("k2", "reward"), ("k3", "reward")}


def test_every_two_choices_of_a_policy_gradient_meet() -> None:
    """All pairs of a baseline, an average, a ratio, an estimator, a place of the KL, an optimiser."""
    choices = {
        f.name: get_args(f.type)
        for f in fields(PolicyGradientConfig)
        if get_origin(f.type) is Literal and f.name != ROUNDED
    }
    assert len(choices) == 6
    for one, other in combinations(choices, 2):
        met = {
            (getattr(c, one), getattr(c, other))
            for c in POLICY_GRADIENT[PolicyGradientConfig]
            if matters(c, one) and matters(c, other)
        }
        missing = set(product(choices[one], choices[other])) - met
        assert missing <= IMPOSSIBLE, f"{one} and {other}: {missing}"


def matters(config: PolicyGradientConfig, name: str) -> bool:
    """Whether a choice has a say in a run: a KL of no weight has none."""
    if name == "kl_estimator":
        return config.kl_coef > 0 and config.kl_in == "loss"
    return name != "kl_in" or config.kl_coef > 0
