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
