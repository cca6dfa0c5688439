"""How a text is judged: a grammar for the whole text, and a looser pattern that finds an answer anywhere."""

import re

from rlvr_lab.tasks.task import Verdict

__all__ = ["MAX_CHARACTERS", "fits", "judge"]

MAX_CHARACTERS = 4096
"""A longer text is malformed, whatever it says: nothing is searched in it."""


def fits(grammar: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The match of the *whole* text, or None where it is longer than ``MAX_CHARACTERS`` or breaks the grammar.

    >>> fits(re.compile("=[0-9]"), "=7") is not None, fits(re.compile("=[0-9]"), "=7=8") is not None
    (True, False)
    """
    return grammar.fullmatch(text) if len(text) <= MAX_CHARACTERS else None


def judge(
    text: str, answer: str, truncated: bool, grammar: re.Pattern[str], anywhere: re.Pattern[str]
) -> Verdict:
    """The verdict on a completion.

    Args:
        text: the completion, without the prompt and without the end-of-sequence token.
        answer: the correct answer as it has to be written.
        truncated: whether the completion ran into the length limit.
        grammar: of the whole text, with a group ``answer``.
        anywhere: finds an answer in a text that breaks the grammar, with a group ``answer``.

    >>> grammar, anywhere = re.compile("=(?P<answer>[0-9])"), re.compile("=(?P<answer>[0-9]+)")
    >>> [judge(text, "7", False, grammar, anywhere).reason for text in ("=7", "=8", "x=7", "7")]
    ['right', 'wrong', 'malformed', 'no_answer']
    """
    if truncated:
        return Verdict("truncated")
    if len(text) > MAX_CHARACTERS:
        return Verdict("malformed")
    match = fits(grammar, text)
    if match is None:
        found = anywhere.search(text)
        return Verdict("malformed", found["answer"]) if found else Verdict("no_answer")
    return Verdict("right" if match["answer"] == answer else "wrong", match["answer"])
