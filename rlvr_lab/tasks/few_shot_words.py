"""Small tasks for small pretrained models: two solved examples, then a question of one line.

    kind        question                        answer
    swap        Swap the two words: cat tree    tree cat
    add         Add the numbers: 3 + 5          8
    capitals    Write in capitals: tree         TREE
    first       First letter of the word: tree  t

A model of 135 million parameters answers a quarter to a half of them correctly, which RL needs: where every answer
of a group is wrong, there is nothing to learn from.

A word (for ``add``: a pair of digits) is kept for the test by the rule of ``tasks.held_out``. Training problems
contain no such word, test problems only such words.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from rlvr_lab.policy.chat import Message
from rlvr_lab.tasks.conversation import Conversation, examples
from rlvr_lab.tasks.grammar import judge
from rlvr_lab.tasks.held_out import kept_for_the_test
from rlvr_lab.tasks.task import Problem, Verdict

__all__ = ["KINDS", "FewShotWords", "items"]

_LIST = """
apple arm army baby back bag ball bank bear bed bell bird boat body bone book bottle box boy bread
bridge brother bus butter cake camp car card cat chair child church circle city clock cloud coat
coffee color cow cup day desk dinner doctor dog door dream dress duck ear earth egg eye face farm
father field finger fire fish flag floor flower food foot forest friend fruit garden girl glass gold
grass green ground hair hall hand hat head heart hill home horse hotel house ice island job key king
kitchen knife lake lamp leaf leg letter light line lion lunch machine map market milk mind money
moon morning mother mountain mouth music name neck night nose office oil page paper park party pen
picture plane plant plate queen rain red ring river road rock roof room rose salt sand school sea
shirt shoe shop sister skin sky snow song spoon star station stone store story street sugar summer
sun table tail tea teacher tooth tower town train tree truck uncle valley village voice wall watch
water week wheel wind window winter wolf wood yard
"""
WORDS = re.findall("[a-z]+", _LIST)

_GRAMMAR = re.compile(
    r"\s{0,4}(?P<answer>[A-Za-z0-9]{1,32}(?: [A-Za-z0-9]{1,32}){0,3})\s{0,4}", re.ASCII
)
_ANYWHERE = re.compile(r"(?P<answer>[A-Za-z0-9]{1,32})", re.ASCII)


class _Kind(NamedTuple):
    question: str  # with the item in place of {}
    examples: list[str]
    answer: Callable[[str], str]


KINDS: dict[str, _Kind] = {
    "swap": _Kind(
        "Swap the two words: {}",
        ["stick goat", "nurse pond", "beach cousin", "tiger soup"],
        lambda item: " ".join(reversed(item.split())),
    ),
    "add": _Kind(
        "Add the numbers: {}",
        ["2 + 3", "7 + 4", "1 + 6", "5 + 5"],
        lambda item: str(sum(map(int, item.split(" + ")))),
    ),
    "capitals": _Kind("Write in capitals: {}", ["stick", "pond", "beach", "tiger"], str.upper),
    "first": _Kind(
        "First letter of the word: {}", ["stick", "pond", "beach", "tiger"], lambda item: item[0]
    ),
}
"""Name → question, solved examples (none is a problem), and the answer to an item."""


@cache
def items(kind: str, held_out: bool) -> tuple[str, ...]:
    """The words, or for ``add`` the pairs of digits, that problems are made of."""
    pairs = [f"{a} + {b}" for a in range(10) for b in range(10)]
    known = [one for one in pairs if one not in KINDS["add"].examples] if kind == "add" else WORDS
    return tuple(one for one in known if kept_for_the_test(one) == held_out)


@dataclass(frozen=True)
class FewShotWords(Conversation):
    """Questions of one kind, after solved examples.

    Attributes:
        kind: see the module's table.
        shots: solved examples before the question, 0 to 4.
        held_out: draw test problems and not training problems.

    Raises:
        ValueError: naming the field.

    >>> FewShotWords("swap").problems(1, random.Random(0))[0]
    Problem(prompt='Swap the two words: sand snow', answer='snow sand', difficulty=1)
    """

    kind: Literal["swap", "add", "capitals", "first"] = "swap"
    shots: int = 2
    held_out: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not 0 <= self.shots <= 4:
            raise ValueError(f"shots: must be between 0 and 4, got {self.shots}")

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """Draw ``count`` problems; two words of one problem are different."""
        if count < 1:
            raise ValueError(f"count: need at least 1 problem, got {count}")
        kind, known = KINDS[self.kind], items(self.kind, self.held_out)
        size = 2 if self.kind == "swap" else 1
        drawn = [" ".join(rng.sample(known, size)) for _ in range(count)]
        return [Problem(kind.question.format(item), kind.answer(item)) for item in drawn]

    def messages(self, problem: Problem) -> list[Message]:
        """The solved examples, then the question."""
        kind = KINDS[self.kind]
        solved = [(kind.question.format(one), kind.answer(one)) for one in kind.examples]
        return examples(solved[: self.shots], problem.prompt)

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """Correct if the whole text is the answer; white space around it does not count.

        >>> task, problem = FewShotWords(), Problem("Swap the two words: cat tree", "tree cat")
        >>> [task.verify(problem, text, False).reason for text in ("tree cat", "cat tree", "tree cat!")]
        ['right', 'wrong', 'malformed']
        """
        return judge(text, str(problem.answer), truncated, _GRAMMAR, _ANYWHERE)
