"""Long sums: the answer is the last two running sums, the verifier reads them, and the mixture has its rates."""

import random
from collections import Counter

import pytest

from rlvr_lab.policy.words import build_tokenizer
from rlvr_lab.tasks.long_sums import LongSums, LongSumsMixture, digits_of, running_sums
from rlvr_lab.tasks.task import Problem, Verdict
from rlvr_lab.tasks.worlds import WORLDS, base_policy, make_task

PROBLEM = Problem("7+5+8+3........?", 3, 3)  # running sums 7 2 0 3, so the answer is 03


def test_a_problem_by_hand() -> None:
    assert LongSums().problem([7, 5, 8, 3]) == PROBLEM
    assert digits_of(PROBLEM.prompt) == [7, 5, 8, 3]
    assert running_sums([7, 5, 8, 3]) == [7, 2, 0, 3]
    assert running_sums([9, 9]) == [9, 8]
    assert LongSums().problem([9, 9]) == Problem("9+9..........?", 98, 1)
    assert LongSums(2, 4, 4).problem([1, 2, 3, 4]).prompt == "1+2+3+4?"


def test_problems_are_uniform_in_terms_and_digits() -> None:
    problems = LongSums(3, 6).problems(6000, random.Random(0))
    terms = Counter(problem.difficulty + 1 for problem in problems)
    assert set(terms) == {3, 4, 5, 6} and all(abs(n / 6000 - 0.25) < 0.02 for n in terms.values())
    digits = Counter(digit for problem in problems for digit in digits_of(problem.prompt))
    assert set(digits) == set(range(10)) and max(digits.values()) < 1.1 * min(digits.values())
    # Left of the answer stands the running sum before the last, right the last: both uniform.
    answers = Counter(problem.answer for problem in problems)
    assert len(answers) == 100 and max(answers.values()) < 110
    assert LongSums().problems(5, random.Random(3)) == LongSums().problems(5, random.Random(3))
    # A digit, or a dot, with the sign before it is one token: every prompt has the same layout.
    assert {len(build_tokenizer().encode(problem.prompt)) for problem in problems[:50]} == {13}


@pytest.mark.parametrize(
    ("text", "reason", "answer"),
    [
        ("<think>7203</think>=03", "right", "03"),
        ("=03", "right", "03"),
        ("<think></think>=03", "right", "03"),
        ("<think>1111</think>=03", "right", "03"),  # the chain is not judged
        ("<think>7203</think>=30", "wrong", "30"),
        ("=3", "malformed", "3"),
        ("=003", "malformed", "003"),
        ("7203=03", "malformed", "03"),
        ("<think>7203=03", "malformed", "03"),
        ("<think>7203</think>=03=03", "malformed", "03"),
        ("<think>72wait03</think>=03", "malformed", "03"),
        ("<think>7203</think>", "no_answer", None),
        ("", "no_answer", None),
    ],
)
def test_verdicts_by_hand(text: str, reason: str, answer: str | None) -> None:
    verdict = LongSums().verify(PROBLEM, text, False)
    assert (verdict.reason, verdict.answer) == (reason, answer)
    assert LongSums().well_formed(text) == (reason in ("right", "wrong"))
    assert LongSums().verify(PROBLEM, text, True).reason == "truncated"


def test_a_text_that_is_too_long_is_not_searched() -> None:
    text = "<think>" + "7" * 5000 + "</think>=03"
    assert LongSums().verify(PROBLEM, text, False) == Verdict("malformed")
    assert not LongSums().well_formed(text)


def test_the_mixture_has_its_rates() -> None:
    mixture, rng = LongSumsMixture(0.3, 0.2, slip=0.25), random.Random(0)
    task, kinds, slips, steps = LongSums(), Counter(), 0, 0
    guesses = Counter()
    for problem in task.problems(3000, rng):
        text = mixture.solve(problem, rng)
        if text.startswith("="):
            kinds["direct"] += 1
            guesses[text] += 1
            assert task.well_formed(text)
            continue
        whole = text.startswith("<think>") and "</think>" in text
        kinds["chain" if whole else "malformed"] += 1
        assert whole == task.well_formed(text)
        totals = [int(digit) for digit in text.replace("<think>", "").split("<")[0].split("=")[0]]
        digits = digits_of(problem.prompt)
        assert len(totals) == len(digits) and totals[0] == digits[0]
        assert text.endswith(f"={totals[-2]}{totals[-1]}")  # it answers from its own chain
        for before, after, digit in zip(totals, totals[1:], digits[1:], strict=False):
            steps, slips = steps + 1, slips + (after != (before + digit) % 10)
    shares = {kind: count / 3000 for kind, count in kinds.items()}
    assert shares == pytest.approx({"direct": 0.3, "malformed": 0.2, "chain": 0.5}, abs=0.03)
    assert slips / steps == pytest.approx(0.25, abs=0.01)
    assert len(guesses) == 100


def test_clean_chains_are_always_correct() -> None:
    rng = random.Random(1)
    for problem in LongSums().problems(50, rng):
        text = LongSumsMixture.clean().solve(problem, rng)
        assert text.startswith("<think>") and LongSums().verify(problem, text, False).correct


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LongSums(1), "min_terms, max_terms, places"),
        (lambda: LongSums(5, 4), "min_terms, max_terms, places"),
        (lambda: LongSums(2, 13), "min_terms, max_terms, places"),
        (lambda: LongSums().problems(0, random.Random(0)), "count"),
        (lambda: LongSumsMixture(direct=1.2), "direct"),
        (lambda: LongSumsMixture(slip=-0.1), "slip"),
        (lambda: LongSumsMixture(direct=0.6, malformed=0.5), "direct, malformed"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}:"):
        make()


def test_the_world_is_known_and_has_no_base() -> None:
    assert make_task("long_sums", {"min_terms": 9}) == LongSums(9)
    assert not WORLDS["long_sums"].ready and WORLDS["long_sums"].settings["max_new_tokens"] >= 18
    with pytest.raises(ValueError, match="base: no base of long_sums is shipped"):
        base_policy("long_sums", LongSums(), 0, "cpu")
