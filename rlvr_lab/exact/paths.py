"""Exact learning curves: expected updates, one after the other (notebook 07).

``binary_rewards`` gives the expected gradient at one point. Here it is followed for some steps: for
questions with and without shared parameters, and for the two-stage toy. All is float64 numpy, without sampling.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rlvr_lab.exact.binary_rewards import (
    Numbers,
    exact_group_advantages,
    logit_gradient,
    probability,
    two_stage_gradient,
)
from rlvr_lab.objectives.averages import Average, constant_mean, sequence_mean

__all__ = [
    "LengthPath",
    "SharedPath",
    "independent_prompts",
    "kind_pull",
    "shared_prompts",
    "two_stage_path",
]


def _logit(p: ArrayLike) -> np.ndarray:
    p = np.atleast_1d(probability("p0", p, open_interval=True))
    return np.log(p) - np.log1p(-p)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -x))


def independent_prompts(
    p0: ArrayLike, group_size: int, steps: int, lr: float, divide_by_std: bool
) -> np.ndarray:
    """Pass rates [M, steps + 1] of M prompts without shared parameters, under their expected updates.

    θ ← θ + lr · multiplier(p, G) · p(1 − p),  p = σ(θ), from ``p0`` [M] in (0, 1)  (notebook 07)

    Without ``divide_by_std`` the multiplier is (G − 1)/G for every prompt.

    >>> independent_prompts([0.5], group_size=2, steps=1, lr=4.0, divide_by_std=True).round(4)
    array([[0.5   , 0.7311]])
    """
    theta = _logit(p0)
    curves = [_sigmoid(theta)]
    advantage = partial(exact_group_advantages, divide_by_std=divide_by_std)
    for _ in range(steps):
        theta = theta + lr * logit_gradient(curves[-1], group_size, advantage)
        curves.append(_sigmoid(theta))
    return np.stack(curves, axis=1)


class SharedPath(NamedTuple):
    """Pass rates [M, steps + 1] of M questions, and their common offset [steps + 1]."""

    rates: np.ndarray
    offset: np.ndarray


def shared_prompts(
    p0: ArrayLike, group_size: int, steps: int, lr: float, divide_by_std: bool
) -> SharedPath:
    """Pass rates of M questions that share *everything*: one common offset of all their logits.

    p_i = σ(θ_i + s),  s ← s + lr · mean_i(dE/dθ_i),  θ_i fixed by ``p0`` [M]      (notebook 07)

    The counterpart of ``independent_prompts``. All that can change is s, so the pass rate of
    one question determines that of every other one, whatever the weights of the questions are.

    >>> path = shared_prompts([0.2, 0.5], group_size=2, steps=3, lr=1.0, divide_by_std=True)
    >>> path.rates.shape, bool((np.diff(path.offset) > 0).all())
    ((2, 4), True)
    """
    theta, offset = _logit(p0), [0.0]
    advantage = partial(exact_group_advantages, divide_by_std=divide_by_std)
    for _ in range(steps):
        gradient = logit_gradient(_sigmoid(theta + offset[-1]), group_size, advantage)
        offset.append(offset[-1] + lr * float(np.mean(gradient)))
    return SharedPath(_sigmoid(theta[:, None] + np.array(offset)), np.array(offset))


class LengthPath(NamedTuple):
    """Expected lengths, in tokens, of the two-stage toy, [steps + 1] each."""

    right: np.ndarray
    wrong: np.ndarray
    mean: np.ndarray


@lru_cache(maxsize=64)
def two_stage_path(
    p: float,
    group_size: int,
    normalise_by_length: bool = True,
    divide_by_std: bool = True,
    steps: int = 60,
    lr: float = 60.0,
    short: int = 10,
    long: int = 100,
) -> LengthPath:
    """Lengths of correct and incorrect answers in the two-stage toy under its expected updates.

    θ_s ← θ_s + lr · g_s, with g_s of ``binary_rewards.two_stage_gradient``; both logits start at 0, so that
    both lengths start half-way.                                                   (notebook 07)

    Args:
        p: probability of the right state, in [0, 1].
        group_size: G.
        normalise_by_length: 1/|o|; otherwise the constant average, with L = ``long``.
        divide_by_std: the other switch.
        steps: number of updates.
        lr: learning rate. It is large because the weights of single tokens are small.
        short, long: the two lengths, in tokens.

    >>> path = two_stage_path(0.2, group_size=4, steps=5)
    >>> bool(path.wrong[-1] > 55 > path.right[-1])
    True
    """
    average: Average = sequence_mean if normalise_by_length else constant_mean(long)
    advantage = partial(exact_group_advantages, divide_by_std=divide_by_std)
    logits = np.zeros((steps + 1, 2))
    for step in range(steps):
        right, wrong = _sigmoid(logits[step])
        pull = two_stage_gradient(p, group_size, average, advantage, short, long, right, wrong)
        logits[step + 1] = logits[step] + lr * np.array(pull, dtype=float)
    length = short + (long - short) * _sigmoid(logits)
    right, wrong = length.T
    return LengthPath(right, wrong, p * right + (1 - p) * wrong)


def kind_pull(
    share: ArrayLike, correct: float, correct_other: float, weight: float, weight_other: float
) -> Numbers:
    r"""Expected ascent on the logit of one kind of answer, of which a share π is given  (notebook 07).

    π(1−π) · (1−π)(a − b)·w + π(1−π) · π(a − b)·w' for pass rates a, b of this kind and of the other one, with
    weights w, w' of the token that decides the kind: the large-group limit without division by the std, where
    the advantage of an answer is its reward minus πa + (1−π)b. With w = w' it is the plain policy gradient.

    Args:
        share: π, the share of this kind.
        correct: a.
        correct_other: b.
        weight: w, 1/|o| or a constant.
        weight_other: w'.

    >>> float(kind_pull(0.5, 0.1, 0.9, 1 / 11, 1 / 11)) < 0
    True
    """
    pi = np.asarray(share, dtype=np.float64)
    gap = correct - correct_other
    return pi * (1 - pi) * gap * ((1 - pi) * weight + pi * weight_other)
