"""A policy as another program would compute it: with rounded weights, or with noise on its logits.

Sampling engines keep weights in bf16, in fp8 or in 4 bits and use other kernels than the trainer, so that their
probabilities differ from the trainer's at equal parameters. Both functions return a frozen copy. (Notebook 11)
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rlvr_lab.policy.loading import Policy

__all__ = ["ROUNDINGS", "noisy", "rounded"]


def _largest(weights: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows 1"]:
    """The largest |w| of each row; 1 where a row is zero."""
    largest = weights.abs().amax(dim=1, keepdim=True)
    return torch.where(largest > 0, largest, 1.0)


def _bf16(weights: Tensor) -> Tensor:
    return weights.to(torch.bfloat16).to(weights.dtype)


def _fp8(weights: Tensor) -> Tensor:
    scale = _largest(weights) / torch.finfo(torch.float8_e4m3fn).max
    return (weights / scale).to(torch.float8_e4m3fn).to(weights.dtype) * scale


def _int4(weights: Tensor) -> Tensor:
    scale = _largest(weights) / 7
    return (weights / scale).round() * scale


ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {"bf16": _bf16, "fp8": _fp8, "int4": _int4}
"""Name → weights [rows, columns] → rounded weights, in the old dtype; fp8 (e4m3) and int4 have one scale per row."""


def rounded(policy: Policy, rounding: str) -> Policy:
    """A frozen copy whose matrices are rounded; norms and activations stay as they are.

    Args:
        policy: is not changed.
        rounding: ``bf16`` (8 significant bits), ``fp8`` (e4m3: 4 significant bits) or ``int4`` (−7 … 7).

    Raises:
        ValueError: for another name.

    >>> from rlvr_lab.policy.loading import load_policy
    >>> sums = load_policy("sums", "cpu")
    >>> gap = (rounded(sums, "fp8").model.lm_head.weight - sums.model.lm_head.weight.detach()).abs().max()
    >>> 0 < float(gap) < 0.1
    True
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding: must be one of {', '.join(ROUNDINGS)}, got {rounding!r}")
    copy = policy.frozen_copy()
    for parameter in copy.model.parameters():
        if parameter.ndim == 2:
            parameter.copy_(ROUNDINGS[rounding](parameter))
    return copy


class _NoisyHead(nn.Module):
    """The layer that computes the logits, with Gaussian noise on each of them."""

    def __init__(self, head: nn.Module, std: float, generator: torch.Generator) -> None:
        super().__init__()
        self.head, self.std, self.generator = head, std, generator

    def forward(self, hidden: Tensor) -> Tensor:
        logits = self.head(hidden)
        noise = torch.empty_like(logits).normal_(generator=self.generator)
        return logits + self.std * noise


def noisy(policy: Policy, std: float, generator: torch.Generator) -> Policy:
    """A frozen copy whose logits carry Gaussian noise, drawn anew each time that a text is read.

    While a batch is sampled, answers with the same beginning are read together, so they share its noise.

    Args:
        policy: is not changed.
        std: σ > 0 of the noise on a logit, in nats, before a division by the temperature.
        generator: of the noise, on the policy's device. It must not be that of the sampling, or the noise would
            change which tokens are drawn even at a tiny σ.

    Raises:
        ValueError: when ``std`` is not positive.
    """
    if not std > 0:
        raise ValueError(f"std: must be positive, got {std}")
    copy = policy.frozen_copy()
    head = copy.model.get_output_embeddings()
    copy.model.set_output_embeddings(_NoisyHead(head, std, generator))
    return copy
