r"""What each sampled token adds to the gradient: the derivative of a loss with respect to its log-probability.

    ∂θ = −∇θ loss = Σ_{i,t} w_it · ∇θ log π(o_it),      w_it = −∂ loss / ∂ log π(o_it)

so w > 0 makes a token more likely and w < 0 less likely. The weights are those of the loss function itself, by
automatic differentiation: there is no second formula that could differ from it. Where the loss is a product,
w = advantage · (ratio, as the clip leaves it) · average. Notebooks 06 and 07.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import inf

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.averages import Average
from rlvr_lab.objectives.objective import Objective, Rows

__all__ = ["Weights", "loss_weights", "objective_weights"]

BT = Float[Tensor, "B T"]
Scalar = Float[Tensor, ""]


@dataclass(frozen=True)
class Weights:
    """The weights of one loss on one batch, and their factors; a factor is nan where the loss has no such factor.

    Attributes:
        policy: [B, T], of the loss without its KL term.
        kl: [B, T], of the KL term in the loss; 0 without one.
        advantages: [B, T], of the answer, or of each token in PPO.
        factor: [B, T], what the loss makes of the ratio: ρ, 0 where the clip removes the gradient, a capped ρ, the
            ratio of the whole answer, or 1 in a loss without a ratio; times the importance weight, if there is one.
        average: [B, T], the weight of a token in the average.
        clipped: [B, T], True where the clip changes the weight.
    """

    policy: BT
    kl: BT
    advantages: BT
    factor: BT
    average: BT
    clipped: Bool[Tensor, "B T"]

    @property
    def total(self) -> BT:
        """w = policy + KL: −∂ loss / ∂ log π."""
        return self.policy + self.kl

    def times(self, factor: float) -> "Weights":
        """The weights of the loss times ``factor``."""
        return replace(self, policy=factor * self.policy, kl=factor * self.kl)


def loss_weights(loss: Callable[[BT], Scalar], logprobs: BT) -> BT:
    """−∂ loss / ∂ logprobs by automatic differentiation; zeros where the loss does not depend on them.

    Args:
        loss: of log-probabilities [B, T].
        logprobs: where to differentiate; their own history plays no part.

    >>> loss_weights(lambda logprobs: -(2 * logprobs).sum(), torch.zeros(1, 2))
    tensor([[2., 2.]])
    """
    leaf = logprobs.detach().clone().requires_grad_()
    value = loss(leaf)
    if not value.requires_grad:
        return torch.zeros_like(logprobs)
    (slope,) = torch.autograd.grad(value, leaf)
    return -slope + 0.0  # no negative zeros


def average_weights(average: Average, mask: Bool[Tensor, "B T"], like: BT) -> BT:
    """∂ average(x) / ∂ x: how much a token counts, by automatic differentiation."""
    return -loss_weights(lambda x: average(x, mask), torch.zeros_like(like)) + 0.0


def objective_weights(objective: Objective, rows: Rows) -> Weights:
    """The weights of an objective on a batch; an entropy bonus, which has no single token, is left out.

    Args:
        objective: the algorithm.
        rows: the answers; ``rows.logprobs`` says at which policy.

    Returns:
        ``total`` is −∂ ``objective.total`` / ∂ log π.

    >>> from rlvr_lab.objectives.objective import objective_from
    >>> one, grpo = torch.ones(1, 2), objective_from("group", True, "sequence", 1, "token", 0.2, 0.2)
    >>> objective_weights(grpo, Rows(-one, -one, torch.tensor([3.0]), one.bool())).total
    tensor([[1.5000, 1.5000]])
    """
    mask = rows.mask

    def slope(loss: Callable[[Rows], Scalar]) -> BT:
        return loss_weights(lambda lp: loss(rows._replace(logprobs=lp)), rows.logprobs)

    policy = slope(objective.policy_loss)
    total = slope(replace(objective, entropy_coef=0.0).total) if objective.kl_in_loss else policy
    counts = average_weights(objective.average, mask, rows.logprobs)
    advantages = torch.where(mask, rows.advantages[:, None], torch.nan)
    factor = factors(policy, advantages, counts)
    clipped = mask & (advantages != 0) & (policy == 0)
    if (opened := without_clip(objective)) is not None:
        free = slope(replace(objective, loss=opened).policy_loss)
        clipped = mask & ((policy - free).abs() > 1e-9 * free.abs())
    return Weights(policy, total - policy, advantages, factor, counts, clipped)


def factors(policy: BT, advantages: BT, average: BT) -> BT:
    """policy / (advantage · average): nan where one of the two is 0 or missing."""
    both = advantages * average
    return torch.where(both != 0, policy / both, torch.nan)


def without_clip(objective: Objective) -> Callable[[Rows, Average], Scalar] | None:
    """The same loss with its clip wide open; None for a loss that does not take its clip by name."""
    loss = objective.loss
    if not isinstance(loss, partial) or not {"low", "high"} <= loss.keywords.keys():
        return None
    return partial(loss, low=1.0, high=inf)
