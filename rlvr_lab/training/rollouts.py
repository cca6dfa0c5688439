"""What every algorithm that samples does alike: draw problems, sample and grade answers, describe a step."""

import random
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from rlvr_lab.objectives.advantages import zero_spread_share
from rlvr_lab.objectives.kl import k1
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.sampling import sample
from rlvr_lab.rewards.registry import Reward, make_reward
from rlvr_lab.rewards.verifiable import accuracy_rewards
from rlvr_lab.tasks.task import Answers, Task, grade
from rlvr_lab.tasks.worlds import base_policy, make_task
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.state import TrainState

__all__ = ["Experience", "Reference", "RolloutConfig", "collect", "describe_step"]


class Reference(NamedTuple):
    """log π_ref [B, T], and the rows [B] for which it was computed."""

    logprobs: Tensor
    rows: Tensor


@dataclass(frozen=True)
class Experience:
    """One step's answers and what they earned.

    Attributes:
        answers: problems, rollouts and verdicts, B = N·G rows.
        parts: name → raw reward [B], as each function gave it.
        rewards: [B], the parts times their weights, added up; on the policy's device.
        reference: log-probabilities of the reference policy.
        seconds: how long sampling, grading and the reference took.
    """

    answers: Answers
    parts: dict[str, Tensor]
    rewards: Tensor
    reference: Reference
    seconds: dict[str, float]

    @property
    def batch(self) -> RolloutBatch:
        """The rollouts."""
        return self.answers.batch

    @property
    def kl(self) -> float:
        """Mean KL to the reference per answer, k1 summed over tokens, in nats.

        k1 and not k3: both are unbiased, but far from the reference k3's rare large ratios make its mean
        over a few dozen answers jump.
        """
        batch, reference = self.batch, self.reference
        tokens = k1(batch.old_logprobs, reference.logprobs)
        tokens = torch.where(batch.completion_mask, tokens, 0.0)[reference.rows]
        return float(tokens.double().sum(dim=1).mean())


@dataclass(frozen=True)
class RolloutConfig(RunConfig):
    """What every algorithm that samples needs to know.

    Attributes:
        world: a name in ``tasks.worlds.WORLDS``.
        world_options: the task's own settings, e.g. ``{"p_right": 0.2}`` of the length laboratory.
        base: a name, folder or hub id for ``load_policy``; "" means the world's own base.
        prompts_per_step: N.
        group_size: G, answers to each prompt.
        max_new_tokens: cap on a completion, in tokens.
        temperature: of sampling and of all log-probabilities.
        top_p: nucleus of the sampling; 1 samples from the whole distribution.
        rewards: name in ``rewards.registry.REWARDS`` → weight; what is maximised is their weighted sum.
        device: see ``policy.loading.resolve_device``.
        dtype: of the weights that ``begin`` loads. In bfloat16 an update smaller than about 1/256 of a weight is
            lost to rounding; with a small learning rate most updates are.

    Step k draws its problems and answers from (seed, k), so two runs that differ in one setting see the
    same problems.

    Raises:
        ValueError: naming the field, for a value that makes no sense.
    """

    world: str = "sums"
    world_options: dict[str, Any] = field(default_factory=dict)
    base: str = ""
    prompts_per_step: int = 16
    group_size: int = 16
    max_new_tokens: int = 40
    temperature: float = 1.0
    top_p: float = 1.0
    rewards: dict[str, float] = field(default_factory=lambda: {"accuracy": 1.0, "format": 0.1})
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"

    FIXED: ClassVar[tuple[str, ...]] = (
        *RunConfig.FIXED,
        *("world", "world_options", "base", "device", "dtype"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        make_task(self.world, self.world_options)
        self.require_at_least(1, "prompts_per_step", "group_size", "max_new_tokens")
        self.require_positive("temperature")
        self.require("top_p", 0 < self.top_p <= 1, "in (0, 1]")
        finite = all(isinstance(w, int | float) and abs(w) < 1e9 for w in self.rewards.values())
        self.require("rewards", bool(self.rewards) and finite, "names with finite weights")

    def begin(
        self,
        policy: Policy | None = None,
        task: Task | None = None,
        rewards: dict[str, Reward] | None = None,
    ) -> TrainState:
        """The state before step 1.

        Args:
            policy: by default ``base``, or the world's own.
            task: by default the world's.
            rewards: functions for names in ``self.rewards`` that are not registered.
        """
        policy, task = self.policy_and_task(policy, task)
        # Dropout would make π differ from π_old at equal weights: the ratio would not start at 1.
        policy.model.eval()
        given = rewards or {}
        functions = {
            name: given.get(name) or make_reward(name, self.device) for name in self.rewards
        }
        return TrainState(policy, policy.frozen_copy(), task=task, rewards=functions)

    def policy_and_task(
        self, policy: Policy | None = None, task: Task | None = None, device: str | None = None
    ) -> tuple[Policy, Task]:
        """The policy before step 1, and the task with its prompts written for it; arguments as of ``begin``."""
        task, device = task or make_task(self.world, self.world_options), device or self.device
        if policy is None:
            dtype = getattr(torch, self.dtype)
            named = load_policy(self.base, device, dtype) if self.base else None
            policy = named or base_policy(self.world, task, self.seed, device).cast(dtype)
        return policy, task.for_policy(policy)

    def needs_reference(self) -> bool:
        """Whether every answer needs log π_ref; when the KL is only watched, a quarter is enough."""
        return False

    def collect(self, state: TrainState) -> Experience:
        """Problems, answers, verdicts, rewards and reference of the next step."""
        return collect(self, state)

    def measure(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """What there is to say of the answers, and what the task reads off the policy."""
        exact = state.task.measure(state.policy, self.max_new_tokens, self.temperature)
        return {**describe_step(experience), **exact}


def collect(config: RolloutConfig, state: TrainState) -> Experience:
    """Draw problems, sample answers, grade them, score them: all from (config.seed, step)."""
    times = [time.perf_counter()]
    rng = random.Random(f"{config.seed} {state.step + 1}")
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
    times.append(time.perf_counter())
    verdicts = grade(state.task, problems, batch.texts, batch.truncated.tolist())
    answers = Answers(state.task, problems, batch, verdicts)
    for name in config.rewards:  # a live change may name a new one
        if name not in state.rewards:
            state.rewards[name] = make_reward(name, config.device)
    parts = {name: state.rewards[name](answers).to(batch.old_logprobs) for name in config.rewards}
    rewards = sum(weight * parts[name] for name, weight in config.rewards.items())
    times.append(time.perf_counter())
    reference = reference_logprobs(config, state, batch)
    times.append(time.perf_counter())
    names = ("seconds_rollout", "seconds_reward", "seconds_reference")
    seconds = {n: b - a for n, (a, b) in zip(names, pairwise(times), strict=True)}
    return Experience(answers, parts, rewards, reference, seconds)


@torch.no_grad()
def reference_logprobs(config: RolloutConfig, state: TrainState, batch: RolloutBatch) -> Reference:
    """log π_ref of the sampled tokens: of every answer if it takes part, else of every fourth."""
    rows = torch.arange(len(batch.texts), device=batch.old_logprobs.device)
    rows = rows % (1 if config.needs_reference() else 4) == 0
    return Reference(token_logprobs(state.reference.model, batch, config.temperature, rows), rows)


def describe_step(experience: Experience) -> dict[str, Any]:
    """The part of a record that does not depend on the algorithm.

    Returns:
        ``reward`` (mean per answer of what is maximised) and ``reward_<name>`` of each part;
        ``pass_rate``; ``kl`` (to the reference, nats per answer); ``entropy`` (nats per token);
        ``length``, ``length_right``, ``length_wrong`` (tokens; None where there is no such answer);
        ``truncated``, ``zero_spread`` (shares); ``tokens``; ``samples``; ``seconds_rollout``,
        ``seconds_reward``, ``seconds_reference``.
    """
    answers, batch, rewards = experience.answers, experience.batch, experience.rewards
    size, rows = batch.group_size, len(batch.texts)
    lengths = batch.lengths.double().cpu()
    correct, mask = accuracy_rewards(answers.verdicts).bool(), batch.completion_mask
    return {
        "reward": float(rewards.double().mean()),
        **{f"reward_{name}": float(x.double().mean()) for name, x in experience.parts.items()},
        "pass_rate": float(correct.double().mean()),
        "kl": experience.kl,
        "entropy": float(batch.entropy[mask].double().mean()),
        "length": float(lengths.mean()),
        "length_right": float(lengths[correct].mean()) if bool(correct.any()) else None,
        "length_wrong": float(lengths[~correct].mean()) if bool((~correct).any()) else None,
        "truncated": float(batch.truncated.double().mean()),
        "zero_spread": zero_spread_share(rewards, size),
        **experience.seconds,
        "tokens": int(mask.sum()),
        "samples": [
            {
                "prompt": answers.problems[row // size].prompt,
                "completion": batch.texts[row],
                "reason": answers.verdicts[row].reason,
                "reward": float(rewards[row]),
            }
            for row in range(0, rows, max(1, rows // 4))
        ][:4],
    }
