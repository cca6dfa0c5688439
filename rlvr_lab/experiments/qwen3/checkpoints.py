"""Qwen3's first three stages on a small model, with a checkpoint after each (notebook 10, section 1).

Stage 1 is the long-chain cold start, stage 2 reasoning RL, stage 3 thinking-mode fusion (arXiv:2505.09388, sections
4.1–4.3). Stage 4, general RL, is in ``stages``. One model learns both tasks of ``tasks.two_modes``.

    stage   what                                                     data or reward
    1       chains without errors until they are learned, then       clean chains; guesses, slips, broken tags
            100 steps on a mixture
    2       ``REASONING``: 40 steps of GRPO, no flag                 correctness, form
    3       250 steps of SFT on two kinds of examples, half each     own correct chains of the stage-2 model with
                                                                     ``/think`` (a third of them without flag);
                                                                     ``/no_think``, an empty block, the answer

A quarter of the examples of stage 3 ends with ``ok``, so that stage 4 has something to choose from.
"""

import random
from dataclasses import dataclass, replace
from typing import Literal

import torch

from rlvr_lab.experiments.kept_bases import kept_base
from rlvr_lab.experiments.pretraining import PretrainingFailed, fit, learn_chains
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.words import build_tokenizer
from rlvr_lab.tasks.sums import COURTESY
from rlvr_lab.tasks.task import Problem, Task, Verdict, grade
from rlvr_lab.tasks.two_modes import (
    TwoModes,
    TwoModesMixture,
    flag_of,
    thinks,
    with_flag,
)
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

__all__ = [
    "COURTEOUS",
    "LONGEST",
    "REASONING",
    "Fusion",
    "FusionData",
    "cold_start",
    "fused",
    "kept_name",
    "own_chains",
    "reasoned",
]

LONGEST = 20
"""Cap on an answer, in tokens; a whole chain with its answer has at most 14."""
MIXED_STEPS, FUSION_STEPS = 100, 250
REPLACEMENT = 1000  # added to the seed of a stage 1 that does not learn its chains
COURTEOUS = 0.25
QUESTIONS, TRIES = 1024, 4
REASONING = PolicyGradientConfig(world="two_modes", max_new_tokens=LONGEST, steps=40)
"""Stage 2: GRPO on both tasks without a flag."""
Fusion = Literal["fusion", "fusion_cut"]


def kept_name(checkpoint: str, seed: int) -> str:
    """The folder of a checkpoint in ``policy.data.bases_folder``."""
    return f"two_modes_{checkpoint}_{seed}"


def cold_start(seed: int, device: str = "auto") -> Policy:
    """Stage 1. A seed whose chains are not learned in 600 steps is replaced by the seed plus 1,000, and so on.

    Raises:
        PretrainingFailed: when five seeds in a row fail.
    """

    def make(used: int) -> Policy:
        policy, rng = new_policy(build_tokenizer(), used, device=device), random.Random(f"{used}")
        optimizer, task = adamw(trained(policy.model), 1e-3), TwoModes()
        clean = TwoModesMixture.clean().solve
        learn_chains(policy, task, clean, optimizer, rng, used, log=lambda line: None)
        fit(policy, task, TwoModesMixture().solve, MIXED_STEPS, 1.5e-3, optimizer, rng)
        return policy

    def first_that_learns() -> Policy:
        for used in range(seed, seed + 5 * REPLACEMENT, REPLACEMENT):
            try:
                return make(used)
            except PretrainingFailed:
                continue
        raise PretrainingFailed(f"seed {seed}: five seeds in a row did not learn the chain")

    return kept_base(kept_name("cold_start", seed), first_that_learns, device)


def reasoned(seed: int, device: str = "auto") -> Policy:
    """Stage 2, after stage 1 of the same seed."""

    def make() -> Policy:
        config = replace(REASONING, seed=seed, device=device)
        state = config.begin(cold_start(seed, device))
        list(train(config, state=state))
        return state.policy

    return kept_base(kept_name("reasoning", seed), make, device)


@dataclass(frozen=True)
class FusionData(Task):
    """The examples of stage 3; half of them think.

    Attributes:
        chains: question without a flag → correct answers with a chain, for the thinking half.
        cut: share of the examples, taken from the thinking half, whose chain is cut after at least one value and
            before the last one. The cut chain and ``</think>`` belong to the prompt, so only the answer is trained.

    Raises:
        ValueError: unless 0 ≤ cut ≤ 0.5.
    """

    chains: dict[Problem, list[str]]
    cut: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.cut <= 0.5:
            raise ValueError(f"cut: must lie in [0, 0.5], got {self.cut}")

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """Prompts, each with its flag and, where the chain is cut, with the start of it."""
        questions, fresh = list(self.chains), TwoModes(flag="no_think")
        drawn = []
        for _ in range(count):
            kind = rng.random()
            if kind < 0.5:
                drawn += fresh.problems(1, rng)
                continue
            question = rng.choice(questions)
            prompt = (
                question.prompt if rng.random() < 1 / 3 else with_flag(question.prompt, "think")
            )
            if kind > 1 - self.cut:
                chain = rng.choice(self.chains[question]).split("</think>")[0]
                values = chain.removeprefix("<think>")
                prompt += f"<think>{values[: rng.randint(1, len(values) - 1)]}</think>"
            drawn.append(replace(question, prompt=prompt))
        return drawn

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """As in ``TwoModes``."""
        return TwoModes().verify(problem, text, truncated)

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """What is trained: an own correct answer, or the correct digit after the block that is there."""
        ending = COURTESY if rng.random() < COURTEOUS else ""
        if "<think>" in problem.prompt:
            return f"={problem.answer}{ending}"
        if flag_of(problem.prompt) == "no_think":
            return f"<think></think>={problem.answer}{ending}"
        question = replace(problem, prompt=with_flag(problem.prompt, "none"))
        return rng.choice(self.chains[question]) + ending


def own_chains(policy: Policy, seed: int) -> dict[Problem, list[str]]:
    """The correct answers with a chain among ``TRIES`` answers to each of ``QUESTIONS`` problems without a flag."""
    task = TwoModes()
    problems = task.problems(QUESTIONS, random.Random(f"own chains {seed}"))
    generator = torch.Generator(policy.device).manual_seed(seed)
    batch = sample(policy, [p.prompt for p in problems], TRIES, LONGEST, generator)
    verdicts = grade(task, problems, batch.texts, batch.truncated.tolist())
    found: dict[Problem, list[str]] = {}
    for row, (text, verdict) in enumerate(zip(batch.texts, verdicts, strict=True)):
        if verdict.correct and thinks(text) and len(text.split("</think>")[0]) > len("<think>7"):
            found.setdefault(problems[row // TRIES], []).append(text.removesuffix(COURTESY))
    return found


def fused(seed: int, kind: Fusion = "fusion", device: str = "auto") -> Policy:
    """Stage 3, after stage 2 of the same seed; ``fusion_cut`` cuts the chain in a quarter of the examples."""

    def make() -> Policy:
        policy = reasoned(seed, device)
        data = FusionData(own_chains(policy, seed), 0.25 if kind == "fusion_cut" else 0.0)
        optimizer, rng = adamw(trained(policy.model), 1e-3), random.Random(f"fusion {seed}")
        fit(policy, data, data.solve, FUSION_STEPS, 1.5e-3, optimizer, rng)
        return policy

    return kept_base(kept_name(kind, seed), make, device)
