"""How much a token counts for the gradient, as a function of its ratio ρ = π/π_old, for every loss of the table.

The weight is ∂ log π's coefficient per unit of advantage, −∂ loss / ∂ log π / A: 1 is the plain policy gradient,
0 a token that the clip has removed. It is the derivative of the loss function itself. (Notebook 07)
"""

from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.objective import ALGORITHMS, RATIOS, Loss, Rows
from rlvr_lab.objectives.soft_clips import SOFT_RATIOS
from rlvr_lab.objectives.token_weights import loss_weights

__all__ = ["LOSSES", "weight_by_ratio"]


def _loss(algorithm: str) -> Loss:
    """The loss of a row of the table, with the row's clip."""
    row = {"ratio": "token", "clip_low": 0.2, "clip_high": 0.2} | ALGORITHMS[algorithm]
    loss, _ = RATIOS[row["ratio"]]
    return partial(loss, low=row["clip_low"], high=row["clip_high"], tau=0.1)


LOSSES: dict[str, Loss] = {
    "REINFORCE, RLOO": _loss("rloo"),
    "GRPO, Dr. GRPO, MaxRL": _loss("grpo"),
    "DAPO": _loss("dapo"),
    "GSPO, LUSPO": _loss("gspo"),
    "CISPO": _loss("cispo"),
    "SAPO": partial(SOFT_RATIOS["sapo"], low=0.2, high=0.2, tau=0.1),
    "VESPO": partial(SOFT_RATIOS["vespo"], low=0.2, high=0.2, tau=0.1),
}
"""Algorithms that share a loss, and the loss; LUSPO differs from GSPO in the average only."""


def _sum(x: Tensor, mask: Bool[Tensor, "B T"]) -> Tensor:
    return torch.where(mask, x, 0.0).sum()


def weight_by_ratio(
    loss: Loss, ratio: Float[Tensor, " n"], advantage: float = 1.0, tokens: int = 1
) -> Float[Tensor, " n"]:
    """−∂ loss / ∂ log π / A of one token, without the average's factor.

    Args:
        loss: (rows, average) → the loss.
        ratio: [n], ρ; all tokens of an answer have it.
        advantage: A; its sign decides.
        tokens: |o|; it matters for a loss that multiplies the ratios of an answer (VESPO).

    Raises:
        ValueError: when ``advantage`` is 0.

    >>> weight_by_ratio(LOSSES["CISPO"], torch.tensor([0.5, 1.0, 2.0]))
    tensor([0.5000, 1.0000, 1.2800])
    """
    if advantage == 0:
        raise ValueError("advantage: must not be 0, nothing is learned from such a token")
    old = torch.full((len(ratio), tokens), -1.0, dtype=ratio.dtype)
    advantages = torch.full_like(ratio, advantage)
    mask = torch.ones_like(old, dtype=torch.bool)
    weights = loss_weights(
        lambda logprobs: loss(Rows(logprobs, old, advantages, mask), _sum),
        old + ratio.log()[:, None],
    )
    return weights[:, 0] / advantage
