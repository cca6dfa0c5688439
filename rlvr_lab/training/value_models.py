"""Fitting a value model to finished answers: V(s_t) = P(the answer will be correct | what stands there so far)."""

import random

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.scalar_head import ScalarModel
from rlvr_lab.training.optimise import adamw, optimiser_step, trained

__all__ = ["fit_value_model", "value_loss_on"]


def value_loss_on(
    model: ScalarModel, batch: RolloutBatch, outcomes: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Cross-entropy between σ(V) before each token and the outcome of the answer; mean over tokens, in nats.

    Each beginning of an answer is labelled with the end of that answer, as in the Monte Carlo value targets
    of AlphaGo (a game's result for each of its positions).

    Args:
        model: V as a logit; gradient flows.
        batch: B answers.
        outcomes: 1 for a correct answer, 0 for an incorrect one.
    """
    mask = batch.completion_mask
    targets = outcomes[:, None].expand(mask.shape)
    return F.binary_cross_entropy_with_logits(model.values(batch)[mask], targets[mask])


def fit_value_model(
    model: ScalarModel,
    batch: RolloutBatch,
    outcomes: Float[Tensor, " B"],
    steps: int,
    learning_rate: float = 1e-3,
    answers_per_step: int = 64,
    seed: int = 0,
) -> ScalarModel:
    """Minimise ``value_loss_on`` with AdamW, the learning rate falling linearly to 0; updates ``model``.

    Args:
        model: body and head, both trained.
        batch: the answers, groups contiguous.
        outcomes: [B].
        steps: of the optimiser.
        learning_rate: at the beginning.
        answers_per_step: answers in a minibatch (whole groups).
        seed: of the minibatches.

    Raises:
        ValueError: when ``outcomes`` does not fit the batch, or ``steps`` < 1.
    """
    if len(outcomes) != len(batch.texts):
        raise ValueError(f"outcomes: need one for each of {len(batch.texts)} answers")
    if steps < 1:
        raise ValueError(f"steps: need at least 1, got {steps}")
    size, rng = batch.group_size, random.Random(f"value {seed}")
    optimizer = adamw(trained(model), learning_rate)
    groups, queue = list(range(len(batch.texts) // size)), []
    for step in range(steps):
        while len(queue) < max(1, answers_per_step // size):
            queue += rng.sample(groups, len(groups))
        chosen = [queue.pop() for _ in range(max(1, answers_per_step // size))]
        rows = torch.tensor([g * size + i for g in chosen for i in range(size)])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        loss = value_loss_on(model, batch.groups(chosen), outcomes[rows.to(outcomes.device)])
        optimiser_step(optimizer, loss, max_norm=1.0)
    return model
