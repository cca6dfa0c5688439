"""The sums: seeded problems, their prompts, their worked solutions and their verdicts.

A problem asks for the last digit of a sum of 4–8 digits. The prompt has eight places, and a dot marks
each place that stays empty:

    prompt       7+5+8+3....?
    completion   <think>7203</think>=3     (the chain of running sums, modulo 10)
    completion   =3                        (a direct answer)

The sum is taken modulo 10, so every number is one token. The disadvantage: a guess is correct with
probability 0.1, so a model that cannot add already has pass@16 = 0.81. Because of the dots, each digit
has a constant distance from its place in the chain, so a very small network learns the chain quickly.
"""

import hashlib
import random
import re
from dataclasses import dataclass

from rlvr_lab.tasks.grammar import fits, judge
from rlvr_lab.tasks.mixtures import broken
from rlvr_lab.tasks.task import Problem, Task, Verdict

__all__ = ["COURTESY", "Sums", "SumsMixture", "hidden_digit", "is_well_formed", "verify_sum"]

COURTESY = "ok"
_DIGIT = "[0-9]|zero|one|two|three|four|five|six|seven|eight|nine"
_ANSWER = re.compile(r"=(?P<answer>[0-9]{1,18})", re.ASCII)
_WELL_FORMED = re.compile(
    rf"(?:<think>(?:{_DIGIT}|wait)*</think>)?=(?P<answer>[0-9]{{1,18}})", re.ASCII
)


def is_well_formed(text: str) -> bool:
    """Whether ``text`` is one optional ``<think>…</think>`` block and one final ``=answer``.

    >>> is_well_formed("<think>720</think>=0"), is_well_formed("<think>720=0")
    (True, False)
    """
    return fits(_WELL_FORMED, text) is not None


def verify_sum(text: str, answer: int, truncated: bool = False) -> Verdict:
    """Verdict on a completion of a sum.

    The answer counts only if the whole completion is well-formed and its number has no leading zero:
    ``=07`` is not 7, and ``=7=8`` is malformed.

    Args:
        text: the completion, without the prompt and without the end-of-sequence token.
        answer: the correct answer, a non-negative integer.
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
    return judge(text, str(answer), truncated, _WELL_FORMED, _ANSWER)


def hidden_digit(prompt: str) -> int:
    """A digit that is fixed for each prompt but has no pattern: SHA-256 modulo 10.

    For random prompts it is uniform and independent of the sum, so every way to answer is correct with
    probability 0.1.

    >>> [hidden_digit(prompt) for prompt in ("7+5+8.....?", "7+5+9.....?")]
    [6, 7]
    """
    return int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % 10


@dataclass(frozen=True)
class Sums(Task):
    """The last digit of a sum of ``min_terms`` to ``max_terms`` digits.

    The difficulty of a problem is the number of additions, its number of terms minus one.

    Attributes:
        min_terms: fewest digits in a problem.
        max_terms: most digits in a problem.
        hidden_answer: the verifier wants ``hidden_digit`` of the prompt and not the sum. Prompts, grammar and
            format reward stay as they are; only, no chain of thought can help. A control.
        courtesy: the grammar allows one ``ok`` after the answer, as in ``<think>720</think>=0ok``. It changes no
            verdict: the rest is verified as ever.

    Raises:
        ValueError: unless 2 ≤ min_terms ≤ max_terms.

    >>> Sums().problems(1, random.Random(0))[0]
    Problem(prompt='6+0+4+8+7+6+4.?', answer=5, difficulty=6)
    """

    min_terms: int = 4
    max_terms: int = 8
    hidden_answer: bool = False
    courtesy: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.min_terms <= self.max_terms:
            raise ValueError(
                f"min_terms, max_terms: need 2 <= min_terms <= max_terms, "
                f"got {self.min_terms} and {self.max_terms}"
            )

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """Draw ``count`` problems with uniform digits and a uniform number of terms."""
        if count < 1:
            raise ValueError(f"count: need at least 1 problem, got {count}")
        drawn = []
        for _ in range(count):
            digits = [rng.randrange(10) for _ in range(rng.randint(self.min_terms, self.max_terms))]
            prompt = "+".join(map(str, digits)) + "." * (self.max_terms - len(digits)) + "?"
            answer = hidden_digit(prompt) if self.hidden_answer else sum(digits) % 10
            drawn.append(Problem(prompt, answer, len(digits) - 1))
        return drawn

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """Verdict on ``text``; see ``verify_sum``."""
        return verify_sum(self._without_courtesy(text), problem.answer, truncated)

    def well_formed(self, text: str) -> bool:
        """One optional ``<think>…</think>`` block and one final ``=answer``."""
        return is_well_formed(self._without_courtesy(text))

    def _without_courtesy(self, text: str) -> str:
        return text.removesuffix(COURTESY) if self.courtesy else text


@dataclass(frozen=True)
class SumsMixture:
    """The training mixture of the sums' base model: some good answers and many bad ones.

    Attributes:
        direct: share of direct answers, without a chain of thought.
        hasty: share of answers whose chain stops early and ends with a guess.
        malformed: share of answers with missing or unclosed tags.
        slip: probability of an incorrect addition at each step; the chain continues from its result.
        wait_after_slip: probability of writing ``wait`` after a slip and repeating the step correctly.
        wait_after_right: probability of writing ``wait`` after a correct step and repeating it.

    The remaining share, 1 − direct − hasty − malformed, are complete chains.
    """

    direct: float = 0.50
    hasty: float = 0.08
    malformed: float = 0.18
    slip: float = 0.04
    wait_after_slip: float = 0.40
    wait_after_right: float = 0.02

    @classmethod
    def clean(cls) -> "SumsMixture":
        """Only complete chains without slips: the first stage of pretraining."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    def chain(self, problem: Problem, rng: random.Random) -> tuple[list[str], int]:
        """The words of a chain of running sums, including slips and corrections, and its final sum."""
        digits = [int(digit) for digit in problem.prompt.rstrip(".?").split("+")]
        words, total = [str(digits[0])], digits[0]
        for digit in digits[1:]:
            right = (total + digit) % 10
            slipped = rng.random() < self.slip
            total = (right + rng.randrange(1, 10)) % 10 if slipped else right
            words.append(str(total))
            if rng.random() < (self.wait_after_slip if slipped else self.wait_after_right):
                words += ["wait", str(right)]
                total = right
        return words, total

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """One completion drawn from the mixture.

        >>> SumsMixture.clean().solve(Problem("7+5+8.....?", 0, 2), random.Random(0))
        '<think>720</think>=0'
        """
        kind = rng.random()
        if kind < self.direct:
            # A direct answer is a guess: it is correct with probability 0.1.
            return f"={rng.randrange(10)}"
        words, total = self.chain(problem, rng)
        chain = "".join(words)
        if kind < self.direct + self.hasty:
            chain = "".join(words[: rng.randint(1, len(words) - 1)])
            return f"<think>{chain}</think>={rng.randrange(10)}"
        if kind > 1 - self.malformed:
            return broken(chain, str(total), rng)
        return f"<think>{chain}</think>={total}"
