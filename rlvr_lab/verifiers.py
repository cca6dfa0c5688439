"""Exact verification of a completion: a verdict together with its reason.

Model text is data. It is matched against anchored patterns under a length cap, and never reaches
``eval`` or a symbolic parser.
"""

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Reason", "Verdict", "is_well_formed", "verify_sum"]

Reason = Literal["right", "wrong", "no_answer", "malformed", "truncated"]

MAX_CHARACTERS = 4096
_DIGIT = "[0-9]|zero|one|two|three|four|five|six|seven|eight|nine"
_ANSWER = re.compile(r"=(?P<answer>[0-9]{1,18})", re.ASCII)
_WELL_FORMED = re.compile(
    rf"(?:<think>(?:{_DIGIT}|wait)*</think>)?=(?P<answer>[0-9]{{1,18}})", re.ASCII
)


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


def is_well_formed(text: str) -> bool:
    """Whether ``text`` is one optional ``<think>…</think>`` block and one final ``=answer``.

    >>> is_well_formed("<think>720</think>=0"), is_well_formed("<think>720=0")
    (True, False)
    """
    return len(text) <= MAX_CHARACTERS and _WELL_FORMED.fullmatch(text) is not None


def verify_sum(text: str, answer: int, truncated: bool = False) -> Verdict:
    """Verdict on a completion of a sum.

    The answer counts only when the whole completion is well-formed and its number is written
    canonically, so ``=07`` is not 7, and ``=7=8`` is malformed rather than right twice.

    Args:
        text: the completion, without the prompt and without the end-of-sequence token.
        answer: the right answer, a non-negative integer.
        truncated: whether the completion ran into the length limit.

    Raises:
        ValueError: when ``answer`` is negative.

    >>> verify_sum("<think>720</think>=0", answer=0).reason, verify_sum("=3", answer=0).reason
    ('right', 'wrong')
    >>> verify_sum("<think>720=0", 0).reason, verify_sum("<think>72", 0, truncated=True).reason
    ('malformed', 'truncated')
    """
    if answer < 0:
        raise ValueError(f"answer: expected a non-negative integer, got {answer}")
    if truncated:
        return Verdict("truncated")
    if len(text) > MAX_CHARACTERS:
        return Verdict("malformed")
    match = _WELL_FORMED.fullmatch(text)
    if match is None:
        found = _ANSWER.search(text)
        return Verdict("malformed", found["answer"]) if found else Verdict("no_answer")
    right = match["answer"] == str(answer)
    return Verdict("right" if right else "wrong", match["answer"])
