"""GRPO without sampling noise: one question, a few answers of one token, infinitely many groups (notebook 06).

The policy is a softmax over the answers. Each step takes the expected gradient over *all* groups of G
answers, by enumeration; advantages, clip, KL term and average are the functions that the trainer calls.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.exact.entropy_law import entropy_change
from rlvr_lab.exact.estimators import all_groups
from rlvr_lab.objectives.kl import entropy
from rlvr_lab.objectives.objective import Objective, Rows, objective_from

__all__ = ["Dynamics", "exact_grpo"]

ANSWERS = ("correct", "wrong, common", "wrong, rare")
REFERENCE = (0.20, 0.75, 0.05)
REWARDS = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Dynamics:
    """What happened, before each step and after the last.

    Attributes:
        probability: π of the K answers, [T+1, K]; K = 3 by default.
        kl: KL(π‖π_ref) in nats, [T+1].
        forward_kl: KL(π_ref‖π) in nats, [T+1].
        clipped: share of answers whose gradient the clip removes, mean over a step's updates, [T].
        entropy: of π in nats, [T+1].
        predicted: change of the entropy in each step by the covariance law, added up over its updates, [T].
    """

    probability: Float[Tensor, "T K"]
    kl: Float[Tensor, " T"]
    forward_kl: Float[Tensor, " T"]
    clipped: Float[Tensor, " S"]
    entropy: Float[Tensor, " T"]
    predicted: Float[Tensor, " S"]


def exact_grpo(
    group_size: int = 8,
    kl_coef: float = 0.0,
    clip: float = 0.2,
    kl_estimator: str = "k3",
    kl_in: str = "loss",
    updates: int = 4,
    steps: int = 25,
    learning_rate: float = 0.4,
    clip_high: float | None = None,
    entropy_coef: float = 0.0,
    start: Sequence[float] = REFERENCE,
    correct: Sequence[float] = REWARDS,
) -> Dynamics:
    """Gradient ascent on GRPO's objective with its exact expected gradient.

    Args:
        group_size: G.
        kl_coef: β.
        clip: ε, on both sides, unless ``clip_high`` is given.
        kl_estimator: ``k1``, ``k2`` or ``k3``, where the KL is in the loss.
        kl_in: ``loss`` or ``reward``.
        updates: gradient steps on each set of groups; from the second on the ratio differs from 1.
        steps: how often groups are drawn.
        learning_rate: of plain gradient ascent on the K logits.
        clip_high: ε of the upper side.
        entropy_coef: c, weight of the entropy bonus.
        start: π of the K answers before the first step, which is also π_ref.
        correct: rewards of the K answers.
    """
    high = clip if clip_high is None else clip_high
    objective: Objective = objective_from(
        "group",
        True,
        "sequence",
        1,
        "token",
        clip,
        high,
        kl_coef,
        kl_in == "reward",
        kl_estimator,
        entropy_coef=entropy_coef,
    )
    reference = torch.tensor(start, dtype=torch.float64).log()
    rewards, kinds = torch.tensor(correct, dtype=torch.float64), len(reference)
    members, uniform = all_groups(torch.full_like(reference, -math.log(kinds)), group_size)
    counts = torch.nn.functional.one_hot(members, kinds).sum(dim=1)
    # Answers that occur twice in a group have the same advantage: one row for each kind suffices.
    group, answer = counts.nonzero(as_tuple=True)
    place = (members[group] == answer[:, None]).int().argmax(dim=1)
    mask, ref_rows = torch.ones(len(group), 1, dtype=torch.bool), reference[answer][:, None]
    every = members.flatten()
    every_mask = torch.ones(len(every), 1, dtype=torch.bool)
    logits = reference.clone().requires_grad_()
    seen, clipped, predicted = [logits.detach().log_softmax(0)], [], []
    for _ in range(steps):
        old = logits.detach().log_softmax(0)
        chance = uniform * float(kinds) ** group_size * (counts.double() @ old).exp()
        weights = (chance[group] * counts[group, answer] / group_size)[:, None]

        def expectation(x: Tensor, mask: Tensor, weights: Tensor = weights) -> Tensor:
            return (weights * x).sum()

        given = (old[every][:, None], reference[every][:, None], every_mask)
        advantages = objective.advantages(rewards[every], group_size, *given)
        advantages = advantages.view_as(members)[group, place]
        share, change, old_rows = 0.0, 0.0, old[answer][:, None]
        for _ in range(updates):
            policy = logits.log_softmax(0)
            logprobs, table = policy[answer][:, None], policy.expand(len(answer), 1, kinds)
            given = Rows(logprobs, old_rows, advantages, mask, ref_rows, table)
            loss = objective.total(given, expectation)
            (slope,) = torch.autograd.grad(loss, logits)
            ratio, a = (logprobs.detach() - old_rows).exp(), advantages[:, None]
            out = ((a > 0) & (ratio > 1 + high)) | ((a < 0) & (ratio < 1 - clip))
            share += float((weights * out).sum()) / updates
            change += float(entropy_change(policy.detach(), -learning_rate * slope))
            logits = (logits.detach() - learning_rate * slope).requires_grad_()
        clipped.append(share)
        predicted.append(change)
        seen.append(logits.detach().log_softmax(0))
    path = torch.stack(seen)
    return Dynamics(
        path.exp(),
        (path.exp() * (path - reference)).sum(dim=1),
        (reference.exp() * (reference - path)).sum(dim=1),
        torch.tensor(clipped),
        entropy(path),
        torch.tensor(predicted, dtype=torch.float64),
    )
