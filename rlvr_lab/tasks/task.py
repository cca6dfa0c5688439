"""The interface of a task: problems, a verdict on each answer, and the input of a reward.

The text of a model is data. A task matches it against anchored patterns with a length limit and does not
pass it to ``eval`` or to a symbolic parser.
"""

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy

__all__ = ["Answers", "Problem", "Reason", "Task", "Verdict", "grade"]

Reason = Literal["right", "wrong", "no_answer", "malformed", "truncated"]


@dataclass(frozen=True)
class Problem:
    """One question with a checkable answer.

    Attributes:
        prompt: the text that the policy reads.
        answer: the correct answer, for the verifier; a text where it is no integer.
        difficulty: number of operations needed, at least 1.
    """

    prompt: str
    answer: int | str
    difficulty: int = 1


@dataclass(frozen=True)
class Verdict:
    """A verifier's judgement of one completion.

    Attributes:
        reason: ``right``; ``wrong`` (well-formed, but another answer); ``no_answer`` (nothing follows
            a ``=``); ``malformed`` (there is an answer, but the text breaks the grammar); ``truncated``
            (the completion ended at the length limit and not with an end-of-sequence token).
        answer: the answer that was found, if any.
    """

    reason: Reason
    answer: str | None = None

    @property
    def correct(self) -> bool:
        """Whether the completion earns the accuracy reward."""
        return self.reason == "right"


class Task(ABC):
    """A source of problems that can verify its own answers.

    A subclass says what its problems are and when an answer is correct; the rest has a default.
    """

    @abstractmethod
    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """Draw ``count`` problems."""

    @abstractmethod
    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """Judge one completion."""

    def for_policy(self, policy: Policy) -> "Task":
        """The task with its prompts written as ``policy`` reads them; by default as they are."""
        return self

    def well_formed(self, text: str) -> bool:
        """Whether the completion gets the format reward; by default True."""
        return True

    def forced_words(self, rows: int, rng: random.Random) -> list[str] | None:
        """The first word of each completion, if the environment writes it; None by default."""
        return None

    def measure(self, policy: Policy, max_new_tokens: int, temperature: float) -> dict[str, float]:
        """Quantities computed exactly from the policy, to be added to the record."""
        return {}


def grade(
    task: Task, problems: list[Problem], texts: list[str], truncated: list[bool]
) -> list[Verdict]:
    """The verdict on each of B completions of N problems, groups contiguous.

    Raises:
        ValueError: when the number of texts is not a multiple of the number of problems.
    """
    if not problems or len(texts) % len(problems) or len(texts) != len(truncated):
        raise ValueError(
            f"texts: {len(texts)} completions and {len(truncated)} flags do not fit "
            f"{len(problems)} problems"
        )
    group_size = len(texts) // len(problems)
    return [
        task.verify(problems[row // group_size], text, cut)
        for row, (text, cut) in enumerate(zip(texts, truncated, strict=True))
    ]


@dataclass(frozen=True)
class Answers:
    """The input of a reward: N problems and G answers to each, groups contiguous.

    Attributes:
        task: the task of the problems.
        problems: N.
        batch: the rollouts, B = N·G rows.
        verdicts: B.
    """

    task: Task
    problems: list[Problem]
    batch: RolloutBatch
    verdicts: list[Verdict]
