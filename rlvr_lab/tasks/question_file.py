"""Questions from a file, one JSON object per line, as in GSM8K (arXiv:2110.14168):

    {"question": "Ada has 3 apples …", "answer": "She buys 2 · 3 = 6 more. #### 9"}

Only the number after ``####`` is used. The whole file is checked when it is opened: a correct answer that cannot be
read would otherwise be met in the middle of a run.
"""

import json
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rlvr_lab.policy.data import data_folder
from rlvr_lab.tasks.held_out import kept_for_the_test
from rlvr_lab.tasks.number_answers import ANSWER_MARK, read_number
from rlvr_lab.tasks.number_questions import NumberQuestions
from rlvr_lab.tasks.task import Problem

__all__ = ["QuestionFile", "read_questions"]


def read_questions(path: Path) -> list[Problem]:
    """The problems of a file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: naming the line that is no JSON object, lacks a question or a readable answer, or asks a
            question for the second time; and for a file without questions.
    """
    found: dict[str, Problem] = {}
    # Not splitlines(): a question may hold U+2028 or U+0085, which JSON does not have to escape.
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        if not line.strip():
            continue
        where = f"file: {path}, line {number}"
        try:
            given = json.loads(line)
            question, solution = given["question"], given["answer"]
        except (ValueError, RecursionError, KeyError, TypeError):
            raise ValueError(f"{where}: expected an object with question and answer") from None
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"{where}: the question is empty or no text")
        _, mark, answer = str(solution).rpartition(ANSWER_MARK)
        if not mark or read_number(answer.strip()) is None:
            raise ValueError(
                f"{where}: no number that can be read after {ANSWER_MARK} ({answer.strip()[:40]!r})"
            )
        if question in found:
            raise ValueError(f"{where}: the question was asked before")
        found[question] = Problem(question, answer.strip())
    if not found:
        raise ValueError(f"file: {path} has no questions")
    return list(found.values())


@lru_cache(maxsize=8)
def _read_once(path: Path, changed: int) -> tuple[Problem, ...]:
    return tuple(read_questions(path))


@dataclass(frozen=True)
class QuestionFile(NumberQuestions):
    """Questions from a file, in random order.

    Attributes:
        file: its path; "" means the course's 28 questions, ``data/questions.jsonl``.
        shots: solved examples before the question, 0 to 2.
        held_out: draw the questions that ``tasks.held_out`` keeps for the test, and not the others.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: as of ``read_questions``; and when no question is left.
    """

    file: str = ""
    shots: int = 2
    held_out: bool = False

    def __post_init__(self) -> None:
        self.require_shots()
        if not self.members:
            kind = "held-out" if self.held_out else "training"
            raise ValueError(f"file: {self.path} has no {kind} questions")

    @property
    def path(self) -> Path:
        """Where the questions lie."""
        return Path(self.file) if self.file else data_folder() / "questions.jsonl"

    @property
    def members(self) -> list[Problem]:
        """The questions of the chosen part."""
        path = self.path
        if not path.is_file():
            raise FileNotFoundError(f"file: there is no file {path}")
        every = _read_once(path, path.stat().st_mtime_ns)
        return [one for one in every if kept_for_the_test(one.prompt) == self.held_out]

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """Draw ``count`` questions, distinct while there are enough."""
        if count < 1:
            raise ValueError(f"count: need at least 1 problem, got {count}")
        members = self.members
        whole, rest = divmod(count, len(members))
        drawn = members * whole + rng.sample(members, rest)
        rng.shuffle(drawn)
        return drawn
