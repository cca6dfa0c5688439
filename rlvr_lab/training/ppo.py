"""PPO for a language model: value model, GAE, minibatches and epochs, KL in the reward (notebook 05).

The details that the papers leave out are switches of ``PPOConfig``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.averages import masked_mean
from rlvr_lab.objectives.gae import gae, token_rewards, whiten
from rlvr_lab.objectives.kl import adapted_kl_coef, entropy_bonus, k3
from rlvr_lab.objectives.ratios import clip_fraction, clipped_surrogate, token_ratio
from rlvr_lab.objectives.value_loss import explained_variance, value_loss
from rlvr_lab.policy.batch import RolloutBatch, group_rows
from rlvr_lab.policy.logprobs import state_logits, token_logprobs
from rlvr_lab.policy.scalar_head import ConfidenceModel, ScalarModel, token_values
from rlvr_lab.training.optimise import adamw, optimiser_step, trained
from rlvr_lab.training.rollouts import Experience, RolloutConfig
from rlvr_lab.training.state import TrainState

__all__ = ["Buffer", "PPOConfig", "fill"]


@dataclass(frozen=True)
class PPOConfig(RolloutConfig, kind="ppo"):
    """A PPO run. Numbers of details are those of "The 37 implementation details" (Huang et al. 2022).

    Attributes:
        gamma: γ of GAE.
        lam: λ of GAE (detail 5).
        clip: ε of the policy's clip (detail 8).
        epochs: passes over each batch of rollouts.
        minibatches: parts of a batch, by groups, drawn anew every epoch (detail 6).
        learning_rate: of the policy.
        value_learning_rate: of the value model.
        critic: what the value model reads besides the text: nothing (``linear``, a linear head), or also how
            probable the policy's own digits were (``confidence``, see ``ConfidenceModel``).
        critic_warmup: batches of the base's answers on which the value model alone is trained before
            step 1, with ``epochs`` and ``minibatches`` as in a step, towards what was really earned.
        adam_eps: Adam's ε (detail 3).
        anneal: learning rates fall linearly to 0 over the run (detail 4).
        whiten_advantages: over each ``minibatch`` (detail 7), over the ``batch``, or ``none``.
        whiten_rewards: divide token rewards by their std and put their mean back (after detail 30). This
            adds mean·(1 − 1/std) to every token's reward. Since std < 1 where most rewards are 0, the
            added constant has the opposite sign of the mean: longer answers earn less if the mean is
            positive.
        value_clip: ε of the value loss; None is the plain squared error (detail 9).
        value_coef: weight of the value loss (detail 10).
        entropy_coef: weight of the entropy bonus (detail 10).
        max_grad_norm: limit of the norm of all gradients together (detail 11); None turns it off.
        target_kl: stop a batch's epochs when its mean k3(π_old, π) per token passes this (auxiliary 3).
        zero_value_head: the value model's last layer starts at 0 (RLHF detail); else at random weights.
        kl_coef: β of the KL to the reference, in the reward of every token.
        clamp_kl: penalise max(log-ratio, 0) instead of the log-ratio.
        adaptive_kl: KL per answer, in nats, that β is steered to; None keeps β (arXiv:1909.08593).
    """

    gamma: float = 1.0
    lam: float = 0.95
    clip: float = 0.2
    epochs: int = 2
    minibatches: int = 2
    learning_rate: float = 3e-4
    value_learning_rate: float = 1e-3
    critic: Literal["confidence", "linear"] = "confidence"
    critic_warmup: int = 10
    adam_eps: float = 1e-5
    anneal: bool = False
    whiten_advantages: Literal["minibatch", "batch", "none"] = "minibatch"
    whiten_rewards: bool = False
    value_clip: float | None = 0.2
    value_coef: float = 0.5
    entropy_coef: float = 0.0
    max_grad_norm: float | None = 1.0
    target_kl: float | None = None
    zero_value_head: bool = True
    kl_coef: float = 0.01
    clamp_kl: bool = False
    adaptive_kl: float | None = None

    FIXED = (*RolloutConfig.FIXED, "adam_eps", "zero_value_head", "critic", "critic_warmup")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "epochs", "minibatches")
        self.require_at_least(
            0, "clip", "value_coef", "entropy_coef", "kl_coef", "adam_eps", "critic_warmup"
        )
        self.require("clip", self.clip <= 1, "at most 1")
        self.require_positive("learning_rate", "value_learning_rate")
        self.require_positive("value_clip", "max_grad_norm", "target_kl", "adaptive_kl")
        for name in ("gamma", "lam"):
            self.require(name, 0 <= getattr(self, name) <= 1, "in [0, 1]")
        self.require(
            "minibatches",
            self.minibatches <= self.prompts_per_step,
            f"at most prompts_per_step ({self.prompts_per_step})",
        )

    # ---- what a variant may replace (``experiments.ppo_details`` has some, with a bug or half a detail)

    def shaped(
        self, rewards: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """The token rewards that GAE reads."""
        return whiten(rewards, mask, shift_mean=False) if self.whiten_rewards else rewards

    def values(self, state: TrainState, batch: RolloutBatch) -> Float[Tensor, "B T"]:
        """V(s_t) when the answers were sampled."""
        return token_values(state.value_model, batch)

    def trained_tokens(self, batch: RolloutBatch) -> Bool[Tensor, "B T"]:
        """The tokens that losses and metrics count."""
        return batch.completion_mask

    def whitened(
        self, advantages: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """Advantages with mean 0 and standard deviation 1 over the trained tokens."""
        return whiten(advantages, mask)

    # ---- the loop's hooks

    def needs_reference(self) -> bool:
        """The KL stands in every token's reward."""
        return True

    def begin(self, *given: Any, **named: Any) -> TrainState:
        """The state before step 1; arguments as of ``RolloutConfig.begin``."""
        state = super().begin(*given, **named)
        kind = ConfidenceModel if self.critic == "confidence" else ScalarModel
        state.value_model = kind.from_policy(state.policy, self.zero_value_head, self.seed)
        groups = [
            {"params": trained(state.policy.model), "lr": self.learning_rate},
            {"params": trained(state.value_model), "lr": self.value_learning_rate},
        ]
        state.optimizer = adamw(groups, self.learning_rate, self.adam_eps)
        state.numbers["kl_coef"] = self.kl_coef
        return state

    def opening(self, state: TrainState) -> None:
        """Train the value model on answers of the base, before step 1; there is no record of that."""
        try:
            # Steps below 0 draw problems of their own, unlike those of the run.
            for state.step in range(-self.critic_warmup, 0):
                buffer, _ = fill(self, state, self.collect(state))
                generator = _shuffler(self, state)
                for _ in range(self.epochs):
                    for part in _parts(self, buffer, generator):
                        values = token_values(state.value_model, part.batch)
                        fit = value_loss(values, part.values, part.earned, part.mask, clip=None)
                        optimiser_step(state.optimizer, fit, self.max_grad_norm)
        finally:
            state.step = 0

    def update(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """All optimiser steps on one batch.

        Returns:
            ``kl_reward`` (−β·log-ratio, summed over an answer), ``kl_coef`` (of the next step),
            ``explained_variance`` (of what was earned, by V before the update); of the last epoch
            ``loss``, ``value_loss``, ``grad_norm``, ``clip_fraction``, ``ratio_low``, ``ratio_high``
            (extremes of ρ), ``ratio_outside`` (share of tokens whose ρ has left [1−ε, 1+ε]),
            ``approx_kl`` (k3 of π_old and π per token, nats); and ``epochs_done``.
        """
        if self.adaptive_kl is None:  # otherwise β goes its own way
            state.numbers["kl_coef"] = self.kl_coef
        buffer, kl_reward = fill(self, state, experience)
        fitted = explained_variance(buffer.values, buffer.earned, buffer.mask)
        left = 1 - state.step / self.steps if self.anneal else 1.0
        rates = (self.learning_rate, self.value_learning_rate)
        for group, rate in zip(state.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * left
        found = _epochs(self, state, buffer)
        if self.adaptive_kl is not None:
            beta = state.numbers["kl_coef"]
            state.numbers["kl_coef"] = adapted_kl_coef(beta, experience.kl, self.adaptive_kl)
        return {
            "kl_reward": kl_reward,
            "kl_coef": state.numbers["kl_coef"],
            "explained_variance": fitted,
            **found,
        }


@dataclass(frozen=True)
class Buffer:
    """What the epochs over a batch read; everything is fixed while they last.

    Attributes:
        batch: the rollouts.
        mask: [B, T], the trained tokens.
        values: V_old, [B, T].
        advantages, returns: A_t and A_t + V_old(s_t), [B, T].
        earned: Σ γ^l·r_{t+l}, what really followed, without any V, [B, T].
    """

    batch: RolloutBatch
    mask: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    earned: Tensor

    def groups(self, index: list[int]) -> "Buffer":
        """The part of the given groups."""
        rows = group_rows(torch.tensor(index, device=self.mask.device), self.batch.group_size)
        parts = (self.mask, self.values, self.advantages, self.returns, self.earned)
        return Buffer(self.batch.groups(index), *(x[rows] for x in parts))


@torch.no_grad()
def fill(config: PPOConfig, state: TrainState, experience: Experience) -> tuple[Buffer, float]:
    """Values, token rewards, advantages and returns of a batch; also the mean KL reward per answer."""
    batch, rewards = experience.batch, experience.rewards
    mask = batch.completion_mask
    values = config.values(state, batch)
    beta, ref_logprobs = state.numbers["kl_coef"], experience.reference.logprobs
    shaped = token_rewards(rewards, batch.old_logprobs, ref_logprobs, mask, beta, config.clamp_kl)
    kl_reward = float((shaped.sum(dim=1) - rewards).double().mean())
    shaped = config.shaped(shaped, mask)
    advantages = gae(shaped, values, mask, config.gamma, config.lam)
    returns = advantages + values
    earned = gae(shaped, torch.zeros_like(values), mask, config.gamma, 1.0)
    mask = config.trained_tokens(batch)
    if config.whiten_advantages == "batch":
        advantages = config.whitened(advantages, mask)
    return Buffer(batch, mask, values, advantages, returns, earned), kl_reward


def _epochs(config: PPOConfig, state: TrainState, buffer: Buffer) -> dict[str, float]:
    """All optimiser steps on one buffer; metrics of the last epoch."""
    generator = _shuffler(config, state)
    noted: list[dict[str, float]] = []
    done = 0
    for _ in range(config.epochs):
        parts = _parts(config, buffer, generator)
        noted, done = [_minibatch(config, state, part) for part in parts], done + 1
        mean = {key: sum(n[key] for n in noted) / len(noted) for key in noted[0]}
        if config.target_kl is not None and mean["approx_kl"] > config.target_kl:
            break
    mean["ratio_low"] = min(n["ratio_low"] for n in noted)
    mean["ratio_high"] = max(n["ratio_high"] for n in noted)
    return {**mean, "epochs_done": done}


def _shuffler(config: PPOConfig, state: TrainState) -> torch.Generator:
    """Of the minibatches of one step."""
    return torch.Generator().manual_seed(1_000_003 * config.seed + state.step + 1)


def _parts(config: PPOConfig, buffer: Buffer, generator: torch.Generator) -> Iterator[Buffer]:
    """The minibatches of one epoch: whole groups, in an order drawn anew."""
    order = torch.randperm(len(buffer.batch.prompt_ids), generator=generator)
    for index in order.tensor_split(config.minibatches):
        yield buffer.groups(index.tolist())


def _minibatch(config: PPOConfig, state: TrainState, part: Buffer) -> dict[str, float]:
    """One optimiser step of policy and value model; metrics from ratios before it."""
    logprobs = token_logprobs(state.policy.model, part.batch, config.temperature)
    values = token_values(state.value_model, part.batch)
    surrogate = policy_loss(config, logprobs, part)
    fit = value_loss(values, part.values, part.returns, part.mask, config.value_clip)
    loss = surrogate + config.value_coef * fit
    if config.entropy_coef > 0:
        logits = state_logits(state.policy.model, part.batch, config.temperature)
        loss = loss - entropy_bonus(logits, part.mask, config.entropy_coef)
    norm = optimiser_step(state.optimizer, loss, config.max_grad_norm)
    return {
        "loss": float(surrogate.detach()),
        "value_loss": float(fit.detach()),
        "grad_norm": norm,
        **_ratios(config, logprobs.detach(), part),
    }


def compared(config: PPOConfig, part: Buffer) -> Float[Tensor, "B T"]:
    """The advantages that the loss uses: whitened over the minibatch, if that is asked for."""
    if config.whiten_advantages == "minibatch":
        return config.whitened(part.advantages, part.mask)
    return part.advantages


def policy_loss(
    config: PPOConfig, logprobs: Float[Tensor, "B T"], part: Buffer
) -> Float[Tensor, ""]:
    """The clipped surrogate with one advantage per token, as a loss  (eq. 7, arXiv:1707.06347)."""
    ratio = token_ratio(logprobs, part.batch.old_logprobs, part.mask)
    surrogate = clipped_surrogate(ratio, compared(config, part), config.clip, config.clip)
    return -masked_mean(surrogate, part.mask)


def _ratios(config: PPOConfig, logprobs: Float[Tensor, "B T"], part: Buffer) -> dict[str, float]:
    """How far the ratios have gone."""
    mask, old = part.mask, part.batch.old_logprobs
    everywhere = token_ratio(logprobs, old, mask)
    ratio = everywhere[mask].double()
    low, high = 1 - config.clip, 1 + config.clip
    return {
        "clip_fraction": clip_fraction(
            everywhere, compared(config, part), mask, config.clip, config.clip
        ),
        "ratio_low": float(ratio.min()),
        "ratio_high": float(ratio.max()),
        "ratio_outside": float(((ratio < low) | (ratio > high)).double().mean()),
        # Tokens are drawn from π_old, so this estimates KL(π_old‖π).
        "approx_kl": float(k3(old[mask].double(), logprobs[mask].double()).mean()),
    }
