"""A mixed pool: items of six kinds, with a verifier and a worked solution for each.

Honest items and items whose answer can be guessed or copied stand side by side, as in a collection of problems
that nobody has curated. All have 3–8 digits, and a dot marks each place that stays empty:

    kind          prompt                  answer                                    a whole solution
    sums          7+5+8.....?             the last two running sums (100 answers)   <think>720</think>=20
    differences   7-5-8.....?             the last two running differences          <think>724</think>=24
    comparisons   7,5,8.....?             the largest digit                         <think>778</think>=8
    true_false    <3:7+5+8.....?          is the last running sum below 3?          <think>720</think>=yes
    options       4/0:7+5+8.....?         which of the two is the last one?         <think>720</think>=0
    tricks        7+0+0.....?             as the sums, but every addend is 0        <think>777</think>=77

Everything is taken modulo 10. A trick has the grammar of a sum, so it cannot be told from one by its format.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from rlvr_lab.policy.words import DIGITS
from rlvr_lab.tasks.grammar import fits, judge
from rlvr_lab.tasks.long_sums import running_sums
from rlvr_lab.tasks.mixtures import broken, require_probabilities
from rlvr_lab.tasks.task import Problem, Task, Verdict

__all__ = [
    "GUESS",
    "KINDS",
    "POOL_WORDS",
    "Kind",
    "MixedPool",
    "PoolMixture",
    "Way",
    "answer_text",
    "kind_of",
    "way_of",
    "worked_chain",
]

Kind = Literal["sums", "differences", "comparisons", "true_false", "options", "tricks"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Way = Literal["direct", "right_chain", "wrong_chain", "malformed"]
PLACES = 8
LIMIT = 3
TRUE = LIMIT / 10
"""Share of the true/false items whose claim is true."""
GUESS: dict[Kind, float] = {
    "sums": 0.01,
    "differences": 0.01,
    "comparisons": 0.1,
    "true_false": TRUE**2 + (1 - TRUE) ** 2,
    "options": 0.5,
    "tricks": 0.01,
}
"""Probability that a blind guess is correct: uniform over the possible answers; for true/false ``no`` as often as
it is the answer (always ``no`` would be correct in 0.7 of the cases)."""
POOL_WORDS = ["<pad>", "<eos>", *DIGITS, *(f"{sign}{d}" for sign in "+-," for d in DIGITS)]
POOL_WORDS += [f"{d}{mark}" for mark in "/:" for d in DIGITS]
POOL_WORDS += [".", "?", "=", "<think>", "</think>", "yes", "no", "<3:"]

_PROMPT = re.compile(r"(?:(?P<claim><3|[0-9]/[0-9]):)?(?P<digits>[0-9](?:[-+,][0-9])*)\.*\?")
_ANSWER = re.compile(r"=(?P<answer>[0-9]{1,18}|yes|no)", re.ASCII)
_WELL_FORMED = re.compile(
    r"(?:<think>(?P<chain>[0-9]*)</think>)?=(?P<answer>[0-9]{1,2}|yes|no)", re.ASCII
)


def _parts(prompt: str) -> tuple[str | None, str, list[int]]:
    """What stands before the colon, the sign and the digits of a prompt."""
    match = _PROMPT.fullmatch(prompt)
    if match is None:
        raise ValueError(f"prompt: {prompt!r} is no item of the mixed pool")
    digits = match["digits"]
    sign = digits[1] if len(digits) > 1 else "+"
    return match["claim"], sign, [int(d) for d in digits[::2]]


def kind_of(prompt: str) -> Kind:
    """The kind of an item, read off its prompt.

    >>> [kind_of(p) for p in ("7+5+8.....?", "7+0+0.....?", "<3:7+5+8.....?", "4/0:7+5+8.....?")]
    ['sums', 'tricks', 'true_false', 'options']
    """
    claim, sign, digits = _parts(prompt)
    if claim is not None:
        return "options" if "/" in claim else "true_false"
    if sign == "+":
        return "sums" if any(digits[1:]) else "tricks"
    return "differences" if sign == "-" else "comparisons"


def worked_chain(prompt: str) -> str:
    """The flawless chain of an item: running sums, differences or maxima.

    >>> [worked_chain(p) for p in ("7+5+8.....?", "7-5-8.....?", "7,5,8.....?", "<3:7+5+8.....?")]
    ['720', '724', '778', '720']
    """
    return "".join(map(str, _running(*_parts(prompt)[1:])))


def _running(sign: str, digits: list[int]) -> list[int]:
    if sign == ",":
        return [max(digits[: i + 1]) for i in range(len(digits))]
    if sign == "-":
        return running_sums([digits[0], *(-d % 10 for d in digits[1:])])
    return running_sums(digits)


def _conclude(kind: Kind, chain: str) -> str:
    """What follows from a chain, correct or not."""
    if kind == "true_false":
        return "yes" if int(chain[-1]) < LIMIT else "no"
    return chain[-1] if kind in ("options", "comparisons") else chain[-2:]


def answer_text(problem: Problem) -> str:
    """The correct answer as it has to be written."""
    kind = kind_of(problem.prompt)
    if kind == "true_false":
        return ("no", "yes")[problem.answer]
    one_digit = kind in ("options", "comparisons")
    return str(problem.answer) if one_digit else f"{problem.answer:02d}"


def way_of(problem: Problem, text: str) -> Way:
    """How an answer was reached, read off its text.

    ``right_chain``: well-formed, with exactly the flawless chain; ``wrong_chain``: with another chain;
    ``direct``: without a chain; ``malformed``: the rest.

    >>> problem = Problem("<3:7+5+8.....?", 1, 2)
    >>> [way_of(problem, t) for t in ("=yes", "<think>720</think>=yes", "<think>73</think>=no")]
    ['direct', 'right_chain', 'wrong_chain']
    """
    match = fits(_WELL_FORMED, text)
    if match is None:
        return "malformed"
    if match["chain"] is None:
        return "direct"
    return "right_chain" if match["chain"] == worked_chain(problem.prompt) else "wrong_chain"


@dataclass(frozen=True)
class MixedPool(Task):
    """A source of items of several kinds.

    The difficulty of an item is its number of digits minus one.

    Attributes:
        shares: kind → share of the items; they need not add up to 1.

    Raises:
        ValueError: for an unknown kind, a negative share, or no positive one.

    >>> [p.prompt for p in MixedPool().problems(2, random.Random(4))]
    ['7-2-1-1-0-6..?', '4+0+3+8+8+5+4.?']
    """

    shares: Mapping[Kind, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 1.0))

    def __post_init__(self) -> None:
        if unknown := [kind for kind in self.shares if kind not in KINDS]:
            raise ValueError(f"shares: {unknown[0]!r} is none of {', '.join(KINDS)}")
        if min(self.shares.values(), default=0) < 0 or not sum(self.shares.values()) > 0:
            raise ValueError(f"shares: need a positive one and none below 0, got {self.shares}")

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """Draw ``count`` items: the kind from ``shares``, 3–8 terms and all digits uniformly."""
        if count < 1:
            raise ValueError(f"count: need at least 1 problem, got {count}")
        kinds = rng.choices(list(self.shares), list(self.shares.values()), k=count)
        return [self.item(kind, rng) for kind in kinds]

    def item(self, kind: Kind, rng: random.Random) -> Problem:
        """One item of a kind."""
        terms = rng.randint(3, PLACES)
        digits = [rng.randrange(10) for _ in range(terms)]
        if kind == "tricks":
            digits[1:] = [0] * (terms - 1)
        elif not any(digits[1:]):
            digits[-1] = rng.randrange(1, 10)  # otherwise a sum could be a trick
        sign = {"differences": "-", "comparisons": ","}.get(kind, "+")
        running = _running(sign, digits)
        prompt = sign.join(map(str, digits)) + "." * (PLACES - terms) + "?"
        last = running[-1]
        if kind == "true_false":
            return Problem(f"<{LIMIT}:{prompt}", int(last < LIMIT), terms - 1)
        if kind == "options":
            pair = [last, (last + rng.randrange(1, 10)) % 10]
            rng.shuffle(pair)
            return Problem(f"{pair[0]}/{pair[1]}:{prompt}", last, terms - 1)
        answer = last if kind == "comparisons" else 10 * running[-2] + last
        return Problem(prompt, answer, terms - 1)

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """Correct when the whole text follows the grammar and its answer is that of the item.

        >>> MixedPool().verify(Problem("<3:7+5+8.....?", 1, 2), "=yes", False).reason
        'right'
        """
        return judge(text, answer_text(problem), truncated, _WELL_FORMED, _ANSWER)

    def well_formed(self, text: str) -> bool:
        """One optional ``<think>…</think>`` block of digits and one final ``=`` with an answer of any kind."""
        return fits(_WELL_FORMED, text) is not None


@dataclass(frozen=True)
class PoolMixture:
    """How a base model of the mixed pool was taught to answer.

    Attributes:
        direct: share of direct answers, without a chain. On sums and differences they are two random digits;
            on comparisons they are correct with probability ``sees``, on tricks always; on true/false they
            are ``no`` with probability 0.7, whatever the sum; of two options they choose one at random.
        malformed: share of answers with missing or unclosed tags.
        slip: probability of a wrong digit at each step of a chain; the chain continues from it.
        sees: see ``direct``.

    The remaining share, 1 − direct − malformed, are whole chains; their answer follows from the chain.

    Raises:
        ValueError: naming the field, for a probability outside [0, 1], or shares that exceed 1.
    """

    direct: float = 0.45
    malformed: float = 0.15
    slip: float = 0.08
    sees: float = 0.9

    def __post_init__(self) -> None:
        require_probabilities(
            self, "direct", "malformed", "slip", "sees", shares=("direct", "malformed")
        )

    @classmethod
    def clean(cls) -> "PoolMixture":
        """Only whole chains without slips: the first stage of pretraining."""
        return cls(0.0, 0.0, 0.0)

    def guess(self, problem: Problem, rng: random.Random) -> str:
        """A direct answer."""
        kind = kind_of(problem.prompt)
        if kind == "true_false":
            return "yes" if rng.random() < TRUE else "no"
        if kind == "options":
            return rng.choice(problem.prompt[:3:2])
        if kind == "tricks" or (kind == "comparisons" and rng.random() < self.sees):
            return answer_text(problem)
        return f"{rng.randrange(10)}" if kind == "comparisons" else f"{rng.randrange(100):02d}"

    def chain(self, problem: Problem, rng: random.Random) -> str:
        """A chain, slips included."""
        _, sign, digits = _parts(problem.prompt)
        written = [digits[0]]
        for digit in digits[1:]:
            right = _running(sign, [written[-1], digit])[-1]
            slipped = rng.random() < self.slip
            written.append((right + rng.randrange(1, 10)) % 10 if slipped else right)
        return "".join(map(str, written))

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """One completion drawn from the mixture.

        >>> PoolMixture.clean().solve(Problem("4/0:7+5+8.....?", 0, 2), random.Random(0))
        '<think>720</think>=0'
        """
        kind = rng.random()
        if kind < self.direct:
            return f"={self.guess(problem, rng)}"
        chain = self.chain(problem, rng)
        answer = _conclude(kind_of(problem.prompt), chain)
        if kind > 1 - self.malformed:
            return broken(chain, answer, rng)
        return f"<think>{chain}</think>={answer}"
