"""How the gold reward grows and falls with d = √KL(π‖π_ref): the forms of Gao et al. (notebook 02).

    best-of-n:  R(d) = d·(α − β·d)         RL:  R(d) = d·(α − β·log d)      (arXiv:2210.10760, section 1)

Both are linear in (α, β), so a fit is a least-squares solve, and its uncertainty a bootstrap over runs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Fit", "fit_gold", "gold_reward", "peak"]


def _terms(distance: np.ndarray, form: str) -> np.ndarray:
    """[…, 2]: what α and β are multiplied with."""
    if form == "best_of_n":
        return np.stack([distance, -(distance**2)], axis=-1)
    if form == "rl":
        safe = np.where(distance > 0, distance, 1.0)  # d·log d → 0 as d → 0
        return np.stack([distance, -distance * np.log(safe)], axis=-1)
    raise ValueError(f"form: must be best_of_n or rl, got {form!r}")


def gold_reward(distance: ArrayLike, alpha: float, beta: float, form: str) -> np.ndarray:
    """R(d), the gain in gold reward over the start, at d = √KL ≥ 0; ``form`` is best_of_n or rl.

    >>> gold_reward([0.0, 2.5], 1.0, 0.2, "best_of_n").tolist()
    [0.0, 1.25]
    """
    distance = np.asarray(distance, dtype=float)
    if (distance < 0).any():
        raise ValueError(f"distance: √KL must not be negative, got {distance.min()}")
    return _terms(distance, form) @ np.array([alpha, beta])


def peak(alpha: float, beta: float, form: str) -> tuple[float, float]:
    """Where the gold reward is largest, and how large it is: (d*, R*).

    best-of-n: (α/(2β), α²/(4β));  RL: (exp(α/β − 1), β·exp(α/β − 1)). Without over-optimisation
    (β ≤ 0) there is no peak: (inf, inf).

    >>> peak(1.0, 0.2, "best_of_n")
    (2.5, 1.25)
    """
    if beta <= 0:
        return float("inf"), float("inf")
    if form == "best_of_n":
        return alpha / (2 * beta), alpha**2 / (4 * beta)
    if form == "rl":
        at = float(np.exp(alpha / beta - 1))
        return at, beta * at
    raise ValueError(f"form: must be best_of_n or rl, got {form!r}")


@dataclass(frozen=True)
class Fit:
    """A fitted form.

    Attributes:
        alpha, beta: least squares over all points of all runs.
        alpha_interval, beta_interval: 95 % bootstrap intervals over runs.
        r_squared: share of the variance that the form explains.
    """

    alpha: float
    beta: float
    alpha_interval: tuple[float, float]
    beta_interval: tuple[float, float]
    r_squared: float


def fit_gold(
    distance: ArrayLike, gold: ArrayLike, form: str, resamples: int = 1000, seed: int = 0
) -> Fit:
    """Fit (α, β) to S runs.

    Args:
        distance: [S, T], √KL of S runs at T times.
        gold: [S, T], gain in gold reward over the start.
        form: which of the two.
        resamples: bootstrap resamples of the runs.
        seed: of the resampling.

    Raises:
        ValueError: when the shapes differ or there are fewer than 2 points.

    >>> d = np.array([[0.5, 1.0, 2.0], [1.0, 2.0, 3.0]])
    >>> fit = fit_gold(d, gold_reward(d, 1.0, 0.5, "rl"), "rl")
    >>> round(fit.alpha, 6), round(fit.beta, 6)
    (1.0, 0.5)
    """
    distance, gold = np.asarray(distance, dtype=float), np.asarray(gold, dtype=float)
    if distance.ndim != 2 or distance.shape != gold.shape or distance.size < 2:
        raise ValueError(
            f"distance, gold: expected two arrays [runs, points] of one shape, got {distance.shape} "
            f"and {gold.shape}"
        )
    terms = _terms(distance, form)

    def solve(rows: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(terms[rows].reshape(-1, 2), gold[rows].ravel(), rcond=None)[0]

    everyone = np.arange(len(gold))
    alpha, beta = solve(everyone)
    rng = np.random.default_rng(seed)
    draws = np.array([solve(rng.choice(everyone, len(everyone))) for _ in range(resamples)])
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    rest = gold - terms @ np.array([alpha, beta])
    return Fit(
        float(alpha),
        float(beta),
        (float(low[0]), float(high[0])),
        (float(low[1]), float(high[1])),
        float(1 - (rest**2).sum() / ((gold - gold.mean()) ** 2).sum()),
    )
