"""Policies in closed form: the KL-regularised optimum and best-of-n (notebooks 01, 02).

A problem is a list of Y answers with a reference distribution ``ref`` [Y] and rewards [Y]. Everything is
float64 numpy, in nats. Distributions that do not add up to 1 raise ``ValueError``.
"""

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "best_of_n",
    "best_of_n_kl_bound",
    "binary_best_of_n",
    "kl_divergence",
    "regularised_objective",
    "regularised_optimum",
]


def _distribution(name: str, value: ArrayLike) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != 1 or (array < 0).any() or abs(array.sum() - 1) > 1e-9:
        raise ValueError(f"{name}: expected probabilities [Y] that add up to 1, got {value}")
    return array


def _rewards(value: ArrayLike, ref: np.ndarray) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    if array.shape != ref.shape or not np.isfinite(array).all():
        raise ValueError(f"rewards: expected {len(ref)} finite numbers, got {value}")
    return array


def kl_divergence(p: ArrayLike, q: ArrayLike) -> float:
    """KL(p‖q) = Σ_y p·log(p/q), in nats; infinite if p > 0 and q = 0 for some y.

    >>> round(kl_divergence([1.0, 0.0], [0.5, 0.5]), 4)
    0.6931
    """
    p, q = _distribution("p", p), _distribution("q", q)
    has = p > 0
    with np.errstate(divide="ignore"):
        return float((p[has] * (np.log(p[has]) - np.log(q[has]))).sum())


def regularised_objective(
    policy: ArrayLike, ref: ArrayLike, rewards: ArrayLike, beta: float
) -> float:
    """J(π) = E_π[r] − β·KL(π‖π_ref): the objective of RLHF (arXiv:2305.18290, eq. 3).

    >>> regularised_objective([0.5, 0.5], [0.5, 0.5], [0.0, 1.0], beta=1.0)
    0.5
    """
    policy = _distribution("policy", policy)
    return float(policy @ _rewards(rewards, policy)) - beta * kl_divergence(policy, ref)


def regularised_optimum(
    ref: ArrayLike, rewards: ArrayLike, beta: float
) -> tuple[np.ndarray, float]:
    """π*(y) = π_ref(y)·exp(r(y)/β)/Z and J(π*) = β·log Z  (arXiv:2305.18290, eq. 4; notebook 01).

    For any other policy, J(π*) − J(π) = β·KL(π‖π*).

    Args:
        ref: π_ref, [Y].
        rewards: r, [Y].
        beta: β > 0. With a large β, π* stays near the reference; with a small one, the best answer gets
            nearly all probability.

    Raises:
        ValueError: when ``beta`` is not positive.

    >>> policy, value = regularised_optimum([0.5, 0.5], [0.0, np.log(3)], beta=1.0)
    >>> policy.round(6).tolist()
    [0.25, 0.75]
    """
    if not beta > 0:
        raise ValueError(f"beta: must be positive, got {beta}")
    ref = _distribution("ref", ref)
    scaled = _rewards(rewards, ref) / beta
    top = scaled[ref > 0].max()
    weight = ref * np.exp(np.minimum(scaled - top, 0.0))
    return weight / weight.sum(), float(beta * (np.log(weight.sum()) + top))


def best_of_n(ref: ArrayLike, rewards: ArrayLike, n: int) -> np.ndarray:
    """The distribution of the best of n samples of the reference, ties broken at random; [Y].

    P(best ≤ r) = P(one ≤ r)^n. Answers with equal rewards share the probability in proportion to ``ref``.

    Raises:
        ValueError: when n < 1.

    >>> best_of_n([0.5, 0.5], [0.0, 1.0], n=2).tolist()
    [0.25, 0.75]
    """
    if n < 1:
        raise ValueError(f"n: need at least 1 sample, got {n}")
    ref = _distribution("ref", ref)
    rewards = _rewards(rewards, ref)
    _, level = np.unique(rewards, return_inverse=True)
    mass = np.bincount(level, weights=ref)
    upto = np.minimum(np.cumsum(mass), 1.0) ** n
    best = np.diff(upto, prepend=0.0)
    share = np.divide(best, mass, out=np.zeros_like(mass), where=mass > 0)
    return ref * share[level]


def best_of_n_kl_bound(n: ArrayLike) -> np.ndarray | np.float64:
    """log n − (n−1)/n, in nats: often quoted as the KL of best-of-n.

    It is an upper bound. Equality needs a reward without ties and answers that are not repeated
    (arXiv:2401.01879). With rewards of 0 and 1 the KL stays below −log p: see ``binary_best_of_n``.

    >>> round(float(best_of_n_kl_bound(16)), 4)
    1.8351
    """
    n = np.asarray(n, dtype=np.float64)
    if (n < 1).any():
        raise ValueError(f"n: need at least 1 sample, got {n}")
    return np.log(n) - (n - 1) / n


def binary_best_of_n(p: float, n: int) -> tuple[float, float]:
    """Success rate q = 1 − (1−p)^n and exact KL of best-of-n for rewards of 0 and 1.

    KL = q·log(q/p) + (1−q)·log((1−q)/(1−p)) → −log p as n → ∞: all correct answers have equal rewards, so
    more samples change nothing once one is correct (notebook 02).

    Raises:
        ValueError: unless 0 < p < 1 and n ≥ 1.

    >>> [round(x, 3) for x in binary_best_of_n(0.5, 16)]
    [1.0, 0.693]
    """
    if not 0 < p < 1:
        raise ValueError(f"p: must lie strictly between 0 and 1, got {p}")
    best = best_of_n([1 - p, p], [0.0, 1.0], n)
    return float(best[1]), kl_divergence(best, [1 - p, p])
