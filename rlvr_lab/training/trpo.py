"""TRPO on a language model: every accepted step keeps its measured KL below δ (notebook 04).

A state is a prompt and the tokens so far, an action is the next token. The KL is exact at every state
of the batch: it is summed over the whole vocabulary, not estimated from the sampled tokens.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.objectives.averages import masked_mean
from rlvr_lab.objectives.kl import exact_kl
from rlvr_lab.objectives.trust_region import LineSearch, trust_region_step
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.logprobs import state_logits
from rlvr_lab.training.optimise import trained
from rlvr_lab.training.rollouts import Experience, RolloutConfig
from rlvr_lab.training.state import TrainState

__all__ = ["TRPOConfig", "trpo_update"]


@dataclass(frozen=True)
class TRPOConfig(RolloutConfig, kind="trpo"):
    """A TRPO run. There is no learning rate: δ says how far a step may go.

    Attributes:
        max_kl: δ, the largest mean KL(π_old‖π) per token that a step may cause, in nats.
        damping: added to the Fisher matrix.
        cg_iterations: products of the Fisher matrix spent on a direction.
        fisher_groups: the Fisher matrix is taken over so many of the step's groups.
        line_search_tries: 1, ½, ¼, … of the full step are tried.
        natural: False follows the plain gradient instead, scaled and searched to the same δ.
        delta_schedule: δ at step t of T: ``constant``, or ``quadratic``, δ·(1 − (t − 1)/T)².
    """

    max_kl: float = 0.02
    damping: float = 0.3
    cg_iterations: int = 5
    fisher_groups: int = 4
    line_search_tries: int = 10
    natural: bool = True
    delta_schedule: Literal["constant", "quadratic"] = "constant"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("max_kl")
        self.require_at_least(0, "damping")
        self.require_at_least(1, "cg_iterations", "fisher_groups", "line_search_tries")
        self.require("group_size", self.group_size > 1, "at least 2: advantages compare answers")
        self.require(
            "fisher_groups",
            self.fisher_groups <= self.prompts_per_step,
            f"at most prompts_per_step ({self.prompts_per_step})",
        )

    def limit(self, done: int) -> float:
        """δ of the step that follows ``done`` finished steps, in nats."""
        left = 1 - done / self.steps
        return self.max_kl * (left**2 if self.delta_schedule == "quadratic" else 1.0)

    def update(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """``max_kl``, the δ of this step; ``accepted``; ``fraction`` of the full step; ``step_kl`` (mean
        KL(π_old‖π) per token of the step taken, nats; 0 if none was); ``surrogate_gain``.
        """
        found = trpo_update(self, state, experience.batch, experience.rewards)
        return {
            "max_kl": self.limit(state.step),
            "accepted": found.fraction > 0,
            "fraction": found.fraction,
            "step_kl": found.kl,
            "surrogate_gain": found.gain,
        }


def surrogate_gain(
    log_ratio: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B #T"],  # noqa: F821
    mask: Bool[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """E[ρ·A] over the trained tokens, to be maximised  (TRPO, eq. 14, arXiv:1502.05477)."""
    return masked_mean(log_ratio.exp() * advantages, mask)


def trpo_update(
    config: TRPOConfig, state: TrainState, batch: RolloutBatch, rewards: Tensor
) -> LineSearch:
    """One step on one batch: surrogate and KL as functions of the parameters, and a step on them."""
    model = state.policy.model
    parameters = trained(model)
    advantages = group_advantages(rewards, config.group_size, divide_by_std=False)[:, None]
    few = batch.groups(list(range(config.fisher_groups)))
    with torch.no_grad():
        old, few_old = (state_logits(model, b, config.temperature) for b in (batch, few))

    def surrogate() -> Tensor:
        """E[ρ·A] over the states of the batch  (TRPO, eq. 14)."""
        ids = batch.completion_ids[..., None]
        new = state_logits(model, batch, config.temperature).log_softmax(-1)
        log_ratio = (new - old.log_softmax(-1)).gather(2, ids).squeeze(2)
        return surrogate_gain(log_ratio, advantages, batch.completion_mask)

    def kl() -> Tensor:
        new = state_logits(model, batch, config.temperature)
        return masked_mean(exact_kl(old, new), batch.completion_mask)

    def fisher_kl() -> Tensor:
        new = state_logits(model, few, config.temperature)
        return masked_mean(exact_kl(few_old, new), few.completion_mask)

    return trust_region_step(
        parameters,
        surrogate,
        kl,
        config.limit(state.step),
        config.damping,
        config.cg_iterations if config.natural else 1,
        fisher_kl,
        tries=config.line_search_tries,
    )
