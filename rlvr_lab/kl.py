"""Estimators of KL(π‖π_ref) from samples of π, and the exact value from logits.

Direction and sign, everywhere in the package: tokens are drawn from π (the policy), and
``k1 = log π − log π_ref``, so that E_π[k1] = KL(π‖π_ref) ≥ 0.

As *values* k1 and k3 are unbiased; as *losses* (differentiated) the three mean different things,
with tokens drawn from π itself (notebook 06; arXiv:2506.09477):

| estimator | E[value]                 | E[gradient]                            |
|-----------|--------------------------|----------------------------------------|
| k1        | KL(π‖π_ref)              | 0                                      |
| k2        | biased                   | ∇KL(π‖π_ref), the reverse KL           |
| k3        | KL(π‖π_ref)              | ∇KL(π_ref‖π), the *forward* KL         |
| ρ·k3      | KL(π‖π_ref)              | ∇KL(π‖π_ref), ρ = π / sg(π)            |
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["exact_kl", "k1", "k2", "k3"]


def k1(
    logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """The plain log-ratio, log π − log π_ref, in nats (Schulman 2020).

    Unbiased, but of high variance and often negative.

    >>> k1(torch.tensor([-1.0]), torch.tensor([-1.5]))
    tensor([0.5000])
    """
    return logprobs - ref_logprobs


def k2(
    logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Half the squared log-ratio, ½·k1², in nats (Schulman 2020): biased, never negative.

    >>> k2(torch.tensor([-1.0]), torch.tensor([-1.5]))
    tensor([0.1250])
    """
    return 0.5 * k1(logprobs, ref_logprobs).square()


def k3(
    logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """exp(−k1) − 1 + k1, in nats (Schulman 2020): unbiased and never negative.

    This is the estimator of GRPO (DeepSeekMath, eq. 4, arXiv:2402.03300).

    >>> k3(torch.tensor([-1.0]), torch.tensor([-1.5]))
    tensor([0.1065])
    """
    log_ratio = k1(logprobs, ref_logprobs)
    return torch.expm1(-log_ratio) + log_ratio


def exact_kl(
    logits: Float[Tensor, "*shape V"], ref_logits: Float[Tensor, "*shape V"]
) -> Float[Tensor, "*shape"]:
    """KL(π‖π_ref) of the next-token distributions, summed over the whole vocabulary, in nats.

    Σ_v π(v) · (log π(v) − log π_ref(v)); gradient flows through both arguments.

    >>> exact_kl(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 0.0]))
    tensor(0.)
    """
    log_p, log_q = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    # A token that π forbids (log π = −inf) adds nothing, whatever the reference thinks of it. It is
    # taken out of the difference, since 0 · inf is nan in the value and in the gradient.
    allowed = log_p > -torch.inf
    difference = torch.where(allowed, log_p, 0.0) - torch.where(allowed, log_q, 0.0)
    return (log_p.exp() * difference).sum(-1)
