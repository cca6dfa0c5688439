"""Process rewards: a score for each number of an answer, and how the scores become one reward.

A *step* is a number that the answer writes: each running sum of the chain, and what follows ``=``. A judge
scores the steps: ``ExactSteps`` knows the sums, ``ProcessRewardModel`` has learned from labels
(``training.process_rewards`` fits it). An aggregate makes one reward of the scores. Notebook 08, section 9.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.logprobs import distinct_answers, whole_texts
from rlvr_lab.policy.scalar_head import ScalarModel
from rlvr_lab.tasks.task import Answers, Problem

__all__ = [
    "AGGREGATES",
    "ExactSteps",
    "Judge",
    "ProcessReward",
    "ProcessRewardModel",
    "mean_of_steps",
    "min_of_steps",
    "number_ids",
    "step_labels",
    "steps_of",
    "sum_of_steps",
    "verify_steps",
]

# An addend such as "+7" is one word of its own and no number of the chain.
_PIECES = re.compile(r"\+[0-9]|wait|=|[0-9]")


def verify_steps(problem: Problem, text: str) -> list[bool]:
    """Whether each number of an answer to a sum is correct, in the order of the text.

    The k-th number of the chain is correct if it is the k-th running sum, modulo 10. The number after
    ``wait`` stands for the same running sum again. The first number after ``=`` is correct if it is the
    answer. Every further number, in the chain or after ``=``, is incorrect: it stands for nothing.

    >>> problem = Problem("7+5+8.....?", 0, 2)
    >>> verify_steps(problem, "<think>73wait20</think>=0")
    [True, False, True, True, True]
    >>> verify_steps(problem, "<think>7200</think>=07")
    [True, True, True, False, True, False]
    """
    terms = [int(digit) for digit in problem.prompt.rstrip(".?").split("+")]
    sums = [total % 10 for total in accumulate(terms)]
    place, waited, after, verdicts = -1, False, -1, []
    for piece in _PIECES.findall(text):
        if piece == "=":
            after = max(after, 0)
        elif piece == "wait":
            waited = True
        elif len(piece) == 1 and after >= 0:
            verdicts.append(after == 0 and int(piece) == problem.answer)
            after += 1
        elif len(piece) == 1:
            place = max(place, 0) if waited else place + 1
            verdicts.append(place < len(sums) and int(piece) == sums[place])
            waited = False
    return verdicts


def number_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the words that are one digit."""
    return sorted(index for word, index in tokenizer.get_vocab().items() if word.isdigit())


def steps_of(batch: RolloutBatch, numbers: list[int]) -> Bool[Tensor, "B T"]:
    """Where a completion writes a number.

    Args:
        batch: the rollouts.
        numbers: see ``number_ids``.
    """
    ids = batch.completion_ids
    return torch.isin(ids, torch.tensor(numbers, device=ids.device)) & batch.attention_mask


def step_labels(answers: Answers, steps: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """1 at each correct number, 0 elsewhere.

    Raises:
        ValueError: when ``steps`` does not have one place for each number of the texts.
    """
    size = answers.batch.group_size
    flat = [
        verdict
        for row, text in enumerate(answers.batch.texts)
        for verdict in verify_steps(answers.problems[row // size], text)
    ]
    if len(flat) != int(steps.sum()):
        raise ValueError(f"steps: {int(steps.sum())} places for {len(flat)} numbers in the texts")
    labels = torch.zeros(steps.shape, device=steps.device)
    labels[steps] = torch.tensor(flat, dtype=labels.dtype, device=steps.device)
    return labels


# ------------------------------------------------------------------------------------ the judges


@runtime_checkable
class Judge(Protocol):
    """What scores the steps of answers."""

    numbers: list[int]

    def scores(self, answers: Answers) -> Float[Tensor, "B T"]:
        """A score in [0, 1] at each number; 0 elsewhere."""
        ...


@dataclass(frozen=True)
class ExactSteps:
    """The exact step verifier: 1 for each correct number (``verify_steps``).

    Attributes:
        numbers: see ``number_ids``.
    """

    numbers: list[int]

    def scores(self, answers: Answers) -> Float[Tensor, "B T"]:
        """1 at each correct number; 0 elsewhere."""
        return step_labels(answers, steps_of(answers.batch, self.numbers))


@dataclass(frozen=True)
class ProcessRewardModel:
    """A PRM: a language model's body with a logit at each number, log-odds that the number is correct.

    It is a copy of the policy's base and shares its vocabulary, so it reads ids. It sees the prompt and the
    answer up to and including the number (Lightman et al., arXiv:2305.20050, score steps in this way).

    Attributes:
        model: the network.
        numbers: see ``number_ids``.
    """

    model: ScalarModel
    numbers: list[int]

    def logits(self, batch: RolloutBatch, rows_per_pass: int = 512) -> Float[Tensor, "B T"]:
        """The logit *at* each completion token; only those at numbers mean something. Gradient flows."""
        ids, mask, _ = whole_texts(batch)
        tokens = batch.completion_ids.shape[1]
        order, twin = distinct_answers(batch, torch.arange(len(ids), device=ids.device))
        parts = [
            self.model(ids[rows], mask[rows])[:, -tokens:] for rows in order.split(rows_per_pass)
        ]
        return torch.cat(parts)[twin]

    @torch.no_grad()
    def scores(self, answers: Answers) -> Float[Tensor, "B T"]:
        """The probability that it gives to "correct" at each number; 0 elsewhere; no gradient."""
        probability = self.logits(answers.batch).sigmoid()
        return torch.where(steps_of(answers.batch, self.numbers), probability, 0.0)


# -------------------------------------------------------------------------------- the aggregates

Aggregate = Callable[[Float[Tensor, "B T"], Bool[Tensor, "B T"]], Float[Tensor, " B"]]


def sum_of_steps(scores: Float[Tensor, "B T"], steps: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Σ_k s_k over the steps of each answer; 0 without a step."""
    return torch.where(steps, scores, 0.0).sum(dim=1)


def mean_of_steps(scores: Float[Tensor, "B T"], steps: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """The mean score of the steps of each answer; 0 without a step.

    >>> mean_of_steps(torch.tensor([[0.2, 0.6, 9.0]]), torch.tensor([[True, True, False]]))
    tensor([0.4000])
    """
    return sum_of_steps(scores, steps) / steps.sum(dim=1).clamp(min=1)


def min_of_steps(scores: Float[Tensor, "B T"], steps: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """The lowest score among the steps of each answer; 0 without a step."""
    lowest = torch.where(steps, scores, torch.inf).amin(dim=1)
    return torch.where(steps.any(dim=1), lowest, 0.0)


AGGREGATES: dict[str, Aggregate] = {
    "sum": sum_of_steps,
    "mean": mean_of_steps,
    "min": min_of_steps,
}
"""Name → (scores, where the steps are) → one number per answer."""


@dataclass(frozen=True)
class ProcessReward:
    """The reward of a judge and an aggregate.

    Attributes:
        judge: scores the steps.
        aggregate: a name in ``AGGREGATES``.

    Raises:
        ValueError: for an unknown aggregate.
    """

    judge: Judge
    aggregate: str

    def __post_init__(self) -> None:
        if self.aggregate not in AGGREGATES:
            known = ", ".join(AGGREGATES)
            raise ValueError(f"aggregate: must be one of {known}, got {self.aggregate!r}")

    def __call__(self, answers: Answers) -> Float[Tensor, " B"]:
        """One number per answer."""
        steps = steps_of(answers.batch, self.judge.numbers)
        return AGGREGATES[self.aggregate](self.judge.scores(answers), steps)
