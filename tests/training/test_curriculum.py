"""Strategies: the probabilities of each class, by hand; the controls hold what they are to hold."""

import numpy as np
import pytest

from rlvr_lab.training.curriculum import (
    admitted,
    band,
    in_order,
    prioritised,
    reversed_order,
    silent,
    tracked,
    uniform,
    variance,
    warm_up,
    without_order,
)

POOL = np.array([0.1, 0.1, 0.2, 0.6])
RATES = np.array([1.0, 0.8, 0.5, 0.0])
EVERY = {
    "uniform": uniform,
    "in order": in_order(2, 0.5),
    "reversed": reversed_order(in_order(2, 0.5)),
    "without order": without_order(in_order(2, 0.5)),
    "warm-up": warm_up(0.4, 2),
    "1 - s": prioritised,
    "s(1 - s)": variance(0.1),
    "band": band(0.2, 0.8, 0.1),
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("progress", [0.0, 0.3, 0.5, 1.0, 1.4])
def test_probabilities_sum_to_one(name: str, progress: float) -> None:
    for rates in (RATES, np.zeros(4), np.ones(4)):
        p = EVERY[name](POOL, progress, rates)
        assert p.shape == (4,) and (p >= 0).all()
        assert p.sum() == pytest.approx(1, abs=1e-12)


def test_uniform_is_the_pool() -> None:
    np.testing.assert_allclose(uniform(POOL, 0.3, RATES), POOL)
    np.testing.assert_allclose(uniform(5 * POOL, 0.3, RATES), POOL)


def test_easy_to_hard_admits_one_class_after_another() -> None:
    # Two classes at the beginning, four at u = .5: the third is admitted at u = .25.
    counts = [admitted(4, 2, 0.5, u) for u in (0.0, 0.24, 0.25, 0.49, 0.5, 1.0)]
    assert counts == [2, 2, 3, 3, 4, 4]
    strategy = in_order(2, 0.5)
    np.testing.assert_allclose(strategy(POOL, 0.0, RATES), [0.5, 0.5, 0, 0])
    np.testing.assert_allclose(strategy(POOL, 0.3, RATES), [0.25, 0.25, 0.5, 0])
    np.testing.assert_allclose(strategy(POOL, 0.5, RATES), POOL)
    np.testing.assert_allclose(strategy(POOL, 1.0, RATES), POOL)


def test_the_controls_hold_the_same_probabilities() -> None:
    strategy, places = in_order(2, 0.5), (np.arange(1000) + 0.5) / 1000
    forward = np.array([strategy(POOL, u, RATES) for u in places])
    backward = np.array([reversed_order(strategy)(POOL, u, RATES) for u in places])
    np.testing.assert_allclose(backward, forward[::-1])
    np.testing.assert_allclose(reversed_order(strategy)(POOL, 0.0, RATES), POOL)
    np.testing.assert_allclose(reversed_order(strategy)(POOL, 1.0, RATES), [0.5, 0.5, 0, 0])
    mixed = without_order(strategy)
    np.testing.assert_allclose(mixed(POOL, 0.9, RATES), forward.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(mixed(POOL, 0.9, RATES), mixed(POOL, 0.0, RATES))
    # A quarter of the budget each for two and for three classes, half of it for all.
    by_hand = (np.array([0.5, 0.5, 0, 0]) + [0.25, 0.25, 0.5, 0] + 2 * POOL) / 4
    np.testing.assert_allclose(mixed(POOL, 0.0, RATES), by_hand)


def test_the_warm_up_ends_at_its_switch() -> None:
    strategy = warm_up(0.4, 2)
    np.testing.assert_allclose(strategy(POOL, 0.39, RATES), POOL)
    np.testing.assert_allclose(strategy(POOL, 0.4, RATES), [0, 0, 0.25, 0.75])
    np.testing.assert_allclose(warm_up(0.4, 1)(POOL, 0.4, RATES), [0, 0, 0, 1])


def test_priorities_by_hand() -> None:
    # 1 − s: 0, .2, .5, 1, times the pool: 0, .02, .1, .6
    np.testing.assert_allclose(
        prioritised(POOL, 0.0, RATES), np.array([0, 0.02, 0.1, 0.6]) / 0.72, atol=1e-12
    )
    np.testing.assert_allclose(prioritised(POOL, 0.0, np.ones(4)), POOL)
    # s(1 − s): 0, .16, .25, 0, times the pool: 0, .016, .05, 0
    np.testing.assert_allclose(
        variance(0.1)(POOL, 0.0, RATES),
        0.9 * np.array([0, 0.016, 0.05, 0]) / 0.066 + 0.1 * POOL,
        atol=1e-12,
    )
    np.testing.assert_allclose(variance(0.3)(POOL, 0.0, np.ones(4)), POOL)


def test_the_band_includes_its_ends_and_a_floor() -> None:
    inside = np.array([0, 0.1, 0.2, 0]) / 0.3
    np.testing.assert_allclose(
        band(0.5, 0.8, 0.1)(POOL, 0.0, RATES), 0.9 * inside + 0.1 * POOL, atol=1e-12
    )
    np.testing.assert_allclose(band(0.5, 0.8, 0.0)(POOL, 0.0, RATES), inside, atol=1e-12)
    np.testing.assert_allclose(band(0.6, 0.7, 0.0)(POOL, 0.0, RATES), POOL)  # nothing inside


def test_a_running_rate_forgets() -> None:
    rate = 0.5
    for _ in range(3):
        rate = tracked(rate, 1.0, 0.8)
    assert rate == pytest.approx(1 - 0.5 * 0.8**3)
    assert tracked(0.4, 0.0, 0.0) == 0


def test_silent_groups_are_the_expectation_over_answers() -> None:
    rates, size = np.array([0.0, 0.1, 0.5, 0.9, 1.0]), 4
    rng = np.random.default_rng(0)
    correct = (rng.random((200_000, 5, size)) < rates[:, None]).sum(axis=2)
    np.testing.assert_allclose(
        silent(rates, size), ((correct == 0) | (correct == size)).mean(axis=0), atol=4e-3
    )


def test_the_controls_ask_the_strategy_at_the_right_places() -> None:
    def place(pool, progress, rates):
        return np.array([progress, 1 - progress])

    two = np.array([0.5, 0.5])
    assert reversed_order(place)(two, 0.3, two).tolist() == pytest.approx([0.7, 0.3])
    assert reversed_order(place)(two, 1.4, two).tolist() == [0, 1]  # after the budget as at its end
    assert without_order(place)(two, 0.0, two).tolist() == pytest.approx([0.5, 0.5])
