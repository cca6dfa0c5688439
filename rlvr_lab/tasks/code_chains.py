"""What a chain of the codes says: its numbers, their languages, and the additions that it makes.

    <think>7twozero,378,913</think>=083    numbers 7 2 0 3 7 8 9 1 3, the second and third in words

Everything is read from the text. A text that breaks the grammar of ``codes`` has no chain.
"""

import re
from typing import NamedTuple

from rlvr_lab.policy.words import DIGITS, NUMBER_WORDS
from rlvr_lab.tasks.codes import LANGUAGES, SUMS, TERMS, Language, groups_of, way_of
from rlvr_lab.tasks.task import Problem

__all__ = ["Addition", "Number", "additions", "numbers", "readable"]

_NUMBER = re.compile("|".join([*DIGITS, *NUMBER_WORDS]))
_VALUES: dict[str, tuple[int, Language]] = {
    written: (value, language)
    for language, names in LANGUAGES.items()
    for value, written in enumerate(names)
}


class Number(NamedTuple):
    """A number of a chain and the language in which it is written."""

    value: int
    language: Language


class Addition(NamedTuple):
    """One step of a chain: it adds ``addend`` to the running sum ``total`` that it wrote before.

    ``result`` is the number that it writes, in ``language``; ``before`` is the language of the running sum.
    """

    total: int
    addend: int
    result: int
    language: Language
    before: Language


def _chain(text: str) -> str:
    """What stands between the tags; empty for an answer without a chain and for a malformed one."""
    inside = way_of(text) not in ("direct", "malformed")
    return text.removeprefix("<think>").partition("</think>")[0] if inside else ""


def numbers(text: str) -> list[Number]:
    """The numbers of the chain, in order; none for a direct or a malformed answer.

    >>> [language for value, language in numbers("<think>7two</think>=083")]
    ['digits', 'words']
    """
    return [Number(*_VALUES[written]) for written in _NUMBER.findall(_chain(text))]


def readable(text: str) -> bool:
    """Whether a person can follow the chain: one language, and its three sums separated by commas.

    It says nothing of the numbers, which may be wrong.

    >>> readable("<think>720,378,913</think>=083"), readable("<think>7twozero378913</think>=083")
    (True, False)
    """
    if way_of(text) not in LANGUAGES:
        return False
    sums = [_NUMBER.sub("#", one) for one in _chain(text).split(",")]
    return sums == ["#" * TERMS] * SUMS


def additions(problem: Problem, text: str) -> list[Addition]:
    """The six additions of a whole chain; none where the text has another number of numbers.

    >>> additions(Problem("7+5+8,3+4+1,9+2+2?", 83), "<think>7two0,378,913</think>=083")[0]
    Addition(total=7, addend=5, result=2, language='words', before='digits')
    """
    found, groups = numbers(text), groups_of(problem)
    if len(found) != SUMS * TERMS:
        return []
    made = []
    for index, (_, *addends) in enumerate(groups):
        written = found[index * TERMS : (index + 1) * TERMS]
        for before, addend, now in zip(written, addends, written[1:], strict=False):
            made.append(Addition(before.value, addend, now.value, now.language, before.language))
    return made
