"""What a message shows of two values that nearly agree, and of a derived formula."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlvr_lab import checks
from rlvr_lab.checks import kit
from rlvr_lab.checks.calls import Mistake
from rlvr_lab.checks.shown import show_apart, withheld


def told(check: Any, fn: Callable[..., Any], seed: int = 0) -> str:
    with pytest.raises(Mistake) as caught:
        check(fn, seed=seed)
    return str(caught.value).split("\n  (to get")[0]


def test_two_values_that_differ_look_different() -> None:
    cases = [kit.Case({"x": 1.0}, 0.123456, 0.123457)]
    with pytest.raises(Mistake, match=r"it gives 0.123456\nand should be 0.123457"):
        kit.judge("f", cases, {}, tolerance=1e-8)
    assert show_apart(np.array([2.0, 1.11]), np.array([2.0, 1.2])) == ("[2, 1.11]", "[2, 1.2]")
    assert show_apart(1.0, 1.0 + 1e-14) == ("1", "1")
    assert show_apart("a", "b") == ("'a'", "'b'")


def nearly(p: float, size: int) -> tuple[float, float, float]:
    """Two limits that are right, and a correction from one large group."""
    q, big = p * (1 - p), 2000
    k = np.arange(1, big)
    ways = [math.lgamma(big + 1) - math.lgamma(j + 1) - math.lgamma(big - j + 1) for j in k]
    chance = np.exp(ways + k * math.log(p) + (big - k) * math.log1p(-p))
    found = float((chance * np.sqrt(k / big * (1 - k / big))).sum() / q)
    return math.sqrt(size - 1), q**-0.5, big * (q**-0.5 - found)


def test_a_numerical_answer_that_is_nearly_right_is_told_what_is_asked_for() -> None:
    for seed in range(5):
        said = told(checks.check_multiplier_limits, nearly, seed)
        assert "The third number is too " in said
        assert said.endswith("by less than 1%. A closed form is asked for, and it is exact")


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        ("check_multiplier_limits", lambda p, size: (0.5, 0.5, 0.5)),
        ("check_worst_kl", lambda low, high: (0.5, 0.5)),
        ("check_loo_variance", lambda pi, rewards, size: 17.0),
        ("check_gae_error", lambda errors, gamma, lam: 0 * errors + 17),
    ],
)
def test_the_correct_value_of_a_derivation_is_not_shown(
    check: str, wrong: Callable[..., Any]
) -> None:
    table = getattr(checks, check)
    table = getattr(table, "parts", [table])[0]
    for seed in range(5):
        said = told(table, wrong, seed)
        assert "not one of the common mistakes" in said
        assert "should be" not in said
        inputs = table.draw(np.random.default_rng(seed), 0)
        right = np.ravel(table.right(*inputs.values()))
        assert not any(len(x) > 4 and x in said for x in (f"{value:.4g}" for value in right))
        assert "too large" in said or "too small" in said
        assert "closed form" not in said


def test_a_formula_that_is_right_is_not_commented() -> None:
    right = kit.Case({"x": 1.0}, (1.0, 2.0), (1.0, 2.0))
    wrong = kit.Case({"x": 3.0}, (1.0, 5.0), (1.0, 2.0))
    assert withheld([right], 1e-5) == ""
    assert "x = 3\nit gives [1, 5]\nThe second number is too large" in withheld(
        [right, wrong], 1e-5
    )
    assert "This is too small" in withheld([kit.Case({"x": 3.0}, 0.0, 1.0)], 1e-5)
    series = kit.Case({"x": 3.0}, np.array([1.0, 0.0]), np.array([1.0, 2.0]))
    assert "The number at index 1 is too small" in withheld([series], 1e-5)
