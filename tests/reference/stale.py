"""Steps of ``StaleConfig`` from their definition: who samples, and how much each token counts.

The past is a list of all policies of the run, one per step, so that "k steps old" is an index.
"""

import copy
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from tests.reference import policy_gradient as pg
from tests.reference.plain import AdamW, Answer, Sgd, clip_norm, logprobs_of, sample
from tests.reference.record import mean, reward


def weights_of(config, answer: Answer, trainer: Tensor) -> list[float]:
    """w of each trained token; ``answer.old`` is log μ and ``trainer`` log π_old."""
    ratios = [math.exp(float(trainer[t] - answer.old[t])) for t in answer.trained]
    if config.correction == "tis":
        return [min(ratio, config.cap) for ratio in ratios]
    if config.correction == "icepop":
        return [ratio if config.floor <= ratio <= config.cap else 0.0 for ratio in ratios]
    if config.correction == "sequence":
        return [min(math.prod(ratios), config.cap)] * len(ratios)
    return [1.0] * len(ratios)


def loss_of(config, model, answers, advantages, ref, trainer) -> tuple[Tensor, float]:
    terms, dead = [], []
    for answer, a, reference, old in zip(answers, advantages, ref, trainer, strict=True):
        seen = copy.copy(answer)
        if config.correction != "clip":
            seen.old = old
        logprobs = logprobs_of(model, answer, config.temperature)
        found, silent = pg.gains(config, logprobs, seen, a)
        weights = weights_of(config, answer, old)
        found = [w * x for w, x in zip(weights, found, strict=True)]
        if config.kl_in == "loss" and config.kl_coef > 0:
            estimates = [
                pg.kl_term(config.kl_estimator, logprobs[t] - reference[t]) for t in answer.trained
            ]
            found = [x - config.kl_coef * k for x, k in zip(found, estimates, strict=True)]
        terms.append(found)
        dead += silent
    return -pg.average(config, terms), mean([float(d) for d in dead])


def mismatch(config, answers: list[Answer], trainer: list[Tensor]) -> dict[str, float]:
    gaps, totals, weights = [], [], []
    for answer, old in zip(answers, trainer, strict=True):
        gap = [float(old[t] - answer.old[t]) for t in answer.trained]
        gaps += gap
        totals.append(math.exp(sum(gap)))
        weights += weights_of(config, answer, old)
    return {
        "mismatch_kl": -mean(gaps),
        "effective_share": sum(totals) ** 2 / (len(totals) * sum(x * x for x in totals)),
        "weight_mean": mean(weights),
        "weight_max": max(weights),
        "masked_share": mean([float(w == 0) for w in weights]),
    }


def train(
    config,
    model: nn.Module,
    reference: nn.Module,
    rounded: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> Iterator[dict]:
    """Records of a run; ``model`` moves in place. ``rounded`` makes the sampler of a policy."""
    optimizer = AdamW() if config.optimizer == "adamw" else Sgd()
    task, past, weights = pg.task_of(config), [], list(model.parameters())
    for step in range(1, config.steps + 1):
        past.append(copy.deepcopy(model))  # past[n] is the policy after n steps
        sampler = rounded(past[max(0, step - 1 - config.lag)])
        answers = sample(config, sampler, task, step)
        with torch.no_grad():
            trainer = [logprobs_of(model, a, config.temperature) for a in answers]
            ref = [logprobs_of(reference, a, config.temperature) for a in answers]
        advantages = pg.advantages_of(config, [reward(config, a) for a in answers])
        record = {"step": step, **mismatch(config, answers, trainer)}
        losses, norms, dead = [], [], []
        for _ in range(config.updates_per_batch):
            for groups in pg.parts(config.prompts_per_step, config.minibatches):
                size = config.group_size
                rows = [row for g in groups for row in range(g * size, (g + 1) * size)]
                chosen = [[x[row] for row in rows] for x in (answers, advantages, ref, trainer)]
                loss, silent = loss_of(config, model, *chosen)
                losses.append(float(loss.detach()))
                dead.append(silent)
                if not any(chosen[1]) and config.kl_coef == 0:
                    norms.append(0.0)
                    continue
                gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
                gradients, norm = clip_norm(list(gradients), config.max_grad_norm)
                optimizer.step(weights, gradients, config.learning_rate)
                norms.append(norm)
        record |= {"loss": mean(losses), "grad_norm": mean(norms), "clip_fraction": mean(dead)}
        yield record
