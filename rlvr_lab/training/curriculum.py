"""Which problems a step asks: probabilities over classes of difficulty (notebook 09, section 4).

The classes are ordered from the easiest to the hardest; here a class is a number of terms. A *pool* says how often
each class occurs in the data. A strategy turns it into the probabilities of the next step:

    p = strategy(pool, u, s)        p, pool, s: [K];  u in [0, 1] is the share of the budget that is spent

where s holds a running success rate for each class. ``in_order`` is curriculum sampling and ``prioritised`` is
prioritised sampling (Kimi k1.5, section 2.3.4, arXiv:2501.12599). ``warm_up`` is the curriculum of that paper's
Figure 9.

Deviation from the paper: Kimi tracks the success rate of each *problem*. Our problems are drawn anew for each step,
so that hardly any is asked twice; rates are kept for each class.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

__all__ = [
    "Strategy",
    "admitted",
    "band",
    "in_order",
    "prioritised",
    "reversed_order",
    "silent",
    "tracked",
    "uniform",
    "variance",
    "warm_up",
    "without_order",
]

Strategy = Callable[
    [Float[ndarray, " K"], float, Float[ndarray, " K"]],
    Float[ndarray, " K"],
]
"""(pool, progress u, success rates s) → probabilities of the K classes."""
SLICES = 200
"""Points at which ``without_order`` averages."""


def _shares(weights: Float[ndarray, " K"], pool: Float[ndarray, " K"]) -> Float[ndarray, " K"]:
    """Weights that sum to 1; the pool where all of them are 0."""
    chosen = weights if weights.sum() > 0 else pool
    return chosen / chosen.sum()


def uniform(
    pool: Float[ndarray, " K"], progress: float, rates: Float[ndarray, " K"]
) -> Float[ndarray, " K"]:
    """Every problem of the pool with the same probability: p = pool."""
    return _shares(pool, pool)


def admitted(classes: int, start: int, ramp: float, progress: float) -> int:
    """How many of the easiest classes a curriculum asks: ``start`` at u = 0, all of them from u = ``ramp`` on.

    >>> [admitted(11, 3, 0.5, u) for u in (0.0, 0.25, 0.49, 0.5)]
    [3, 7, 10, 11]
    """
    return min(classes, start + int((classes - start) * progress / ramp + 1e-9))


def in_order(start: int, ramp: float) -> Strategy:
    """Easy to hard: the pool restricted to its easiest classes, whose number grows until it is the whole pool.

    Args:
        start: number of classes at the beginning.
        ramp: share of the budget after which all classes are asked.
    """

    def strategy(
        pool: Float[ndarray, " K"], progress: float, rates: Float[ndarray, " K"]
    ) -> Float[ndarray, " K"]:
        asked = np.arange(len(pool)) < admitted(len(pool), start, ramp, progress)
        return _shares(pool * asked, pool)

    return strategy


def reversed_order(strategy: Strategy) -> Strategy:
    """A control: the same probabilities in the opposite order, p(1 − u)."""
    return lambda pool, progress, rates: strategy(pool, 1 - min(1.0, progress), rates)


def without_order(strategy: Strategy) -> Strategy:
    """A control: the same mixture without an order, the mean of p(u) over the budget."""

    def mean(
        pool: Float[ndarray, " K"], progress: float, rates: Float[ndarray, " K"]
    ) -> Float[ndarray, " K"]:
        places = (np.arange(SLICES) + 0.5) / SLICES
        return np.mean([strategy(pool, place, rates) for place in places], axis=0)

    return mean


def warm_up(switch: float, hardest: int) -> Strategy:
    """The whole pool until a share ``switch`` of the budget is spent, then only its ``hardest`` classes."""

    def strategy(
        pool: Float[ndarray, " K"], progress: float, rates: Float[ndarray, " K"]
    ) -> Float[ndarray, " K"]:
        hard = np.arange(len(pool)) >= len(pool) - hardest
        return _shares(pool * hard if progress >= switch else pool, pool)

    return strategy


def prioritised(
    pool: Float[ndarray, " K"], progress: float, rates: Float[ndarray, " K"]
) -> Float[ndarray, " K"]:
    """Prioritised sampling: p ∝ pool · (1 − s), more of what fails more often.

    >>> prioritised(np.array([0.5, 0.5]), 0.0, np.array([0.9, 0.1])).round(2).tolist()
    [0.1, 0.9]
    """
    return _shares(pool * (1 - rates), pool)


def variance(floor: float) -> Strategy:
    """p ∝ pool · s(1 − s), the variance of a reward of 0 or 1: little of what always fails or never fails.

    Args:
        floor: share that is drawn from the pool all the same. A class that is not asked would keep its rate.
    """

    def strategy(
        pool: Float[ndarray, " K"], progress: float, rates: Float[ndarray, " K"]
    ) -> Float[ndarray, " K"]:
        return (1 - floor) * _shares(pool * rates * (1 - rates), pool) + floor * pool

    return strategy


def band(low: float, high: float, floor: float) -> Strategy:
    """The classes whose running rate lies in [``low``, ``high``], chosen before sampling; ``floor`` as above."""

    def strategy(
        pool: Float[ndarray, " K"], progress: float, rates: Float[ndarray, " K"]
    ) -> Float[ndarray, " K"]:
        inside: Bool[ndarray, " K"] = (low <= rates) & (rates <= high)
        return (1 - floor) * _shares(pool * inside, pool) + floor * pool

    return strategy


def tracked(rate: float, pass_rate: float, memory: float) -> float:
    """A running success rate after one more group: s ← memory · s + (1 − memory) · pass rate.

    >>> tracked(0.5, 1.0, memory=0.8)
    0.6
    """
    return memory * rate + (1 - memory) * pass_rate


def silent(rates: Float[ndarray, " K"], group_size: int) -> Float[ndarray, " K"]:
    """Probability that G answers are all incorrect or all correct: (1 − s)^G + s^G.

    Such a group has no spread in the accuracy reward, so its advantages say nothing about correctness.

    >>> silent(np.array([0.0, 0.5]), group_size=2).tolist()
    [1.0, 0.5]
    """
    return (1 - rates) ** group_size + rates**group_size
