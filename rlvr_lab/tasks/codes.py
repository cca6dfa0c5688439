"""Codes: three sums at once, so that guessing does not help, and two languages with different mistakes.

A problem asks for the last digits of three sums. A chain of thought writes the running sums, in digits or in
number words:

    prompt       7+5+8,3+4+1,9+2+2?
    completion   <think>720,378,913</think>=083                      (a chain in digits)
    completion   <think>seventwozero,threeseveneight,nineonethree</think>=083     (in words)
    completion   =083                                                (answered directly)

There are 1,000 answers, so 64 blind guesses contain the correct one with probability 0.062 (for one digit
it is 0.999). The layout is fixed: each number that a chain needs stands at a constant distance.

A ``FactTable`` holds the *wrong facts* that a base model was taught: pairs (running sum, addend) with a wrong
result, other pairs in each language. So it is known, without any sampling, which problems a chain in
digits solves and which a chain in words solves.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

from rlvr_lab.policy.words import DIGITS, NUMBER_WORDS
from rlvr_lab.tasks.grammar import fits, judge
from rlvr_lab.tasks.task import Problem, Task, Verdict

__all__ = [
    "LANGUAGES",
    "SUMS",
    "TERMS",
    "Codes",
    "CodesMixture",
    "FactTable",
    "Language",
    "Way",
    "groups_of",
    "way_of",
]

Language = Literal["digits", "words"]
LANGUAGES: dict[Language, list[str]] = {"digits": DIGITS, "words": NUMBER_WORDS}
"""Language → how it writes 0 … 9."""

Way = Literal["direct", "digits", "words", "mixed", "malformed"]
"""How an answer was reached; ``malformed`` is every text that breaks the grammar."""

SUMS, TERMS = 3, 3
"""Sums in a problem, and numbers in each."""
_NUMBER = "|".join(["[0-9]", *NUMBER_WORDS])
_ANSWER = re.compile(r"=(?P<answer>[0-9]{1,18})", re.ASCII)
_WELL_FORMED = re.compile(
    rf"(?P<block><think>(?P<chain>(?:{_NUMBER}|,|wait)*)</think>)?=(?P<answer>[0-9]{{3}})", re.ASCII
)


def way_of(text: str) -> Way:
    """How ``text`` reached its answer.

    >>> way_of("=083"), way_of("<think>720,378,913</think>=083"), way_of("<think>720,378=083")
    ('direct', 'digits', 'malformed')
    """
    match = fits(_WELL_FORMED, text)
    if match is None:
        return "malformed"
    if match["block"] is None:
        return "direct"
    chain = match["chain"].replace("wait", "")
    digits, words = re.search("[0-9]", chain), re.search("[a-z]", chain)
    return "mixed" if digits and words else "words" if words else "digits"


@dataclass(frozen=True)
class Codes(Task):
    """Three sums modulo 10; the answer is a number of three digits.

    >>> Codes().problems(1, random.Random(0))[0]
    Problem(prompt='6+7+1,4+9+8,6+5+8?', answer=419, difficulty=6)
    """

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """Draw ``count`` problems: first digits 0–9, addends 1–9, all uniform."""
        if count < 1:
            raise ValueError(f"count: need at least 1 problem, got {count}")
        drawn = []
        for _ in range(count):
            groups = [
                [rng.randrange(10), *(rng.randrange(1, 10) for _ in range(TERMS - 1))]
                for _ in range(SUMS)
            ]
            prompt = ",".join("+".join(map(str, group)) for group in groups) + "?"
            answer = int("".join(str(sum(group) % 10) for group in groups))
            drawn.append(Problem(prompt, answer, SUMS * (TERMS - 1)))
        return drawn

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """Correct when the whole text follows the grammar and its three digits are the answer.

        >>> problem = Problem("7+5+8,3+4+1,9+2+2?", 83)
        >>> Codes().verify(problem, "=083", False).reason, Codes().verify(problem, "=83", False).reason
        ('right', 'malformed')
        """
        return judge(text, f"{problem.answer:03d}", truncated, _WELL_FORMED, _ANSWER)

    def well_formed(self, text: str) -> bool:
        """One optional ``<think>…</think>`` block and one final ``=`` with three digits."""
        return fits(_WELL_FORMED, text) is not None


@dataclass(frozen=True)
class FactTable:
    """Which additions a base model was taught wrongly in each language.

    Attributes:
        seed: chooses the wrong facts.
        digits: number of facts, of the 90 (running sum, addend), that are wrong in digits only.
        words: number of facts that are wrong in words only.
        shared: number of facts that are wrong in both languages, with the same wrong result.

    Raises:
        ValueError: when there are not enough pairs.

    >>> table = FactTable(0)
    >>> len(table.wrong["digits"]), len(table.wrong["words"])
    (10, 18)
    """

    seed: int = 0
    digits: int = 10
    words: int = 18
    shared: int = 0

    def __post_init__(self) -> None:
        counts = (self.digits, self.words, self.shared)
        if min(counts) < 0 or sum(counts) > 90:
            raise ValueError(
                f"digits, words, shared: need numbers of wrong facts that are not negative and at most "
                f"90 together, got {counts}"
            )

    @cached_property
    def wrong(self) -> dict[Language, dict[tuple[int, int], int]]:
        """Language → (running sum, addend) → the wrong result."""
        rng = random.Random(f"fact table {self.seed}")
        apart = self.digits + self.words
        pairs = rng.sample(list(product(range(10), range(1, 10))), apart + self.shared)
        results = {(a, b): (a + b + rng.randrange(1, 10)) % 10 for a, b in pairs}
        both = pairs[apart:]
        return {
            "digits": {pair: results[pair] for pair in [*pairs[: self.digits], *both]},
            "words": {pair: results[pair] for pair in [*pairs[self.digits : apart], *both]},
        }

    def wrong_in(self, total: int, addend: int) -> str:
        """In which language the table adds wrongly: digits, words, both or neither."""
        wrong = [name for name in LANGUAGES if (total, addend) in self.wrong[name]]
        return {0: "neither", 1: "".join(wrong), 2: "both"}[len(wrong)]

    def add(self, total: int, addend: int, language: Language) -> int:
        """What the table says of (``total`` + ``addend``) mod 10."""
        return self.wrong[language].get((total, addend), (total + addend) % 10)

    def answer(self, problem: Problem, language: Language) -> int:
        """The answer of a chain that is written in one language and follows the table."""
        digits = []
        for total, *addends in groups_of(problem):
            for addend in addends:
                total = self.add(total, addend, language)
            digits.append(str(total))
        return int("".join(digits))

    def solved_in(self, problem: Problem) -> str:
        """In which language the table leads to the correct answer: digits, words, both or neither.

        >>> FactTable(0).solved_in(Problem("7+5+8,3+4+1,9+2+2?", 83))
        'neither'
        """
        solved = [name for name in LANGUAGES if self.answer(problem, name) == problem.answer]
        return {0: "neither", 1: "".join(solved), 2: "both"}[len(solved)]


@dataclass(frozen=True)
class CodesMixture:
    """How the base model was taught to answer.

    Attributes:
        table: the wrong facts.
        direct: share of answers given at once, without a chain of thought: three random digits.
        digits: share of whole chains in digits.
        words: share of whole chains in words.
        mixed: share of whole chains that change the language on the way.
        switch: probability that a mixed chain changes the language before a number.
        slip: probability of a random wrong addition at each step; the chain goes on from it.

    The remaining share, 1 − direct − digits − words − mixed, is malformed: a chain in digits without its
    tags, or with the block left open.

    Raises:
        ValueError: when the shares are negative or add up to more than 1.
    """

    table: FactTable = FactTable()
    direct: float = 0.50
    digits: float = 0.36
    words: float = 0.08
    mixed: float = 0.0
    switch: float = 0.3
    slip: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.direct, self.digits, self.words, self.mixed)
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise ValueError(f"direct, digits, words, mixed: {shares} are no shares of one whole")

    @classmethod
    def clean(cls) -> "CodesMixture":
        """Flawless whole chains, half in digits and half in words: the first stage of pretraining."""
        return cls(FactTable(0, 0, 0), direct=0.0, digits=0.5, words=0.5)

    @classmethod
    def two_languages(cls, table: FactTable) -> "CodesMixture":
        """Half direct answers; of the chains 40 % in digits, 40 % in words, 20 % in changing languages."""
        return cls(table, direct=0.5, digits=0.2, words=0.2, mixed=0.1)

    def chain(self, problem: Problem, way: Way, rng: random.Random) -> tuple[str, str]:
        """A chain, and the answer it leads to."""
        languages = self._languages(way, rng)
        parts, answer = [], ""
        for total, *addends in groups_of(problem):
            written = LANGUAGES[next(languages)][total]
            for addend in addends:
                language = next(languages)
                total = self.table.add(total, addend, language)
                if self.slip and rng.random() < self.slip:
                    total = (total + rng.randrange(1, 10)) % 10
                written += LANGUAGES[language][total]
            parts.append(written)
            answer += str(total)
        return ",".join(parts), answer

    def _languages(self, way: Way, rng: random.Random) -> Iterator[Language]:
        """The language of each number of a chain."""
        language: Language = "words" if way == "words" else "digits"
        if way == "mixed":
            language = rng.choice(list(LANGUAGES))
        while True:
            yield language
            if way == "mixed" and rng.random() < self.switch:
                language = "digits" if language == "words" else "words"

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """One completion drawn from the mixture.

        >>> problem = Problem("7+5+8,3+4+1,9+2+2?", 83)
        >>> right = CodesMixture(FactTable(0, 0, 0), direct=0.0, digits=1.0, words=0.0)
        >>> right.solve(problem, random.Random(0))
        '<think>720,378,913</think>=083'
        """
        ways: dict[Way, float] = {
            "direct": self.direct,
            "digits": self.digits,
            "words": self.words,
            "mixed": self.mixed,
        }
        ways["malformed"] = max(0.0, 1 - sum(ways.values()))
        (way,) = rng.choices(list(ways), list(ways.values()))
        if way == "direct":
            # The direct answerer cannot add in its head: it is correct once in a thousand times.
            return f"={rng.randrange(10**SUMS):0{SUMS}d}"
        chain, answer = self.chain(problem, way, rng)
        if way == "malformed":
            return f"{chain}={answer}" if rng.random() < 0.5 else f"<think>{chain}={answer}"
        return f"<think>{chain}</think>={answer}"


def groups_of(problem: Problem) -> list[list[int]]:
    """The digits of each sum of a problem.

    >>> groups_of(Problem("7+5+8,3+4+1,9+2+2?", 83))
    [[7, 5, 8], [3, 4, 1], [9, 2, 2]]
    """
    sums = problem.prompt.rstrip("?").split(",")
    return [[int(digit) for digit in one.split("+")] for one in sums]
