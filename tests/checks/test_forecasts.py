"""What a check says of a prediction: where it is wrong, and never the recorded value."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlvr_lab import checks
from rlvr_lab.checks import calls
from rlvr_lab.checks.forecasts import Forecast
from rlvr_lab.checks.kit import Case, Check

PREDICTIONS = {
    name: check
    for name in checks.__all__
    if isinstance(check := getattr(checks, name), Check) and isinstance(check.secret, Forecast)
}


def right(check: Check) -> list[float]:
    rng = np.random.default_rng(0)
    return [float(check.right(*check.draw(rng, turn).values())) for turn in range(check.calls)]


def foretelling(check: Check, values: list[float]) -> Callable[..., float]:
    rng = np.random.default_rng(0)
    keys = [tuple(check.draw(rng, turn).values()) for turn in range(check.calls)]
    table: dict[Any, float] = dict(zip(keys, values, strict=True))
    return lambda *given: table[given]


def said(check: Check, values: list[float]) -> str:
    with pytest.raises(calls.Mistake) as caught:
        check(foretelling(check, values), seed=1)
    return str(caught.value)


def test_all_eight_predictions_keep_their_values_to_themselves() -> None:
    assert len(PREDICTIONS) == 8
    named = {name for name in checks.__all__ if "predict" in name}
    assert named <= set(PREDICTIONS)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_recorded_values_pass_and_are_in_no_message(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check = PREDICTIONS[name]
    true = right(check)
    check(foretelling(check, true), seed=0)
    assert capsys.readouterr().out.startswith("✓ ")
    rng = np.random.default_rng(3)
    span = max(true) - min(true)
    for _ in range(100):
        guess = [
            float(x) for x in rng.uniform(min(true) - span / 3, max(true) + span / 3, len(true))
        ]
        try:
            check(foretelling(check, guess), seed=0)
        except calls.Mistake as mistake:
            message = str(mistake)
            assert len(message) < 480
            inputs = check.draw(rng, 0)
            assert "should be" not in message and "it gives" not in message
            for value in true:
                shown = {f"{value:g}", f"{value:.2f}", f"{value:.3g}"} - {"6", "0.1"}
                assert not shown & set(re.findall(r"-?\d+\.?\d*", message)), (inputs, message)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_constant_and_the_reversed_order_do_not_pass(name: str) -> None:
    check = PREDICTIONS[name]
    true = right(check)
    for constant in np.linspace(min(true) - 1, max(true) + 1, 30):
        said(check, [float(constant)] * len(true))
    said(check, true[::-1])
    ranks = np.argsort(np.argsort(true))
    said(check, [sorted(true, reverse=True)[rank] for rank in ranks])


def judged(values: list[float], true: list[float], **rules: Any) -> str:
    pairs = enumerate(zip(values, true, strict=True))
    return Forecast(**rules)([Case({"x": x}, *pair) for x, pair in pairs], 0.1)


def test_only_what_is_wrong_is_listed_by_how_much_and_which_way() -> None:
    message = judged([0.5, 0.9, 0.1, 0.51], [0.5, 0.7, 0.5, 0.5])
    assert message.splitlines()[1:] == ["  x = 1: a little too high", "  x = 2: much too low"]
    assert judged([0.5, 0.6], [0.5, 0.7]) == ""


def test_a_wrong_direction_is_said_before_orders_and_sizes() -> None:
    orders = {"the order": lambda a, b: a > b}
    assert "x = 1: the wrong direction" in judged(
        [1.0, 2.0], [1.0, -1.0], signed=True, orders=orders
    )
    assert judged([1.0, 2.0], [1.0, 2.0], signed=True, orders=orders) == "the order"


def test_values_that_are_impossible_are_named() -> None:
    assert judged([0.5, 1.02], [0.5, 1.0], least=0, most=1, unit="a share") == "a share"
