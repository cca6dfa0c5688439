"""Fitting a process reward model: chains of the base, labels of their steps, binary cross-entropy."""

import random

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.scalar_head import ScalarModel
from rlvr_lab.rewards.process import ProcessRewardModel, number_ids, step_labels, steps_of
from rlvr_lab.tasks.task import Answers, Task, grade
from rlvr_lab.training.optimise import adamw, optimiser_step, trained

__all__ = ["fit_process_reward", "labelled_chains"]


def labelled_chains(
    policy: Policy, task: Task, count: int, flip: float = 0.0, seed: int = 0
) -> tuple[RolloutBatch, Float[Tensor, "B T"]]:
    """Answers of ``policy`` with a chain, and the label of each number in them.

    Args:
        policy: samples one answer to each question.
        task: draws the questions, which have to be sums.
        count: number of chains: answers of at least two numbers.
        flip: probability that the label of a number is flipped.
        seed: of questions, answers and flips.

    Returns:
        The ``count`` answers (groups of one), and 1 at the numbers labelled correct, 0 elsewhere.

    Raises:
        ValueError: when ``count`` < 1, ``flip`` is not a probability, or the policy hardly writes chains.
    """
    if count < 1:
        raise ValueError(f"count: need at least 1 chain, got {count}")
    if not 0 <= flip <= 1:
        raise ValueError(f"flip: must be a probability in [0, 1], got {flip}")
    problems = task.problems(3 * count, random.Random(f"labelled chains {seed}"))
    generator = torch.Generator(policy.device).manual_seed(seed)
    batch = sample(policy, [problem.prompt for problem in problems], 1, 40, generator)
    numbers = number_ids(policy.tokenizer)
    rows = (steps_of(batch, numbers).sum(dim=1) > 1).nonzero().flatten().tolist()[:count]
    if len(rows) < count:
        raise ValueError(f"count: only {len(rows)} of {3 * count} answers have a chain")
    batch, problems = batch.groups(rows), [problems[row] for row in rows]
    verdicts = grade(task, problems, batch.texts, batch.truncated.tolist())
    steps = steps_of(batch, numbers)
    labels = step_labels(Answers(task, problems, batch, verdicts), steps)
    flipped = torch.rand(labels.shape, generator=generator, device=labels.device) < flip
    return batch, torch.where(steps & flipped, 1 - labels, labels)


def fit_process_reward(
    policy: Policy,
    batch: RolloutBatch,
    labels: Float[Tensor, "B T"],
    steps: int = 60,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> ProcessRewardModel:
    """Minimise the binary cross-entropy at the numbers; the body starts from ``policy``, the head at 0.

    The loss of a minibatch is −mean over its numbers of y·log σ(z) + (1 − y)·log(1 − σ(z)), with the logit z
    at the number and its label y.

    Args:
        policy: whose body is copied; it stays as it is.
        batch: answers in groups of one, as ``labelled_chains`` returns them.
        labels: 1 at the numbers labelled correct.
        steps: of AdamW.
        batch_size: answers in each.
        learning_rate: constant.
        seed: of the minibatches.

    Returns:
        The model, frozen.

    Raises:
        ValueError: when ``steps`` < 1, or ``labels`` do not belong to ``batch``.
    """
    if steps < 1:
        raise ValueError(f"steps: need at least 1, got {steps}")
    if labels.shape != batch.completion_ids.shape:
        shape = tuple(batch.completion_ids.shape)
        raise ValueError(f"labels: the batch is {shape}, the labels are {tuple(labels.shape)}")
    model = ScalarModel.from_policy(policy)
    prm = ProcessRewardModel(model, number_ids(policy.tokenizer))
    optimizer, rng = adamw(trained(model), learning_rate), random.Random(seed)
    for _ in range(steps):
        rows = rng.choices(range(len(labels)), k=batch_size)
        small = batch.groups(rows)
        where = steps_of(small, prm.numbers)
        loss = binary_cross_entropy_with_logits(prm.logits(small)[where], labels[rows][where])
        optimiser_step(optimizer, loss, max_norm=1.0)
    model.eval().requires_grad_(False)
    return prm
