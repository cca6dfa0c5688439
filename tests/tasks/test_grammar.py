"""One judge for all worlds: what it says of each kind of text, and where it looks for an answer."""

import re

import pytest

from rlvr_lab.tasks.grammar import MAX_CHARACTERS, fits, judge
from rlvr_lab.tasks.task import Verdict

GRAMMAR = re.compile(r"(?:<t>[0-9]*</t>)?=(?P<answer>[0-9]{2})")
ANYWHERE = re.compile(r"=(?P<answer>[0-9]{1,18})")
LONGEST = "<t>" + "7" * (MAX_CHARACTERS - 10) + "</t>=07"
TEXTS = {
    "=07": Verdict("right", "07"),
    "<t>12</t>=07": Verdict("right", "07"),
    "=08": Verdict("wrong", "08"),
    "=7": Verdict("malformed", "7"),
    "<t>12=07": Verdict("malformed", "07"),
    "=07=08": Verdict("malformed", "07"),
    "07": Verdict("no_answer"),
    "": Verdict("no_answer"),
    LONGEST: Verdict("right", "07"),
    LONGEST.replace("<t>", "<t>7"): Verdict("malformed"),
}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
def test_a_text_gets_its_verdict(text) -> None:
    assert judge(text, "07", False, GRAMMAR, ANYWHERE) == TEXTS[text]
    assert (fits(GRAMMAR, text) is not None) is (TEXTS[text].reason in ("right", "wrong"))
    assert judge(text, "07", True, GRAMMAR, ANYWHERE) == Verdict("truncated")


def test_a_text_has_at_most_4096_characters() -> None:
    assert MAX_CHARACTERS == 4096 == len(LONGEST)


def test_an_answer_is_compared_as_it_is_written() -> None:
    assert judge("=07", "7", False, GRAMMAR, ANYWHERE) == Verdict("wrong", "07")
    assert judge("=17", "7", False, GRAMMAR, ANYWHERE) == Verdict("wrong", "17")
