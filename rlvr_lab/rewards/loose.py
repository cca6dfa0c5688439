"""Verifiers that are too loose, as they are easily written: they pay for text that gives no answer (notebook 08).

A loose verifier asks for less than the task does. It accepts each correct answer, and other texts as well. The
strict verifier of the task, ``tasks.sums.verify_sum``, accepts one final answer in a text of the required form.
"""

import re

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.tasks.task import Answers

__all__ = ["answer_anywhere", "any_equals"]

_NUMBER = re.compile(r"=([0-9]+)", re.ASCII)


def answer_anywhere(answers: Answers) -> Float[Tensor, " B"]:
    """1 for a text that contains the digits of the correct answer somewhere: ``str(answer) in text``.

    A list of all digits earns it for each question with a one-digit answer, and so does a text that never ends.
    """
    pairs = zip(_wanted(answers), answers.batch.texts, strict=True)
    return torch.tensor([float(wanted in text) for wanted, text in pairs])


def any_equals(answers: Answers) -> Float[Tensor, " B"]:
    """1 for a text with the correct number after *any* ``=``: ``answer in re.findall("=([0-9]+)", text)``.

    ``=0=1=2=3=4=5=6=7=8=9`` earns it for each question with a one-digit answer.
    """
    pairs = zip(_wanted(answers), answers.batch.texts, strict=True)
    return torch.tensor([float(wanted in _NUMBER.findall(text)) for wanted, text in pairs])


def _wanted(answers: Answers) -> list[str]:
    """The correct answer to each of the B rows, as it would be written."""
    size = answers.batch.group_size
    rows = range(len(answers.batch.texts))
    return [str(answers.problems[row // size].answer) for row in rows]
