r"""Policy-gradient losses, one small function per algorithm. All are *minimised*.

Each algorithm of the course is one row of a table (notebook 07):

| algorithm | advantage            | ratio             | clip             | average         |
|-----------|----------------------|-------------------|------------------|-----------------|
| REINFORCE | r − b                | none              | none             | any             |
| RLOO      | leave-one-out        | none              | none             | sum (constant)  |
| GRPO      | group z-score        | token             | 1 ± ε            | sequence, 1/\|o\| |
| Dr. GRPO  | group, centred       | token             | 1 ± ε            | constant        |
| DAPO      | group z-score        | token             | 1 − ε, 1 + ε_high| token           |
| GSPO      | group z-score        | sequence          | 1 ± ε            | sequence        |
| CISPO     | group z-score        | token, detached   | weight ≤ 1 + ε   | token           |
| MaxRL     | group, ÷ mean        | token             | 1 ± ε            | constant        |

The advantages are computed in ``advantages`` and the averages in ``averages``; the functions here
apply the ratio and the clip. A loss does not sample, grade or log.

Shapes: ``logprobs``, ``old_logprobs``, ``ref_logprobs`` and ``mask`` [B, T]; ``advantages`` [B].
Gradient flows only through ``logprobs``.
"""

import torch
from jaxtyping import Bool, Float

from rlvr_lab.objectives.averages import Average, constant_mean, sequence_mean, token_mean
from rlvr_lab.objectives.kl import KlEstimator, k3, kl_penalty
from rlvr_lab.objectives.ratios import (
    clip_range,
    clipped_surrogate,
    column,
    sequence_ratio,
    token_ratio,
    trained,
)

__all__ = [
    "cispo_loss",
    "dapo_loss",
    "dr_grpo_loss",
    "grpo_loss",
    "gspo_loss",
    "ppo_clip_loss",
    "reinforce_loss",
    "rloo_loss",
]

BT = Float[torch.Tensor, "B T"]
Mask = Bool[torch.Tensor, "B T"]
Scalar = Float[torch.Tensor, ""]
PerAnswer = Float[torch.Tensor, " B"]


def reinforce_loss(
    logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    average: Average = sequence_mean,
) -> Scalar:
    """Plain policy gradient: −average(A · log π)  (Williams 1992; notebook 06).

    Raises:
        ValueError: when ``advantages`` is not [B], the log-probability of a trained token is not
            finite, or a row of ``mask`` is empty.

    >>> one = torch.ones(1, 2)
    >>> reinforce_loss(-one, torch.tensor([2.0]), one.bool())
    tensor(2.)
    """
    return average(-column(advantages, mask) * trained("logprobs", logprobs, mask), mask)


def rloo_loss(logprobs: BT, advantages: PerAnswer, mask: Mask) -> Scalar:
    """REINFORCE on whole answers: −mean_i(A_i · Σ_t log π)  (arXiv:2402.14740).

    The whole answer is one action, so the log-probabilities of its tokens are *summed*:
    ``constant_mean(1)``. The advantages come from ``leave_one_out_advantages``.

    >>> one = torch.ones(1, 2)
    >>> rloo_loss(-one, torch.tensor([2.0]), one.bool())
    tensor(4.)
    """
    return reinforce_loss(logprobs, advantages, mask, average=constant_mean(1))


def ppo_clip_loss(
    logprobs: BT,
    old_logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    average: Average = token_mean,
    ratio_cap: float | None = None,
) -> Scalar:
    """PPO's clipped objective with one ratio per token  (eq. 7, arXiv:1707.06347).

    −average(min(ρ·A, clip(ρ, 1−ε_low, 1+ε_high)·A)),  ρ = exp(log π − log π_old)

    On the first update after a rollout ρ = 1, so the gradient is the plain policy gradient.

    Raises:
        ValueError: as ``reinforce_loss``, and for an invalid clip range.

    >>> one = torch.ones(1, 2)
    >>> ppo_clip_loss(-one, -one, torch.tensor([2.0]), one.bool())
    tensor(-2.)
    """
    a = column(advantages, mask)
    ratio = token_ratio(logprobs, old_logprobs, mask)
    return average(-clipped_surrogate(ratio, a, clip_low, clip_high, ratio_cap), mask)


def grpo_loss(
    logprobs: BT,
    old_logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    ref_logprobs: BT | None = None,
    kl_coef: float = 0.0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    average: Average = sequence_mean,
    estimator: KlEstimator = k3,
) -> Scalar:
    """GRPO: PPO's clip with group advantages, 1/|o| per answer, and a KL to the *reference* policy.

    −1/B Σ_i 1/|o_i| Σ_t { min(ρA, clip(ρ)A) − β·k3 }      (DeepSeekMath, eq. 3, arXiv:2402.03300)

    Notebook 06 derives it step by step. ``average=constant_mean(L)`` is the second of the course's
    two switches (the first, division by the std, is in ``group_advantages``).

    Args:
        logprobs: log π of the sampled tokens; gradient flows through them.
        old_logprobs: log π_old, recorded when the tokens were sampled.
        advantages: [B], from ``group_advantages``.
        mask: True on trained tokens.
        ref_logprobs: log π_ref of the same tokens; needed when ``kl_coef`` > 0.
        kl_coef: β ≥ 0, the weight of the KL term.
        clip_low: ε_low.
        clip_high: ε_high.
        average: ``sequence_mean`` (GRPO), ``token_mean`` (DAPO) or ``constant_mean(L)`` (Dr. GRPO).
        estimator: the KL estimator that is differentiated; GRPO's is ``k3``.

    Returns:
        A scalar to minimise.

    Raises:
        ValueError: as ``ppo_clip_loss`` and ``kl_penalty``.

    >>> one = torch.ones(1, 2)
    >>> grpo_loss(-one, -one, torch.tensor([2.0]), one.bool(), ref_logprobs=-1.5 * one, kl_coef=2.0)
    tensor(-1.7869)
    """
    policy = ppo_clip_loss(logprobs, old_logprobs, advantages, mask, clip_low, clip_high, average)
    return policy + kl_penalty(logprobs, ref_logprobs, mask, kl_coef, average, estimator)


def dr_grpo_loss(
    logprobs: BT,
    old_logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    max_length: float,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Scalar:
    """GRPO with a constant instead of 1/|o|  (Dr. GRPO, arXiv:2503.20783).

    The paper's other change is in the advantages: use ``group_advantages(…, divide_by_std=False)``.

    >>> one = torch.ones(1, 2)
    >>> dr_grpo_loss(-one, -one, torch.tensor([2.0]), one.bool(), max_length=4)
    tensor(-1.)
    """
    average = constant_mean(max_length)
    return ppo_clip_loss(logprobs, old_logprobs, advantages, mask, clip_low, clip_high, average)


def dapo_loss(
    logprobs: BT,
    old_logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
) -> Scalar:
    """GRPO averaged over all tokens, with a higher upper clip bound  (DAPO, eq. 8, arXiv:2503.14476).

    DAPO's dynamic sampling, which replaces groups of zero spread, changes the batch and not the loss.

    >>> one = torch.ones(1, 2)
    >>> dapo_loss(-one, -one - 0.24, torch.tensor([1.0]), one.bool())
    tensor(-1.2712)
    """
    return ppo_clip_loss(logprobs, old_logprobs, advantages, mask, clip_low, clip_high, token_mean)


def gspo_loss(
    logprobs: BT,
    old_logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
    average: Average = sequence_mean,
    ratio_cap: float | None = None,
) -> Scalar:
    """GRPO with one length-normalised ratio per answer  (GSPO, arXiv:2507.18071).

    s_i = exp(1/|o_i| · Σ_t (log π − log π_old)). The clip acts on a whole answer at once.

    >>> one = torch.ones(1, 2)
    >>> gspo_loss(-one, -one, torch.tensor([2.0]), one.bool())
    tensor(-2.)
    """
    a = column(advantages, mask)
    ratio = sequence_ratio(logprobs, old_logprobs, mask)
    surrogate = clipped_surrogate(ratio, a, clip_low, clip_high, ratio_cap)
    return average(-surrogate.expand_as(logprobs), mask)


def cispo_loss(
    logprobs: BT,
    old_logprobs: BT,
    advantages: PerAnswer,
    mask: Mask,
    clip_high: float = 0.28,
    average: Average = token_mean,
) -> Scalar:
    """Clip the importance *weight* and detach it, so that every token keeps a gradient.

    −average(sg[min(ρ, 1 + ε_high)] · A · log π)      (MiniMax-M1, eq. 4–5, arXiv:2506.13585)

    >>> one = torch.ones(1, 2)
    >>> cispo_loss(-one, -one - 1.0, torch.tensor([1.0]), one.bool())
    tensor(1.2800)
    """
    a = column(advantages, mask)
    _, high = clip_range(0.0, clip_high)
    weight = token_ratio(logprobs, old_logprobs, mask).clamp(max=high).detach()
    return average(-weight * a * trained("logprobs", logprobs, mask), mask)
