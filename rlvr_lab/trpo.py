"""TRPO on the tiny language model: every accepted step keeps its measured KL below δ (notebook 04).

A state is a prompt and the tokens so far, an action is the next token. The KL is exact at every state
of the batch: it is summed over the whole vocabulary, not estimated from the sampled tokens.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from rlvr_lab.advantages import group_advantages
from rlvr_lab.batch import RolloutBatch
from rlvr_lab.config import RolloutConfig
from rlvr_lab.experience import TrainState, collect, describe_step, reference_logprobs
from rlvr_lab.kl import exact_kl
from rlvr_lab.masking import masked_mean
from rlvr_lab.trust_region import LineSearch, trust_region_step

__all__ = ["TRPOConfig", "state_logits", "train_trpo"]


@dataclass(frozen=True)
class TRPOConfig(RolloutConfig):
    """A TRPO run. There is no learning rate: δ says how far a step may go.

    Attributes:
        max_kl: δ, the largest mean KL(π_old‖π) per token that a step may cause, in nats.
        damping: added to the Fisher matrix.
        cg_iterations: products of the Fisher matrix spent on a direction.
        fisher_groups: the Fisher matrix is taken over so many of the step's groups.
        line_search_tries: 1, ½, ¼, … of the full step are tried.
        natural: False follows the plain gradient instead, scaled and searched to the same δ.
    """

    max_kl: float = 0.02
    damping: float = 0.3
    cg_iterations: int = 5
    fisher_groups: int = 4
    line_search_tries: int = 10
    natural: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("max_kl", self.max_kl > 0, "positive")
        self.require_at_least(0, "damping")
        self.require_at_least(1, "cg_iterations", "fisher_groups", "line_search_tries")
        self.require("group_size", self.group_size > 1, "at least 2: advantages compare answers")
        self.require(
            "fisher_groups",
            self.fisher_groups <= self.prompts_per_step,
            f"at most prompts_per_step ({self.prompts_per_step})",
        )


def state_logits(
    model: PreTrainedModel, batch: RolloutBatch, temperature: float = 1.0
) -> Float[Tensor, "B T V"]:
    """Logits at every state of the batch: what each completion token was drawn from.

    With gradients of any order: the quick attention kernels know only the first.
    """
    size, tokens = batch.group_size, batch.completion_ids.shape[1]
    mask = torch.cat(
        [batch.prompt_mask.repeat_interleave(size, 0), batch.attention_mask], dim=1
    ).long()
    ids = torch.cat([batch.prompt_ids.repeat_interleave(size, 0), batch.completion_ids], dim=1)
    with sdpa_kernel(SDPBackend.MATH):
        output = model(
            input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)
        )
    return output.logits[:, -tokens - 1 : -1].float() / temperature


def train_trpo(config: TRPOConfig, *, state: TrainState | None = None) -> Iterator[dict[str, Any]]:
    """Run TRPO; yield one metrics record a step.

    Yields:
        What ``training.train`` yields, and ``accepted``, ``fraction`` (of the full step),
        ``step_kl`` (measured mean KL(π_old‖π) per token of the step taken, nats; 0 if none was) and
        ``surrogate_gain``.
    """
    state = state or TrainState.begin(config)
    while state.step < config.steps:
        experience = collect(config, state, state.step + 1)
        started = time.perf_counter()
        reference = reference_logprobs(config, state, experience.batch, every_row=False)
        exact = state.task.measure(state.policy, config.max_new_tokens, config.temperature)
        found = trpo_update(config, state, experience.batch, experience.rewards)
        state.step += 1
        yield {
            "step": state.step,
            **describe_step(config, experience, reference),
            **exact,
            "accepted": found.fraction > 0,
            "fraction": found.fraction,
            "step_kl": found.kl,
            "surrogate_gain": found.gain,
            "seconds_update": time.perf_counter() - started,
            "changed": [],
        }


def trpo_update(
    config: TRPOConfig, state: TrainState, batch: RolloutBatch, rewards: Tensor
) -> LineSearch:
    """One step on one batch: surrogate and KL as functions of the parameters, and a step on them."""
    model = state.policy.model
    parameters = [p for p in model.parameters() if p.requires_grad]
    advantages = group_advantages(rewards, config.group_size, divide_by_std=False)[:, None]
    few = batch.groups(list(range(config.fisher_groups)))
    with torch.no_grad():
        old, few_old = (state_logits(model, b, config.temperature) for b in (batch, few))

    def surrogate() -> Tensor:
        """E[ρ·A] over the states of the batch  (TRPO, eq. 14)."""
        ids = batch.completion_ids[..., None]
        new = state_logits(model, batch, config.temperature).log_softmax(-1)
        ratio = (new - old.log_softmax(-1)).gather(2, ids).squeeze(2).exp()
        return masked_mean(ratio * advantages, batch.completion_mask)

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
        config.max_kl,
        config.damping,
        config.cg_iterations if config.natural else 1,
        fisher_kl,
        tries=config.line_search_tries,
    )
