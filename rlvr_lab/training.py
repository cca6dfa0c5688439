"""One visible loop for every algorithm: sample, grade, compare, update, report.

The loop holds no formula. What an algorithm *is* stands in ``TrainConfig``, whose fields are the
columns of the table in ``losses``.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rlvr_lab import advantages as adv
from rlvr_lab.batch import RolloutBatch
from rlvr_lab.config import FIXED_DURING_A_RUN, PRESETS, WORLDS, TrainConfig, describe
from rlvr_lab.kl import k1, k2, k3, kl_penalty
from rlvr_lab.length_lab import LengthLab
from rlvr_lab.losses import (
    cispo_loss,
    clip_fraction,
    gspo_loss,
    ppo_clip_loss,
    reinforce_loss,
)
from rlvr_lab.masking import Average, constant_mean, sequence_mean, token_mean
from rlvr_lab.policy import Policy, load_policy, token_logprobs
from rlvr_lab.rewards import accuracy_rewards, format_rewards, grade, kl_shaped_rewards
from rlvr_lab.rollouts import sample
from rlvr_lab.tasks import Sums, Task

__all__ = [
    "PRESETS",
    "WORLDS",
    "NonFiniteLossError",
    "TrainConfig",
    "TrainState",
    "describe",
    "train",
]

ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


class NonFiniteLossError(FloatingPointError):
    """A loss or gradient was not finite; the parameters are those of the last good step."""


@dataclass
class TrainState:
    """What changes while a run goes on; ``runs.save_checkpoint`` writes it.

    Attributes:
        policy: the policy that is trained.
        reference: the frozen policy that KL is measured to.
        optimizer: over the policy's parameters.
        task: the source of problems and verdicts.
        step: number of finished steps.
    """

    policy: Policy
    reference: Policy
    optimizer: torch.optim.Optimizer
    task: Task
    step: int = 0

    @classmethod
    def begin(
        cls, config: TrainConfig, policy: Policy | None = None, task: Task | None = None
    ) -> "TrainState":
        """The state before step 1, from the world's base or from a given policy and task."""
        policy = policy or load_policy(config.base or config.world, config.device)
        # Dropout would make π differ from π_old at equal weights: the ratio would not start at 1.
        policy.model.eval()
        parameters = policy.model.parameters()
        if config.optimizer == "adamw":
            optimizer: torch.optim.Optimizer = torch.optim.AdamW(
                parameters, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.0
            )
        else:
            optimizer = torch.optim.SGD(parameters, lr=config.learning_rate)
        default_task = Sums() if config.world == "sums" else LengthLab(config.p_right)
        return cls(policy, policy.frozen_copy(), optimizer, task or default_task)


def train(
    config: TrainConfig,
    *,
    state: TrainState | None = None,
    live_config: Callable[[], TrainConfig] | None = None,
) -> Iterator[dict[str, Any]]:
    """Run the algorithm that ``config`` describes; yield one metrics record a step.

    Args:
        config: the run.
        state: where to start; a fresh ``TrainState.begin(config)`` if not given. It is moved in
            place, so that the caller can sample from ``state.policy`` between two steps.
        live_config: read at the start of each step; what it returns holds from that step on, and
            the record's ``changed`` says what it changed.

    Yields:
        ``step``; ``reward``, ``reward_accuracy``, ``reward_format`` (means per answer);
        ``pass_rate``; ``kl`` (to the reference, k1 summed over an answer, nats); ``entropy`` (nats
        per token); ``length``, ``length_right``, ``length_wrong`` (tokens; None where there is no
        such answer); ``truncated``, ``zero_spread``, ``clip_fraction`` (shares); ``grad_norm``;
        ``loss``; ``seconds_rollout``, ``seconds_reward``, ``seconds_update``; ``tokens``;
        ``changed``; ``samples``.

    Raises:
        ValueError: when ``live_config`` changes what is fixed during a run.
        NonFiniteLossError: names the step; ``state`` is that of the last good one.
    """
    state = state or TrainState.begin(config)
    first = config
    while state.step < config.steps:
        changed: list[str] = []
        if live_config is not None:
            latest = live_config()
            changed = config.changes_to(latest)
            for name in FIXED_DURING_A_RUN:
                if getattr(latest, name) != getattr(first, name):
                    raise ValueError(f"{name}: fixed during a run, start a new one to change it")
            config = latest
        record = _step(config, state, state.step + 1)
        state.step += 1
        yield {"step": state.step, **record, "changed": changed}


def _step(config: TrainConfig, state: TrainState, step: int) -> dict[str, Any]:
    started = time.perf_counter()
    rng = random.Random(f"{config.seed} {step}")
    problems = state.task.problems(config.prompts_per_step, rng)
    rows = config.prompts_per_step * config.group_size
    # torch.Generator gets a seed of its own from (seed, step): resuming needs no generator state.
    generator = torch.Generator(state.policy.device).manual_seed(rng.getrandbits(62))
    batch = sample(
        state.policy,
        [problem.prompt for problem in problems],
        config.group_size,
        config.max_new_tokens,
        generator,
        config.temperature,
        config.top_p,
        state.task.forced_words(rows, rng),
    )
    sampled = time.perf_counter()

    cut = batch.truncated.tolist()
    verdicts = grade(state.task, problems, batch.texts, cut)
    accuracy = accuracy_rewards(verdicts)
    form = format_rewards(state.task, batch.texts, cut)
    rewards = (accuracy + config.format_bonus * form).to(state.policy.device)
    graded = time.perf_counter()

    ref_logprobs, seen = _reference_logprobs(config, state, batch)
    advantages = _advantages(config, rewards, batch, ref_logprobs)
    exact = state.task.measure(state.policy, config.max_new_tokens, config.temperature)
    update = _update(config, state, batch, advantages, ref_logprobs, step)
    lengths = batch.lengths.double().cpu()
    right = accuracy.bool()
    mask = batch.completion_mask
    # k1 and not k3: both are unbiased, but far from the reference k3's rare large ratios make its
    # mean over a few dozen answers jump.
    kl_tokens = torch.where(mask, k1(batch.old_logprobs, ref_logprobs), 0.0)[seen]
    return {
        "reward": float(rewards.double().mean()),
        "reward_accuracy": float(accuracy.double().mean()),
        "reward_format": float(form.double().mean()),
        "pass_rate": float(accuracy.double().mean()),
        "kl": float(kl_tokens.double().sum(dim=1).mean()),
        "entropy": float(batch.entropy[mask].double().mean()),
        "length": float(lengths.mean()),
        "length_right": float(lengths[right].mean()) if bool(right.any()) else None,
        "length_wrong": float(lengths[~right].mean()) if bool((~right).any()) else None,
        "truncated": float(batch.truncated.double().mean()),
        "zero_spread": adv.zero_spread_share(rewards, config.group_size),
        **exact,
        **update,
        "seconds_rollout": sampled - started,
        "seconds_reward": graded - sampled,
        "seconds_update": time.perf_counter() - graded,
        "tokens": int(mask.sum()),
        "samples": [
            {
                "prompt": problems[row // config.group_size].prompt,
                "completion": batch.texts[row],
                "reason": verdicts[row].reason,
                "reward": float(rewards[row]),
            }
            for row in range(0, rows, max(1, rows // 4))
        ][:4],
    }


def _reference_logprobs(
    config: TrainConfig, state: TrainState, batch: RolloutBatch
) -> tuple[Tensor, Tensor]:
    """log π_ref, and which rows it was computed for.

    When the KL takes part in the training every row needs it. When it is only watched, a quarter of
    the answers is enough, and saves most of the reference's time.
    """
    rows = torch.ones(len(batch.texts), dtype=torch.bool, device=batch.old_logprobs.device)
    if config.kl_coef == 0:
        rows = torch.arange(len(rows), device=rows.device) % 4 == 0
    with torch.no_grad():
        logprobs = token_logprobs(state.reference.model, batch, config.temperature, rows)
    return logprobs, rows


def _advantages(
    config: TrainConfig, rewards: Tensor, batch: RolloutBatch, ref_logprobs: Tensor
) -> Tensor:
    if config.kl_in == "reward" and config.kl_coef > 0:
        mask = batch.completion_mask
        rewards = kl_shaped_rewards(rewards, batch.old_logprobs, ref_logprobs, mask, config.kl_coef)
    size = config.group_size
    match config.baseline:
        case "group":
            return adv.group_advantages(rewards, size, config.divide_by_std)
        case "leave_one_out":
            return adv.leave_one_out_advantages(rewards, size)
        case "batch":
            return adv.batch_advantages(rewards)
        case "maxrl":
            return adv.maxrl_advantages(rewards, size)
        case _:
            return rewards


def _average(config: TrainConfig) -> Average:
    match config.average:
        case "sequence":
            return sequence_mean
        case "token":
            return token_mean
        case _:
            return constant_mean(config.constant_length or config.max_new_tokens)


def _policy_loss(config: TrainConfig) -> Callable[..., Tensor]:
    """The loss of the config's row in the table, as a function (logprobs, old, A, mask)."""
    average = _average(config)
    match config.ratio:
        case "token":
            return partial(
                ppo_clip_loss, clip_low=config.clip_low, clip_high=config.clip_high, average=average
            )
        case "sequence":
            return partial(
                gspo_loss, clip_low=config.clip_low, clip_high=config.clip_high, average=average
            )
        case "cispo":
            return partial(cispo_loss, clip_high=config.clip_high, average=average)
        case _:
            return lambda logprobs, old, a, mask: reinforce_loss(logprobs, a, mask, average)


def _update(
    config: TrainConfig,
    state: TrainState,
    batch: RolloutBatch,
    advantages: Tensor,
    ref_logprobs: Tensor,
    step: int,
) -> dict[str, float]:
    """All optimiser steps on one batch; means over them."""
    loss_function = _policy_loss(config)
    penalised = config.kl_coef > 0 and config.kl_in == "loss"
    parameters = list(state.policy.model.parameters())
    losses, norms, clipped = [], [], []
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate
    order = torch.arange(config.prompts_per_step)
    for _ in range(config.updates_per_batch):
        for part in order.tensor_split(config.minibatches):
            rows = (part[:, None] * config.group_size + torch.arange(config.group_size)).flatten()
            small = batch if config.minibatches == 1 else batch.groups(part.tolist())
            a, mask, old = advantages[rows], small.completion_mask, small.old_logprobs
            # A row without advantage pulls at nothing: it counts in every average but needs no
            # pass.
            needed = torch.ones_like(a, dtype=torch.bool) if penalised else a != 0
            logprobs = token_logprobs(state.policy.model, small, config.temperature, needed)
            loss = loss_function(logprobs, old, a, mask)
            if penalised:
                loss = loss + kl_penalty(
                    logprobs,
                    ref_logprobs[rows],
                    mask,
                    config.kl_coef,
                    _average(config),
                    ESTIMATORS[config.kl_estimator],
                )
            losses.append(float(loss.detach()))
            clipped.append(clip_fraction(logprobs, old, a, mask, config.clip_low, config.clip_high))
            if not loss.requires_grad:  # every group of the batch has zero spread
                norms.append(0.0)
                continue
            state.optimizer.zero_grad()
            loss.backward()
            limit = config.max_grad_norm or float("inf")
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
            if not (torch.isfinite(loss.detach()) and norm < float("inf")):
                state.optimizer.zero_grad()
                raise NonFiniteLossError(
                    f"step {step}: loss {losses[-1]} and gradient norm {norm} are not both finite; "
                    f"the parameters are those of step {step - 1}. Try a smaller learning_rate "
                    f"({config.learning_rate}) or set max_grad_norm"
                )
            norms.append(norm)
            state.optimizer.step()
    return {
        "clip_fraction": sum(clipped) / len(clipped),
        "grad_norm": sum(norms) / len(norms),
        "loss": sum(losses) / len(losses),
    }
