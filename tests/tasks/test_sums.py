"""Problems, worked solutions and forms of the sums."""

import random

import pytest

from rlvr_lab.tasks.sums import Sums, SumsMixture, hidden_digit
from rlvr_lab.tasks.task import Problem


def digits_of(problem: Problem) -> list[int]:
    return [int(c) for c in problem.prompt if c.isdigit()]


def test_answers_are_the_last_digit_of_the_sum():
    for problem in Sums().problems(200, random.Random(0)):
        digits = digits_of(problem)
        assert problem.answer == int(str(sum(digits))[-1])
        assert problem.difficulty == len(digits) - 1
        assert 4 <= len(digits) <= 8


def test_every_prompt_is_a_form_of_eight_boxes():
    for problem in Sums().problems(50, random.Random(1)):
        boxes = problem.prompt.rstrip("?").replace("+", "")
        assert len(boxes) == 8 and problem.prompt.endswith("?")


def test_same_seed_same_problems():
    assert Sums().problems(9, random.Random(3)) == Sums().problems(9, random.Random(3))
    assert Sums().problems(9, random.Random(3)) != Sums().problems(9, random.Random(4))


def test_a_clean_chain_holds_the_running_sums():
    clean, rng = SumsMixture.clean(), random.Random(2)
    for problem in Sums().problems(50, rng):
        total, chain = 0, ""
        for digit in digits_of(problem):
            total = (total + digit) % 10
            chain += str(total)
        assert clean.solve(problem, rng) == f"<think>{chain}</think>={total}"
        assert Sums().verify(problem, clean.solve(problem, rng), False).correct


def test_the_mixture_has_the_stated_shares():
    mixture, rng, task = SumsMixture(), random.Random(5), Sums()
    n = 4000
    texts = [mixture.solve(p, rng) for p in task.problems(n, rng)]
    direct = sum(t.startswith("=") for t in texts) / n
    malformed = sum(not task.well_formed(t) for t in texts) / n
    # Three standard errors of a share of n draws.
    assert abs(direct - mixture.direct) < 3 * (0.25 / n) ** 0.5
    assert abs(malformed - mixture.malformed) < 3 * (0.25 / n) ** 0.5


def test_a_slip_is_carried_on_unless_it_is_caught():
    always = SumsMixture(0.0, 0.0, 0.0, slip=1.0, wait_after_slip=0.0, wait_after_right=0.0)
    caught = SumsMixture(0.0, 0.0, 0.0, slip=1.0, wait_after_slip=1.0, wait_after_right=0.0)
    problem = Problem("1+1......?", 2, 1)
    rng = random.Random(0)
    assert not Sums().verify(problem, always.solve(problem, rng), False).correct
    text = caught.solve(problem, rng)
    assert "wait2" in text and Sums().verify(problem, text, False).correct


@pytest.mark.parametrize("terms", [(1, 4), (5, 4)])
def test_a_range_of_terms_that_is_none_is_refused(terms):
    with pytest.raises(ValueError, match="min_terms"):
        Sums(*terms)
    with pytest.raises(ValueError, match="count"):
        Sums().problems(0, random.Random(0))


def test_a_hidden_answer_changes_nothing_but_the_answer():
    usual = Sums().problems(4000, random.Random(6))
    hidden = Sums(hidden_answer=True).problems(4000, random.Random(6))
    assert [p.prompt for p in usual] == [p.prompt for p in hidden]
    assert [p.difficulty for p in usual] == [p.difficulty for p in hidden]
    assert all(p.answer == hidden_digit(p.prompt) for p in hidden)
    assert hidden == Sums(hidden_answer=True).problems(4000, random.Random(6))


def test_a_hidden_answer_cannot_be_computed_from_the_digits():
    """Each digit is the answer of a tenth of the prompts, whatever their sum or their last term is."""
    hidden = Sums(hidden_answer=True).problems(4000, random.Random(7))
    for clue in (lambda d: 0, lambda d: sum(d) % 10, lambda d: d[-1], len):
        counts = {}
        for problem in hidden:
            counts.setdefault(clue(digits_of(problem)), []).append(problem.answer)
        for answers in counts.values():
            n = len(answers)
            for digit in range(10):
                assert abs(answers.count(digit) / n - 0.1) < 4.5 * (0.09 / n) ** 0.5
