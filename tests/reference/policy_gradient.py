"""One step of ``PolicyGradientConfig``, straight from the papers' equations, and a loop of such steps.

Answers differ in length, so everything is a list over answers of tensors over tokens.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import fields

import torch
from torch import Tensor, nn

from rlvr_lab.tasks.length_lab import LengthLab
from rlvr_lab.tasks.sums import Sums
from tests.reference.plain import (
    AdamW,
    Answer,
    Sgd,
    clip_norm,
    entropy_of,
    logits_of,
    logprobs_of,
    sample,
)
from tests.reference.record import describe, exact_lengths, mean, reward


def task_of(config):
    return Sums() if config.world == "sums" else LengthLab(**config.world_options)


# -------------------------------------------------------------------------------------- advantages


def compare(rewards: list[float], divide: Callable[[list[float]], float]) -> list[float]:
    """(r − mean) / divisor; exactly 0 where all rewards are equal."""
    if len(set(rewards)) == 1:
        return [0.0] * len(rewards)
    return [(r - mean(rewards)) / divide(rewards) for r in rewards]


def spread(rewards: list[float]) -> float:
    """Population standard deviation, and the small number that is added to it."""
    centre = mean(rewards)
    return math.sqrt(mean([(r - centre) ** 2 for r in rewards])) + 1e-6


def without_itself(rewards: list[float]) -> list[float]:
    """Each reward minus the mean of the others  (RLOO, arXiv:2402.14740)."""
    if len(set(rewards)) == 1:
        return [0.0] * len(rewards)
    return [r - mean(rewards[:i] + rewards[i + 1 :]) for i, r in enumerate(rewards)]


def above_log_z(rewards: list[float], tau: float) -> list[float]:
    """r − τ·log of the mean of exp(r/τ)  (Kimi k1.5, section 2.3.2)."""
    if len(set(rewards)) == 1:
        return [0.0] * len(rewards)
    level = tau * math.log(mean([math.exp(r / tau) for r in rewards]))
    return [r - level for r in rewards]


def advantages_of(config, rewards: list[float]) -> list[float]:
    if config.baseline == "none":
        return rewards
    if config.baseline == "batch":
        return compare(rewards, spread)
    size, found = config.group_size, []
    for start in range(0, len(rewards), size):
        group = rewards[start : start + size]
        if config.baseline == "leave_one_out":
            found += without_itself(group)
        elif config.baseline == "maxrl":
            found += compare(group, lambda r: mean(r) + 1e-6)
        elif config.baseline == "log_z":
            found += above_log_z(group, config.tau)
        else:
            found += compare(group, spread if config.divide_by_std else lambda r: 1.0)
    return found


def shaped(config, rewards: list[float], answers: list[Answer], ref: list[Tensor]) -> list[float]:
    """r − β·Σ_t (log π_old − log π_ref)."""
    if config.kl_coef == 0 or config.kl_in == "loss":
        return rewards
    return [
        r - config.kl_coef * sum(float(a.old[t] - x[t]) for t in a.trained)
        for r, a, x in zip(rewards, answers, ref, strict=True)
    ]


# -------------------------------------------------------------------------------------------- loss


def clipped(config, ratio: Tensor, advantage: float) -> Tensor:
    """min(ρA, clip(ρ)A)  (PPO, eq. 7)."""
    value = float(ratio.detach())
    inside = min(max(value, 1 - config.clip_low), 1 + config.clip_high)
    if inside * advantage < value * advantage:
        return inside * advantage + 0 * ratio  # a constant, whose gradient is zero
    return ratio * advantage


def is_dead(config, ratio: float, advantage: float) -> bool:
    """Whether the clip takes the gradient away."""
    if advantage > 0:
        return ratio > 1 + config.clip_high
    return advantage < 0 and ratio < 1 - config.clip_low


def gains(config, logprobs: Tensor, answer: Answer, a: float) -> tuple[list[Tensor], list[bool]]:
    """What each trained token adds to the objective, and whether the clip acts on it."""
    logs = [logprobs[t] - answer.old[t] for t in answer.trained]
    if config.ratio == "token":
        ratios = [log.exp() for log in logs]
    elif config.ratio == "sequence":  # GSPO: one ratio an answer, the geometric mean
        ratios = [(sum(logs) / len(logs)).exp()] * len(logs)
    elif config.ratio == "squared":  # Kimi k1.5: one square an answer, spread over its tokens
        square = (a - config.tau * sum(logs)) ** 2 / (2 * config.tau)
        return [-square / len(logs)] * len(logs), [False] * len(logs)
    else:
        weights = [1.0] * len(logs)
        if config.ratio == "cispo":  # a weight is a number: no gradient
            weights = [min(math.exp(float(log.detach())), 1 + config.clip_high) for log in logs]
        pairs = zip(weights, answer.trained, strict=True)
        capped = [
            config.ratio == "cispo" and float(log.detach().exp()) > 1 + config.clip_high
            for log in logs
        ]
        return [w * a * logprobs[t] for w, t in pairs], capped
    terms = [clipped(config, ratio, a) for ratio in ratios]
    return terms, [is_dead(config, float(ratio.detach()), a) for ratio in ratios]


def kl_term(kind: str, difference: Tensor) -> Tensor:
    """Schulman's estimators of log π − log π_ref."""
    if kind == "k1":
        return difference
    if kind == "k2":
        return difference**2 / 2
    return (-difference).exp() - 1 + difference


def average(config, terms: list[list[Tensor]]) -> Tensor:
    if config.average == "sequence":
        return sum(sum(row) / len(row) for row in terms) / len(terms)
    total = sum(sum(row) for row in terms)
    if config.average == "token":
        return total / sum(len(row) for row in terms)
    return total / (len(terms) * (config.constant_length or config.max_new_tokens))


def loss_of(config, model, answers, advantages, ref) -> tuple[Tensor, float]:
    """The loss of some answers, and the share of their tokens on which the clip acts."""
    objective, dead = [], []
    for answer, a, reference in zip(answers, advantages, ref, strict=True):
        logprobs = logprobs_of(model, answer, config.temperature)
        terms, silent = gains(config, logprobs, answer, a)
        if config.kl_in == "loss" and config.kl_coef > 0:
            estimates = [
                kl_term(config.kl_estimator, logprobs[t] - reference[t]) for t in answer.trained
            ]
            terms = [x - config.kl_coef * k for x, k in zip(terms, estimates, strict=True)]
        objective.append(terms)
        dead += silent
    loss = -average(config, objective)
    if config.entropy_coef > 0:  # every trained token alike, whatever the average of the rest
        tables = [logits_of(model, answer, config.temperature) for answer in answers]
        spread = [entropy_of(t)[a.trained] for t, a in zip(tables, answers, strict=True)]
        loss = loss - config.entropy_coef * torch.cat(spread).mean()
    return loss, mean([float(d) for d in dead])


# -------------------------------------------------------------------------------------------- loop


def parts(count: int, pieces: int) -> list[list[int]]:
    """0 … count − 1 in consecutive pieces, the first ones longer by one where it does not come out."""
    found, start = [], 0
    for i in range(pieces):
        end = start + count // pieces + (1 if i < count % pieces else 0)
        found.append(list(range(start, end)))
        start = end
    return found


def update(config, model, optimizer, answers, advantages, ref) -> dict[str, float]:
    losses, norms, dead = [], [], []
    weights = list(model.parameters())
    for _ in range(config.updates_per_batch):
        for groups in parts(config.prompts_per_step, config.minibatches):
            size = config.group_size
            rows = [row for g in groups for row in range(g * size, (g + 1) * size)]
            chosen = [[x[row] for row in rows] for x in (answers, advantages, ref)]
            loss, silent = loss_of(config, model, *chosen)
            losses.append(float(loss.detach()))
            dead.append(silent)
            penalised = config.kl_in == "loss" and config.kl_coef > 0
            penalised = penalised or config.ratio == "squared" or config.entropy_coef > 0
            if not penalised and not any(chosen[1]):
                norms.append(0.0)  # nothing to learn from, so no step, whatever Adam remembers
                continue
            gradients, norm = clip_norm(
                list(torch.autograd.grad(loss, weights, materialize_grads=True)),
                config.max_grad_norm,
            )
            optimizer.step(weights, gradients, config.learning_rate)
            norms.append(norm)
    return {"loss": mean(losses), "grad_norm": mean(norms), "clip_fraction": mean(dead)}


def train(
    config, model: nn.Module, reference: nn.Module, live: Callable | None = None
) -> Iterator[dict]:
    """Records of a run; ``model`` moves in place. ``live`` maps a step to the settings it has."""
    optimizer = AdamW() if config.optimizer == "adamw" else Sgd()
    task = task_of(config)
    for step in range(1, config.steps + 1):
        latest = live(step) if live else config
        changed = [
            f"{f.name}: {getattr(config, f.name)} -> {getattr(latest, f.name)}"
            for f in fields(config)
            if getattr(config, f.name) != getattr(latest, f.name)
        ]
        config = latest
        answers = sample(config, model, task, step)
        with torch.no_grad():
            ref = [logprobs_of(reference, a, config.temperature) for a in answers]
        rewards = shaped(config, [reward(config, a) for a in answers], answers, ref)
        record = describe(config, answers, reference, every_row=config.kl_coef > 0)
        record |= {"step": step, "changed": changed, **exact_lengths(config, model)}
        advantages = advantages_of(config, rewards)
        yield record | update(config, model, optimizer, answers, advantages, ref)
