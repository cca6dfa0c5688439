"""Which KL does an estimator descend when it is used as a loss? Exactly, on an enumerable world (notebook 06).

An estimator of KL(π‖π_ref) is taken of the whole answer or of each token and summed, and then
differentiated with the sampling held fixed, as every implementation does. Its expected gradient is compared
with the gradients of two KLs of whole answers and of two KLs per token.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.exact.estimators import expected_gradient
from rlvr_lab.exact.oracle import World
from rlvr_lab.objectives.averages import Average
from rlvr_lab.objectives.kl import k1, k2, k3
from rlvr_lab.objectives.objective import Objective, Rows, sum_over_tokens

__all__ = ["KL_LOSSES", "Direction", "between", "kl_directions", "kl_loss", "per_token_kl"]

Estimate = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(log π, log π_old, log π_ref) → nats, elementwise."""


def kl_loss(estimate: Estimate, whole: bool, average: Average = sum_over_tokens) -> Objective:
    """An estimator used as a loss, of whole answers or of each token.

    Args:
        estimate: the estimator.
        whole: add up the log-probabilities of an answer first; otherwise estimate per token.
        average: over the tokens and the answers.

    >>> whole = kl_loss(lambda new, old, ref: k3(new, ref), whole=True)
    >>> world = World.tiny()
    >>> found = expected_gradient(world, whole, group_size=1)[0]
    >>> bool((found + world.gradient(world.kl(forward=True))).norm() < 1e-12)  # uphill is minus downhill
    True
    """

    def loss(rows: Rows, average: Average) -> Tensor:
        logs = (rows.logprobs, rows.old_logprobs, rows.ref_logprobs)
        mask = rows.mask
        if whole:
            logs = tuple(torch.where(mask, x, 0.0).sum(dim=1, keepdim=True) for x in logs)
            mask = torch.ones_like(logs[0], dtype=torch.bool)
        return average(estimate(*logs), mask)

    return Objective(loss=loss, average=average)


ESTIMATES: dict[str, Estimate] = {
    "k1": lambda new, old, ref: k1(new, ref),
    "k2": lambda new, old, ref: k2(new, ref),
    "k3": lambda new, old, ref: k3(new, ref),
    "ρ·k3": lambda new, old, ref: (new - old).exp() * k3(new, ref),
}
KL_LOSSES: dict[str, Objective] = {
    **{f"{name}, whole answer": kl_loss(e, whole=True) for name, e in ESTIMATES.items()},
    "k1 in the reward": kl_loss(lambda new, old, ref: k1(new, ref).detach() * new, whole=True),
    **{f"{name}, per token": kl_loss(e, whole=False) for name, e in ESTIMATES.items()},
}
"""Name → the estimator as a loss. GRPO's is ``k3, per token``, up to its weight 1/|o|."""


def per_token_kl(world: World, forward: bool = False) -> Float[Tensor, ""]:
    """Σ_t E_{s_t ~ π}[KL at the prefix s_t], the *prefixes held fixed*: its gradient flows through the next
    token's distribution only.

    The KL at a prefix is that of the next-token distributions: KL(π‖π_ref), or with ``forward`` KL(π_ref‖π).
    Its value is that of KL(π‖π_ref) of whole answers when ``forward`` is False; its gradient is not, since an
    early token also decides which prefixes come later.
    """
    policy, reference = world.logprobs(), world.logprobs(world.reference).detach()
    total = policy.new_zeros(())
    for t in range(world.ids.shape[1]):
        prefixes = {
            tuple(world.ids[y, : t + 1].tolist()): y
            for y in range(len(world.ids))
            if world.mask[y, t]
        }
        rows = list(prefixes.values())  # one answer for each prefix and each next token
        reached = policy[rows, :t].sum(dim=1).exp().detach()
        p, q = policy[rows, t], reference[rows, t]
        p, q = (q, p) if forward else (p, q)
        total = total + (reached * p.exp() * (p - q)).sum()
    return total


@dataclass(frozen=True)
class Direction:
    """Where a KL estimator pulls as a loss.

    Attributes:
        size: norm of its expected gradient.
        distance: target → norm of the difference from that target's gradient.
        cosine: target → cosine of the angle with that target's gradient.
        spread: standard deviation of the gradient of one sampled answer.
    """

    size: float
    distance: dict[str, float]
    cosine: dict[str, float]
    spread: float


def kl_directions(world: World, losses: dict[str, Objective] = KL_LOSSES) -> dict[str, Direction]:
    """The expected gradient of each loss beside four targets.

    The targets are ``reverse`` (KL(π‖π_ref) of whole answers), ``forward`` (KL(π_ref‖π)), and the same two
    ``per token`` (``per_token_kl``).
    """
    targets = {
        "reverse": world.gradient(world.kl()),
        "forward": world.gradient(world.kl(forward=True)),
        "reverse per token": world.gradient(per_token_kl(world)),
        "forward per token": world.gradient(per_token_kl(world, forward=True)),
    }
    found = {}
    for name, objective in losses.items():
        uphill, variance = expected_gradient(world, objective, group_size=1)
        g = -uphill
        size = float(g.norm())
        found[name] = Direction(
            size,
            {key: float((g - target).norm()) for key, target in targets.items()},
            {
                key: float(g @ target) / (size * float(target.norm())) if size > 1e-12 else 0.0
                for key, target in targets.items()
            },
            variance**0.5,
        )
    return found


def between(world: World, share: float) -> World:
    """The world whose policy's parameters lie ``share`` of the way from the reference to the policy.

    Raises:
        ValueError: unless 0 ≤ share ≤ 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: must lie between 0 and 1, got {share}")
    model = copy.deepcopy(world.model)
    with torch.no_grad():
        pairs = zip(model.parameters(), world.reference.parameters(), strict=True)
        for mine, theirs in pairs:
            mine.lerp_(theirs, 1 - share)
    return replace(world, model=model)
