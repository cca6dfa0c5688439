r"""Exact expectations over groups of binary rewards (notebook 07).

A group of G binary rewards has only G + 1 different outcomes, and a group of G answers of four kinds
has C(G+3, 3). So each expected value here is a finite sum over counts. The advantages come from
``advantages`` and the token weights from ``losses.reinforce_loss``, the functions that the trainer
uses. Everything is float64 numpy. Probabilities may be numbers or arrays; a value outside the interval
that a function names raises ``ValueError``.

*Two-stage toy*: the outcome is decided before the length. With probability p the state is *right*
(reward 1), otherwise *wrong* (reward 0). Only then does the policy choose a short or a long answer, with
one logit per state: π_r = σ(θ_r) and π_w = σ(θ_w) are the probabilities of *long*. The choice is one
token; the other tokens are certain (log-probability 0). The length does not change the reward, so any
drift of the length is a bias.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.objectives.averages import Average, sequence_mean
from rlvr_lab.objectives.losses import reinforce_loss

__all__ = [
    "exact_group_advantages",
    "length_drift",
    "length_drift_closed_form",
]
__all__ += ["logit_gradient", "multiplier", "std_multiplier", "std_multiplier_closed_form"]
__all__ += ["std_multiplier_limit", "two_stage_gradient", "zero_spread_probability"]

Advantage = Callable[[Tensor, int], Tensor]  # (rewards [N·G], group_size) -> [N·G], group by group
Numbers = np.ndarray | np.float64  # with the shape of the probabilities


def exact_group_advantages(
    rewards: Tensor, group_size: int, divide_by_std: bool = True, ddof: int = 0
) -> Tensor:
    """``group_advantages`` in the limit eps → 0: a group of zero spread gets advantage 0.

    >>> exact_group_advantages(torch.tensor([1.0, 1.0, 1.0, 0.0]), group_size=2)
    tensor([ 0.,  0.,  1., -1.])
    """
    return group_advantages(rewards, group_size, divide_by_std, ddof, eps=0.0).nan_to_num(nan=0.0)


def probability(name: str, value: ArrayLike, open_interval: bool = False) -> np.ndarray:
    """``value`` as a float64 array; ``ValueError`` names it unless it lies in [0, 1], or in (0, 1)."""
    array = np.asarray(value, dtype=np.float64)
    if not ((array > 0) & (array < 1) if open_interval else (array >= 0) & (array <= 1)).all():
        interval = "(0, 1)" if open_interval else "[0, 1]"
        raise ValueError(f"{name}: expected a probability in {interval}, got {value}")
    return array


def _binomial(p: np.ndarray, trials: int) -> np.ndarray:
    """P(K = k) for k = 0 … trials, in a new last axis."""
    k = np.arange(trials + 1)
    coefficients = np.array([float(math.comb(trials, n)) for n in range(trials + 1)])
    return coefficients * p[..., None] ** k * (1 - p[..., None]) ** (trials - k)


def _advantage_by_count(group_size: int, advantage: Advantage) -> tuple[np.ndarray, np.ndarray]:
    """Advantage of a correct and an incorrect answer when K = 0 … G are correct (0 if there is none)."""
    rewards = torch.ones(group_size + 1, group_size, dtype=torch.float64).tril(-1)  # row K: K ones
    table = advantage(rewards.flatten(), group_size).view_as(rewards).numpy()
    has = rewards.numpy()
    return table[:, 0] * has[:, 0], table[:, -1] * (1 - has[:, -1])


def logit_gradient(
    p: ArrayLike, group_size: int, advantage: Advantage = exact_group_advantages
) -> Numbers:
    """Expected gradient (uphill) of the logit θ of a prompt with pass rate p = σ(θ) in [0, 1]  (notebook 07).

    E_K[1/G · Σ_i A_i · ∂log π(y_i)/∂θ],  K ~ Bin(G, p), ∂log π/∂θ = 1 − p (correct) or −p (incorrect)

    >>> float(logit_gradient(0.5, group_size=2))
    0.25
    """
    p, k = probability("p", p), np.arange(group_size + 1)
    right, wrong = _advantage_by_count(group_size, advantage)
    chance = _binomial(p, group_size) / group_size
    return (1 - p) * (chance @ (k * right)) - p * (chance @ ((group_size - k) * wrong))


def multiplier(p: ArrayLike, group_size: int, advantage: Advantage) -> Numbers:
    """The factor m in E[gradient] = m · ∇p for a pass rate p in (0, 1), by enumeration (notebook 07).

    RLOO: 1. Group mean: (G−1)/G (arXiv:2503.20783, appendix A). MaxRL: (1 − (1−p)^(G−1))/p, with
    exponent G if it is not centred (arXiv:2602.02710). Group mean and std: ``std_multiplier``.

    >>> round(float(multiplier(0.3, 8, partial(exact_group_advantages, divide_by_std=False))), 9)
    0.875
    """
    p = probability("p", p, open_interval=True)
    return logit_gradient(p, group_size, advantage) / (p * (1 - p))


def std_multiplier(p: ArrayLike, group_size: int, ddof: int = 0) -> Numbers:
    """The weight that division by the group's std gives to a prompt with pass rate p, by enumeration.

    p lies in (0, 1). The weight is computed with ``group_advantages``; ``std_multiplier_closed_form`` is
    its formula. With ``ddof=1`` (the sample std) it is √((G−1)/G) times as large. (arXiv:2510.13651;
    notebook 07)

    >>> [round(float(std_multiplier(0.1, G)), 4) for G in (2, 8, 64)]
    [1.0, 2.3277, 3.2548]
    """
    return multiplier(p, group_size, partial(exact_group_advantages, ddof=ddof))


def _mean_std(p: np.ndarray, group_size: int) -> Numbers:
    """E_K[√(K/G · (1 − K/G))], the mean std of a group."""
    share = np.arange(group_size + 1) / group_size
    return _binomial(p, group_size) @ np.sqrt(share * (1 - share))


def std_multiplier_closed_form(p: ArrayLike, group_size: int) -> Numbers:
    """E_K[√(K/G · (1 − K/G))] / (p(1 − p)),  K ~ Bin(G, p), p in (0, 1)  (notebook 07).

    It is exactly 1 for G = 2 and each p. It tends to √(G−1) as p → 0, which is its upper bound.

    >>> round(float(std_multiplier_closed_form(0.01, 8)), 4)
    2.6089
    """
    p = probability("p", p, open_interval=True)
    return _mean_std(p, group_size) / (p * (1 - p))


def std_multiplier_limit(p: ArrayLike) -> Numbers:
    """The multiplier as G → ∞: 1/√(p(1−p)), p in (0, 1)  (notebook 07).

    So GRPO maximises 2·arcsin √p where the plain policy gradient maximises p (arXiv:2510.13651).

    >>> float(std_multiplier_limit(0.5))
    2.0
    """
    p = probability("p", p, open_interval=True)
    return 1 / np.sqrt(p * (1 - p))


def zero_spread_probability(p: ArrayLike, group_size: int) -> Numbers:
    """Probability p^G + (1 − p)^G, p in [0, 1], that all G answers get equal rewards.

    >>> round(float(zero_spread_probability(0.1, 8)), 4)
    0.4305
    """
    p = probability("p", p)
    return p**group_size + (1 - p) ** group_size


@lru_cache(maxsize=64)
def _weight_by_count(
    group_size: int, average: Average, short: int, long: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of A·∇log π in a short and in a long answer when 0 … G are long, from the actual loss."""
    weights = np.zeros((2, group_size + 1))
    ones = torch.ones(group_size, dtype=torch.float64)
    for count in range(group_size + 1):
        lengths = torch.tensor([long] * count + [short] * (group_size - count))
        mask = torch.arange(long) < lengths[:, None]
        logprobs = torch.zeros(group_size, long, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(reinforce_loss(logprobs, ones, mask, average), logprobs)
        weights[:, count] = -gradient[-1, 0].item(), -gradient[0, 0].item()
    return weights[0], weights[1]


def two_stage_gradient(
    p: ArrayLike,
    group_size: int,
    average: Average = sequence_mean,
    advantage: Advantage = exact_group_advantages,
    short: int = 10,
    long: int = 100,
    long_right: ArrayLike = 0.5,
    long_wrong: ArrayLike = 0.5,
) -> tuple[Numbers, Numbers]:
    r"""Expected gradient (uphill) of the toy's "long" logits ``(θ_r, θ_w)``; positive means longer
    (notebook 07).

    E[Σ_i A_i · w_i · 1(state_i = s) · (1(long_i) − π_s)],  w_i = 1/(G·|o_i|), 1/Σ|o| or 1/(G·L)

    With 1/\|o\| and advantages that sum to zero: ∓ p(1−p)·m · π_s(1−π_s) · (1/L_s − 1/L_l), m the
    ``multiplier``: shorter (−) when right and longer (+) when wrong. With a constant: 0. With
    ``token_mean``: a bias of order 1/G remains. (Mechanism: Dr. GRPO, arXiv:2503.20783, section 3.1.)

    Args:
        p, long_right, long_wrong: probability of the right state, π_r and π_w, in [0, 1]; they
        broadcast.
        average, advantage: the course's two switches, as the trainer uses them.
        short, long: L_s and L_l in tokens, 1 ≤ short < long (else ``ValueError``).

    >>> [round(float(g), 4) for g in two_stage_gradient(0.4, group_size=2)]
    [-0.0054, 0.0054]
    """
    if not 1 <= short < long:
        raise ValueError(f"short, long: expected 1 <= short < long, got {short} and {long}")
    chances = {"p": p, "long_right": long_right, "long_wrong": long_wrong}
    p, pi_r, pi_w = np.broadcast_arrays(
        *(probability(name, value) for name, value in chances.items())
    )
    adv_right, adv_wrong = _advantage_by_count(group_size, advantage)
    weight_short, weight_long = _weight_by_count(group_size, average, short, long)
    chance, right, wrong = _binomial(p, group_size), np.zeros(p.shape), np.zeros(p.shape)
    # K answers are correct and a of them long; b of the other G − K are long: the counts of all kinds.
    for k in range(group_size + 1):
        a, b = np.arange(k + 1)[:, None], np.arange(group_size - k + 1)
        w_short, w_long = weight_short[a + b], weight_long[a + b]
        joint = _binomial(pi_r, k)[..., :, None] * _binomial(pi_w, group_size - k)[..., None, :]
        for total, adv, size, longs, pi in (
            (right, adv_right[k], k, a, pi_r),
            (wrong, adv_wrong[k], group_size - k, b, pi_w),
        ):
            lengthen = (joint * longs * w_long).sum((-2, -1)) * (1 - pi)
            shorten = (joint * (size - longs) * w_short).sum((-2, -1)) * pi
            total += chance[..., k] * adv * (lengthen - shorten)
    return right, wrong


def length_drift(
    p: ArrayLike,
    group_size: int,
    average: Average = sequence_mean,
    advantage: Advantage = exact_group_advantages,
    short: int = 10,
    long: int = 100,
    long_right: ArrayLike = 0.5,
    long_wrong: ArrayLike = 0.5,
    shared: bool = False,
) -> Numbers:
    """Growth of the mean length under the expected gradient, in tokens per unit of learning rate.

    dE|o|/dη = (L_l − L_s)·[p·v_r·g_r + (1−p)·v_w·g_w],  v_s = π_s(1−π_s), (g_r, g_w) and the
    arguments from ``two_stage_gradient``      (notebook 07)

    ``shared``: one logit for both states, so that the length is independent of the outcome (needs
    π_r = π_w, else ``ValueError``). Then (L_l − L_s)·v·(g_r + g_w) = 0: advantages sum to zero.

    >>> [round(float(length_drift(p, group_size=4)), 4) for p in (0.2, 0.5, 0.8)]
    [0.0806, 0.0, -0.0806]
    """
    toy = (average, advantage, short, long, long_right, long_wrong)
    g_r, g_w = two_stage_gradient(p, group_size, *toy)
    p, pi_r, pi_w = (np.asarray(chance, dtype=float) for chance in (p, long_right, long_wrong))
    if not shared:
        return (long - short) * (p * pi_r * (1 - pi_r) * g_r + (1 - p) * pi_w * (1 - pi_w) * g_w)
    if (pi_r != pi_w).any():
        raise ValueError(f"long_right, long_wrong: must agree if shared, got {pi_r} and {pi_w}")
    return (long - short) * pi_r * (1 - pi_r) * (g_r + g_w)


def length_drift_closed_form(
    p: ArrayLike, group_size: int | None, short: int = 10, long: int = 100, pi: float = 0.5
) -> Numbers:
    r"""``length_drift`` with 1/\|o\|, population std and π_r = π_w = π; p in [0, 1]  (notebook 07).

    (L_l − L_s)(1/L_s − 1/L_l) · [π(1−π)]² · E_K√(K/G·(1−K/G)) · (1 − 2p)

    As G → ∞ (``group_size=None``) the expected value becomes √(p(1−p)); without the std it is
    p(1−p)(G−1)/G instead. Answers get longer if most are incorrect (p < ½), otherwise shorter.

    >>> round(float(length_drift_closed_form(0.2, 4)), 4)
    0.0806
    """
    p = probability("p", p)
    spread = np.sqrt(p * (1 - p)) if group_size is None else _mean_std(p, group_size)
    return (long - short) * (1 / short - 1 / long) * (pi * (1 - pi)) ** 2 * spread * (1 - 2 * p)
