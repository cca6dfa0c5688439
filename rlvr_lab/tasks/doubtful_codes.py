"""Codes whose answers have to show a whole chain, and a base model that is unsure of its additions.

A ``FactTable`` makes a model wrong *for certain*. Here it is in doubt: at each addition of the table it writes
the wrong result with probability ``doubt`` and the correct one otherwise. Each such place of a chain has two
plausible continuations, of which the wrong one can be the more probable. This is the world of the tree search
(notebook 08): the most probable answer is usually incorrect, and the correct one has a small probability.
"""

import random
import re
from dataclasses import dataclass, field

from rlvr_lab.policy.words import NUMBER_WORDS
from rlvr_lab.tasks.codes import SUMS, TERMS, Codes, CodesMixture, FactTable, Way, groups_of
from rlvr_lab.tasks.task import Problem, Verdict

__all__ = ["DoubtfulMixture", "ShownCodes", "correct_chain", "still_correct"]

_NUMBER = f"(?:{'|'.join(['[0-9]', *NUMBER_WORDS])})"
_GROUP = rf"{_NUMBER}{{{TERMS - 1}}}({_NUMBER})"
_SHOWN = re.compile(rf"<think>{','.join([_GROUP] * SUMS)}</think>=([0-9]{{{SUMS}}})", re.ASCII)
_DIGIT = {word: str(value) for value, word in enumerate(NUMBER_WORDS)}


@dataclass(frozen=True)
class ShownCodes(Codes):
    """Codes whose answer has to follow from a whole chain of three times three numbers.

    The answer consists of the last number of each sum. Whether the additions are correct is not judged. The
    rule makes a blind guess expensive: it is as long as an answer that was worked out.
    """

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """As ``Codes``; an answer without a whole chain that leads to it counts as malformed.

        >>> problem = Problem("7+5+8,3+4+1,9+2+2?", 83)
        >>> [ShownCodes().verify(problem, text, False).reason
        ...  for text in ("=083", "<think>720,378,913</think>=083")]
        ['malformed', 'right']
        """
        found = super().verify(problem, text, truncated)
        if found.reason not in ("right", "wrong"):
            return found
        shown = _SHOWN.fullmatch(text)
        *ends, answer = shown.groups() if shown else ("", None)
        follows = "".join(_DIGIT.get(end, end) for end in ends) == answer
        return found if follows else Verdict("malformed", found.answer)


@dataclass(frozen=True)
class DoubtfulMixture(CodesMixture):
    """Whole chains in digits; at each addition of the table the wrong result is written with ``doubt``.

    Attributes:
        table: the additions that are in doubt, and their wrong results.
        doubt: probability of the wrong result there.

    Raises:
        ValueError: when ``doubt`` is no probability.
    """

    table: FactTable = field(default_factory=lambda: FactTable(0, 60, 0))
    direct: float = 0.0
    digits: float = 1.0
    words: float = 0.0
    doubt: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.doubt <= 1:
            raise ValueError(f"doubt: must be a probability in [0, 1], got {self.doubt}")

    def chain(self, problem: Problem, way: Way, rng: random.Random) -> tuple[str, str]:
        """A chain in digits, and the answer it leads to."""
        parts, answer = [], ""
        for total, *addends in groups_of(problem):
            written = str(total)
            for addend in addends:
                wrong = self.table.add(total, addend, "digits")
                total = wrong if rng.random() < self.doubt else (total + addend) % 10
                written += str(total)
            parts.append(written)
            answer += str(total)
        return ",".join(parts), answer


def correct_chain(problem: Problem) -> list[str]:
    """The words of the correct answer in digits, without the end-of-sequence word.

    >>> "".join(correct_chain(Problem("7+5+8,3+4+1,9+2+2?", 83)))
    '<think>720,378,913</think>=083'
    """
    mixture = DoubtfulMixture(FactTable(0, 0, 0))
    chain, answer = mixture.chain(problem, "digits", random.Random(0))
    return ["<think>", *chain, "</think>", "=", *answer]


def still_correct(problem: Problem, words: list[str]) -> bool:
    """Whether the beginning of an answer is the beginning of a correct one; a number may stand in either language.

    >>> problem = Problem("7+5+8,3+4+1,9+2+2?", 83)
    >>> still_correct(problem, ["<think>", "7", "two"]), still_correct(problem, ["<think>", "7", "3"])
    (True, False)
    """
    expected = [*correct_chain(problem), "<eos>"]
    end = expected.index("</think>")
    written = [_DIGIT.get(w, w) if t < end else w for t, w in enumerate(words)]
    return written == expected[: len(words)]
