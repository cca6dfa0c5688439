"""What a baseline is worth in training: runs with and without, and the noise of both (notebook 03).

Both runs sum over the tokens of an answer and differ in nothing but the baseline: the raw reward, or the
reward minus the mean of the group's other answers (RLOO). ``python -m rlvr_lab record baselines`` records them.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.records.runs import Run, runs_of
from rlvr_lab.training.optimise import trained
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig
from rlvr_lab.training.state import TrainState

__all__ = ["BASELINES", "measure_baselines", "rewards_and_scores"]

BASELINES: dict[str, PolicyGradientConfig] = {
    f"{name}, {prompts * size} answers": replace(
        PRESETS["rloo"],
        baseline=baseline,
        prompts_per_step=prompts,
        group_size=size,
        steps=steps,
    )
    for prompts, size, steps in ((16, 16, 40), (4, 4, 60))
    for name, baseline in (("no baseline", "none"), ("mean of the others", "leave_one_out"))
}
"""Name → its configuration for seed 0: a usual batch and a small one, each without and with a baseline."""

KEPT = ("step", "pass_rate", "length", "entropy", "kl", "grad_norm")


def measure_baselines(
    seeds: int, configs: dict[str, PolicyGradientConfig] = BASELINES, first: int = 0
) -> Iterator[Run]:
    """Train every configuration with the seeds from ``first`` on; the records keep the names in ``KEPT``.

    Raises:
        ValueError: when ``seeds`` < 1.
    """
    for config in configs.values():
        yield from runs_of(replace(config, seed=first), seeds, keep=KEPT)


def rewards_and_scores(
    state: TrainState, config: PolicyGradientConfig
) -> tuple[Float[Tensor, "N G"], Float[Tensor, "N G D"]]:
    """Sample the answers of one step; return each answer's reward and its score ∇log π(y).

    With these, every policy-gradient estimate that differs only in the advantages is a weighted sum.

    Args:
        state: its policy answers; nothing is updated.
        config: how many questions N and answers G per question, and the seed.
    """
    experience = config.collect(state)
    batch, parameters = experience.batch, trained(state.policy.model)
    scores = []
    for group in range(config.prompts_per_step):
        one = batch.groups([group])
        needed = torch.ones(config.group_size, dtype=torch.bool, device=one.completion_mask.device)
        logprobs = token_logprobs(state.policy.model, one, config.temperature, needed)
        answers = torch.where(one.completion_mask, logprobs, 0.0).sum(dim=1)
        for answer in answers:
            slopes = torch.autograd.grad(answer, parameters, retain_graph=True)
            scores.append(torch.cat([slope.flatten() for slope in slopes]))
    rewards = experience.rewards.view(-1, config.group_size)
    return rewards, torch.stack(scores).view(*rewards.shape, -1)
