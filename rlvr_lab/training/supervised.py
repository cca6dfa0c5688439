"""Supervised fine-tuning: cross-entropy on worked solutions."""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.logprobs import before_each_token
from rlvr_lab.tasks.task import Problem, Task
from rlvr_lab.training.optimise import optimiser_step

__all__ = ["Solver", "SupervisedStep", "supervised_step", "supervised_steps"]

Solver = Callable[[Problem, random.Random], str]
"""(problem, generator) → a worked solution."""


def encode_solutions(
    policy: Policy, pairs: list[tuple[str, str]], trained_from: int = 0
) -> tuple[Tensor, Tensor]:
    """Ids and labels of prompt + completion + end, right-padded; −100 where no loss is taken."""
    tokenizer, rows, labels = policy.tokenizer, [], []
    for prompt, completion in pairs:
        head = tokenizer.encode(prompt, add_special_tokens=False)
        tail = [*tokenizer.encode(completion, add_special_tokens=False), tokenizer.eos_token_id]
        rows.append(head + tail)
        hidden = len(head) + trained_from
        labels.append([-100] * hidden + tail[trained_from:])
    width = max(map(len, rows))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=policy.device)
    targets = torch.tensor([t + [-100] * (width - len(t)) for t in labels], device=policy.device)
    return ids, targets


class SupervisedStep(NamedTuple):
    """What one step did.

    Attributes:
        loss: before the step, in nats per trained token.
        trained: number of tokens that the loss is taken on.
        read: number of tokens that the model read, prompts included and padding excluded.
    """

    loss: float
    trained: int
    read: int


def supervised_step(
    policy: Policy,
    pairs: list[tuple[str, str]],
    optimizer: torch.optim.Optimizer,
    trained_from: int = 0,
) -> SupervisedStep:
    """One optimiser step on the cross-entropy of given (prompt, completion) pairs, per token.

    Args:
        policy: updated in place.
        pairs: the solutions of the batch.
        optimizer: over the policy's parameters, with its learning rate.
        trained_from: number of leading completion tokens that are not trained.
    """
    ids, targets = encode_solutions(policy, pairs, trained_from)
    length = ids.shape[1]
    logits = before_each_token(policy.model(ids[:, :-1]).logits, length, length - 1)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten())
    optimiser_step(optimizer, loss, max_norm=1.0)
    on = targets != -100
    # A row ends with a trained token. Counting what is not <pad> would fail where <pad> is the end word.
    ends = (on * torch.arange(1, length + 1, device=on.device)).amax(dim=1)
    return SupervisedStep(loss.item(), int(on.sum()), int(ends.sum()))


def supervised_steps(
    policy: Policy,
    task: Task,
    solve: Solver,
    steps: int,
    learning_rate: Callable[[int], float],
    optimizer: torch.optim.Optimizer,
    rng: random.Random,
    batch_size: int = 128,
    trained_from: int = 0,
) -> Iterator[float]:
    """Cross-entropy on worked solutions; yields the loss of each step, in nats per token.

    Args:
        policy: updated in place.
        task: draws the problems.
        solve: writes a solution to each.
        steps: of the optimiser.
        learning_rate: step, from 0 on → rate.
        optimizer: over the policy's parameters.
        rng: of problems and solutions.
        batch_size: solutions in each step.
        trained_from: number of leading completion tokens that the environment writes; they are not trained.
    """
    for step in range(steps):
        problems = task.problems(batch_size, rng)
        pairs = [(problem.prompt, solve(problem, rng)) for problem in problems]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        yield supervised_step(policy, pairs, optimizer, trained_from).loss
