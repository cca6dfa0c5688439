"""The algorithms' table in exact numbers: bias, variance, direction, shares of prompts, pull on length.

A world of three prompts, *hard*, *medium* and *easy*, one small policy that answers all of them, and a batch
of one group for each prompt. The answers may come from another policy π_old, in one of two ways (``DRIFTS``):
it is *updates* behind π, the policy that exact gradient descent on J reaches from π; or its *weights are
noisy*, as in a sampler with rounded weights. All numbers are sums over all answers (``batches``), not
estimates. (Notebook 07)

J is the mean pass rate of the three prompts. Gradients are flat [D] and point *uphill*.
"""

import copy
import math
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rlvr_lab.exact.batches import batch_gradient
from rlvr_lab.exact.oracle import World, tiny_model
from rlvr_lab.objectives.objective import (
    ALGORITHMS,
    Objective,
    Rows,
    nothing_clipped,
    objective_from,
    sum_over_tokens,
)
from rlvr_lab.objectives.soft_clips import SOFT_RATIOS

__all__ = ["DRIFTS", "FRESH_SEEDS", "KINDS", "ROWS", "SEEDS", "Cells", "Numbers", "Zoo"]

KINDS = ("hard", "medium", "easy")
SEEDS = (1380, 1422, 1735, 1836, 1943)
"""The first five of the seeds 0, 1, 2, … whose untrained policies answer the three prompts with a pass rate
of 0.02 to 0.1, of 0.4 to 0.6, and of 0.9 to 0.98."""

FRESH_SEEDS = (3541, 3546, 3843, 4273, 4522)
"""The next five."""

DRIFTS = ("updates", "noise")
_STEP = (
    0.005  # learning rate of an update, and standard deviation of the noise, per unit of distance
)


def centred_by_the_batch(rewards: Tensor, group_size: int) -> Tensor:
    """One baseline for the whole batch, its mean reward."""
    return rewards - rewards.mean()


def share_above(rows: Rows, high: float) -> float:
    """Share of the trained tokens whose answer has a probability ratio above 1 + ε_high."""
    logs = torch.where(rows.mask, rows.logprobs.detach() - rows.old_logprobs, 0.0)
    above = (logs.sum(dim=1, keepdim=True).exp() > 1 + high).expand_as(rows.mask)
    return float(above[rows.mask].double().mean())


@dataclass(frozen=True)
class Cells:
    """A row of the table: advantage × ratio × clip × average. The default is GRPO.

    Attributes:
        baseline: what a reward is compared with: ``none``, the mean of the ``batch``, of the ``group``, of the
            group's others (``leave_one_out``), or the group mean, by which it is then divided (``maxrl``).
        divide_by_std: divide by the standard deviation too, of the group or of the batch.
        ratio: ``none``, ``token``, ``cispo`` (token, detached), ``sequence`` (GSPO), ``answer`` (the product over
            the answer, detached), ``sapo`` or ``vespo``.
        clip_low: ε_low; 1 is no clip.
        clip_high: ε_high; infinity is no clip.
        average: ``sequence`` (1/|o|), ``token`` or ``constant``: the sum over tokens (L = 1).

    Raises:
        ValueError: when ``divide_by_std`` stands beside a baseline that has no standard deviation.
    """

    baseline: str = "group"
    divide_by_std: bool = True
    ratio: str = "token"
    clip_low: float = 0.2
    clip_high: float = 0.2
    average: str = "sequence"

    def __post_init__(self) -> None:
        if self.divide_by_std and self.baseline not in ("group", "batch"):
            raise ValueError(f"divide_by_std: not with the baseline {self.baseline!r}")

    @property
    def objective(self) -> Objective:
        """The algorithm as a value, as the trainer uses it."""
        soft = self.ratio in SOFT_RATIOS
        found = objective_from(
            self.baseline,
            self.divide_by_std,
            self.average,
            1,
            "none" if soft else self.ratio,
            self.clip_low,
            self.clip_high,
        )
        if self.average == "constant":
            found = replace(found, average=sum_over_tokens)  # one function, so that caches know it
        if self.baseline == "batch" and not self.divide_by_std:
            found = replace(found, advantage=centred_by_the_batch)
        if soft:
            loss = partial(SOFT_RATIOS[self.ratio], low=self.clip_low, high=self.clip_high, tau=0.0)
            capped = self.ratio == "answer"
            clipped = partial(share_above, high=self.clip_high) if capped else nothing_clipped
            found = replace(found, loss=loss, clipped=clipped)
        return found


def row(name: str) -> Cells:
    """The cells of a row of ``objective.ALGORITHMS``."""
    names = ("baseline", "divide_by_std", "ratio", "clip_low", "clip_high", "average")
    return Cells(**{key: ALGORITHMS[name][key] for key in names if key in ALGORITHMS[name]})


ROWS = {
    # In its original form: one baseline for the batch, and the sum over the tokens of an answer.
    "REINFORCE": Cells("batch", False, "none", average="constant"),
    "RLOO": row("rloo"),
    "GRPO": row("grpo"),
    "Dr. GRPO": row("dr-grpo"),
    "DAPO": row("dapo"),
    "GSPO": row("gspo"),
    "CISPO": row("cispo"),
    "MaxRL": row("maxrl"),
}


@dataclass(frozen=True)
class Numbers:
    """What a row does to the gradient, exactly.

    Attributes:
        bias: ‖E[ĝ] − ∇J‖ / ‖∇J‖.
        factor: ⟨E[ĝ], ∇J⟩ / ⟨∇J, ∇J⟩; a learning rate can undo it.
        cosine: of the angle between E[ĝ] and ∇J; no learning rate can undo it.
        variance: trace of the covariance of ĝ.
        noise: variance / ‖E[ĝ]‖², which no learning rate changes.
        shares: ‖E[ĝ_n]‖ of the hard, medium and easy prompt, divided by their sum, [3].
        length: change of the expected number of tokens, to first order, in a step along E[ĝ] that is as long as
            the step along ∇J that raises J by 0.01. (The step along E[ĝ] raises J by 0.01·cosine.)
        clipped: expected share of tokens whose gradient the clip changes.
    """

    bias: float
    factor: float
    cosine: float
    variance: float
    noise: float
    shares: tuple[float, float, float]
    length: float
    clipped: float


class Zoo:
    """Three prompts, one policy, and old answers to them.

    Args:
        seed: of the policy; one of ``SEEDS`` gives a hard, a medium and an easy prompt.

    >>> zoo = Zoo()
    >>> [round(rate, 2) for rate in zoo.pass_rates]
    [0.08, 0.41, 0.92]
    >>> round(zoo.numbers(ROWS["RLOO"], distance=0).bias, 9)
    0.0
    """

    def __init__(self, seed: int = SEEDS[0]) -> None:
        model, world = tiny_model(3, seed), World.tiny()
        prompts = [replace(world, model=model, reference=model, prompt=word) for word in range(3)]
        self.worlds = sorted(prompts, key=lambda prompt: float(prompt.expected_reward().detach()))
        self._behind = [model]
        self._sampled: dict[tuple[int, str], tuple[World, ...]] = {}
        self._known: dict[tuple[Cells, int, str, int], Numbers] = {}

    @property
    def pass_rates(self) -> list[float]:
        """Of the hard, the medium and the easy prompt, under π."""
        return [float(world.expected_reward().detach()) for world in self.worlds]

    @cached_property
    def gradient(self) -> Float[Tensor, "3 D"]:
        """What each prompt adds to ∇J."""
        return torch.stack([world.gradient(world.expected_reward()) for world in self.worlds]) / 3

    @cached_property
    def length_gradient(self) -> Float[Tensor, " D"]:
        """Gradient of the expected number of tokens, the mean over the prompts."""
        each = [w.answer_logprobs().exp() @ w.mask.sum(dim=1).double() for w in self.worlds]
        return self.worlds[0].gradient(torch.stack(each).mean())

    def older(self, distance: int, drift: str = "updates") -> PreTrainedModel:
        """π_old at this distance from π.

        Args:
            distance: number of updates behind π, with learning rate 0.005; or the standard deviation of the
                noise in each weight, in units of 0.005.
            drift: one of ``DRIFTS``.
        """
        if drift not in DRIFTS:
            raise ValueError(f"drift: expected one of {DRIFTS}, got {drift!r}")
        if drift == "noise":
            model, generator = copy.deepcopy(self._behind[0]), torch.Generator().manual_seed(0)
            with torch.no_grad():
                for weights in model.parameters():
                    noise = torch.randn(weights.shape, generator=generator, dtype=weights.dtype)
                    weights += _STEP * distance * noise
            return model
        while len(self._behind) <= distance:
            model = copy.deepcopy(self._behind[-1])
            rates = [replace(world, model=model).expected_reward() for world in self.worlds]
            parameters = list(model.parameters())
            slopes = torch.autograd.grad(torch.stack(rates).mean(), parameters)
            with torch.no_grad():
                for weights, slope in zip(parameters, slopes, strict=True):
                    weights -= _STEP * slope
            self._behind.append(model)
        return self._behind[distance]

    def sampled(self, distance: int, drift: str = "updates") -> tuple[World, ...]:
        """The three prompts, with answers from π_old; at distance 0 they are on-policy."""
        key = (distance, drift)
        if key not in self._sampled:
            old = self.older(distance, drift) if distance else None
            moved = tuple(replace(world, behaviour=old) for world in self.worlds)
            for fresh, world in zip(self.worlds, moved, strict=True):
                vars(world)["jacobian"] = fresh.jacobian  # of π, whatever π_old is
            self._sampled[key] = moved
        return self._sampled[key]

    def far(
        self, distance: int, drift: str = "updates", low: float = 0.8, high: float = 1.2
    ) -> float:
        """Expected share of the sampled tokens whose ratio π/π_old lies outside ``low`` … ``high``."""
        outside = tokens = 0.0
        for world in self.sampled(distance, drift):
            new, old = world.fixed_logprobs
            ratio, chance = (new - old).exp(), old.sum(dim=1).exp()
            outside += float(
                chance @ (((ratio < low) | (ratio > high)) & world.mask).sum(1).double()
            )
            tokens += float(chance @ world.mask.sum(dim=1).double())
        return outside / tokens

    def numbers(
        self, cells: Cells, distance: int = 4, drift: str = "updates", group_size: int = 8
    ) -> Numbers:
        """The exact numbers of a row.

        Args:
            cells: the row.
            distance, drift: see ``older``; 0 is on-policy.
            group_size: G, answers to each of the three prompts in a batch.
        """
        key = (cells, distance, drift, group_size)
        if key not in self._known:
            found = batch_gradient(self.sampled(distance, drift), cells.objective, group_size)
            self._known[key] = describe(
                found.parts, found.variance, found.clipped, self.gradient, self.length_gradient
            )
        return self._known[key]

    def exact(self) -> Numbers:
        """The same numbers of ∇J itself."""
        return describe(self.gradient, 0.0, 0.0, self.gradient, self.length_gradient)


def describe(
    parts: Float[Tensor, "3 D"],
    variance: float,
    clipped: float,
    gradient: Float[Tensor, "3 D"],
    length_gradient: Float[Tensor, " D"],
) -> Numbers:
    """The numbers of an expected gradient, given by prompt, beside ∇J, given by prompt."""
    expected, exact = parts.sum(dim=0), gradient.sum(dim=0)
    size, norm = float(expected.norm()), float(exact.norm())
    sizes = parts.norm(dim=1)
    shares = tuple(float(part) for part in sizes / sizes.sum())
    moving = size > 1e-12 * norm
    return Numbers(
        bias=float((expected - exact).norm()) / norm,
        factor=float(expected @ exact) / norm**2,
        cosine=float(expected @ exact) / (size * norm) if moving else math.nan,
        variance=variance,
        noise=variance / size**2 if moving else math.inf,
        shares=shares if moving else (math.nan,) * 3,
        length=0.01 * float(length_gradient @ expected) / (size * norm) if moving else math.nan,
        clipped=clipped,
    )
