r"""Why a policy-gradient step lowers the entropy: the covariance law, exactly (notebook 06).

For any policy π_θ and any direction d in its parameters, the entropy H = −Σ_y π(y)·log π(y) has the derivative

    dH/dε = −Cov_{y ~ π}( log π(y), ⟨∇ log π(y), d⟩ )      (at θ + ε·d, ε = 0)

since E_π[⟨∇ log π, d⟩] = 0. For a softmax over a table of logits z, ⟨∇ log π, d⟩ may be replaced by d itself, the
change of the logits: a constant has no covariance (arXiv:2505.22617). The rest of a step of size η is of
second order in η.

| step                       | change of log π(y), up to a constant | ΔH to first order        |
|----------------------------|--------------------------------------|--------------------------|
| natural gradient           | η·A(y)                               | −η·Cov(log π, A)         |
| gradient of a table's J    | η·π(y)·A(y)                          | −η·Cov(log π, π·A)       |
| any direction d            | η·⟨∇ log π(y), d⟩                    | −η·Cov(log π, ⟨∇ log π, d⟩) |

Here A = r − E_π[r]. So the entropy falls when probable answers are better than the mean, and rises when rare ones
are.

Shapes: Y answers, T tokens, D parameters; a direction is flat [D] and points uphill. Entropies are in nats.
"""

import copy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.exact.estimators import expected_gradient
from rlvr_lab.exact.oracle import World
from rlvr_lab.objectives.objective import Objective

__all__ = [
    "covariance",
    "entropy_change",
    "entropy_parts",
    "entropy_slope",
    "moved",
    "natural_direction",
    "natural_step",
    "second_update",
    "table_step",
]


def covariance(
    logprobs: Float[Tensor, "*shape K"], x: Float[Tensor, "*shape K"]
) -> Float[Tensor, "*shape"]:
    """Cov_{y ~ π}(log π(y), x(y)) over the last axis, where π = exp(``logprobs``).

    An answer with π = 0 adds nothing.

    >>> pi = torch.tensor([0.8, 0.2])
    >>> covariance(pi.log(), torch.tensor([1.0, 0.0]))  # the probable answer is the better one
    tensor(0.2218)
    """
    p = logprobs.exp()
    finite = logprobs.masked_fill(p == 0, 0.0)
    centred = x - (p * x).sum(-1, keepdim=True)
    return (p * finite * centred).sum(-1)


def entropy_change(
    logprobs: Float[Tensor, "*shape K"], log_odds: Float[Tensor, "*shape K"]
) -> Float[Tensor, "*shape"]:
    """−Cov_π(log π, Δ): the change of the entropy when the logits change by Δ, to first order.

    Args:
        logprobs: log π before the step, of all answers (or of the whole vocabulary, per token).
        log_odds: Δ, the change of log π or of the logits; constants do not matter.

    >>> entropy_change(torch.tensor([0.8, 0.2]).log(), torch.tensor([0.01, 0.0]))
    tensor(-0.0022)
    """
    return -covariance(logprobs, log_odds)


def natural_step(
    logprobs: Float[Tensor, " Y"], advantages: Float[Tensor, " Y"], rate: float
) -> Float[Tensor, " Y"]:
    """log π after a step of the natural policy gradient: log π + η·A, normalised.

    >>> natural_step(torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, -1.0]), 0.5).exp()
    tensor([0.7311, 0.2689])
    """
    return (logprobs + rate * advantages).log_softmax(-1)


def table_step(
    logprobs: Float[Tensor, " Y"], advantages: Float[Tensor, " Y"], rate: float
) -> Float[Tensor, " Y"]:
    """log π after a gradient step on a table of logits: ∂J/∂z(y) = π(y)·A(y), where E_π[A] = 0.

    >>> table_step(torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, -1.0]), 0.5).exp()
    tensor([0.6225, 0.3775])
    """
    return (logprobs + rate * logprobs.exp() * advantages).log_softmax(-1)


# --------------------------------------------------------------------- a language model, all answers


def entropy_slope(world: World, direction: Float[Tensor, " D"]) -> float:
    """dH/dε of whole answers along a direction, as the covariance of the law.

    >>> world = World.tiny()
    >>> uphill = world.gradient(world.expected_reward())
    >>> abs(entropy_slope(world, uphill) - float(world.gradient(world.entropy()) @ uphill)) < 1e-12
    True
    """
    scores = world.jacobian.sum(dim=1) @ direction
    return -float(covariance(world.answer_logprobs().detach(), scores))


def entropy_parts(world: World, direction: Float[Tensor, " D"]) -> tuple[float, float]:
    """The two parts of ``entropy_slope`` for answers of several tokens; their sum is the slope.

    H = Σ_s d(s)·H(s): the entropy of an answer is the sum of the entropies of its next tokens, weighted by how
    often π reaches the prefix s.

    Returns:
        ``within``: −Σ_s d(s)·Cov_{a ~ π(·|s)}(log π(a|s), ⟨∇ log π(a|s), d⟩), the law at each prefix, which is all
        that an entropy per token with fixed prefixes can see; ``visits``: Σ_s d'(s)·H(s), other prefixes are
        reached.
    """
    logprobs = world.logprobs().detach()
    scores = world.jacobian @ direction  # [Y, T]
    within = 0.0
    for t in range(world.ids.shape[1]):
        prefixes: dict[tuple[int, ...], dict[int, int]] = {}
        for y in range(len(world.ids)):
            if world.mask[y, t]:
                *before, token = world.ids[y, : t + 1].tolist()
                prefixes.setdefault(tuple(before), {})[token] = y  # one answer for each next token
        for nexts in prefixes.values():
            rows = list(nexts.values())
            reached = float(logprobs[rows[0], :t].sum().exp())
            within -= reached * float(covariance(logprobs[rows, t], scores[rows, t]))
    return within, entropy_slope(world, direction) - within


def natural_direction(world: World) -> Float[Tensor, " D"]:
    """The direction d with ⟨∇ log π(y), d⟩ = A(y) for each answer: the natural gradient of J.

    It is the shortest solution. The policy has more parameters than answers, so there is one.

    Raises:
        ValueError: when the parameters cannot move the answers in this way.
    """
    with torch.no_grad():
        advantages = world.rewards - world.expected_reward()
    scores = world.jacobian.sum(dim=1)
    direction = torch.linalg.pinv(scores, rtol=1e-10) @ advantages
    if not bool(torch.allclose(scores @ direction, advantages, atol=1e-8)):
        raise ValueError("world: its parameters cannot change log π by the advantages alone")
    return direction


def moved(world: World, direction: Float[Tensor, " D"], size: float) -> World:
    """The world whose policy has taken the step ``size`` · ``direction``."""
    model, start = copy.deepcopy(world.model), 0
    with torch.no_grad():
        for parameter in model.parameters():
            end = start + parameter.numel()
            parameter += size * direction[start:end].view_as(parameter)
            start = end
    return replace(world, model=model)


def second_update(world: World, objective: Objective, group_size: int, size: float) -> World:
    """The world after the first of several updates on one batch: π has moved, the answers come from π_old.

    Only from here on a clip can act.

    Args:
        world: on-policy.
        objective: its expected gradient is the first update.
        group_size: G.
        size: of that update.

    Raises:
        ValueError: when the world is off-policy already.
    """
    if world.behaviour is not None:
        raise ValueError("world: its answers already come from another policy")
    direction, _ = expected_gradient(world, objective, group_size)
    return replace(moved(world, direction, size), behaviour=world.model)
