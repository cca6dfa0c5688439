"""Second thoughts: what an answer writes after ``wait``, in the sums and in the codes.

In the sums a chain repeats one step after ``wait``. Whether the step before was a slip can be read off the
chain exactly, since the problem's digits are known:

    prompt       7+5+8.....?
    completion   <think>73wait20</think>=0        (7+5 is not 3: a slip, ``wait``, repaired)

In the codes a whole chain in digits, the *draft*, is written again after ``wait``, in number words:

    completion   <think>721,378,913waitseventwozero,threeseveneight,nineonethree</think>=083

``RecheckMixture`` is the base mixture with such answers. The facts of the second chain are the correct ones, or
the draft's own: then the second chain cannot help.
"""

import random
import re
from dataclasses import dataclass
from typing import NamedTuple

from rlvr_lab.policy.words import NUMBER_WORDS
from rlvr_lab.tasks.codes import CodesMixture, FactTable, Way
from rlvr_lab.tasks.mixtures import require_probabilities
from rlvr_lab.tasks.task import Problem

__all__ = ["Draft", "RecheckMixture", "Step", "draft_of", "steps_of"]

_DRAFT = re.compile(r"<think>(?P<draft>[0-9]{3},[0-9]{3},[0-9]{3})(?P<wait>wait)?", re.ASCII)
_TOKEN = re.compile("[0-9]|wait", re.ASCII)


class Step(NamedTuple):
    """One addition in a chain of the sums.

    Attributes:
        correct: whether its first result is that of the addition.
        waited: whether ``wait`` follows it.
        repaired: whether the result after ``wait`` is correct; None without ``wait``.
    """

    correct: bool
    waited: bool
    repaired: bool | None


def steps_of(problem: Problem, text: str) -> list[Step]:
    """The additions that a chain of the sums performs, in their order.

    Each result is compared with the previous *written* result plus the next digit, so that one slip is
    counted once. Tags are ignored; the chain ends at ``=``, at another word, or with the last digit of the
    problem. A chain that does not begin with the first digit has no steps.

    >>> problem = Problem("7+5+8.....?", 0, 2)
    >>> steps_of(problem, "<think>73wait20</think>=0")
    [Step(correct=False, waited=True, repaired=True), Step(correct=True, waited=False, repaired=None)]
    >>> steps_of(problem, "=0"), steps_of(problem, "<think>5</think>=0")
    ([], [])
    """
    first, *addends = (int(digit) for digit in problem.prompt.rstrip(".?").split("+"))
    chain = text.removeprefix("<think>").split("=")[0].split("<")[0]
    tokens = _TOKEN.findall(chain)
    if "".join(tokens) != chain or not tokens or tokens.pop(0) != str(first):
        return []
    total, steps = first, []
    for addend in addends:
        if not tokens or tokens[0] == "wait":
            break
        right, total = (total + addend) % 10, int(tokens.pop(0))
        correct, waited = total == right, bool(tokens) and tokens[0] == "wait"
        again = waited and len(tokens) > 1 and tokens[1] != "wait"
        if again:
            total = int(tokens[1])
        steps.append(Step(correct, waited, total == right if again else False if waited else None))
        tokens = tokens[again + waited :]
    return steps


class Draft(NamedTuple):
    """The first chain of an answer in the codes.

    Attributes:
        chain: its text, three groups of three digits.
        answer: what it leads to, three digits.
        waited: whether ``wait`` follows it.
    """

    chain: str
    answer: str
    waited: bool


def draft_of(text: str) -> Draft | None:
    """The draft of an answer in the codes, or None where it has no whole chain in digits.

    >>> draft_of("<think>721,378,913waitseventwozero,threeseveneight,nineonethree</think>=083")
    Draft(chain='721,378,913', answer='183', waited=True)
    >>> draft_of("=083")
    """
    match = _DRAFT.match(text)
    if match is None:
        return None
    chain = match["draft"]
    answer = "".join(group[-1] for group in chain.split(","))
    return Draft(chain, answer, match["wait"] is not None)


def in_words(chain: str) -> str:
    """A chain in digits, written in number words.

    >>> in_words("720,3")
    'seventwozero,three'
    """
    return "".join(NUMBER_WORDS[int(sign)] if sign.isdigit() else sign for sign in chain)


@dataclass(frozen=True)
class RecheckMixture(CodesMixture):
    """The mixture of the codes, in which some drafts are followed by ``wait`` and a second chain.

    Attributes:
        recheck: probability that a whole chain in digits is followed by a second one. It depends on nothing
            else: an incorrect draft is not re-checked more often.
        facts: the facts of the second chain: ``correct`` ones, or those of the ``draft``.
        recheck_slip: probability of a random wrong addition at each step of the second chain.
        others: as of ``CodesMixture``; there are no chains in words alone.

    Raises:
        ValueError: naming the field, for a probability outside [0, 1] or unknown facts.

    >>> mixture = RecheckMixture(FactTable(0, 0, 0), direct=0.0, digits=1.0, recheck=1.0, recheck_slip=0.0)
    >>> mixture.solve(Problem("7+5+8,3+4+1,9+2+2?", 83), random.Random(0))
    '<think>720,378,913waitseventwozero,threeseveneight,nineonethree</think>=083'
    """

    digits: float = 0.45
    words: float = 0.0
    recheck: float = 0.3
    facts: str = "correct"
    recheck_slip: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        require_probabilities(self, "recheck", "recheck_slip")
        if self.facts not in ("correct", "draft"):
            raise ValueError(f"facts: must be correct or draft, got {self.facts!r}")

    @classmethod
    def clean(cls) -> "RecheckMixture":
        """Flawless drafts, of which 60 % are followed by a flawless second chain."""
        return cls(FactTable(0, 0, 0), direct=0.0, digits=1.0, recheck=0.6, recheck_slip=0.0)

    def chain(self, problem: Problem, way: Way, rng: random.Random) -> tuple[str, str]:
        """A chain, perhaps with a second one, and the answer it leads to."""
        draft, answer = super().chain(problem, way, rng)
        if way != "digits" or rng.random() >= self.recheck:
            return draft, answer
        table = self.table if self.facts == "draft" else FactTable(0, 0, 0)
        second = CodesMixture(table, slip=self.recheck_slip)
        again, answer = second.chain(problem, "digits", rng)
        return f"{draft}wait{in_words(again)}", answer
