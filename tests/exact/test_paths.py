"""Exact learning curves against what must hold of them."""

import math

import numpy as np
import pytest

from rlvr_lab.exact.binary_rewards import length_drift
from rlvr_lab.exact.paths import independent_prompts, kind_pull, shared_prompts, two_stage_path
from tests.exact.test_binary_rewards import binomial


def test_one_question_alone_moves_alike_shared_or_not() -> None:
    alone = independent_prompts([0.3], 8, 20, 0.5, True)
    np.testing.assert_allclose(shared_prompts([0.3], 8, 20, 0.5, True).rates, alone, atol=1e-12)


def test_shared_questions_stay_on_one_curve_whatever_the_weights() -> None:
    a, b = (shared_prompts([0.9, 0.4, 0.05], 8, 300, 0.5, divide) for divide in (False, True))
    levels = np.linspace(0.5, 0.9, 5)
    hard = [np.interp(levels, path.rates[1], path.rates[2]) for path in (a, b)]
    np.testing.assert_allclose(hard[0], hard[1], atol=1e-3)
    assert b.offset[-1] > a.offset[-1]
    with pytest.raises(ValueError, match="p0"):
        shared_prompts([0.0, 0.5], 4, 1, 1.0, True)


def test_the_first_step_of_a_length_path_is_the_drift() -> None:
    for p in (0.2, 0.5, 0.7):
        path = two_stage_path(p, 4, steps=1, lr=1e-6)
        assert (path.mean[1] - path.mean[0]) / 1e-6 == pytest.approx(
            float(length_drift(p, 4)), abs=1e-3
        )


def test_the_switches_of_a_length_path() -> None:
    bent, straight = two_stage_path(0.2, 4, steps=5), two_stage_path(0.2, 4, False, steps=5)
    assert bent.wrong[-1] > 60 and bent.right[-1] < 50
    np.testing.assert_allclose(straight.wrong, 55, atol=1e-9)
    slower = two_stage_path(0.2, 4, divide_by_std=False, steps=5)
    assert 55 < slower.wrong[-1] < bent.wrong[-1]


def test_the_pull_on_a_kind_is_the_expectation_over_two_answers() -> None:
    """By hand: kind, then correctness; advantage = reward − mean reward; the kind's token alone is weighed."""
    pi, a, b, w, v = 0.3, 0.1, 0.6, 1 / 3, 1 / 11
    mean = pi * a + (1 - pi) * b
    by_hand = pi * (a - mean) * w * (1 - pi) + (1 - pi) * (b - mean) * v * (-pi)
    assert float(kind_pull(pi, a, b, w, v)) == pytest.approx(by_hand, rel=1e-12)
    assert float(kind_pull(pi, a, b, w, v)) < float(kind_pull(pi, a, b, v, v)) < 0


# ------------------------------------------------------------------------------ independent prompts


@pytest.mark.parametrize("divide_by_std", [True, False])
def test_learning_curves_equal_loop(divide_by_std):
    starts, group_size, steps, lr = [0.02, 0.3, 0.8], 4, 6, 1.5
    found = independent_prompts(starts, group_size, steps, lr, divide_by_std)
    assert found.shape == (3, steps + 1)
    for start, curve in zip(starts, found, strict=True):
        theta = math.log(start / (1 - start))
        for step in range(steps + 1):
            p = 1 / (1 + math.exp(-theta))
            assert curve[step] == pytest.approx(p, abs=1e-13)
            spread = sum(
                w * math.sqrt(k * (group_size - k)) / group_size
                for k, w in enumerate(binomial(p, group_size))
            )
            theta += lr * (spread if divide_by_std else (group_size - 1) / group_size * p * (1 - p))


def test_learning_curves_rise_and_saturate_without_overflow():
    curves = independent_prompts([1e-6, 0.5, 1 - 1e-9], 8, 50, 1e3, True)
    assert np.isfinite(curves).all() and (np.diff(curves) >= 0).all()
    assert curves[1, -1] == 1.0


def test_std_division_speeds_hard_prompts_up():
    hard = {
        divide: independent_prompts([0.02], 16, 100, 0.2, divide)[0, -1] for divide in (True, False)
    }
    assert hard[True] > 0.5 > hard[False]


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 1.1, math.nan, [0.5, 0.0]])
@pytest.mark.parametrize("paths", [independent_prompts, shared_prompts])
def test_a_start_outside_the_open_interval_is_refused(paths, p) -> None:
    with pytest.raises(ValueError, match="p0: expected a probability in"):
        paths(p, 4, 1, 0.1, True)
