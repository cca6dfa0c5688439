"""Settings that are trained and compared with a bar: policy gradient, PPO, GRPO and the climb of a proxy.

Each check is a ``TrainCheck``: the defaults of a run, the fields that may be changed, a budget of sampled tokens,
and a bar. Notebooks 02 to 06.
"""

import random
from dataclasses import replace
from typing import Any

import torch

from rlvr_lab.checks.trained import Advice, Bar, TrainCheck, Trial
from rlvr_lab.experiments.overoptimisation import ProxyConfig
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.sampling import sample
from rlvr_lab.tasks.letters import PROMPT
from rlvr_lab.tasks.task import Answers, Task, grade
from rlvr_lab.training.policy_gradient import PRESETS
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.training.state import TrainState

__all__ = [
    "ADVICE",
    "MOST",
    "STEPS",
    "accuracy",
    "check_gold_train",
    "check_grpo_train",
    "check_ppo_train",
    "check_reinforce_train",
    "held_out",
]

STEPS = 150
"""Steps after which a run ends in any case."""
MOST = {
    "prompts_per_step": 512,
    "group_size": 256,
    "updates_per_batch": 4,
    "epochs": 4,
    "minibatches": 4,
    "critic_warmup": 50,
    "members": 8,
    "steps": STEPS,
}


@torch.no_grad()
def held_out(
    config: Any,
    state: TrainState,
    seen: set[str],
    seed: int,
    task: Task | None = None,
    problems: int = 192,
    samples: int = 4,
) -> tuple[Answers, float]:
    """Answers to problems that training has not seen, at temperature 1, and the KL to the base.

    Args:
        config: of the run.
        state: whose policy answers.
        seen: prompts of the training; they are left out.
        seed: of problems and answers.
        task: of the problems, by default that of the run.
        problems: that are drawn.
        samples: answers to each.

    Returns:
        The answers, and the mean KL(π‖π_base) per answer, in nats.
    """
    task = task or state.task
    drawn = task.problems(problems, random.Random(f"held out {seed}"))
    drawn = [problem for problem in drawn if problem.prompt not in seen]
    generator = torch.Generator(state.policy.device).manual_seed(seed)
    prompts = [problem.prompt for problem in drawn]
    batch = sample(state.policy, prompts, samples, config.max_new_tokens, generator)
    verdicts = grade(task, drawn, batch.texts, batch.truncated.tolist())
    base = token_logprobs(state.reference.model, batch, 1.0)
    gaps = torch.where(batch.completion_mask, batch.old_logprobs - base, 0.0)
    return Answers(task, drawn, batch, verdicts), float(gaps.double().sum(dim=1).mean())


def accuracy(config: Any, state: TrainState, seen: set[str], seed: int) -> dict[str, float]:
    """``accuracy``, ``length`` (tokens) and ``KL`` (to the base, nats per answer) on held-out problems."""
    answers, kl = held_out(config, state, seen, seed)
    correct = [verdict.correct for verdict in answers.verdicts]
    return {
        "accuracy": sum(correct) / len(correct),
        "length": float(answers.batch.lengths.double().mean()),
        "KL": kl,
    }


def _best(trial: Trial) -> float:
    """The best mean pass rate over a tenth of the run."""
    rates = [record["pass_rate"] for record in trial.records]
    width = max(1, len(rates) // 10)
    return max(
        (sum(rates[i : i + width]) / width for i in range(len(rates) - width + 1)), default=0
    )


FEW_STEPS: Advice = (
    lambda config, trial: trial.ended == "the budget was spent" and trial.steps < 20,
    "The accuracy was still rising. Ask how many updates the budget pays for, and what each of them costs.",
)
UNSTABLE: Advice = (
    lambda config, trial: _best(trial) > trial.numbers["accuracy"] + 0.05,
    "The batches of this run were better in between than the policy at its end: look at the reward over the "
    "steps, and at what makes single updates too large.",
)
LOST: Advice = (
    lambda config, trial: trial.numbers["KL"] > 2.6,
    "The KL at the end is large for this task: the policy has gone farther from its base than the answers need.",
)
SLOW: Advice = (
    lambda config, trial: True,
    "Draw the pass rate over the spent tokens: is it still rising at the end, noisy, or flat?",
)
BROKEN: Advice = (
    lambda config, trial: trial.numbers["accuracy"] < 0.3,
    "That is hardly better than the base: look at the length and the entropy of the answers.",
)
EARLY: Advice = (
    lambda config, trial: trial.ended != "the budget was spent",
    f"A part of the budget was not used: a run ends after {STEPS} steps at the latest.",
)
ADVICE = (BROKEN, FEW_STEPS, UNSTABLE, EARLY, LOST, SLOW)

# ------------------------------------------------------------------------------------------- GRPO

GRPO = replace(PRESETS["grpo"], steps=STEPS)

check_grpo_train = TrainCheck(
    title="GRPO within 24,000 tokens",
    config=GRPO,
    allowed=(
        *("prompts_per_step", "group_size", "learning_rate", "updates_per_batch", "minibatches"),
        *("divide_by_std", "average", "clip_low", "clip_high", "max_grad_norm"),
    ),
    bars=(Bar("accuracy", 0.9),),
    budget=24_000,
    measure=accuracy,
    advice=ADVICE,
    most=MOST,
)

# -------------------------------------------------------------------------------------- REINFORCE

check_reinforce_train = TrainCheck(
    title="REINFORCE with one answer per prompt",
    config=replace(
        PRESETS["grpo"],
        steps=STEPS,
        baseline="none",
        divide_by_std=False,
        average="constant",
        constant_length=11.0,
        ratio="none",
        group_size=1,
        prompts_per_step=128,
        rewards={"accuracy": 1.0, "format": 0.1, "constant": 3.0},
    ),
    allowed=("baseline", "prompts_per_step", "learning_rate", "max_grad_norm"),
    bars=(Bar("accuracy", 0.88, mean=True),),
    budget=12_000,
    seeds=3,
    measure=accuracy,
    advice=ADVICE,
    most=MOST,
)

# ------------------------------------------------------------------------------------------- PPO

check_ppo_train = TrainCheck(
    title="PPO within 12,000 tokens",
    config=PPOConfig(steps=STEPS),
    allowed=(
        *("prompts_per_step", "group_size", "epochs", "minibatches", "learning_rate"),
        *("value_learning_rate", "critic_warmup", "lam", "clip", "kl_coef", "target_kl"),
    ),
    bars=(Bar("accuracy", 0.84, mean=True),),
    budget=12_000,
    seeds=3,
    measure=accuracy,
    advice=(
        (
            lambda config, trial: (
                config.critic_warmup * config.prompts_per_step * config.group_size > 600
            ),
            "Look at the tokens that were spent before step 1: the critic's warm-up samples answers as well.",
        ),
        *ADVICE,
    ),
    most=MOST,
)

# ------------------------------------------------------------------------------- a proxy is climbed


@torch.no_grad()
def gold(config: ProxyConfig, state: TrainState, seen: set[str], seed: int) -> dict[str, float]:
    """``gold``, ``proxy`` and ``KL`` (nats per answer): means over 1,024 answers of the last policy."""
    world, generator = state.task, torch.Generator().manual_seed(seed)
    batch = sample(state.policy, [PROMPT], 1024, world.length, generator)
    base = world.base_logprobs(batch.completion_ids, batch.completion_mask)
    counts = world.counts(batch.completion_ids, batch.completion_mask)
    return {
        "gold": float(world.gold(counts).double().mean()),
        "proxy": float(state.rewards["proxy"](batch).double().mean()),
        "KL": float((batch.old_logprobs - base).double().sum(dim=1).mean()),
    }


def _fallen(config: ProxyConfig, trial: Trial) -> bool:
    return max(record["gold"] for record in trial.records) > trial.numbers["gold"] + 0.3


PEAK = (
    "In between the gold reward was higher than at the end, while the proxy went on rising. At which KL did it "
    "turn?"
)
check_gold_train = TrainCheck(
    title="the gold reward is held while a proxy is climbed",
    config=ProxyConfig(pairs=1000, steps=60),
    allowed=("optimiser", "steps", "batch_size", "kl_coef", "members", "learning_rate"),
    bars=(Bar("gold", 1.8, close=0.2, mean=True),),
    budget=60 * 128 * 12,
    seeds=3,
    measure=gold,
    advice=(
        (_fallen, PEAK),
        (
            lambda config, trial: True,
            "The gold reward was still rising at the end: the policy is too close to its base.",
        ),
    ),
    most={**MOST, "batch_size": 1024},
    choices={"optimiser": ("ppo", "grpo")},
)
