"""Reliability and ECE on samples whose calibration is known."""

import numpy as np
import pytest

from rlvr_lab.records.calibration import calibration_error, calibration_interval, reliability


def sample(shift: float, count: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Answers that are right with chance confidence − shift."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.3, 1.0, count)
    return confidence, (rng.random(count) < confidence - shift).astype(float)


def test_a_calibrated_model_has_almost_no_error_and_an_overconfident_one_its_shift() -> None:
    assert calibration_error(*sample(0.0)) < 0.015
    assert calibration_error(*sample(0.2)) == pytest.approx(0.2, abs=0.01)
    assert calibration_error(*sample(-0.0, count=50)) > 0.03, (
        "few answers look uncalibrated by chance"
    )


def test_the_error_by_hand() -> None:
    confidence, correct = [0.05, 0.15, 0.95, 0.85, 1.0], [0, 1, 1, 0, 1]
    diagram = reliability(confidence, correct, bins=2)
    assert diagram.count.tolist() == [2, 3]
    assert diagram.confidence.tolist() == pytest.approx([0.1, 2.8 / 3])
    assert diagram.accuracy.tolist() == pytest.approx([0.5, 2 / 3])
    error = 2 / 5 * 0.4 + 3 / 5 * (2.8 / 3 - 2 / 3)
    assert calibration_error(confidence, correct, bins=2) == pytest.approx(error)


def test_full_confidence_belongs_to_the_last_bin_and_empty_bins_are_left_out() -> None:
    diagram = reliability([1.0, 1.0], [1, 0])
    assert diagram.count.tolist() == [2] and diagram.accuracy.tolist() == [0.5]


def test_the_interval_shrinks_with_more_answers_and_holds_the_shift() -> None:
    widths = []
    for count in (200, 5000):
        low, high = calibration_interval(*sample(0.2, count), resamples=200)
        assert low < 0.2 + 0.02 and high > 0.2 - 0.02
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_usual_settings_are_ten_bins_and_95_percent_of_a_thousand_resamples() -> None:
    answers = sample(0.1, 100)
    spelled = calibration_interval(*answers, bins=10, level=0.95, resamples=1000, seed=0)
    assert calibration_interval(*answers) == spelled
    assert calibration_error(*answers) == calibration_error(*answers, bins=10)
    assert len(reliability(np.linspace(0, 1, 500), np.ones(500)).count) == 10
    wide, narrow = (calibration_interval(*answers, level=level) for level in (0.95, 0.5))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_no_confidence_at_all_is_a_confidence() -> None:
    diagram = reliability([0.0, 0.0], [0, 1])
    assert diagram.confidence.tolist() == [0.0] and diagram.accuracy.tolist() == [0.5]
    with pytest.raises(AttributeError):
        diagram.count = np.zeros(1)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: reliability([0.5], [1, 0]), "confidence, correct"),
        (lambda: reliability([], []), "confidence, correct"),
        (lambda: reliability([1.2], [1]), "confidence"),
        (lambda: reliability([0.5], [1], bins=0), "bins: need at least 1, got 0"),
        (lambda: calibration_interval([0.5], [1], level=1.0), "level"),
    ],
)
def test_bad_input_is_named(call, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        call()


def test_the_interval_has_equal_tails() -> None:
    low, high = calibration_interval(*sample(0.1, 100), level=0.01)
    assert low <= high
