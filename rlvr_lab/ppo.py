"""PPO for a language model, whole: value model, GAE, minibatches and epochs, KL in the reward (notebook 05).

The details that the papers leave out are switches of ``PPOConfig``; one of them is a bug.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from rlvr_lab.batch import RolloutBatch
from rlvr_lab.config import RolloutConfig
from rlvr_lab.experience import (
    NonFiniteLossError,
    TrainState,
    collect,
    describe_step,
    reference_logprobs,
)
from rlvr_lab.gae import explained_variance, gae, token_rewards, value_loss, whiten
from rlvr_lab.losses import clipped_surrogate
from rlvr_lab.masking import masked_mean
from rlvr_lab.metrics import entropy
from rlvr_lab.policy import Policy, token_logprobs
from rlvr_lab.ratios import token_ratio
from rlvr_lab.reward_model import RewardModel
from rlvr_lab.scalar_head import ScalarModel, token_values
from rlvr_lab.tasks import Task
from rlvr_lab.trpo import state_logits

__all__ = ["PPOConfig", "PPOState", "train_ppo"]


@dataclass(frozen=True)
class PPOConfig(RolloutConfig):
    """A PPO run. Numbers of details are those of "The 37 implementation details" (Huang et al. 2022).

    Attributes:
        reward: the ``verifier``'s, or the score of a learned reward ``model`` (``data/reward_model``).
        gamma: γ of GAE.
        lam: λ of GAE (detail 5).
        clip: ε of the policy's clip (detail 8).
        epochs: passes over each batch of rollouts.
        minibatches: parts of a batch, by groups, drawn anew every epoch (detail 6).
        learning_rate: of the policy.
        value_learning_rate: of the value model.
        adam_eps: Adam's ε (detail 3).
        anneal: learning rates fall linearly to 0 over the run (detail 4).
        whiten_advantages: over each ``minibatch`` (detail 7), over the ``batch``, or ``none``.
        whiten_rewards: divide token rewards by their std, without shift (after detail 30).
        value_clip: ε of the value loss; None is the plain squared error (detail 9).
        value_coef: weight of the value loss (detail 10).
        entropy_coef: weight of the entropy bonus (detail 10).
        max_grad_norm: of all gradients together (detail 11); None leaves them alone.
        target_kl: stop a batch's epochs when its mean k3(π_old, π) per token passes this (auxiliary 3).
        zero_value_head: the value model starts at 0 (RLHF detail); else with random weights.
        kl_coef: β of the KL to the reference, in the reward of every token.
        clamp_kl: penalise max(log-ratio, 0) in its place.
        adaptive_kl: KL per answer, in nats, that β is steered to; None keeps β (arXiv:1909.08593).
        no_end_penalty: taken off the reward of a truncated answer ("EOS trick").
        bug: a mistake to watch: ``none``; ``shifted_values``, V(s_{t+1}) in place of V(s_t);
            ``end_untrained``, the end token masked out; ``padded_whitening``, padding counts in the
            whitening.
    """

    reward: Literal["verifier", "model"] = "verifier"
    gamma: float = 1.0
    lam: float = 0.95
    clip: float = 0.2
    epochs: int = 2
    minibatches: int = 2
    learning_rate: float = 3e-4
    value_learning_rate: float = 1e-3
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
    no_end_penalty: float = 0.0
    bug: Literal["none", "shifted_values", "end_untrained", "padded_whitening"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "epochs", "minibatches")
        names = ("clip", "value_coef", "entropy_coef", "kl_coef", "no_end_penalty", "adam_eps")
        self.require_at_least(0, *names)
        for name in ("learning_rate", "value_learning_rate"):
            self.require(name, getattr(self, name) > 0, "positive")
        for name in ("value_clip", "max_grad_norm", "target_kl", "adaptive_kl"):
            value = getattr(self, name)
            self.require(name, value is None or value > 0, "positive or None")
        for name in ("gamma", "lam"):
            self.require(name, 0 <= getattr(self, name) <= 1, "in [0, 1]")
        self.require(
            "minibatches",
            self.minibatches <= self.prompts_per_step,
            f"at most prompts_per_step ({self.prompts_per_step})",
        )


@dataclass
class PPOState(TrainState):
    """What changes while PPO runs.

    Attributes:
        value_model: V, a network of its own that starts from the policy's body.
        kl_coef: β, which ``adaptive_kl`` moves.
        reward_model: what scores the answers, if not the verifier alone.
    """

    value_model: ScalarModel | None = None
    kl_coef: float = 0.0
    reward_model: RewardModel | None = None

    @classmethod
    def begin(
        cls, config: PPOConfig, policy: Policy | None = None, task: Task | None = None
    ) -> "PPOState":
        """The state before step 1."""
        plain = TrainState.begin(config, policy, task)
        value_model = ScalarModel.from_policy(plain.policy, config.zero_value_head, config.seed)
        optimizer = torch.optim.AdamW(
            [
                {"params": plain.policy.model.parameters(), "lr": config.learning_rate},
                {"params": value_model.parameters(), "lr": config.value_learning_rate},
            ],
            betas=(0.9, 0.95),
            eps=config.adam_eps,
            weight_decay=0.0,
        )
        policy, reference, task = plain.policy, plain.reference, plain.task
        judge = RewardModel.load(device=config.device) if config.reward == "model" else None
        return cls(policy, reference, optimizer, task, 0, value_model, config.kl_coef, judge)


@dataclass(frozen=True)
class Buffer:
    """What the epochs over a batch read; everything is fixed while they last.

    Attributes:
        batch: the rollouts.
        mask: [B, T], the trained tokens.
        values: V_old, [B, T].
        advantages, returns: [B, T].
    """

    batch: RolloutBatch
    mask: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    def groups(self, index: list[int]) -> "Buffer":
        """The part of the given groups."""
        size = self.batch.group_size
        rows = (torch.tensor(index)[:, None] * size + torch.arange(size)).flatten()
        parts = (self.mask, self.values, self.advantages, self.returns)
        return Buffer(self.batch.groups(index), *(x[rows.to(x.device)] for x in parts))


def train_ppo(config: PPOConfig, *, state: PPOState | None = None) -> Iterator[dict[str, Any]]:
    """Run PPO; yield one metrics record a step.

    Yields:
        What ``training.train`` yields (``reward`` and ``pass_rate`` are the verifier's in any case),
        ``model_score`` (mean score of the reward model; None without one), ``kl_reward``
        (−β·log-ratio, summed over an answer), ``kl_coef``, ``value_loss``, ``explained_variance``,
        ``ratio_low``, ``ratio_high`` (extremes of ρ in the last epoch), ``ratio_outside`` (share of
        tokens whose ρ has left [1−ε, 1+ε] there), ``approx_kl`` (k3 of π_old and π per token, nats)
        and ``epochs_done``.

    Raises:
        NonFiniteLossError: names the step; ``state`` is that of the last good one.
    """
    state = state or PPOState.begin(config)
    while state.step < config.steps:
        step = state.step + 1
        experience = collect(config, state, step)
        started = time.perf_counter()
        reference = reference_logprobs(config, state, experience.batch, every_row=True)
        rewards, model_score = experience.rewards, None
        if state.reward_model is not None:
            prompts = [problem.prompt for problem in experience.problems]
            rewards = state.reward_model.score(prompts, experience.batch.texts).to(rewards)
            model_score = float(rewards.double().mean())
        rewards = rewards - config.no_end_penalty * experience.batch.truncated.to(rewards)
        buffer, kl_reward = fill(config, state, experience.batch, rewards, reference.logprobs)
        exact = state.task.measure(state.policy, config.max_new_tokens, config.temperature)
        fitted = explained_variance(buffer.values, buffer.returns, buffer.mask)
        update = _epochs(config, state, buffer, step)
        state.step = step
        record = describe_step(config, experience, reference)
        if config.adaptive_kl is not None:
            state.kl_coef = adapt(state.kl_coef, record["kl"], config.adaptive_kl)
        yield {
            "step": step,
            **record,
            **exact,
            "model_score": model_score,
            "kl_reward": kl_reward,
            "kl_coef": state.kl_coef,
            "explained_variance": fitted,
            **update,
            "seconds_update": time.perf_counter() - started,
            "changed": [],
        }


def adapt(kl_coef: float, kl: float, target: float, rate: float = 0.1) -> float:
    """β·(1 + rate·clip(KL/target − 1, ±0.2))  (Ziegler et al., section 2.2, arXiv:1909.08593).

    >>> adapt(0.1, kl=4.0, target=2.0)
    0.10200000000000001
    """
    return kl_coef * (1 + rate * max(-0.2, min(0.2, kl / target - 1)))


@torch.no_grad()
def fill(
    config: PPOConfig, state: PPOState, batch: RolloutBatch, rewards: Tensor, ref_logprobs: Tensor
) -> tuple[Buffer, float]:
    """Values, token rewards, advantages and returns of a batch; also the mean KL reward an answer."""
    mask = batch.completion_mask
    values = token_values(state.value_model, batch)
    if config.bug == "shifted_values":
        values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    shaped = token_rewards(
        rewards, batch.old_logprobs, ref_logprobs, mask, state.kl_coef, config.clamp_kl
    )
    kl_reward = float((shaped.sum(dim=1) - rewards).double().mean())
    if config.whiten_rewards:
        shaped = whiten(shaped, mask, shift_mean=False)
    advantages = gae(shaped, values, mask, config.gamma, config.lam)
    returns = advantages + values
    if config.bug == "end_untrained":
        last = mask.sum(dim=1, keepdim=True) - 1
        position = torch.arange(mask.shape[1], device=mask.device)
        mask = mask & ((position != last) | batch.truncated[:, None] | (last == 0))
    if config.whiten_advantages == "batch":
        advantages = whiten(advantages, mask)
    return Buffer(batch, mask, values, advantages, returns), kl_reward


def policy_loss(config: PPOConfig, logprobs: Tensor, part: Buffer) -> Tensor:
    """The clipped surrogate with one advantage a token, as a loss  (eq. 7, arXiv:1707.06347)."""
    advantages, mask = part.advantages, part.mask
    if config.whiten_advantages == "minibatch":
        counted = torch.ones_like(mask) if config.bug == "padded_whitening" else mask
        advantages = whiten(advantages, counted)
    ratio = token_ratio(logprobs, part.batch.old_logprobs, mask)
    return -masked_mean(clipped_surrogate(ratio, advantages, config.clip, config.clip), mask)


def _epochs(config: PPOConfig, state: PPOState, buffer: Buffer, step: int) -> dict[str, float]:
    """All optimiser steps on one buffer; metrics of the last epoch."""
    models = (state.policy.model, state.value_model)
    parameters = [p for model in models for p in model.parameters()]
    left = 1 - state.step / config.steps if config.anneal else 1.0
    rates = (config.learning_rate, config.value_learning_rate)
    for group, rate in zip(state.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * left
    generator = torch.Generator().manual_seed(1_000_003 * config.seed + step)
    noted: list[dict[str, float]] = []
    done = 0
    for _ in range(config.epochs):
        noted, done = [], done + 1
        order = torch.randperm(config.prompts_per_step, generator=generator)
        for index in order.tensor_split(config.minibatches):
            part = buffer.groups(index.tolist())
            logprobs = token_logprobs(state.policy.model, part.batch, config.temperature)
            values = token_values(state.value_model, part.batch)
            surrogate = policy_loss(config, logprobs, part)
            fit = value_loss(values, part.values, part.returns, part.mask, config.value_clip)
            loss = surrogate + config.value_coef * fit
            if config.entropy_coef > 0:
                spread = entropy(state_logits(state.policy.model, part.batch, config.temperature))
                loss = loss - config.entropy_coef * masked_mean(spread, part.mask)
            state.optimizer.zero_grad()
            loss.backward()
            limit = config.max_grad_norm or float("inf")
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
            if not (bool(torch.isfinite(loss.detach())) and norm < float("inf")):
                state.optimizer.zero_grad()
                raise NonFiniteLossError(
                    f"step {step}: loss {float(loss.detach())} and gradient norm {norm} are not both "
                    f"finite. Try a smaller learning_rate ({config.learning_rate})"
                )
            state.optimizer.step()
            noted.append(_note(config, logprobs.detach(), part, surrogate, fit, norm))
        mean = {key: sum(n[key] for n in noted) / len(noted) for key in noted[0]}
        if config.target_kl is not None and mean["approx_kl"] > config.target_kl:
            break
    mean["ratio_low"] = min(n["ratio_low"] for n in noted)
    mean["ratio_high"] = max(n["ratio_high"] for n in noted)
    return {**mean, "epochs_done": done}


def _note(
    config: PPOConfig, logprobs: Tensor, part: Buffer, loss: Tensor, fit: Tensor, norm: float
) -> dict[str, float]:
    """Metrics of one minibatch, from ratios before its optimiser step."""
    ratio = token_ratio(logprobs, part.batch.old_logprobs, part.mask)[part.mask].double()
    advantages = part.advantages[part.mask]
    low, high = 1 - config.clip, 1 + config.clip
    dead = ((advantages > 0) & (ratio > high)) | ((advantages < 0) & (ratio < low))
    return {
        "loss": float(loss.detach()),
        "value_loss": float(fit.detach()),
        "grad_norm": norm,
        "clip_fraction": float(dead.double().mean()),
        "ratio_low": float(ratio.min()),
        "ratio_high": float(ratio.max()),
        "ratio_outside": float(((ratio < low) | (ratio > high)).double().mean()),
        "approx_kl": float((ratio - 1 - ratio.log()).mean()),
    }
