"""Long sums: as the sums, but the answer is the last *two* running sums, so there are 100 answers.

A problem has 2–12 digits, and a dot marks each place that stays empty:

    prompt       7+5+8+3........?
    completion   <think>7203</think>=03     (the chain of running sums, modulo 10; the last two are 0 and 3)
    completion   =03                        (a direct answer)

A blind guess is correct with probability 0.01 (for the sums: 0.1). Each chain step has the same layout
as in the sums, so a small network learns the chain equally fast.
"""

import random
import re
from dataclasses import dataclass

from rlvr_lab.tasks.grammar import fits, judge
from rlvr_lab.tasks.mixtures import broken, require_probabilities
from rlvr_lab.tasks.task import Problem, Task, Verdict

__all__ = ["LongSums", "LongSumsMixture", "digits_of", "running_sums"]

_ANSWER = re.compile(r"=(?P<answer>[0-9]{1,18})", re.ASCII)
_WELL_FORMED = re.compile(r"(?:<think>[0-9]*</think>)?=(?P<answer>[0-9]{2})", re.ASCII)


def digits_of(prompt: str) -> list[int]:
    """The digits of a problem.

    >>> digits_of("7+5+8.?")
    [7, 5, 8]
    """
    return [int(digit) for digit in prompt.rstrip(".?").split("+")]


def running_sums(digits: list[int]) -> list[int]:
    """The running sums modulo 10, the first digit included.

    >>> running_sums([7, 5, 8])
    [7, 2, 0]
    """
    totals = digits[:1]
    for digit in digits[1:]:
        totals.append((totals[-1] + digit) % 10)
    return totals


@dataclass(frozen=True)
class LongSums(Task):
    """The last two running sums of ``min_terms`` to ``max_terms`` digits.

    The difficulty of a problem is its number of additions. The prompt always has ``places`` places.

    Attributes:
        min_terms: fewest digits in a problem.
        max_terms: most digits in a problem.
        places: of the layout; a model reads only prompts with the layout that it was trained on.

    Raises:
        ValueError: unless 2 ≤ min_terms ≤ max_terms ≤ places.

    >>> LongSums().problems(1, random.Random(0))[0]
    Problem(prompt='6+0+4+8+7+6+4+7....?', answer=52, difficulty=7)
    """

    min_terms: int = 2
    max_terms: int = 12
    places: int = 12

    def __post_init__(self) -> None:
        if not 2 <= self.min_terms <= self.max_terms <= self.places:
            raise ValueError(
                f"min_terms, max_terms, places: need 2 <= min_terms <= max_terms <= places, "
                f"got {self.min_terms}, {self.max_terms} and {self.places}"
            )

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """Draw ``count`` problems with uniform digits and a uniform number of terms."""
        if count < 1:
            raise ValueError(f"count: need at least 1 problem, got {count}")
        return [
            self.problem([rng.randrange(10) for _ in range(rng.randint(*self.terms))])
            for _ in range(count)
        ]

    @property
    def terms(self) -> tuple[int, int]:
        """The fewest and the most digits."""
        return self.min_terms, self.max_terms

    def problem(self, digits: list[int]) -> Problem:
        """The problem with these digits."""
        prompt = "+".join(map(str, digits)) + "." * (self.places - len(digits)) + "?"
        before, last = running_sums(digits)[-2:]
        return Problem(prompt, 10 * before + last, len(digits) - 1)

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """Correct when the whole text follows the grammar and its two digits are the answer.

        >>> problem = Problem("7+5+8.........?", 20, 2)
        >>> LongSums().verify(problem, "<think>720</think>=20", False).reason
        'right'
        >>> LongSums().verify(problem, "=2", False).reason
        'malformed'
        """
        return judge(text, f"{problem.answer:02d}", truncated, _WELL_FORMED, _ANSWER)

    def well_formed(self, text: str) -> bool:
        """One optional ``<think>…</think>`` block of digits and one final ``=`` with two digits."""
        return fits(_WELL_FORMED, text) is not None


@dataclass(frozen=True)
class LongSumsMixture:
    """The training mixture of a base model of the long sums.

    Attributes:
        direct: share of direct answers, two random digits without a chain.
        malformed: share of answers with missing or unclosed tags.
        slip: probability of an incorrect addition at each step; the chain continues from its result.

    The remaining share, 1 − direct − malformed, are complete chains.

    Raises:
        ValueError: naming the field, for a probability outside [0, 1], or shares that exceed 1.
    """

    direct: float = 0.25
    malformed: float = 0.20
    slip: float = 0.04

    def __post_init__(self) -> None:
        require_probabilities(self, "direct", "malformed", "slip", shares=("direct", "malformed"))

    @classmethod
    def clean(cls) -> "LongSumsMixture":
        """Only complete chains without slips: the first stage of pretraining."""
        return cls(0.0, 0.0, 0.0)

    def chain(self, problem: Problem, rng: random.Random) -> list[int]:
        """The running sums of a chain, slips included."""
        first, *rest = digits_of(problem.prompt)
        totals = [first]
        for digit in rest:
            right = (totals[-1] + digit) % 10
            slipped = rng.random() < self.slip
            totals.append((right + rng.randrange(1, 10)) % 10 if slipped else right)
        return totals

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """One completion drawn from the mixture.

        >>> LongSumsMixture.clean().solve(Problem("7+5+8.........?", 20, 2), random.Random(0))
        '<think>720</think>=20'
        """
        kind = rng.random()
        if kind < self.direct:
            return f"={rng.randrange(100):02d}"
        totals = self.chain(problem, rng)
        chain, answer = "".join(map(str, totals)), f"{totals[-2]}{totals[-1]}"
        if kind > 1 - self.malformed:
            return broken(chain, answer, rng)
        return f"<think>{chain}</think>={answer}"
