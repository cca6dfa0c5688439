"""The exact bias, direction and variance of an estimator of ∇J.

An estimator sees G answers. A group of G answers is a multiset of the Y answers of an ``oracle.World``
with a multinomial probability, so the sum over all C(Y+G−1, G) groups is exact. Advantages, losses and
averages are the functions that the trainer calls. (Notebooks 03, 06 and 07)

Shapes: Y answers, T tokens, K groups, D parameters. Gradients are flat [D] and point *uphill*.
"""

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.exact.oracle import World
from rlvr_lab.objectives.averages import Average
from rlvr_lab.objectives.objective import Objective, Rows

__all__ = ["Comparison", "compare", "expected_gradient"]

LARGEST = 200_000  # groups


class Groups(NamedTuple):
    """All groups of G answers: their members [K, G] and their probabilities [K]."""

    members: Tensor
    chance: Tensor


def all_groups(logprobs: Float[Tensor, " Y"], group_size: int) -> Groups:
    """Every multiset of G answers with its multinomial probability G!/Π n_y! · Π π(y)^n_y.

    Raises:
        ValueError: when ``group_size`` < 1 or there are too many groups to list.
    """
    size = len(logprobs)
    if group_size < 1:
        raise ValueError(f"group_size: need at least 1, got {group_size}")
    if math.comb(size + group_size - 1, group_size) > LARGEST:
        raise ValueError(f"group_size: {group_size} of {size} answers make too many groups to list")
    # torch.combinations would first list all size ** group_size *ordered* groups.
    members = torch.tensor(list(itertools.combinations_with_replacement(range(size), group_size)))
    counts = torch.nn.functional.one_hot(members, size).sum(dim=1).double()
    orders = math.lgamma(group_size + 1) - torch.lgamma(counts + 1).sum(dim=1)
    return Groups(members, (orders + logprobs[members].sum(dim=1)).exp())


def group_weights(mask: Bool[Tensor, "K G T"], average: Average) -> Float[Tensor, "K G T"]:
    """Weight of each token in the average of its group.

    An average is linear, and its weights depend only on the lengths. So it is called once for each
    combination of lengths.
    """
    lengths = mask.sum(dim=2)
    distinct, which = torch.unique(lengths, dim=0, return_inverse=True)
    position = torch.arange(mask.shape[2])
    weights = []
    for row in distinct:
        x = torch.zeros(mask.shape[1:], dtype=torch.float64, requires_grad=True)
        weights.append(torch.autograd.grad(average(x, position < row[:, None]), x)[0])
    return torch.stack(weights)[which]


def group_gradients(
    world: World, objective: Objective, group_size: int
) -> tuple[Float[Tensor, " K"], Float[Tensor, "K YT"]]:
    """Probability of each group, and its estimate of ∇J as weights of the Y·T rows of the Jacobian."""
    with torch.no_grad():
        logprobs, ref = world.logprobs(), world.logprobs(world.reference)
        old = logprobs if world.behaviour is None else world.logprobs(world.behaviour)
    members, chance = all_groups(old.sum(dim=1), group_size)
    rows, groups = members.flatten(), len(members)
    mask = world.mask[rows]

    def average(x: Tensor, mask: Tensor) -> Tensor:
        """The sum of the groups' averages, so that one call computes all of them."""
        weights = group_weights(mask.view(groups, group_size, -1), objective.average)
        return torch.where(mask, x, 0.0).mul(weights.view_as(mask)).sum()

    leaf = logprobs[rows].requires_grad_()
    rewards = world.rewards[rows]
    given = (rewards, old[rows], ref[rows], mask)
    advantages = objective.advantages(rewards, group_size, *given[1:])
    ends = torch.cat([_alone(objective, group_size, given, k) for k in (0, groups - 1)])
    if not torch.equal(ends, torch.cat([advantages[:group_size], advantages[-group_size:]])):
        # A baseline of the batch: the batch is one group, not the list of all groups.
        each = [_alone(objective, group_size, given, k) for k in range(groups)]
        advantages = torch.cat(each)
    loss = objective.total(Rows(leaf, old[rows], advantages, mask, ref[rows]), average)
    (slope,) = torch.autograd.grad(-loss, leaf)
    uphill = torch.zeros(groups, *world.mask.shape, dtype=torch.float64)
    each = torch.arange(groups).repeat_interleave(group_size)
    uphill.index_put_((each, rows), slope, accumulate=True)
    return chance, uphill.flatten(1)


def _alone(
    objective: Objective, group_size: int, given: tuple[Tensor, ...], k: int
) -> Float[Tensor, " G"]:
    """The advantages of group k when it is all that the objective sees."""
    rewards, *others = (x[k * group_size : (k + 1) * group_size] for x in given)
    return objective.advantages(rewards, group_size, *others)


def expected_gradient(
    world: World, objective: Objective, group_size: int
) -> tuple[Float[Tensor, " D"], float]:
    """The expected value of the estimator over all groups, and the trace of its covariance.

    E[ĝ] = Σ_k P(k)·ĝ_k,  tr Cov = Σ_k P(k)·‖ĝ_k‖² − ‖E[ĝ]‖²

    Args:
        world: determines which policy samples (π, or π_old if it is off-policy).
        objective: advantage, loss and average.
        group_size: G, the number of answers that the estimator sees.

    Raises:
        ValueError: when there are too many groups to list.
    """
    chance, uphill = group_gradients(world, objective, group_size)
    jacobian = world.jacobian.flatten(0, 1)
    mean = (chance @ uphill) @ jacobian
    squares = ((uphill @ (jacobian @ jacobian.T)) * uphill).sum(dim=1)  # ‖ĝ_k‖² without ĝ_k
    return mean, float(chance @ squares - mean @ mean)


@dataclass(frozen=True)
class Comparison:
    """An estimator compared with the gradient that it estimates.

    Attributes:
        expected: E[ĝ], [D].
        exact: the gradient ∇ that it estimates, [D].
        bias: the difference, [D].
        cosine: cosine of the angle between the two; 1 means equal directions.
        factor: the projection ⟨E[ĝ], ∇⟩/⟨∇, ∇⟩; 1 means equal length in that direction.
        variance: trace of the covariance of ĝ.
    """

    expected: Tensor
    exact: Tensor
    bias: Tensor
    cosine: float
    factor: float
    variance: float


def compare(
    world: World, objective: Objective, group_size: int, exact: Tensor | None = None
) -> Comparison:
    """The exact bias, direction, length and variance of an estimator.

    Args:
        world, objective, group_size: see ``expected_gradient``.
        exact: the gradient to compare with, [D]; by default ∇J.

    >>> found = compare(World.tiny(), Objective(), group_size=2)
    >>> round(found.cosine, 9), round(found.factor, 9), float(found.bias.norm()) < 1e-12
    (1.0, 1.0, True)
    """
    exact = world.gradient(world.expected_reward()) if exact is None else exact
    expected, variance = expected_gradient(world, objective, group_size)
    inner = float(expected @ exact)
    lengths = float(expected.norm() * exact.norm())
    cosine = inner / lengths if lengths > 0 else float("nan")
    factor = inner / float(exact @ exact)
    return Comparison(expected, exact, expected - exact, cosine, factor, variance)
