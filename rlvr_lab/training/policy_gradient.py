"""Policy gradient: REINFORCE, RLOO, GRPO and their relatives, all by one update."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.objectives.objective import ALGORITHMS, Objective, Rows, objective_from
from rlvr_lab.policy.batch import RolloutBatch, group_rows
from rlvr_lab.policy.logprobs import (
    chosen_logprobs,
    fits_whole,
    state_logits,
    token_logprobs,
    token_scores,
)
from rlvr_lab.training.optimise import OPTIMIZERS, optimiser_step, trained
from rlvr_lab.training.rollouts import Experience, RolloutConfig
from rlvr_lab.training.state import TrainState

__all__ = ["PRESETS", "PolicyGradientConfig", "improve"]


@dataclass(frozen=True)
class PolicyGradientConfig(RolloutConfig, kind="policy-gradient"):
    """A policy-gradient run: the rollouts, and a row of the algorithms' table in ``losses``.

    Attributes:
        baseline: what a reward is compared with: the ``group`` mean, the mean of the group's others
            (``leave_one_out``), the ``batch`` mean (whitened), nothing (``none``), the group mean with
            division by it (``maxrl``), or τ·log Z of the group (``log_z``).
        divide_by_std: divide by the group's standard deviation; with ``baseline="group"`` only.
        average: ``sequence`` (1/|o|, GRPO), ``token`` (DAPO) or ``constant`` (Dr. GRPO).
        constant_length: L of the constant average, in tokens; None means ``max_new_tokens``.
        ratio: ``token`` (PPO, GRPO), ``sequence`` (GSPO), ``cispo`` (detached weight), ``squared`` (Kimi k1.5:
            the square of A − τ·log ρ of the whole answer, without a clip) or ``none``.
        tau: τ of ``ratio="squared"`` and of ``baseline="log_z"``, in units of reward per nat.
        clip_low: ε_low of the clip.
        clip_high: ε_high of the clip.
        kl_coef: β ≥ 0, weight of the KL to the reference policy.
        kl_estimator: ``k1``, ``k2`` or ``k3``: what is differentiated when the KL is in the loss.
        kl_in: ``loss`` or ``reward``.
        updates_per_batch: passes over each batch of rollouts.
        minibatches: parts of a batch, by groups; one optimiser step each.
        optimizer: ``adamw`` (β .9, .95, no decay) or ``sgd`` (plain).
        learning_rate: of the optimiser.
        max_grad_norm: gradients are clipped to this norm; None leaves them alone.
        entropy_coef: weight of the entropy bonus, the mean entropy over trained tokens (``kl.entropy_bonus``).

    Raises:
        ValueError: naming the field, for a value that makes no sense.
    """

    baseline: Literal["group", "leave_one_out", "batch", "none", "maxrl", "log_z"] = "group"
    divide_by_std: bool = True
    average: Literal["sequence", "token", "constant"] = "sequence"
    constant_length: float | None = None
    ratio: Literal["token", "sequence", "cispo", "squared", "none"] = "token"
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coef: float = 0.0
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    kl_in: Literal["loss", "reward"] = "loss"
    updates_per_batch: int = 1
    minibatches: int = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 3e-4
    max_grad_norm: float | None = 1.0
    tau: float = 0.1
    entropy_coef: float = 0.0

    FIXED: ClassVar[tuple[str, ...]] = (*RolloutConfig.FIXED, "optimizer")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "updates_per_batch", "minibatches")
        self.require_at_least(0, "kl_coef", "clip_high", "entropy_coef")
        self.require_positive("learning_rate", "constant_length", "max_grad_norm", "tau")
        self.require("clip_low", 0 <= self.clip_low <= 1, "between 0 and 1")
        self.require(
            "minibatches",
            self.minibatches <= self.prompts_per_step,
            f"at most prompts_per_step ({self.prompts_per_step})",
        )
        compares = self.baseline in ("group", "leave_one_out", "maxrl", "log_z")
        self.require(
            "group_size",
            not compares or self.group_size > 1,
            f"at least 2 with baseline={self.baseline!r}: one answer has nothing to be compared with",
        )
        self.require(
            "divide_by_std",
            not self.divide_by_std or self.baseline == "group",
            f"False with baseline={self.baseline!r}: only the group baseline is divided by the std",
        )

        negative = self.baseline == "maxrl" and self.kl_coef > 0
        self.require(
            "kl_in",
            not negative or self.kl_in == "loss",
            "loss with baseline='maxrl': a KL in the reward makes rewards negative",
        )

    @property
    def objective(self) -> Objective:
        """The algorithm that the names stand for."""
        return objective_from(
            self.baseline,
            self.divide_by_std,
            self.average,
            self.constant_length or self.max_new_tokens,
            self.ratio,
            self.clip_low,
            self.clip_high,
            self.kl_coef,
            self.kl_in == "reward",
            self.kl_estimator,
            self.tau,
            self.entropy_coef,
        )

    def needs_reference(self) -> bool:
        """Whether the reference is needed for every answer: only if the KL is part of the objective."""
        return self.kl_coef > 0

    def begin(self, *given: Any, **named: Any) -> TrainState:
        """The state before step 1; arguments as of ``RolloutConfig.begin``."""
        state = super().begin(*given, **named)
        make = OPTIMIZERS[self.optimizer]
        state.optimizer = make(trained(state.policy.model), self.learning_rate)
        return state

    def objective_on(self, experience: Experience) -> Objective:
        """The objective for one batch; an experiment may let it depend on the answers."""
        return self.objective

    def update(self, state: TrainState, experience: Experience) -> dict[str, float]:
        """All optimiser steps on one batch; ``loss``, ``grad_norm``, ``clip_fraction``: means over them."""
        for group in state.optimizer.param_groups:
            group["lr"] = self.learning_rate
        return improve(
            state,
            self.objective_on(experience),
            experience.batch,
            experience.rewards,
            experience.reference.logprobs,
            temperature=self.temperature,
            updates=self.updates_per_batch,
            minibatches=self.minibatches,
            max_norm=self.max_grad_norm,
        )


def improve(
    state: TrainState,
    objective: Objective,
    batch: RolloutBatch,
    rewards: Float[Tensor, " B"],
    ref_logprobs: Float[Tensor, "B T"],
    *,
    temperature: float = 1.0,
    updates: int = 1,
    minibatches: int = 1,
    max_norm: float | None = 1.0,
    weights: Float[Tensor, "B T"] | None = None,
) -> dict[str, float]:
    """Compare the answers and take ``updates`` · ``minibatches`` optimiser steps on them.

    Args:
        state: its policy and optimiser are updated.
        objective: the algorithm.
        batch: the rollouts.
        rewards: raw rewards.
        ref_logprobs: log π_ref of the sampled tokens; read only where the objective has a KL.
        temperature: that of the sampling.
        updates: passes over the batch.
        minibatches: parts of the batch, by groups, in order.
        max_norm: of the gradient; None leaves it alone.
        weights: of the tokens' losses, where another policy has sampled them (``importance``); None means 1.

    Returns:
        Means over the optimiser steps of ``loss``, ``grad_norm`` (before clipping) and ``clip_fraction``.
    """
    mask, old = batch.completion_mask, batch.old_logprobs
    advantages = objective.advantages(rewards, batch.group_size, old, ref_logprobs, mask)
    groups = torch.arange(len(batch.prompt_ids))  # on the host, which reads it as a list
    noted: list[tuple[float, float, float]] = []
    for _ in range(updates):
        for part in groups.tensor_split(minibatches):
            rows = group_rows(part, batch.group_size).to(mask.device)
            small = batch if minibatches == 1 else batch.groups(part.tolist())
            a = advantages[rows]
            # A row with zero advantage usually has no gradient: it counts in every average but needs no forward
            # pass. Without one its log-probabilities are 0, so a loss that reads them needs every row.
            needed = (a != 0) | objective.trains_every_row
            logits = entropies = None
            model = state.policy.model
            if objective.reads_logits and not fits_whole(model, small):
                logprobs, entropies = token_scores(model, small, temperature, with_entropy=True)
            elif objective.reads_logits:  # one forward pass serves both
                logits = state_logits(model, small, temperature)
                logprobs = chosen_logprobs(logits, small.completion_ids, small.attention_mask)
            else:
                logprobs = token_logprobs(model, small, temperature, needed)
            given = (logprobs, small.old_logprobs, a, small.completion_mask, ref_logprobs[rows])
            given = Rows(
                *given, logits, None if weights is None else weights[rows], entropies=entropies
            )
            loss = objective.total(given)
            # If every group has zero spread, no row is left and there is no step to take.
            norm = optimiser_step(state.optimizer, loss, max_norm) if loss.requires_grad else 0.0
            noted.append((objective.clipped(given), norm, float(loss.detach())))
    means = [sum(column) / len(noted) for column in zip(*noted, strict=True)]
    return dict(zip(("clip_fraction", "grad_norm", "loss"), means, strict=True))


PRESETS: dict[str, PolicyGradientConfig] = {
    name: replace(PolicyGradientConfig(), **row) for name, row in ALGORITHMS.items()
}
"""The eight rows of the algorithms' table; every other setting is the default."""
