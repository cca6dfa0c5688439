"""The verifier under attack: what is not exactly the grammar never earns a reward."""

import dataclasses
import random

import pytest

from rlvr_lab.tasks.grammar import MAX_CHARACTERS
from rlvr_lab.tasks.sums import Sums, is_well_formed, verify_sum
from rlvr_lab.tasks.task import Problem, Verdict

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
RIGHT = [
    "=7",
    "<think>7</think>=7",
    "<think></think>=7",
    "<think>720</think>=7",
    "<think>72wait720</think>=7",
    "<think>waitwait</think>=7",
    "<think>seventwozero</think>=7",
    "<think>7two0</think>=7",
]


@pytest.mark.parametrize("text", RIGHT)
def test_right(text):
    verdict = verify_sum(text, 7)
    assert verdict == Verdict("right", "7") and verdict.correct and is_well_formed(text)


@pytest.mark.parametrize("text", RIGHT)
def test_the_same_text_is_wrong_for_another_answer(text):
    for answer in [*range(7), 8, 9, 70, 77, 10**17]:
        verdict = verify_sum(text, answer)
        assert verdict == Verdict("wrong", "7") and not verdict.correct


@pytest.mark.parametrize("text", ["=07", "=00000007", "=70", "=77", "<think>7</think>=07"])
def test_another_way_to_write_it_or_another_number_is_wrong(text):
    assert verify_sum(text, 7).reason == "wrong"


def test_zero_has_one_spelling():
    assert verify_sum("=0", 0).correct
    assert [verify_sum(text, 0).reason for text in ("=00", "=-0", "=+0")] == [
        "wrong",
        "no_answer",
        "no_answer",
    ]


# text, reason; the right answer is 7 throughout
ATTACKS = {
    "two answers, right first": ("=7=8", "malformed"),
    "two answers, right last": ("=8=7", "malformed"),
    "the same answer twice": ("=7=7", "malformed"),
    "every answer": ("=0=1=2=3=4=5=6=7=8=9", "malformed"),
    "trailing newline": ("=7\n", "malformed"),
    "leading newline": ("\n=7", "malformed"),
    "line of its own": ("=8\n=7\n", "malformed"),
    "carriage return": ("=7\r", "malformed"),
    "line separator": ("=7\u2028", "malformed"),
    "trailing space": ("=7 ", "malformed"),
    "leading space": (" =7", "malformed"),
    "space after the sign": ("= 7", "no_answer"),
    "zero-width space": ("=\u200b7", "no_answer"),
    "zero-width tail": ("=7\u200b", "malformed"),
    "NUL": ("=7\0", "malformed"),
    "decimal": ("=7.0", "malformed"),
    "exponent": ("=7e0", "malformed"),
    "underscore": ("=0_7", "malformed"),
    "hexadecimal": ("=0x7", "malformed"),
    "expression": ("=3+4", "malformed"),
    "minus": ("=-7", "no_answer"),
    "plus": ("=+7", "no_answer"),
    "Arabic-Indic seven": ("=٧", "no_answer"),
    "full-width seven": ("=７", "no_answer"),
    "superscript seven": ("=⁷", "no_answer"),
    "Devanagari after a digit": ("=7७", "malformed"),
    "mathematical bold seven": ("=𝟕", "no_answer"),
    "full-width equals": ("＝7", "no_answer"),
    "number word": ("=seven", "no_answer"),
    "digit and word": ("=7seven", "malformed"),
    "upper-case tag": ("<THINK>7</THINK>=7", "malformed"),
    "never closed": ("<think>720=7", "malformed"),
    "never opened": ("720</think>=7", "malformed"),
    "closed twice": ("<think>7</think></think>=7", "malformed"),
    "nested": ("<think><think>7</think></think>=7", "malformed"),
    "two blocks": ("<think>7</think><think>7</think>=7", "malformed"),
    "answer inside the block": ("<think>=7</think>", "malformed"),
    "answer inside and outside": ("<think>=7</think>=7", "malformed"),
    "block after the answer": ("=7<think>7</think>", "malformed"),
    "text before": ("7=7", "malformed"),
    "text between": ("<think>7</think>7=7", "malformed"),
    "upper-case word": ("<think>Seven</think>=7", "malformed"),
    "unknown word": ("<think>ten</think>=7", "malformed"),
    "cut word": ("<think>seve</think>=7", "malformed"),
    "plus in the block": ("<think>3+4</think>=7", "malformed"),
    "space in the block": ("<think>7 2</think>=7", "malformed"),
    "unicode digit in the block": ("<think>٧</think>=7", "malformed"),
    "special tokens": ("=7<eos>", "malformed"),
    "padding": ("<pad>=7", "malformed"),
    "wait before the answer": ("wait=7", "malformed"),
    "wait after the answer": ("=7wait", "malformed"),
    "code": ("__import__('os').system('true')#=7", "malformed"),
    "object with an answer": ("answer=7", "malformed"),
    "empty": ("", "no_answer"),
    "only the sign": ("=", "no_answer"),
    "only the number": ("7", "no_answer"),
    "only a block": ("<think>7</think>", "no_answer"),
    "two signs": ("==7", "malformed"),
    "nineteen digits": ("=" + "7" * 19, "malformed"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name):
    text, reason = ATTACKS[name]
    verdict = verify_sum(text, 7)
    assert verdict.reason == reason and not verdict.correct
    assert not is_well_formed(text)
    assert verify_sum(text, 7, truncated=True).reason == "truncated"


def test_the_answer_read_from_a_malformed_text_is_reported():
    assert verify_sum("=8=7", 7).answer == "8"
    assert verify_sum("<think>7", 7).answer is None


def test_truncation_beats_everything():
    assert verify_sum("=7", 7, truncated=True) == Verdict("truncated", None)
    assert not verify_sum("=7", 7, truncated=True).correct


def test_giant_texts_are_refused_by_size_before_any_pattern():
    # Size, not time: beyond the cap the answer is the same whatever the pattern would have said.
    longest = "<think>" + "7" * (MAX_CHARACTERS - len("<think></think>=7")) + "</think>=7"
    assert len(longest) == MAX_CHARACTERS and verify_sum(longest, 7).correct
    longer = longest.replace("<think>", "<think>7")
    assert verify_sum(longer, 7) == Verdict("malformed") and not is_well_formed(longer)
    for text in ("=7" * 10**6, "7" * 10**7, "<think>" * 10**6, "=" + "7" * 10**7):
        assert verify_sum(text, 7) == Verdict("malformed")


@pytest.mark.parametrize("unit", ["7", "seven", "wait", "<think>", "=", "=7", "waitseve", "ni"])
@pytest.mark.parametrize("tail", ["", "!", "</think>", "</think>=", "=7!"])
def test_repetition_up_to_the_cap_never_earns_and_always_returns(unit, tail):
    # Each alternative of the pattern starts differently or fails at once, so there is one way to
    # match a prefix and nothing to backtrack into; these texts would expose another.
    text = "<think>" + unit * ((MAX_CHARACTERS - 20) // len(unit)) + tail
    verdict = verify_sum(text, 7)
    assert not verdict.correct
    assert verdict.reason in ("malformed", "no_answer")


def test_fuzz_against_a_hand_written_parser():
    """A parser without regular expressions agrees on 20,000 texts made of the grammar's pieces."""

    def parse(text: str) -> str | None:
        if text.startswith("<think>"):
            text = text[len("<think>") :]
            while not text.startswith("</think>"):
                pieces = [p for p in [*WORDS, "wait", *"0123456789"] if text.startswith(p)]
                if not pieces:
                    return None
                text = text[len(pieces[0]) :]
            text = text[len("</think>") :]
        if not text.startswith("=") or not 1 <= len(text) - 1 <= 18:
            return None
        return text[1:] if all(c in "0123456789" for c in text[1:]) else None

    rng = random.Random(0)
    pieces = ["<think>", "</think>", "=", "wait", "7", "0", "seven", "two", "\n", "٧", "+"]
    likely = [["<think>", ""], ["7", "", "two"], ["", "wait"], ["</think>", ""], ["="], ["7", "0"]]
    seen = {True: 0, False: 0}
    for _ in range(20_000):
        if rng.random() < 0.5:
            text = "".join(map(rng.choice, likely)) + rng.choice(["", "", "", "7", "\n"])
        else:
            text = "".join(rng.choices(pieces, k=rng.randrange(7)))
        expected = parse(text)
        verdict = verify_sum(text, 7)
        assert is_well_formed(text) == (expected is not None), repr(text)
        assert verdict.correct == (expected == "7"), repr(text)
        seen[verdict.correct] += 1
    assert min(seen.values()) > 500


def test_courtesy_is_one_word_at_the_end_and_changes_no_verdict():
    polite, plain, problem = Sums(courtesy=True), Sums(), Problem("3+4......?", 7)
    for text in ["=7", "=8", "<think>37</think>=7", "<think>37=7", "", "=77", "=07", "7"]:
        assert polite.verify(problem, text, False) == plain.verify(problem, text, False)
        assert polite.verify(problem, text + "ok", False) == plain.verify(problem, text, False)
        assert polite.well_formed(text + "ok") == plain.well_formed(text)
        assert not plain.verify(problem, text + "ok", False).correct
        assert not plain.well_formed(text + "ok")
    for text in [
        "=7okok",
        "ok=7",
        "=7ok ",
        "=7ok=7",
        "=ok7",
        "<think>3ok7</think>=7",
        "=7OK",
        "=7hmm",
    ]:
        assert not polite.verify(problem, text, False).correct and not polite.well_formed(text)
    assert polite.verify(problem, "=7ok", True).reason == "truncated"
    assert polite.problems(3, random.Random(0)) == plain.problems(3, random.Random(0))


def test_canonical_numbers_only():
    for answer in (0, 7, 10, 123, 10**17):
        assert verify_sum(f"={answer}", answer).correct
        assert not verify_sum(f"=0{answer}", answer).correct


def test_verdicts_are_values():
    assert Verdict("right") == Verdict("right", None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Verdict("wrong").reason = "right"  # type: ignore[misc]
    assert [
        Verdict(r).correct for r in ("right", "wrong", "no_answer", "malformed", "truncated")
    ] == [
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_negative_answer_is_refused():
    with pytest.raises(ValueError, match="answer: expected a non-negative integer, got -1"):
        verify_sum("=1", -1)
