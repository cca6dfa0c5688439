"""One step of on-policy distillation: the student has answered, the teacher judges each of its tokens."""

from typing import Literal, NamedTuple

import torch

from rlvr_lab.objectives.distillation import reverse_kl_full, reverse_kl_sampled
from rlvr_lab.objectives.kl import exact_kl
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.logprobs import state_logits
from rlvr_lab.training.optimise import optimiser_step

__all__ = ["DistillationStep", "Form", "distillation_step", "kl_to_teacher"]

Form = Literal["full", "sampled"]
"""Of the reverse KL: over the full vocabulary, or with the sampled token only; see ``objectives.distillation``."""


class DistillationStep(NamedTuple):
    """What one step did.

    Attributes:
        loss: before the step; with ``full`` the reverse KL in nats per token.
        read: tokens that the student read with a gradient, which the teacher read too: each answer with its prompt.
    """

    loss: float
    read: int


def distillation_step(
    student: Policy,
    teacher: Policy,
    batch: RolloutBatch,
    optimizer: torch.optim.Optimizer,
    form: Form,
    temperature: float = 1.0,
    max_norm: float | None = 1.0,
) -> DistillationStep:
    """One optimiser step on the reverse KL to the teacher, per token.

    Args:
        student: updated in place.
        teacher: has the same vocabulary.
        batch: answers that the student, as it is, has sampled.
        optimizer: over the student's parameters, with its learning rate.
        form: of the loss.
        temperature: that of the sampling, for both models.
        max_norm: of the gradient; None leaves it alone.
    """
    logits = state_logits(student.model, batch, temperature)
    with torch.no_grad():
        teacher_logits = state_logits(teacher.model, batch, temperature)
    mask, ids = batch.completion_mask, batch.completion_ids[..., None]
    if form == "full":
        loss = reverse_kl_full(logits, teacher_logits, mask)
    else:
        own, given = (x.log_softmax(-1).gather(2, ids)[..., 0] for x in (logits, teacher_logits))
        loss = reverse_kl_sampled(own, given, mask)
    optimiser_step(optimizer, loss, max_norm)
    prompts = batch.prompt_mask.sum(dim=1) * batch.group_size
    return DistillationStep(float(loss.detach()), int(prompts.sum()) + int(mask.sum()))


@torch.no_grad()
def kl_to_teacher(
    student: Policy, teacher: Policy, batch: RolloutBatch, temperature: float = 1.0
) -> float:
    """Mean of the exact KL(π‖π_T) over the tokens of answers that the student sampled, in nats per token."""
    own, given = (state_logits(one.model, batch, temperature) for one in (student, teacher))
    return float(exact_kl(own, given)[batch.completion_mask].double().mean())
