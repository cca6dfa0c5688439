"""Rewards that say nothing of the answer's correctness, or the wrong thing (arXiv:2506.10947, notebook 08)."""

import hashlib
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.tasks.task import Answers

__all__ = ["coin", "constant", "incorrect"]


def constant(answers: Answers) -> Float[Tensor, " B"]:
    """1 for each answer."""
    return torch.ones(len(answers.batch.texts))


def incorrect(answers: Answers) -> Float[Tensor, " B"]:
    """1 for a well-formed answer that is wrong; 0 for a correct one, and for text that breaks the form."""
    return torch.tensor([float(verdict.reason == "wrong") for verdict in answers.verdicts])


def coin(probability: float) -> Callable[[Answers], Float[Tensor, " B"]]:
    """The reward that is 1 with a fixed probability and otherwise 0, whatever the answer says.

    r_i ~ Bernoulli(p), independent of the answer and of one another.

    The coins are drawn from the *problems* of the batch and the number of the row. A run draws its problems from
    (seed, step), so the same step of the same run throws the same coins, also after it was resumed, and
    another step throws others. No text of an answer enters.

    Args:
        probability: p.

    Raises:
        ValueError: unless 0 ≤ p ≤ 1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability: must lie between 0 and 1, got {probability}")

    def reward(answers: Answers) -> Float[Tensor, " B"]:
        generator = torch.Generator().manual_seed(
            _number("|".join(problem.prompt for problem in answers.problems))
        )
        draws = torch.rand(len(answers.batch.texts), generator=generator)
        return (draws < probability).to(torch.get_default_dtype())

    return reward


def _number(text: str) -> int:
    """A seed from a text, the same in every process (``hash`` is not)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
