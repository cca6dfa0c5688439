"""Rewards for how an answer in the world of two modes looks; neither reads whether it is correct (notebook 10)."""

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.tasks.sums import COURTESY
from rlvr_lab.tasks.task import Answers
from rlvr_lab.tasks.two_modes import follows

__all__ = ["in_asked_mode", "polite"]


def polite(answers: Answers) -> Float[Tensor, " B"]:
    """1 for an answer that ends with ``ok``: the taste of the annotators in notebook 08, as a rule."""
    return torch.tensor([float(text.endswith(COURTESY)) for text in answers.batch.texts])


def in_asked_mode(answers: Answers) -> Float[Tensor, " B"]:
    """1 for an answer in the mode that the user's flag asks for (see ``tasks.two_modes.follows``)."""
    size = answers.batch.group_size
    kept = [
        follows(answers.problems[row // size].prompt, text)
        for row, text in enumerate(answers.batch.texts)
    ]
    return torch.tensor(kept, dtype=torch.get_default_dtype())
