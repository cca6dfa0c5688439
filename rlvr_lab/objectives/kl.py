"""Estimators of KL(π‖π_ref) from samples of π; exact KL and entropy from logits.

Direction and sign in the whole package: tokens are sampled from π (the policy), and
``k1 = log π − log π_ref``, so that E_π[k1] = KL(π‖π_ref) ≥ 0.

As *values*, k1 and k3 are unbiased. As *losses*, that is, after differentiation, the three have
different expected gradients. With whole answers sampled from π itself (notebook 06; arXiv:2506.09477):

| estimator | E[value]                 | E[gradient]                            |
|-----------|--------------------------|----------------------------------------|
| k1        | KL(π‖π_ref)              | 0                                      |
| k2        | biased                   | ∇KL(π‖π_ref), the reverse KL           |
| k3        | KL(π‖π_ref)              | ∇KL(π_ref‖π), the *forward* KL         |
| ρ·k3      | KL(π‖π_ref)              | ∇KL(π‖π_ref), ρ = π / sg(π)            |

The table takes the whole answer as one action. Summed per token, as a loss does, the gradients are those of
the KLs of each *next token*, with the prefixes held fixed (``exact.kl_gradients``).
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.averages import Average, masked_mean
from rlvr_lab.objectives.ratios import trained

__all__ = [
    "KlEstimator",
    "adapted_kl_coef",
    "entropy",
    "entropy_bonus",
    "exact_kl",
    "k1",
    "k2",
    "k3",
    "kl_penalty",
    "kl_shaped_rewards",
]

KlEstimator = Callable[[Tensor, Tensor], Tensor]
"""A function ``(log π, log π_ref) -> nats``, elementwise."""


def k1(
    logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """The log-ratio, log π − log π_ref, in nats (Schulman 2020).

    It is unbiased, but has a high variance and is often negative.

    >>> k1(torch.tensor([-1.0]), torch.tensor([-1.5]))
    tensor([0.5000])
    """
    return logprobs - ref_logprobs


def k2(
    logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Half the squared log-ratio, ½·k1², in nats (Schulman 2020): biased, but not negative.

    >>> k2(torch.tensor([-1.0]), torch.tensor([-1.5]))
    tensor([0.1250])
    """
    return 0.5 * k1(logprobs, ref_logprobs).square()


def k3(
    logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """exp(−k1) − 1 + k1, in nats (Schulman 2020): unbiased and not negative.

    This is GRPO's estimator (DeepSeekMath, eq. 4, arXiv:2402.03300).

    >>> k3(torch.tensor([-1.0]), torch.tensor([-1.5]))
    tensor([0.1065])
    """
    log_ratio = k1(logprobs, ref_logprobs)
    return torch.expm1(-log_ratio) + log_ratio


def exact_kl(
    logits: Float[Tensor, "*shape V"], ref_logits: Float[Tensor, "*shape V"]
) -> Float[Tensor, "*shape"]:
    """KL(π‖π_ref) of the next-token distributions, summed over the whole vocabulary, in nats.

    Σ_v π(v) · (log π(v) − log π_ref(v)). Gradient flows through both arguments.

    >>> exact_kl(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 0.0]))
    tensor(0.)
    """
    log_p, log_q = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    # A token with π = 0 (log π = −inf) adds nothing to the sum. It is removed from the difference,
    # since 0 · inf would be nan in the value and in the gradient.
    allowed = log_p > -torch.inf
    difference = torch.where(allowed, log_p, 0.0) - torch.where(allowed, log_q, 0.0)
    return (log_p.exp() * difference).sum(-1)


def kl_penalty(
    logprobs: Float[Tensor, "B T"],
    ref_logprobs: Float[Tensor, "B T"] | None,
    mask: Bool[Tensor, "B T"],
    kl_coef: float,
    average: Average,
    estimator: KlEstimator = k3,
    ratio: Float[Tensor, "B #T"] | None = None,  # noqa: F821
) -> Float[Tensor, ""]:
    """β · average(ρ · estimator(log π, log π_ref)): the KL term as a *loss*.

    Without ``ratio``, ρ = 1, and the gradient of k3 is that of the forward KL of each next token (table
    above). With ``token_ratio(…)``, through which a gradient flows, the gradient of ρ·k3 is that of the
    reverse KL of each next token. It stays correct when the tokens were sampled from π_old, at the
    prefixes that π_old reached. This is the correction of DeepSeek-V3.2 (arXiv:2512.02556) and TRL's
    default.

    Raises:
        ValueError: when ``kl_coef`` is negative, when it is positive without ``ref_logprobs``, or
            when a log-probability of a trained token is not finite.

    >>> one = torch.ones(1, 1)
    >>> kl_penalty(-one, -1.5 * one, one.bool(), 2.0, lambda x, mask: x.mean())
    tensor(0.2131)
    """
    if kl_coef < 0:
        raise ValueError(f"kl_coef: β must not be negative, got {kl_coef}")
    if kl_coef == 0:
        return logprobs.new_zeros(())
    if ref_logprobs is None:
        raise ValueError(f"ref_logprobs: needed when kl_coef is positive ({kl_coef})")
    reference = trained("ref_logprobs", ref_logprobs.detach(), mask)
    estimate = estimator(trained("logprobs", logprobs, mask), reference)
    return kl_coef * average(estimate if ratio is None else ratio * estimate, mask)


def kl_shaped_rewards(
    rewards: Float[Tensor, " B"],
    logprobs: Float[Tensor, "B T"],
    ref_logprobs: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    kl_coef: float,
) -> Float[Tensor, " B"]:
    """r − β·Σ_t (log π − log π_ref): the KL penalty as part of the reward (arXiv:2009.01325).

    Its policy gradient is the gradient of −β·KL(π‖π_ref), the reverse KL (notebook 06).

    Args:
        rewards: raw rewards, which are not changed.
        logprobs: log π of the sampled tokens; no gradient flows through them.
        ref_logprobs: log π_ref of the same tokens.
        mask: True on trained tokens.
        kl_coef: β ≥ 0.

    Raises:
        ValueError: when ``kl_coef`` is negative.

    >>> one = torch.ones(1, 2)
    >>> kl_shaped_rewards(torch.tensor([1.0]), -one, -1.5 * one, one.bool(), kl_coef=0.1)
    tensor([0.9000])
    """
    if kl_coef < 0:
        raise ValueError(f"kl_coef: β must not be negative, got {kl_coef}")
    log_ratio = torch.where(mask, k1(logprobs, ref_logprobs), 0.0).sum(dim=1)
    return rewards - kl_coef * log_ratio.detach().to(rewards)


def entropy(logits: Float[Tensor, "*shape V"]) -> Float[Tensor, "*shape"]:
    """Entropy of the next-token distribution, −Σ_v π(v)·log π(v), in nats.

    >>> entropy(torch.zeros(1, 2))
    tensor([0.6931])
    """
    logp = logits.log_softmax(-1)
    # A token with π = 0 would give 0·(−inf) = nan; the limit of π·log π is 0.
    return -(logp.exp() * logp.masked_fill(logp == -torch.inf, 0.0)).sum(-1)


def entropy_bonus(
    logits: Float[Tensor, "B T V"] | None, mask: Bool[Tensor, "B T"], entropy_coef: float
) -> Float[Tensor, ""]:
    """c · the mean entropy of the next token over all trained tokens: subtracted from a loss.

    It is PPO's bonus (eq. 9, arXiv:1707.06347). The prefixes are held fixed, so its gradient raises the entropy
    at the prefixes that were sampled. Which prefixes come later has no gradient. (Notebook 06)

    Args:
        logits: from which the trained tokens were sampled, divided by the temperature; gradient flows through
            them. Read only if ``entropy_coef`` > 0.
        mask: True on trained tokens; each counts alike.
        entropy_coef: c ≥ 0.

    Raises:
        ValueError: when ``entropy_coef`` is negative, or when it is positive without ``logits``.

    >>> entropy_bonus(torch.zeros(1, 2, 2), torch.tensor([[True, False]]), 2.0)
    tensor(1.3863)
    """
    if entropy_coef < 0:
        raise ValueError(f"entropy_coef: must not be negative, got {entropy_coef}")
    if entropy_coef == 0:
        return torch.zeros((), device=mask.device)
    if logits is None:
        raise ValueError(f"logits: needed when entropy_coef is positive ({entropy_coef})")
    return entropy_coef * masked_mean(entropy(logits), mask)


def adapted_kl_coef(kl_coef: float, kl: float, target: float, rate: float = 0.1) -> float:
    """β·(1 + rate·clip(KL/target − 1, ±0.2))  (Ziegler et al., section 2.2, arXiv:1909.08593).

    >>> adapted_kl_coef(0.1, kl=4.0, target=2.0)
    0.10200000000000001
    """
    return kl_coef * (1 + rate * max(-0.2, min(0.2, kl / target - 1)))
