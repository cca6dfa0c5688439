"""The two stages of pretraining: flawless chains until they are learned, then a mixture."""

import math
import random
from collections.abc import Callable

import torch

from rlvr_lab.policy.loading import Policy
from rlvr_lab.tasks.evaluation import evaluate
from rlvr_lab.tasks.task import Task
from rlvr_lab.training.supervised import Solver, supervised_steps

__all__ = ["BATCH", "PretrainingFailed", "fit", "learn_chains"]

BATCH = 128


class PretrainingFailed(RuntimeError):
    """The base did not pass its gate; nothing was written."""


def learn_chains(
    policy: Policy,
    task: Task,
    solve: Solver,
    optimizer: torch.optim.Optimizer,
    rng: random.Random,
    seed: int,
    log: Callable[[str], None],
) -> int:
    """Train on flawless chains until 95 % of the answers are correct; returns the number of steps."""
    steps, accuracy = 0, 0.0
    while accuracy < 0.95:
        if steps >= 600:
            raise PretrainingFailed(
                f"seed {seed}: chains are right only {accuracy:.0%} of the time after "
                f"{steps} steps; try another seed"
            )
        stage = supervised_steps(policy, task, solve, 50, lambda _: 2e-3, optimizer, rng)
        loss = list(stage)[-1]
        steps += 50
        accuracy = evaluate(policy, task, 64, 1, seed=steps)["pass@1"]
        log(f"clean chains: step {steps}, loss {loss:.3f}, right {accuracy:.0%}")
    return steps


def fit(
    policy: Policy,
    task: Task,
    solve: Solver,
    steps: int,
    peak: float,
    optimizer: torch.optim.Optimizer,
    rng: random.Random,
    batch_size: int = BATCH,
    trained_from: int = 0,
) -> float:
    """Supervised steps whose learning rate falls from ``peak`` to 0 along a cosine; the last loss."""

    def cosine(step: int) -> float:
        return peak * (1 + math.cos(math.pi * step / steps)) / 2

    losses = supervised_steps(
        policy, task, solve, steps, cosine, optimizer, rng, batch_size, trained_from
    )
    return list(losses)[-1]
