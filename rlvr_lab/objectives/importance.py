r"""Weights for tokens that another policy has sampled than the one that is trained.

Three policies have to be told apart:

| | | |
|---|---|---|
| sampler | μ | wrote the tokens: an older policy, or the same weights in other arithmetic |
| old | π_old | the trainer's policy when the batch arrives, recomputed by the trainer |
| current | π | moves with each optimiser step on the batch |

The clip of PPO compares π with π_old. The weights here compare π_old with μ; they are numbers, without gradient,
and multiply the loss of each token: average(w · loss), with ρ_t = π_old(o_t) / μ(o_t). (Notebook 11)

Shapes: ``trainer_logprobs`` = log π_old, ``sampler_logprobs`` = log μ and ``mask`` [B, T]; weights [B, T], 0 on
padding.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.averages import Average
from rlvr_lab.objectives.ratios import trained

__all__ = [
    "CORRECTIONS",
    "effective_share",
    "icepop_weights",
    "mismatch_kl",
    "no_weights",
    "sequence_weights",
    "truncated_weights",
    "weighted",
]

BT = Float[Tensor, "B T"]
Mask = Bool[Tensor, "B T"]


# [B, T] like ``mask``; ``trained`` checks the size, so that its message can name the argument.
Rank2 = Float[Tensor, "_ _"]


def _log_rho(trainer_logprobs: Rank2, sampler_logprobs: Rank2, mask: Mask) -> BT:
    """log ρ, 0 on padding, without gradient."""
    sampler = trained("sampler_logprobs", sampler_logprobs.detach(), mask)
    return trained("trainer_logprobs", trainer_logprobs.detach(), mask) - sampler


def _positive(cap: float) -> float:
    if not cap > 0:
        raise ValueError(f"cap: must be positive, got {cap}")
    return cap


def no_weights(trainer_logprobs: Rank2, sampler_logprobs: Rank2, mask: Mask) -> BT:
    """w = 1: the tokens are used as if the trainer's policy had sampled them.

    >>> no_weights(torch.zeros(1, 2), -torch.ones(1, 2), torch.tensor([[True, False]]))
    tensor([[1., 0.]])
    """
    _log_rho(trainer_logprobs, sampler_logprobs, mask)  # refuses what the others refuse
    return mask.to(sampler_logprobs)


def truncated_weights(
    trainer_logprobs: Rank2, sampler_logprobs: Rank2, mask: Mask, cap: float = 2.0
) -> BT:
    """w_t = min(ρ_t, c), one per token: truncated importance sampling, "TIS".

    It is the ρ̄-truncation of V-trace (IMPALA, arXiv:1802.01561, section 4.1); for language models: Yao et al.
    2025, "Your efficient RL framework secretly brings you off-policy training", fengyao.notion.site/off-policy-rl.
    Even without a cap it is biased: the weight of a token leaves out how probable the *rest* of the answer is.

    Args:
        trainer_logprobs: log π_old; no gradient flows.
        sampler_logprobs: log μ.
        mask: True on trained tokens.
        cap: c > 0; ``math.inf`` truncates nothing.

    Raises:
        ValueError: for a shape that is not the mask's, a trained token without a finite log-probability, or a cap
            that is not positive.

    >>> given = torch.tensor([[3.0, 0.5, 9.0]]).log(), torch.zeros(1, 3), torch.tensor([[True, True, False]])
    >>> truncated_weights(*given)
    tensor([[2.0000, 0.5000, 0.0000]])
    """
    rho = _log_rho(trainer_logprobs, sampler_logprobs, mask).exp()
    return rho.clamp(max=_positive(cap)).masked_fill(~mask, 0.0)


def icepop_weights(
    trainer_logprobs: Rank2,
    sampler_logprobs: Rank2,
    mask: Mask,
    cap: float = 2.0,
    floor: float = 0.5,
) -> BT:
    """w_t = ρ_t where α ≤ ρ_t ≤ β, else 0: a token on which the two policies differ much is left out.

    IcePop (ringtech.notion.site/icepop, 2025; Ring-1T, arXiv:2510.18855). In its authors' notation α is ``floor``
    and β is ``cap``. Both ends are cut: a token that the trainer holds to be *less* probable is left out too.

    Raises:
        ValueError: as ``truncated_weights``, and unless 0 ≤ ``floor`` ≤ ``cap``.

    >>> given = torch.tensor([[3.0, 1.5, 0.2]]).log(), torch.zeros(1, 3), torch.ones(1, 3).bool()
    >>> icepop_weights(*given)
    tensor([[0.0000, 1.5000, 0.0000]])
    """
    if not 0 <= floor <= _positive(cap):
        raise ValueError(f"floor: must lie between 0 and cap = {cap}, got {floor}")
    rho = _log_rho(trainer_logprobs, sampler_logprobs, mask).exp()
    return torch.where(mask & (rho >= floor) & (rho <= cap), rho, 0.0)


def sequence_weights(
    trainer_logprobs: Rank2, sampler_logprobs: Rank2, mask: Mask, cap: float = 2.0
) -> BT:
    """w = min(Π_t ρ_t, c), one per answer: the truncated *product* (not the geometric mean) of its ratios.

    The product is π_old(o)/μ(o) of the whole answer. With ``cap=math.inf`` the policy gradient that it weights is
    unbiased, for an advantage that does not depend on the sampled answers; its variance grows exponentially with
    the length (Precup et al. 2000).

    Raises:
        ValueError: as ``truncated_weights``.

    >>> given = torch.tensor([[3.0, 0.5, 9.0]]).log(), torch.zeros(1, 3), torch.tensor([[True, True, False]])
    >>> sequence_weights(*given)
    tensor([[1.5000, 1.5000, 0.0000]])
    """
    rho = _log_rho(trainer_logprobs, sampler_logprobs, mask).sum(dim=1, keepdim=True).exp()
    return torch.where(mask, rho.clamp(max=_positive(cap)), 0.0)


CORRECTIONS: dict[str, Callable[[Tensor, Tensor, Tensor, float, float], Tensor]] = {
    "none": lambda new, old, mask, cap, floor: no_weights(new, old, mask),
    "tis": lambda new, old, mask, cap, floor: truncated_weights(new, old, mask, cap),
    "icepop": icepop_weights,
    "sequence": lambda new, old, mask, cap, floor: sequence_weights(new, old, mask, cap),
}
"""Name → (log π_old, log μ, mask, cap, floor) → weights [B, T]."""


def weighted(average: Average, weights: BT) -> Average:
    """The average of w·x: x ↦ average(w·x). Its denominator stays that of ``average``: weights do not add up to 1.

    >>> from rlvr_lab.objectives.averages import token_mean
    >>> weighted(token_mean, torch.tensor([[2.0, 0.0]]))(torch.ones(1, 2), torch.ones(1, 2).bool())
    tensor(1.)
    """
    fixed = weights.detach()
    return lambda x, mask: average(fixed * x, mask)


def mismatch_kl(trainer_logprobs: Rank2, sampler_logprobs: Rank2, mask: Mask) -> float:
    """An estimate of KL(μ‖π_old) in nats per token: the mean of −log ρ over tokens that μ has sampled.

    The estimate is unbiased, so it can be slightly negative.

    >>> mismatch_kl(-torch.ones(1, 2), -torch.tensor([[0.5, 9.0]]), torch.tensor([[True, False]]))
    0.5
    """
    return 0.0 - float(_log_rho(trainer_logprobs, sampler_logprobs, mask)[mask].double().mean())


def effective_share(trainer_logprobs: Rank2, sampler_logprobs: Rank2, mask: Mask) -> float:
    """Effective sample size of the answers as a share of B: (ΣW)² / (B·ΣW²), W = Π_t ρ_t of each answer (Kish).

    1 when the policies agree; 1/B when one answer has all the weight. It does not depend on the correction.

    >>> effective_share(torch.tensor([[0.0], [-99.0]]), torch.zeros(2, 1), torch.ones(2, 1).bool())
    0.5
    """
    total = _log_rho(trainer_logprobs, sampler_logprobs, mask).double().sum(dim=1)
    share = (2 * total.logsumexp(0) - (2 * total).logsumexp(0)).exp() / len(total)
    return float(share)
