"""What a task is: problems, a verdict on each answer, and what a reward gets to see.

Model text is data. A task matches it against anchored patterns under a length cap; it never reaches ``eval``
or a symbolic parser.
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
        prompt: the text the policy reads.
        answer: what the verifier compares with.
        difficulty: number of operations needed, at least 1.
    """

    prompt: str
    answer: int
    difficulty: int = 1


@dataclass(frozen=True)
class Verdict:
    """What a verifier says of one completion, and why.

    Attributes:
        reason: ``right``; ``wrong`` (well-formed, another answer); ``no_answer`` (nothing after a
            ``=``); ``malformed`` (an answer, but the text around it breaks the grammar);
            ``truncated`` (the completion ended at the length limit, not by its own end-of-sequence
            token).
        answer: the answer that was read, if one was.
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

    def well_formed(self, text: str) -> bool:
        """Whether the completion deserves the format reward; by default every one does."""
        return True

    def forced_words(self, rows: int, rng: random.Random) -> list[str] | None:
        """First word of each completion where the environment writes it; by default it writes none."""
        return None

    def measure(self, policy: Policy, max_new_tokens: int, temperature: float) -> dict[str, float]:
        """What can be read off the policy exactly, to stand in the record beside the samples."""
        return {}


def grade(
    task: Task, problems: list[Problem], texts: list[str], truncated: list[bool]
) -> list[Verdict]:
    """Verdict on each of B completions of N problems, groups contiguous.

    Raises:
        ValueError: when the number of texts is no multiple of the number of problems.
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
    """What a reward sees: N problems and G answers to each, groups contiguous.

    Attributes:
        task: where the problems come from.
        problems: N.
        batch: the rollouts, B = N·G rows.
        verdicts: B.
    """

    task: Task
    problems: list[Problem]
    batch: RolloutBatch
    verdicts: list[Verdict]
