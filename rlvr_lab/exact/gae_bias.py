"""Bias and noise of GAE's advantages, exactly: all answers of the enumerable world, an imperfect V (notebook 05).

For a state s and a token a, Â_λ is random because the rest of the answer is. Its error on average is
E[Â_λ | s, a] − A(s, a). The part of this error that is equal for all tokens of a state cancels in the expected
policy gradient, so it counts as noise; the rest is bias.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.exact.oracle import World
from rlvr_lab.objectives.gae import gae

__all__ = ["bias_and_noise", "exact_values", "mixed_values"]


def _same_prefix(world: World, length: int) -> Tensor:
    """Which answers begin with the same ``length`` tokens, [Y, Y]; an answer that ended before has none."""
    begin, there = world.ids[:, :length], world.mask[:, :length].all(dim=1)
    same = (begin[:, None] == begin[None]).all(dim=2)
    return same & there[:, None] & there[None]


@torch.no_grad()
def exact_values(world: World) -> Float[Tensor, "Y T"]:
    """V(s_t) = E[R | the first t tokens], for each token of each answer; 0 on padding."""
    chance = world.answer_logprobs().exp()
    columns = []
    for t in range(world.ids.shape[1]):
        weight = _same_prefix(world, t).double() * chance
        columns.append(weight @ world.rewards / weight.sum(dim=1).clamp(min=1e-300))
    return torch.where(world.mask, torch.stack(columns, dim=1), 0.0)


def mixed_values(world: World, error: float) -> Float[Tensor, "Y T"]:
    """A worse V: (1 − error)·V(s_t) + error·J. At ``error`` = 1 it is the constant J = E[R]."""
    exact = exact_values(world)
    return torch.where(world.mask, (1 - error) * exact + error * exact[:, :1], 0.0)


@torch.no_grad()
def bias_and_noise(
    world: World, values: Float[Tensor, "Y T"], lam: Sequence[float]
) -> Float[Tensor, "L 2"]:
    """Mean squared bias and mean squared noise of Â_λ for each λ, with γ = 1 and one reward at the end.

    Means are over the states and tokens that the policy visits; the two add up to E[(Â_λ − A)²].

    >>> world = World.tiny()
    >>> float(bias_and_noise(world, exact_values(world), [0.0])[0, 0]) < 1e-20
    True
    """
    chance, exact = world.answer_logprobs().exp(), exact_values(world)
    rewards = torch.zeros_like(exact)
    rewards[torch.arange(len(exact)), world.mask.sum(dim=1) - 1] = world.rewards
    prefixes = [_same_prefix(world, t).double() * chance for t in range(exact.shape[1] + 1)]
    averages = [p / p.sum(dim=1, keepdim=True).clamp(min=1e-300) for p in prefixes]
    rows = []
    for one in lam:
        estimate = gae(rewards, values, world.mask, 1.0, one)
        bias = error = total = 0.0
        for t in range(exact.shape[1]):
            truth = averages[t + 1] @ world.rewards - exact[:, t]
            off = averages[t + 1] @ estimate[:, t] - truth
            tilt = off - averages[t] @ off
            weights = torch.where(world.mask[:, t], chance, 0.0)
            bias += float(weights @ tilt.square())
            error += float(weights @ (estimate[:, t] - truth).square())
            total += float(weights.sum())
        rows.append([bias / total, (error - bias) / total])
    return torch.tensor(rows, dtype=torch.float64)
