"""Fits recover what made the data; peaks are where the curve is highest."""

import math

import numpy as np
import pytest

from rlvr_lab.experiments.scaling_laws import fit_gold, gold_reward, peak

GRID = np.linspace(0.0, 6.0, 60_001)


@pytest.mark.parametrize(("form", "alpha", "beta"), [("best_of_n", 1.0, 0.2), ("rl", 1.0, 0.5)])
def test_the_peak_is_the_top_of_the_curve(form: str, alpha: float, beta: float) -> None:
    at, height = peak(alpha, beta, form)
    curve = gold_reward(GRID, alpha, beta, form)
    assert GRID[curve.argmax()] == pytest.approx(at, abs=2e-4)
    assert curve.max() == pytest.approx(height, abs=1e-7)


def test_the_published_example() -> None:
    assert peak(1.0, 0.2, "best_of_n") == pytest.approx((2.5, 1.25))
    assert peak(1.0, 0.5, "rl") == pytest.approx((2.718, 1.359), abs=5e-4)
    assert peak(1.0, 0.0, "rl") == peak(1.0, -0.1, "best_of_n") == (math.inf, math.inf)


@pytest.mark.parametrize("form", ["best_of_n", "rl"])
def test_a_fit_recovers_the_truth_and_its_interval_holds_it(form: str) -> None:
    rng = np.random.default_rng(0)
    distance = np.sort(rng.uniform(0.1, 4.0, (8, 30)), axis=1)
    clean = gold_reward(distance, 1.7, 0.6, form)
    noisy = clean + rng.normal(0, 0.1, (8, 1)) * distance + rng.normal(0, 0.05, clean.shape)
    exact, fit = fit_gold(distance, clean, form), fit_gold(distance, noisy, form)
    assert (exact.alpha, exact.beta, exact.r_squared) == pytest.approx((1.7, 0.6, 1.0), abs=1e-9)
    assert fit.alpha_interval[0] < 1.7 < fit.alpha_interval[1]
    assert fit.beta_interval[0] < 0.6 < fit.beta_interval[1]
    assert 0 < fit.alpha_interval[1] - fit.alpha_interval[0] < 0.5
    assert 0.5 < fit.r_squared < 1


def test_the_wrong_form_fits_worse() -> None:
    distance = np.linspace(0.1, 6, 40)[None].repeat(2, axis=0)
    gold = gold_reward(distance, 1.0, 0.5, "rl")
    assert (
        fit_gold(distance, gold, "best_of_n").r_squared
        < 0.99
        < fit_gold(distance, gold, "rl").r_squared
    )


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: gold_reward([-1.0], 1.0, 1.0, "rl"), "distance"),
        (lambda: gold_reward([1.0], 1.0, 1.0, "ppo"), "form: must be"),
        (lambda: peak(1.0, 1.0, "ppo"), "form: must be"),
        (lambda: fit_gold([1.0, 2.0], [1.0, 2.0], "rl"), "distance, gold"),
        (lambda: fit_gold([[1.0, 2.0]], [[1.0]], "rl"), "distance, gold"),
    ],
)
def test_bad_input_is_named(call, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        call()
