"""The loss of a value model V(s_t), and the share of the returns' variance it explains (notebook 05).

Shapes: everything is [B, T]; ``mask`` is True on trained tokens. Gradient flows only through ``values``.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.averages import masked_mean

__all__ = ["explained_variance", "value_loss"]

BT = Float[Tensor, "B T"]
Mask = Bool[Tensor, "B T"]


def value_loss(
    values: BT, old_values: BT, returns: BT, mask: Mask, clip: float | None = 0.2
) -> Float[Tensor, ""]:
    """½·mean max((V − R)², (clip(V, V_old ± ε) − R)²)  (detail 9 of the 37; notebook 05).

    With the clip, the loss does not fall further when V moves more than ε from its value at sampling time.

    Args:
        values: V(s_t) now; gradient flows through them.
        old_values: V(s_t) when the answers were sampled.
        returns: R_t = A_t + V_old(s_t), the targets.
        mask: True on trained tokens.
        clip: ε > 0; None for the plain squared error.

    Raises:
        ValueError: when ``clip`` is not positive.

    >>> one = torch.ones(1, 1)
    >>> value_loss(one, 0 * one, 2 * one, one.bool(), clip=0.2), value_loss(one, one, 2 * one, one.bool())
    (tensor(1.6200), tensor(0.5000))
    """
    error = (values - returns.detach()).square()
    if clip is not None:
        if not clip > 0:
            raise ValueError(f"clip: ε must be positive or None, got {clip}")
        old = old_values.detach()
        near = old + (values - old).clamp(-clip, clip)
        error = torch.maximum(error, (near - returns.detach()).square())
    return 0.5 * masked_mean(error, mask)


def explained_variance(values: BT, returns: BT, mask: Mask) -> float:
    """1 − Var(R − V)/Var(R) over the trained tokens.

    1 means a perfect V, 0 no better than a constant, below 0 worse than a constant. nan when all
    returns are equal.

    >>> r = torch.tensor([[0.0, 1.0]])
    >>> explained_variance(r, r, torch.ones(1, 2).bool())
    1.0
    """
    target, error = returns[mask].double(), (returns - values)[mask].double()
    spread = target.var(correction=0)
    return float(1 - error.var(correction=0) / spread) if float(spread) > 0 else math.nan
