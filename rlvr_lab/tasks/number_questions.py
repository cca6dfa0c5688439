"""Questions whose answer is a number, asked of a chat model that ends its text in ``#### <number>``."""

from rlvr_lab.policy.chat import Message
from rlvr_lab.tasks.conversation import Conversation, examples
from rlvr_lab.tasks.number_answers import ANSWER_MARK, verify_number
from rlvr_lab.tasks.task import Problem, Verdict

__all__ = ["SOLVED", "NumberQuestions"]

_INSTRUCTION = f"Think step by step. End your answer with {ANSWER_MARK} and the number."
SOLVED = [
    (
        "A box holds 6 eggs. How many eggs are in 4 boxes, if 2 of the eggs are taken out?",
        f"4 boxes hold 4 * 6 = 24 eggs. Without 2 of them there are 24 - 2 = 22. {ANSWER_MARK} 22",
    ),
    (
        "A rope of 3 metres is cut into 4 equal parts. How many metres long is a part?",
        f"Each part is 3 / 4 of a metre long. {ANSWER_MARK} 3/4",
    ),
]
"""Solved examples: they show where the answer stands and that it may be a fraction."""


class NumberQuestions(Conversation):
    """A conversation task whose answers are numbers; a subclass draws the problems.

    Its ``shots`` says how many solved examples come before the question.
    """

    shots: int

    def require_shots(self) -> None:
        """Refuse a number of examples that there is not."""
        if not 0 <= self.shots <= len(SOLVED):
            raise ValueError(f"shots: must be between 0 and {len(SOLVED)}, got {self.shots}")

    def messages(self, problem: Problem) -> list[Message]:
        """The solved examples, then the question; each with the instruction."""
        asked = [(f"{question}\n{_INSTRUCTION}", answer) for question, answer in SOLVED]
        return examples(asked[: self.shots], f"{problem.prompt}\n{_INSTRUCTION}")

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """See ``verify_number``."""
        return verify_number(text, str(problem.answer), truncated)

    def well_formed(self, text: str) -> bool:
        """Whether the text ends in one mark and a number, whichever."""
        return verify_number(text, "0").reason in ("right", "wrong")
