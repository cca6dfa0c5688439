"""Calibration: are answers with a confidence of 80 % correct in 80 % of cases? (notebook 02)"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Reliability", "calibration_error", "calibration_interval", "reliability"]


@dataclass(frozen=True)
class Reliability:
    """The data of a reliability diagram, one entry for each confidence bin that is not empty.

    Attributes:
        confidence: mean confidence in the bin.
        accuracy: share of correct answers in the bin.
        count: number of answers in the bin.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


def _pairs(confidence: ArrayLike, correct: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    sure, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if sure.ndim != 1 or sure.shape != right.shape or len(sure) == 0:
        raise ValueError(
            f"confidence, correct: expected two lists of equal length, got {sure.shape} and {right.shape}"
        )
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError("confidence: every confidence must be a probability in [0, 1]")
    return sure, right


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> Reliability:
    """Bins of equal width over [0, 1] (Guo et al. 2017, arXiv:1706.04599).

    Args:
        confidence: [M], the probability that the model gave to the answer it chose.
        correct: [M], 1 where the answer was correct.
        bins: number of bins.

    Raises:
        ValueError: when the two do not match, a confidence is no probability, or ``bins`` < 1.

    >>> reliability([0.95, 0.85, 0.15], [1, 0, 0], bins=2).accuracy.tolist()
    [0.0, 0.5]
    """
    sure, right = _pairs(confidence, correct)
    if bins < 1:
        raise ValueError(f"bins: need at least 1, got {bins}")
    place = np.minimum((sure * bins).astype(int), bins - 1)  # 1.0 belongs to the last bin
    count = np.bincount(place, minlength=bins)
    full = count > 0
    means = [
        np.bincount(place, weights=x, minlength=bins)[full] / count[full] for x in (sure, right)
    ]
    return Reliability(means[0], means[1], count[full])


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> float:
    """ECE = Σ_b n_b/M · |accuracy_b − confidence_b|, the expected calibration error (arXiv:1706.04599).

    It is zero for a calibrated model in the limit of many answers. With few answers it is positive by
    chance, so report an interval with it (``calibration_interval``).

    >>> calibration_error([0.9, 0.9], [1, 0])
    0.4
    """
    diagram = reliability(confidence, correct, bins)
    gap = np.abs(diagram.accuracy - diagram.confidence)
    return float((diagram.count * gap).sum() / diagram.count.sum())


def calibration_interval(
    confidence: ArrayLike,
    correct: ArrayLike,
    bins: int = 10,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the ECE, over answers.

    Resampling adds noise, which biases the ECE upwards, so with few answers the interval is a little too
    high.

    Raises:
        ValueError: as ``reliability``, and unless ``level`` lies in (0, 1).

    >>> low, high = calibration_interval([0.9] * 50, [1] * 45 + [0] * 5)
    >>> 0 <= low < high < 0.2
    True
    """
    if not 0 < level < 1:
        raise ValueError(f"level: must lie strictly between 0 and 1, got {level}")
    sure, right = _pairs(confidence, correct)
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(resamples):
        rows = rng.integers(0, len(sure), len(sure))
        errors.append(calibration_error(sure[rows], right[rows], bins))
    low, high = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
