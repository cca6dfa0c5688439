"""What every algorithm does alike: sample answers, grade them, say what the step was like.

``training``, ``ppo`` and ``trpo`` differ in what they do in between: how they change the policy.
"""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlvr_lab.advantages import zero_spread_share
from rlvr_lab.batch import RolloutBatch
from rlvr_lab.config import RolloutConfig
from rlvr_lab.kl import k1
from rlvr_lab.length_lab import LengthLab
from rlvr_lab.policy import Policy, load_policy, token_logprobs
from rlvr_lab.rewards import accuracy_rewards, format_rewards, grade
from rlvr_lab.rollouts import sample
from rlvr_lab.tasks import Problem, Sums, Task
from rlvr_lab.verifiers import Verdict

__all__ = [
    "Experience",
    "NonFiniteLossError",
    "Reference",
    "TrainState",
    "collect",
    "describe_step",
    "make_optimizer",
    "reference_logprobs",
]


class NonFiniteLossError(FloatingPointError):
    """A loss or gradient was not finite; the parameters are those of the last good step."""


@dataclass
class TrainState:
    """What changes while a run goes on; ``runs.save_checkpoint`` writes it.

    Attributes:
        policy: the policy that is trained.
        reference: the frozen policy that KL is measured to.
        optimizer: over the policy's parameters; None where the algorithm steps by itself (TRPO).
        task: the source of problems and verdicts.
        step: number of finished steps.
    """

    policy: Policy
    reference: Policy
    optimizer: torch.optim.Optimizer | None
    task: Task
    step: int = 0

    @classmethod
    def begin(
        cls, config: RolloutConfig, policy: Policy | None = None, task: Task | None = None
    ) -> "TrainState":
        """The state before step 1, from the world's base or from a given policy and task."""
        policy = policy or load_policy(config.base or config.world, config.device)
        # Dropout would make π differ from π_old at equal weights: the ratio would not start at 1.
        policy.model.eval()
        default_task = Sums() if config.world == "sums" else LengthLab(config.p_right)
        optimizer = make_optimizer(config, policy.model.parameters())
        return cls(policy, policy.frozen_copy(), optimizer, task or default_task)


def make_optimizer(
    config: RolloutConfig, parameters: Iterable[torch.nn.Parameter]
) -> torch.optim.Optimizer | None:
    """The optimiser that ``config`` names; None if it names none."""
    match getattr(config, "optimizer", None):
        case "adamw":
            return torch.optim.AdamW(
                parameters, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.0
            )
        case "sgd":
            return torch.optim.SGD(parameters, lr=config.learning_rate)
        case _:
            return None


@dataclass(frozen=True)
class Experience:
    """One step's answers and what they earned.

    Attributes:
        problems: N.
        batch: the rollouts, B = N·G rows.
        verdicts: B.
        accuracy, form: [B], 1 for a right and for a well-formed answer.
        rewards: [B], accuracy + format_bonus · form, on the policy's device.
        seconds_rollout, seconds_reward: how long sampling and grading took.
    """

    problems: list[Problem]
    batch: RolloutBatch
    verdicts: list[Verdict]
    accuracy: Tensor
    form: Tensor
    rewards: Tensor
    seconds_rollout: float
    seconds_reward: float


def collect(config: RolloutConfig, state: TrainState, step: int) -> Experience:
    """Draw problems, sample answers, grade them: all from (config.seed, step)."""
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
    spent = sampled - started, time.perf_counter() - sampled
    return Experience(problems, batch, verdicts, accuracy, form, rewards, *spent)


class Reference(NamedTuple):
    """log π_ref [B, T], and the rows [B] for which it was computed."""

    logprobs: Tensor
    rows: Tensor


@torch.no_grad()
def reference_logprobs(
    config: RolloutConfig, state: TrainState, batch: RolloutBatch, every_row: bool
) -> Reference:
    """log π_ref of the sampled tokens.

    When the KL is only watched, a quarter of the answers is enough, and saves most of the time.
    """
    rows = torch.ones(len(batch.texts), dtype=torch.bool, device=batch.old_logprobs.device)
    if not every_row:
        rows = torch.arange(len(rows), device=rows.device) % 4 == 0
    logprobs = token_logprobs(state.reference.model, batch, config.temperature, rows)
    return Reference(logprobs, rows)


def describe_step(
    config: RolloutConfig, experience: Experience, reference: Reference
) -> dict[str, Any]:
    """The part of a metrics record that does not depend on the algorithm; see ``training.train``."""
    batch, rewards = experience.batch, experience.rewards
    lengths = batch.lengths.double().cpu()
    right, mask = experience.accuracy.bool(), batch.completion_mask
    # k1 and not k3: both are unbiased, but far from the reference k3's rare large ratios make its
    # mean over a few dozen answers jump.
    kl_tokens = torch.where(mask, k1(batch.old_logprobs, reference.logprobs), 0.0)[reference.rows]
    rows = len(batch.texts)
    return {
        "reward": float(rewards.double().mean()),
        "reward_accuracy": float(experience.accuracy.double().mean()),
        "reward_format": float(experience.form.double().mean()),
        "pass_rate": float(experience.accuracy.double().mean()),
        "kl": float(kl_tokens.double().sum(dim=1).mean()),
        "entropy": float(batch.entropy[mask].double().mean()),
        "length": float(lengths.mean()),
        "length_right": float(lengths[right].mean()) if bool(right.any()) else None,
        "length_wrong": float(lengths[~right].mean()) if bool((~right).any()) else None,
        "truncated": float(batch.truncated.double().mean()),
        "zero_spread": zero_spread_share(rewards, config.group_size),
        "seconds_rollout": experience.seconds_rollout,
        "seconds_reward": experience.seconds_reward,
        "tokens": int(mask.sum()),
        "samples": [
            {
                "prompt": experience.problems[row // config.group_size].prompt,
                "completion": batch.texts[row],
                "reason": experience.verdicts[row].reason,
                "reward": float(rewards[row]),
            }
            for row in range(0, rows, max(1, rows // 4))
        ][:4],
    }
