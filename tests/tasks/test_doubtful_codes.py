"""Codes in doubt: the wrong result comes as often as stated, and an answer has to follow from its chain."""

import random

import pytest

from rlvr_lab.tasks.codes import Codes, FactTable
from rlvr_lab.tasks.doubtful_codes import (
    DoubtfulMixture,
    ShownCodes,
    correct_chain,
    still_correct,
)
from rlvr_lab.tasks.task import Problem

PROBLEM = Problem("7+5+8,3+4+1,9+2+2?", 83)
RIGHT = "<think>720,378,913</think>=083"


def test_the_answer_has_to_follow_from_a_whole_chain() -> None:
    def reason(text: str) -> str:
        return ShownCodes().verify(PROBLEM, text, False).reason

    assert reason(RIGHT) == "right"
    assert reason("<think>seventwozero,threeseveneight,nineonethree</think>=083") == "right"
    assert reason("<think>110,118,113</think>=083") == "right"  # the additions are not judged
    assert reason("<think>720,378,914</think>=084") == "wrong"
    for text in ("=083", "<think></think>=083", "<think>720,378</think>=083"):
        assert reason(text) == "malformed"
    assert reason("<think>720,378,914</think>=083") == "malformed"
    assert reason("<think>72wait0,378,913</think>=083") == "malformed"
    assert ShownCodes().verify(PROBLEM, RIGHT, True).reason == "truncated"


def test_doubt_is_the_share_of_wrong_results() -> None:
    table = FactTable(3, 60, 0)
    mixture, rng = DoubtfulMixture(table, doubt=0.7), random.Random(0)
    wrong = doubtful = other = 0
    for problem in Codes().problems(400, rng):
        text = mixture.solve(problem, rng)
        assert ShownCodes().verify(problem, text, False).reason in ("right", "wrong")
        groups = text[len("<think>") :].split("</think>")[0].split(",")
        for group, one in zip(problem.prompt[:-1].split(","), groups, strict=True):
            total, addend = int(one[0]), int(group.split("+")[1])
            true, taught = (total + addend) % 10, table.add(total, addend, "digits")
            if true == taught:
                other += int(one[1]) != true
            else:
                doubtful, wrong = doubtful + 1, wrong + (int(one[1]) == taught)
                assert int(one[1]) in (true, taught)
    assert other == 0 and doubtful > 600
    assert abs(wrong / doubtful - 0.7) < 0.05
    sure = DoubtfulMixture(table, doubt=0.0)
    assert sure.solve(PROBLEM, rng) == RIGHT
    with pytest.raises(ValueError, match="doubt"):
        DoubtfulMixture(doubt=1.1)


def test_a_prefix_is_correct_until_its_first_mistake() -> None:
    words = [*correct_chain(PROBLEM), "<eos>"]
    assert "".join(words[:-1]) == RIGHT and len(words) == 18
    assert all(still_correct(PROBLEM, words[:n]) for n in range(19))
    for place in range(18):
        assert not still_correct(PROBLEM, [*words[:place], "wait", *words[place + 1 :]])
    assert still_correct(PROBLEM, ["<think>", "seven", "2", "zero", ","])
    assert not still_correct(PROBLEM, [*words[:14], "zero"])  # the answer stands in digits
    assert not still_correct(PROBLEM, ["=", "0", "8", "3"])
