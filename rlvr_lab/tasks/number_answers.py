"""Answers that are numbers: integers, decimals and fractions, read from text and compared exactly.

The text of a model is never evaluated. It has to match an anchored pattern in which every repetition has a limit, and
what matches is a ratio of two integers, so 0.5, 2/4 and 1/2 are the same number and 0.333 is not 1/3.
"""

import re
from fractions import Fraction

from rlvr_lab.tasks.grammar import MAX_CHARACTERS, fits
from rlvr_lab.tasks.task import Verdict

__all__ = ["ANSWER_MARK", "read_number", "verify_number"]

ANSWER_MARK = "####"
"""What stands before the final answer, as in GSM8K (arXiv:2110.14168)."""

DIGITS = 18
"""A number with more digits, in its numerator or denominator, is no answer."""

_INTEGER = rf"[0-9]{{1,3}}(?:,[0-9]{{3}}){{1,{DIGITS // 3}}}|[0-9]{{1,{DIGITS}}}"
_NUMBER = re.compile(
    rf"(?P<sign>[-−+]?)(?P<whole>{_INTEGER})"
    rf"(?:\.(?P<decimals>[0-9]{{1,{DIGITS}}})|/(?P<below>[0-9]{{1,{DIGITS}}}))?",
    re.ASCII,
)


def read_number(text: str) -> Fraction | None:
    """The number that the *whole* text is, or None.

    Allowed: a sign (the hyphen or the minus sign U+2212), thousands with commas in the right places, and either
    decimals or a denominator. Not allowed: white space, other digits than 0–9, units, powers, two numbers,
    a denominator of zero, more than 18 digits.

    >>> [str(read_number(text)) for text in ("42", "-3/4", "0.50", "1,234", "−7", "12,34", "1e3", "1/0")]
    ['42', '-3/4', '1/2', '1234', '-7', 'None', 'None', 'None']
    """
    match = fits(_NUMBER, text)
    if match is None:
        return None
    whole = match["whole"].replace(",", "")
    if len(whole) > DIGITS or int(match["below"] or 1) == 0:
        return None
    decimals = match["decimals"] or ""
    size = Fraction(int(whole + decimals), 10 ** len(decimals) * int(match["below"] or 1))
    return -size if match["sign"] in ("-", "−") else size


def verify_number(text: str, answer: str, truncated: bool = False) -> Verdict:
    """Verdict on a text that ends in ``#### <number>``, with anything before it.

    Args:
        text: the completion.
        answer: the correct answer, in a form that ``read_number`` reads.
        truncated: whether the completion ran into the length limit.

    A second mark makes the text malformed: a model that names several answers has named none.

    Raises:
        ValueError: when ``answer`` is no number. An unreadable answer must not look like a correct one.

    >>> [verify_number(text, "1/2").reason for text in ("So #### 0.5", "#### 0.51", "0.5", "#### 1 #### 0.5")]
    ['right', 'wrong', 'no_answer', 'malformed']
    """
    correct = read_number(answer)
    if correct is None:
        raise ValueError(f"answer: {answer[:80]!r} is no number that can be compared")
    if truncated:
        return Verdict("truncated")
    if len(text) > MAX_CHARACTERS:
        return Verdict("malformed")
    _, mark, tail = text.partition(
        ANSWER_MARK
    )  # a second mark stays in the tail, which is then no number
    if not mark:
        return Verdict("no_answer")
    said = tail.strip(" \n")
    found = read_number(said)
    if found is None:
        return Verdict("malformed", said[:DIGITS] or None)
    return Verdict("right" if found == correct else "wrong", said)
