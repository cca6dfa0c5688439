"""Two tasks for a model with two modes: it thinks, or it answers at once (Qwen3's flags, run small; notebook 10).

A problem has 2–8 digits. In the *sums* the answer is the last digit of their sum, in the *maxima* it is the largest
of them; the maxima write their digits as words. A chain of thought holds the running sums, or the running maxima.

    sums      7+5+8......?              <think>720</think>=0
    maxima    seventwoeight......?      <think>778</think>=8

A dot marks each place that stays empty. The ninth place is the user's flag: a dot, ``/think`` or ``/no_think``.
An answer without thinking keeps an empty block, as in Qwen3 (arXiv:2505.09388, section 4.3):

    7+5+8...../no_think?                <think></think>=0

A small network can learn to read off the largest digit at once, but not to add in its head. In both tasks the ten
answers are equally probable, so a blind guess is correct with probability 0.1. An answer may end with ``ok``; this is
the politeness that ``rewards.manners`` sees, and it changes no verdict.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from rlvr_lab.policy.words import NUMBER_WORDS
from rlvr_lab.tasks.grammar import fits, judge
from rlvr_lab.tasks.mixtures import broken, require_probabilities
from rlvr_lab.tasks.sums import COURTESY
from rlvr_lab.tasks.task import Problem, Task, Verdict

__all__ = [
    "FLAGS",
    "KINDS",
    "PLACES",
    "Flag",
    "Kind",
    "TwoModes",
    "TwoModesMixture",
    "digits_of",
    "flag_of",
    "follows",
    "kind_of",
    "make_problem",
    "running",
    "thinks",
    "with_flag",
]

Kind = Literal["sums", "maxima"]
KINDS: tuple[Kind, ...] = ("sums", "maxima")
Flag = Literal["none", "think", "no_think"]
FLAGS: dict[Flag, str] = {"none": ".", "think": "/think", "no_think": "/no_think"}
"""Flag → what stands in its place of the prompt."""
PLACES = 8
_NUMBER = re.compile("|".join(NUMBER_WORDS))
_ANSWER = re.compile(r"=(?P<answer>[0-9]{1,18})", re.ASCII)
_WELL_FORMED = re.compile(rf"(?:<think>[0-9]*</think>)?=(?P<answer>[0-9])(?:{COURTESY})?", re.ASCII)


# -------------------------------------------------------------------------------------- the prompts


def make_problem(kind: Kind, digits: list[int], flag: Flag = "none") -> Problem:
    """The problem with these digits.

    Raises:
        ValueError: unless there are 2 to 8 digits.

    >>> make_problem("maxima", [7, 2, 8], "think")
    Problem(prompt='seventwoeight...../think?', answer=8, difficulty=2)
    """
    if not 2 <= len(digits) <= PLACES:
        raise ValueError(f"digits: need 2 to {PLACES}, got {len(digits)}")
    words = [NUMBER_WORDS[digit] for digit in digits]
    written = "+".join(map(str, digits)) if kind == "sums" else "".join(words)
    prompt = written + "." * (PLACES - len(digits)) + FLAGS[flag] + "?"
    return Problem(prompt, running(kind, digits)[-1], len(digits) - 1)


def kind_of(prompt: str) -> Kind:
    """Which task a prompt belongs to.

    >>> kind_of("7+5+8......?"), kind_of("seventwoeight......?")
    ('sums', 'maxima')
    """
    return "sums" if prompt[0].isdigit() else "maxima"


def flag_of(prompt: str) -> Flag:
    """The user's flag.

    >>> flag_of("7+5+8......?"), flag_of("7+5+8...../no_think?")
    ('none', 'no_think')
    """
    found = [flag for flag in FLAGS if flag != "none" and prompt.endswith(f"{FLAGS[flag]}?")]
    return found[0] if found else "none"


def with_flag(prompt: str, flag: Flag) -> str:
    """The same question with another flag.

    >>> with_flag("7+5+8...../no_think?", "none")
    '7+5+8......?'
    """
    return prompt.removesuffix(f"{FLAGS[flag_of(prompt)]}?") + f"{FLAGS[flag]}?"


def digits_of(prompt: str) -> list[int]:
    """The digits of a question.

    >>> digits_of("7+5+8...../think?"), digits_of("seventwoeight......?")
    ([7, 5, 8], [7, 2, 8])
    """
    written = with_flag(prompt, "none").rstrip(".?")
    if kind_of(prompt) == "sums":
        return [int(digit) for digit in written.split("+")]
    return [NUMBER_WORDS.index(word) for word in _NUMBER.findall(written)]


def running(kind: Kind, digits: Iterable[int]) -> list[int]:
    """The chain without errors: running sums modulo 10, or running maxima; the first digit included.

    >>> running("sums", [7, 5, 8]), running("maxima", [7, 2, 8])
    ([7, 2, 0], [7, 7, 8])
    """
    return list(accumulate(digits, lambda a, b: (a + b) % 10 if kind == "sums" else max(a, b)))


# -------------------------------------------------------------------------------------- the answers


def thinks(text: str) -> bool:
    """Whether an answer opens a block of thought that is not empty.

    >>> thinks("<think>72</think>=2"), thinks("<think></think>=2"), thinks("=2")
    (True, False, False)
    """
    return text.startswith("<think>") and not text.startswith("<think></think>")


def follows(prompt: str, text: str) -> bool:
    """Whether an answer is in the mode that the flag asks for; without a flag the mode is thinking.

    Not to think means to keep the empty block.

    >>> follows("7+5+8...../no_think?", "<think></think>=2"), follows("7+5+8...../no_think?", "=2")
    (True, False)
    """
    if flag_of(prompt) == "no_think":
        return text.startswith("<think></think>")
    return thinks(text)


@dataclass(frozen=True)
class TwoModes(Task):
    """Sums and maxima with a flag.

    Attributes:
        subject: ``sums``, ``maxima``, or ``both``, which draws one of the two for each problem.
        flag: the user's flag, a key of ``FLAGS``, or ``mixed``, which draws one of them for each problem.
        min_terms: fewest digits.
        max_terms: most digits.

    Raises:
        ValueError: naming the field.

    >>> TwoModes("sums").problems(1, random.Random(0))[0]
    Problem(prompt='6+6+0+4+8+7+6+4.?', answer=1, difficulty=7)
    """

    subject: str = "both"
    flag: str = "none"
    min_terms: int = 2
    max_terms: int = PLACES

    def __post_init__(self) -> None:
        if self.subject not in ("both", *KINDS):
            raise ValueError(f"subject: must be both, {', '.join(KINDS)}, got {self.subject!r}")
        if self.flag not in ("mixed", *FLAGS):
            raise ValueError(f"flag: must be mixed, {', '.join(FLAGS)}, got {self.flag!r}")
        if not 2 <= self.min_terms <= self.max_terms <= PLACES:
            raise ValueError(
                f"min_terms, max_terms: need 2 <= min_terms <= max_terms <= {PLACES}, "
                f"got {self.min_terms} and {self.max_terms}"
            )

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """Draw ``count`` problems with a uniform number of terms and a uniform answer."""
        if count < 1:
            raise ValueError(f"count: need at least 1 problem, got {count}")
        return [self._problem(rng) for _ in range(count)]

    def _problem(self, rng: random.Random) -> Problem:
        kind = rng.choice(KINDS) if self.subject == "both" else self.subject
        flag = rng.choice(list(FLAGS)) if self.flag == "mixed" else self.flag
        terms = rng.randint(self.min_terms, self.max_terms)
        # The answer of a sum of uniform digits is uniform. The largest of them would be 9 too often.
        largest = rng.randrange(10) if kind == "maxima" else 9
        digits = [rng.randint(0, largest) for _ in range(terms)]
        if kind == "maxima":
            digits[rng.randrange(terms)] = largest
        return make_problem(kind, digits, flag)

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """Correct when the whole text follows the grammar and its digit is the answer, in either mode.

        >>> problem = make_problem("sums", [7, 5, 8], "no_think")
        >>> [TwoModes().verify(problem, text, False).reason for text in ("=0ok", "<think>720=0")]
        ['right', 'malformed']
        """
        return judge(text, str(problem.answer), truncated, _WELL_FORMED, _ANSWER)

    def well_formed(self, text: str) -> bool:
        """An optional block of digits, ``=`` and one digit, and ``ok`` or nothing."""
        return fits(_WELL_FORMED, text) is not None


@dataclass(frozen=True)
class TwoModesMixture:
    """The training mixture of the cold start: chains with slips, guesses, broken tags.

    Attributes:
        direct: share of direct answers, a random digit without a chain.
        malformed: share of answers with missing or unclosed tags.
        slip: probability of an incorrect step; the chain continues from its result.

    The remaining share, 1 − direct − malformed, are complete chains.

    Raises:
        ValueError: naming the field, for a probability outside [0, 1], or shares that exceed 1.
    """

    direct: float = 0.25
    malformed: float = 0.20
    slip: float = 0.06

    def __post_init__(self) -> None:
        require_probabilities(self, "direct", "malformed", "slip", shares=("direct", "malformed"))

    @classmethod
    def clean(cls) -> "TwoModesMixture":
        """Only complete chains without slips: the first stage of pretraining."""
        return cls(0.0, 0.0, 0.0)

    def chain(self, problem: Problem, rng: random.Random) -> list[int]:
        """The values of a chain, slips included."""
        kind, (first, *rest) = kind_of(problem.prompt), digits_of(problem.prompt)
        values = [first]
        for digit in rest:
            right = running(kind, [values[-1], digit])[-1]
            slipped = rng.random() < self.slip
            values.append((right + rng.randrange(1, 10)) % 10 if slipped else right)
        return values

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """One completion drawn from the mixture.

        >>> TwoModesMixture.clean().solve(make_problem("maxima", [7, 2, 8]), random.Random(0))
        '<think>778</think>=8'
        """
        share = rng.random()
        if share < self.direct:
            return f"={rng.randrange(10)}"
        values = self.chain(problem, rng)
        chain, answer = "".join(map(str, values)), values[-1]
        if share > 1 - self.malformed:
            return broken(chain, str(answer), rng)
        return f"<think>{chain}</think>={answer}"
