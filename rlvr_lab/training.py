"""One visible loop for every algorithm: sample, grade, compare, update, report.

The loop holds no formula. What an algorithm *is* stands in ``TrainConfig``, whose fields are the
columns of the table in ``losses``.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rlvr_lab import advantages as adv
from rlvr_lab.batch import RolloutBatch
from rlvr_lab.config import FIXED_DURING_A_RUN, PRESETS, WORLDS, TrainConfig, describe
from rlvr_lab.experience import (
    NonFiniteLossError,
    TrainState,
    collect,
    describe_step,
    reference_logprobs,
)
from rlvr_lab.kl import k1, k2, k3, kl_penalty
from rlvr_lab.losses import (
    cispo_loss,
    clip_fraction,
    gspo_loss,
    ppo_clip_loss,
    reinforce_loss,
)
from rlvr_lab.masking import Average, constant_mean, sequence_mean, token_mean
from rlvr_lab.policy import token_logprobs
from rlvr_lab.rewards import kl_shaped_rewards

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
    experience = collect(config, state, step)
    started = time.perf_counter()
    # When the KL takes part in the training every row needs log π_ref.
    reference = reference_logprobs(config, state, experience.batch, every_row=config.kl_coef > 0)
    advantages = _advantages(config, experience.rewards, experience.batch, reference.logprobs)
    exact = state.task.measure(state.policy, config.max_new_tokens, config.temperature)
    update = _update(config, state, experience.batch, advantages, reference.logprobs, step)
    seconds = {"seconds_update": time.perf_counter() - started}
    return {**describe_step(config, experience, reference), **exact, **update, **seconds}


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
