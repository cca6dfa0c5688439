"""The one optimiser step of the package: everything that trains by gradient calls it."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["OPTIMIZERS", "NonFiniteLossError", "adamw", "optimiser_step", "trained"]


class NonFiniteLossError(FloatingPointError):
    """A loss or a gradient was not finite; the parameters are as they were before that optimiser step."""


def trained(*modules: nn.Module) -> list[nn.Parameter]:
    """The parameters that require a gradient."""
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def adamw(parameters: Iterable, learning_rate: float, eps: float = 1e-8) -> torch.optim.Optimizer:
    """AdamW as language models are trained: β = .9, .95, no decay."""
    return torch.optim.AdamW(
        parameters, lr=learning_rate, betas=(0.9, 0.95), eps=eps, weight_decay=0.0
    )


OPTIMIZERS = {"adamw": adamw, "sgd": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr)}
"""Name → (parameters, learning rate) → optimiser."""


def optimiser_step(
    optimizer: torch.optim.Optimizer, loss: Tensor, max_norm: float | None = None
) -> float:
    """Backward pass, clipping of the gradient's norm, one step. Returns the norm before clipping.

    Args:
        optimizer: over the parameters to train; the norm is that of all their gradients together.
        loss: a scalar to minimise.
        max_norm: None leaves the gradient alone.

    Raises:
        NonFiniteLossError: when the loss or the gradient is not finite; no parameter has changed.
    """
    optimizer.zero_grad()
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    limit = float("inf") if max_norm is None else max_norm
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
    value = float(loss.detach())
    if not abs(value) < float("inf") or not norm < float("inf"):  # comparisons with nan are False
        optimizer.zero_grad()
        rates = ", ".join(f"{group['lr']:g}" for group in optimizer.param_groups)
        raise NonFiniteLossError(
            f"loss {value} and gradient norm {norm} are not both finite; this optimiser step was not "
            f"taken. Try a smaller learning rate (now {rates}) or a smaller max_grad_norm ({max_norm})"
        )
    optimizer.step()
    return norm
