"""Exact learning curves against what must hold of them."""

import numpy as np
import pytest

from rlvr_lab.exact.binary_rewards import independent_prompts, length_drift
from rlvr_lab.exact.paths import kind_pull, shared_prompts, two_stage_path


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
