"""The exact bias and variance of a policy gradient whose answers another policy has sampled.

In the enumerable world of ``oracle`` every answer is listed, so the expected gradient under a sampler μ ≠ π is a
finite sum, for every correction of ``objectives.importance``. (Notebook 11)

Shapes: Y answers, T tokens, D parameters. Gradients are flat [D] and point *uphill*.
"""

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from math import inf, nan

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.exact.estimators import Comparison
from rlvr_lab.exact.oracle import World
from rlvr_lab.objectives.importance import CORRECTIONS, weighted
from rlvr_lab.objectives.losses import ppo_clip_loss
from rlvr_lab.objectives.token_weights import loss_weights

__all__ = [
    "ESTIMATORS",
    "climb",
    "corrected_gradient",
    "estimators",
    "noisy_logprobs",
    "per_token_kl",
    "relative_bias",
]

Weights = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(log π, log μ, mask) → weights [Y, T]."""


def estimators(cap: float = 2.0, floor: float = 0.5) -> dict[str, Weights]:
    """The corrections of ``objectives.importance`` by name; "product" is one weight per answer.

    Args:
        cap: of the capped ones, and β of IcePop.
        floor: α of IcePop.
    """

    def weights(name: str, cap: float) -> Weights:
        return lambda new, old, mask: CORRECTIONS[name](new, old, mask, cap, floor)

    return {
        "no correction": weights("none", cap),
        "token": weights("tis", inf),
        "token, capped": weights("tis", cap),
        "IcePop": weights("icepop", cap),
        "product": weights("sequence", inf),
        "product, capped": weights("sequence", cap),
    }


ESTIMATORS = estimators()
"""Those with cap 2 and floor 0.5."""


def _sum(x: Float[Tensor, "Y T"], mask: Bool[Tensor, "Y T"]) -> Float[Tensor, ""]:
    return torch.where(mask, x, 0.0).sum()


def corrected_gradient(
    world: World, sampler_logprobs: Float[Tensor, "Y T"], weights: Weights | None
) -> Comparison:
    """The estimate of ∇J from one answer y ~ μ: ĝ(y) = (r(y) − J) · Σ_t w_t(y) · ∇ log π(y_t).

    E[ĝ] = Σ_y μ(y)·ĝ(y),  tr Cov = Σ_y μ(y)·‖ĝ(y)‖² − ‖E[ĝ]‖²

    The baseline is the exact J, so that what is wrong comes from the sampler alone.

    Args:
        world: its ``model`` is π, the trainer's policy.
        sampler_logprobs: log μ of each token of each answer, 0 on padding.
        weights: a value of ``ESTIMATORS``; None is the clip of PPO at ε = 0.2 with μ in the place of π_old.

    Raises:
        ValueError: when μ is no distribution over the answers.

    >>> world = World.tiny()
    >>> found = corrected_gradient(world, world.fixed_logprobs[0], ESTIMATORS["no correction"])
    >>> float(found.bias.norm()) < 1e-12
    True
    """
    chance = sampler_logprobs.sum(dim=1).exp()
    if not abs(float(chance.sum()) - 1) < 1e-9:
        raise ValueError(
            f"sampler_logprobs: the probabilities of all answers add up to {float(chance.sum()):.6g}, not 1"
        )
    trainer, mask = world.fixed_logprobs[0], world.mask
    j = world.expected_reward().detach()
    old = sampler_logprobs if weights is None else trainer
    average = _sum if weights is None else weighted(_sum, weights(trainer, sampler_logprobs, mask))
    slope = loss_weights(
        lambda lp: ppo_clip_loss(lp, old, world.rewards - j, mask, 0.2, 0.2, average), trainer
    )
    each = torch.einsum("yt,ytd->yd", slope, world.jacobian)
    expected = chance @ each
    variance = float(chance @ each.square().sum(dim=1) - expected @ expected)
    exact = world.gradient(world.expected_reward())
    inner, size = float(expected @ exact), float(exact @ exact)
    lengths = float(expected.norm() * exact.norm())
    cosine = inner / lengths if lengths > 0 else nan
    return Comparison(expected, exact, expected - exact, cosine, inner / size, variance)


def relative_bias(found: Comparison) -> float:
    """‖E[ĝ] − ∇J‖ / ‖∇J‖: 0 for an unbiased estimator, 1 for one that is always 0."""
    return float(found.bias.norm() / found.exact.norm())


def climb(world: World, steps: int, rate: float) -> list[World]:
    """The world after 0, 1, …, ``steps`` steps of exact gradient ascent on J; the given one is not changed.

    The sampler of lag k for the last of them is the one k places before it.

    Raises:
        ValueError: when ``steps`` is negative or ``rate`` not positive.
    """
    if steps < 0:
        raise ValueError(f"steps: must not be negative, got {steps}")
    if not rate > 0:
        raise ValueError(f"rate: must be positive, got {rate}")
    found = [replace(world, model=copy.deepcopy(world.model))]
    for _ in range(steps):
        here = replace(world, model=copy.deepcopy(found[-1].model))
        moves = torch.autograd.grad(here.expected_reward(), here.parameters)
        with torch.no_grad():
            for parameter, move in zip(here.parameters, moves, strict=True):
                parameter += rate * move
        found.append(here)
    return found


def noisy_logprobs(world: World, std: float, generator: torch.Generator) -> Float[Tensor, "Y T"]:
    """log μ of a sampler that adds Gaussian noise to each logit of π, one draw for each beginning of an answer.

    Adding noise to a logit or to its log-probability is the same: the two differ by a constant of the beginning.

    Args:
        world: its ``model`` is π.
        std: σ ≥ 0, in nats.
        generator: of the noise.
    """
    logprobs, found = world.fixed_logprobs[0], torch.zeros_like(world.fixed_logprobs[0])
    places = defaultdict(lambda: defaultdict(list))  # beginning → next token → where it occurs
    for y, t in world.mask.nonzero().tolist():
        row = world.ids[y].tolist()
        places[tuple(row[:t])][row[t]].append((y, t))
    for beginning in sorted(places):
        tokens = sorted(places[beginning])
        first = [places[beginning][token][0] for token in tokens]
        scores = torch.stack([logprobs[place] for place in first])
        noise = torch.randn(len(tokens), dtype=torch.float64, generator=generator)
        moved = (scores + std * noise).log_softmax(0)
        for token, value in zip(tokens, moved, strict=True):
            for place in places[beginning][token]:
                found[place] = value
    return found


def per_token_kl(world: World, sampler_logprobs: Float[Tensor, "Y T"]) -> float:
    """KL(μ‖π) of whole answers ÷ the mean length under μ, in nats per token."""
    chance = sampler_logprobs.sum(dim=1).exp()
    gap = (sampler_logprobs - world.fixed_logprobs[0]).sum(dim=1)
    return float(chance @ gap / (chance @ world.mask.sum(dim=1).double()))
