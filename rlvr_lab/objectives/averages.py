"""Averages over the tokens of a batch of completions.

The choice of average is one of the two differences between GRPO, Dr. GRPO and DAPO. Each average is
a small function that a loss takes as its ``average`` argument.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = [
    "Average",
    "completion_lengths",
    "constant_mean",
    "masked_mean",
    "sequence_mean",
    "token_mean",
]

Average = Callable[[Float[Tensor, "B T"], Bool[Tensor, "B T"]], Float[Tensor, ""]]
"""A function ``(x [B, T], mask [B, T]) -> scalar``."""


def completion_lengths(mask: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Number of trained tokens |o_i| of each row.

    Raises:
        ValueError: when a row of ``mask`` is empty, since its mean would be 0/0.

    >>> completion_lengths(torch.tensor([[True, True], [True, False]]))
    tensor([2., 1.])
    """
    lengths = mask.sum(dim=1)
    if mask.shape[0] == 0 or bool((lengths == 0).any()):
        empty = (lengths == 0).nonzero().flatten().tolist()
        raise ValueError(f"mask: every row needs at least one token, but rows {empty} have none")
    return lengths.to(torch.get_default_dtype())


def masked_mean(x: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean of ``x`` where ``mask`` is True.

    Raises:
        ValueError: when ``mask`` is empty.

    >>> masked_mean(torch.tensor([1.0, 3.0, 99.0]), torch.tensor([True, True, False]))
    tensor(2.)
    """
    if not bool(mask.any()):
        raise ValueError("mask: it selects no token, so there is nothing to average")
    # ``where`` and not ``x * mask``: padding may hold inf, and 0 · inf is nan.
    return torch.where(mask, x, torch.zeros_like(x)).sum() / mask.sum()


def sequence_mean(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    r"""Mean over rows of each row's mean over its tokens: GRPO's average, with its 1/\|o\|.

    1/B · Σ_i 1/|o_i| · Σ_t x_it      (DeepSeekMath, eq. 3, arXiv:2402.03300; notebook 06)

    Each answer has the same weight, so a token of a long answer has less weight than a token of a
    short answer. This is the length bias of notebook 07.

    Args:
        x: values per token; gradient flows through them.
        mask: True on the trained tokens, the end-of-sequence token included.

    Raises:
        ValueError: when a row of ``mask`` is empty.

    >>> x = torch.tensor([[1.0, 1.0], [4.0, 9.0]])
    >>> mask = torch.tensor([[True, True], [True, False]])
    >>> sequence_mean(x, mask)
    tensor(2.5000)
    """
    total = torch.where(mask, x, torch.zeros_like(x)).sum(dim=1)
    return (total / completion_lengths(mask).to(x)).mean()


def token_mean(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Mean over all tokens of the batch: DAPO's average.

    Σ_i Σ_t x_it / Σ_i |o_i|      (DAPO, eq. 8, arXiv:2503.14476; notebook 07)

    Each token has the same weight, so the weight of a row grows with its length. The denominator
    still depends on the sampled lengths, which leaves a bias of order 1/G (notebook 07).

    Raises:
        ValueError: when ``mask`` is empty.

    >>> x = torch.tensor([[1.0, 1.0], [4.0, 9.0]])
    >>> mask = torch.tensor([[True, True], [True, False]])
    >>> token_mean(x, mask)
    tensor(2.)
    """
    return masked_mean(x, mask)


def constant_mean(length: float) -> Average:
    """Sum over tokens divided by a constant: Dr. GRPO's average, which has no length bias.

    1/(B·L) · Σ_i Σ_t x_it      (Dr. GRPO, arXiv:2503.20783, section 3.2; notebook 07)

    Args:
        length: the constant L in tokens, usually the longest completion that is allowed. It only
            scales the loss, so it matters only for optimisers whose step depends on that scale.

    Raises:
        ValueError: when ``length`` is not positive.

    >>> x = torch.tensor([[1.0, 1.0], [4.0, 9.0]])
    >>> mask = torch.tensor([[True, True], [True, False]])
    >>> constant_mean(2)(x, mask)
    tensor(1.5000)
    """
    if not length > 0:
        raise ValueError(f"length: the constant must be positive, got {length}")

    def average(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        completion_lengths(mask)  # refuses empty rows, as the other averages do
        return torch.where(mask, x, torch.zeros_like(x)).sum() / (x.shape[0] * length)

    return average
