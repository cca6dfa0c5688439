"""GRPO without sampling noise: one question, three answers of one token, infinitely many groups (notebook 06).

The policy is a softmax over the answers. Each step takes the expected gradient over *all* groups of G
answers, by enumeration; advantages, clip, KL term and average are the functions that the trainer calls.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.exact.estimators import all_groups
from rlvr_lab.objectives.objective import Objective, Rows, objective_from

__all__ = ["Dynamics", "exact_grpo"]

ANSWERS = ("correct", "wrong, common", "wrong, rare")
REFERENCE = (0.20, 0.75, 0.05)
REWARDS = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Dynamics:
    """What happened, before each step and after the last.

    Attributes:
        probability: π of the three answers, [T+1, 3].
        kl: KL(π‖π_ref) in nats, [T+1].
        forward_kl: KL(π_ref‖π) in nats, [T+1].
        clipped: share of answers whose gradient the clip removes, mean over a step's updates, [T].
    """

    probability: Float[Tensor, "T 3"]
    kl: Float[Tensor, " T"]
    forward_kl: Float[Tensor, " T"]
    clipped: Float[Tensor, " S"]


def exact_grpo(
    group_size: int = 8,
    kl_coef: float = 0.0,
    clip: float = 0.2,
    kl_estimator: str = "k3",
    kl_in: str = "loss",
    updates: int = 4,
    steps: int = 40,
    learning_rate: float = 0.3,
) -> Dynamics:
    """Gradient ascent on GRPO's objective with its exact expected gradient.

    Args:
        group_size: G.
        kl_coef: β.
        clip: ε, on both sides.
        kl_estimator: ``k1``, ``k2`` or ``k3``, where the KL is in the loss.
        kl_in: ``loss`` or ``reward``.
        updates: gradient steps on each set of groups; from the second on the ratio differs from 1.
        steps: how often groups are drawn.
        learning_rate: of plain gradient ascent on the three logits.
    """
    objective: Objective = objective_from(
        "group", True, "sequence", 1, "token", clip, clip, kl_coef, kl_in == "reward", kl_estimator
    )
    reference = torch.tensor(REFERENCE, dtype=torch.float64).log()
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    logits = reference.clone().requires_grad_()
    seen, clipped = [logits.detach().log_softmax(0)], []
    for _ in range(steps):
        old = logits.detach().log_softmax(0)
        members, chance = all_groups(old, group_size)
        rows = members.flatten()
        weights = (chance / group_size).repeat_interleave(group_size)[:, None]

        def expectation(x: Tensor, mask: Tensor, weights: Tensor = weights) -> Tensor:
            return (weights * x).sum()

        mask = torch.ones(len(rows), 1, dtype=torch.bool)
        old_rows, ref_rows = old[rows][:, None], reference[rows][:, None]
        advantages = objective.advantages(rewards[rows], group_size, old_rows, ref_rows, mask)
        share = 0.0
        for _ in range(updates):
            logprobs = logits.log_softmax(0)[rows][:, None]
            given = Rows(logprobs, old_rows, advantages, mask, ref_rows)
            loss = objective.total(given, expectation)
            (slope,) = torch.autograd.grad(loss, logits)
            ratio, a = (logprobs.detach() - old_rows).exp(), advantages[:, None]
            out = ((a > 0) & (ratio > 1 + clip)) | ((a < 0) & (ratio < 1 - clip))
            share += float((weights * out).sum()) / updates
            logits = (logits.detach() - learning_rate * slope).requires_grad_()
        clipped.append(share)
        seen.append(logits.detach().log_softmax(0))
    policy = torch.stack(seen)
    return Dynamics(
        policy.exp(),
        (policy.exp() * (policy - reference)).sum(dim=1),
        (reference.exp() * (reference - policy)).sum(dim=1),
        torch.tensor(clipped),
    )
