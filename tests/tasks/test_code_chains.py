"""Chains of the codes: numbers and languages as written, additions as made, and what a person can read."""

import random

import pytest

from rlvr_lab.tasks.code_chains import additions, numbers, readable
from rlvr_lab.tasks.codes import Codes, CodesMixture, FactTable
from rlvr_lab.tasks.task import Problem

PROBLEM = Problem("7+5+8,3+4+1,9+2+2?", 83)
NONE = FactTable(0, 0, 0)


def test_numbers_are_read_in_order_with_their_language():
    found = numbers("<think>7two0,wait3seven8,913</think>=083")
    assert [value for value, _ in found] == [7, 2, 0, 3, 7, 8, 9, 1, 3]
    assert [i for i, one in enumerate(found) if one.language == "words"] == [1, 4]


@pytest.mark.parametrize(
    "text", ["=083", "720,378,913=083", "<think>720,378,913=083", "<think>720</think>=0832", ""]
)
def test_there_is_no_chain_in_a_direct_or_malformed_answer(text):
    assert numbers(text) == [] and additions(PROBLEM, text) == [] and not readable(text)


def test_an_addition_starts_from_what_the_chain_wrote():
    """The running sum of an addition is the one in the text, wrong or not; the addend is the problem's."""
    made = additions(PROBLEM, "<think>7three1,threeseven8,91three</think>=183")
    assert [tuple(one[:3]) for one in made] == [
        *((7, 5, 3), (3, 8, 1), (3, 4, 7), (7, 1, 8), (9, 2, 1), (1, 2, 3))
    ]
    assert [one.language for one in made] == [
        "words",
        "digits",
        "words",
        "digits",
        "digits",
        "words",
    ]
    assert [one.before for one in made] == ["digits", "words", "words", "words", "digits", "digits"]


@pytest.mark.parametrize("chain", ["720,378,91", "720,378,9133", "720", ""])
def test_only_a_whole_chain_has_additions(chain):
    assert additions(PROBLEM, f"<think>{chain}</think>=083") == []


READABLE = {
    "720,378,913": True,
    "111,222,333": True,
    "seventwozero,threeseveneight,nineonethree": True,
    "720,378,91three": False,
    "720378913": False,
    "7203,78,913": False,
    "720,378,913,": False,
    "720,378": False,
    "72wait0,378,913": False,
    "": False,
}


@pytest.mark.parametrize("chain", READABLE)
def test_a_readable_chain_has_one_language_and_its_commas(chain):
    assert readable(f"<think>{chain}</think>=083") is READABLE[chain]


def test_a_chain_in_random_languages_is_whole_correct_and_not_readable():
    task, rng = Codes(), random.Random(0)
    mixture = CodesMixture(NONE, 0.0, 0.0, 0.0, mixed=1.0, switch=0.5)
    problems = task.problems(200, rng)
    texts = [mixture.solve(problem, rng) for problem in problems]
    languages = [number.language for text in texts for number in numbers(text)]
    assert abs(languages.count("words") / len(languages) - 0.5) < 0.05
    pairs = list(zip(problems, texts, strict=True))
    changes = [one.language != one.before for p, t in pairs for one in additions(p, t)]
    assert len(changes) == 6 * 200 and abs(sum(changes) / len(changes) - 0.5) < 0.05
    assert all(task.verify(problem, text, False).correct for problem, text in pairs)
    assert sum(map(readable, texts)) <= 3  # one of 256 is in one language by chance
