"""Rewards that a verifier can compute. They are raw: nothing here centres, scales or clips them."""

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.tasks.task import Answers, Verdict

__all__ = ["accuracy", "accuracy_rewards", "tagged", "truncation", "well_formed"]


def accuracy_rewards(verdicts: list[Verdict]) -> Float[Tensor, " B"]:
    """1 for a correct answer, 0 for anything else (DeepSeek-R1, section 2.2.2, arXiv:2501.12948).

    >>> accuracy_rewards([Verdict("right"), Verdict("truncated")])
    tensor([1., 0.])
    """
    return torch.tensor([float(verdict.correct) for verdict in verdicts])


def accuracy(answers: Answers) -> Float[Tensor, " B"]:
    """1 for a correct answer, 0 for anything else."""
    return accuracy_rewards(answers.verdicts)


def well_formed(answers: Answers) -> Float[Tensor, " B"]:
    """The format reward: 1 for a completion in the required form that is not truncated."""
    fine, batch = answers.task.well_formed, answers.batch
    pairs = zip(batch.texts, batch.truncated.tolist(), strict=True)
    return torch.tensor([float(fine(text) and not cut) for text, cut in pairs])


def tagged(answers: Answers) -> Float[Tensor, " B"]:
    """R1-Zero's format rule (arXiv:2501.12948, section 2.2.2): well-formed, and with a chain between the tags.

    ``well_formed`` accepts an answer without a chain as well.
    """
    has_chain = [text.startswith("<think>") for text in answers.batch.texts]
    return well_formed(answers) * torch.tensor(has_chain, dtype=torch.get_default_dtype())


def truncation(answers: Answers) -> Float[Tensor, " B"]:
    """1 for an answer that ran into the length limit; give it a negative weight ("EOS trick")."""
    return answers.batch.truncated.to(torch.get_default_dtype())
