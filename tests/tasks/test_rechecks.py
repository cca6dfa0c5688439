"""What an answer writes after ``wait``: slips read off a chain, drafts, and the mixture with a second chain."""

import random
from collections import Counter

import pytest

from rlvr_lab.tasks.codes import Codes, FactTable
from rlvr_lab.tasks.rechecks import Draft, RecheckMixture, Step, draft_of, steps_of
from rlvr_lab.tasks.sums import Sums, SumsMixture
from rlvr_lab.tasks.task import Problem

GOOD, BAD = Step(True, False, None), Step(False, False, None)
PROBLEM = Problem("7+5+8.....?", 0, 2)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("<think>720</think>=0", [GOOD, GOOD]),
        ("<think>731</think>=1", [BAD, GOOD]),  # the second step goes on from the slip
        ("<think>73wait20</think>=0", [Step(False, True, True), GOOD]),
        ("<think>73wait31</think>=1", [Step(False, True, False), GOOD]),
        ("<think>72wait20</think>=0", [Step(True, True, True), GOOD]),
        ("<think>72wait31</think>=1", [Step(True, True, False), GOOD]),
        ("<think>720wait0</think>=0", [GOOD, Step(True, True, True)]),
        ("<think>72wait", [Step(True, True, False)]),  # cut off: nothing is repaired
        ("<think>72waitwait0</think>=0", [Step(True, True, False)]),
        ("720=0", [GOOD, GOOD]),
        ("<think>720=0", [GOOD, GOOD]),
        ("<think>7200</think>=0", [GOOD, GOOD]),  # no third step in the problem
        ("<think>7wait20</think>=0", []),  # ``wait`` before the first step
        ("<think>20</think>=0", []),
        ("<think>7two0</think>=0", []),
        ("=0", []),
        ("", []),
    ],
)
def test_steps_are_read_by_hand(text: str, steps: list[Step]) -> None:
    assert steps_of(PROBLEM, text) == steps


def test_the_mixture_has_the_rates_that_are_read_from_it() -> None:
    mixture = SumsMixture(0.0, 0.0, 0.0, slip=0.3, wait_after_slip=0.6, wait_after_right=0.2)
    rng, found = random.Random(0), Counter()
    for problem in Sums().problems(2000, rng):
        found.update(steps_of(problem, mixture.solve(problem, rng)))
    slips = sum(n for step, n in found.items() if not step.correct)
    waits = sum(n for step, n in found.items() if step.waited and not step.correct)
    correct = sum(n for step, n in found.items() if step.correct)
    early = sum(n for step, n in found.items() if step.waited and step.correct)
    assert slips / (slips + correct) == pytest.approx(0.3, abs=0.02)
    assert waits / slips == pytest.approx(0.6, abs=0.03)
    assert early / correct == pytest.approx(0.2, abs=0.02)
    assert all(step.repaired is not False for step in found)


@pytest.mark.parametrize(
    ("text", "draft"),
    [
        ("<think>720,378,914</think>=083", Draft("720,378,914", "084", False)),
        ("<think>720,378,914wait", Draft("720,378,914", "084", True)),
        ("<think>720,378,914=083", Draft("720,378,914", "084", False)),
        ("<think>720wait,378,914</think>=083", None),
        ("<think>seventwozero,378,914</think>=083", None),
        ("720,378,914=083", None),
        ("=083", None),
    ],
)
def test_a_draft_is_a_whole_chain_in_digits(text: str, draft: Draft | None) -> None:
    assert draft_of(text) == draft


def answers(mixture: RecheckMixture, count: int = 600) -> list[tuple[Problem, str]]:
    rng = random.Random(1)
    return [(one, mixture.solve(one, rng)) for one in Codes().problems(count, rng)]


def test_the_second_chain_has_correct_facts_or_those_of_the_draft() -> None:
    table = FactTable(3, 12, 0)
    drafted = {"direct": 0.0, "digits": 1.0, "recheck": 1.0, "recheck_slip": 0.0}
    for facts in ("correct", "draft"):
        for problem, text in answers(RecheckMixture(table, facts=facts, **drafted), 200):
            draft = draft_of(text)
            assert draft and draft.waited and Codes().well_formed(text)
            assert int(draft.answer) == table.answer(problem, "digits")
            wanted = problem.answer if facts == "correct" else int(draft.answer)
            assert int(text[-3:]) == wanted
            again = text.split("wait")[1].split("<")[0]
            assert not any(sign.isdigit() for sign in again)


def test_a_recheck_depends_on_nothing_else_and_slips_are_its_own() -> None:
    mixture = RecheckMixture(FactTable(0, 12, 0), recheck=0.3, recheck_slip=0.1)
    drafts = [(p, draft_of(t), t) for p, t in answers(mixture, 3000)]
    whole = [(p, d, t) for p, d, t in drafts if d and "</think>" in t]
    for correct in (True, False):
        waits = [d.waited for p, d, _ in whole if (int(d.answer) == p.answer) == correct]
        assert sum(waits) / len(waits) == pytest.approx(0.3, abs=0.05)
    table = mixture.table
    assert all(int(d.answer) == table.answer(p, "digits") for p, d, _ in whole)
    ends = [int(t[-3:]) == p.answer for p, d, t in whole if d.waited]
    assert sum(ends) / len(ends) == pytest.approx(0.9**6, abs=0.07)


def test_the_clean_stage_makes_no_mistakes() -> None:
    found = [(p, draft_of(t), t) for p, t in answers(RecheckMixture.clean())]
    assert all(draft and int(t[-3:]) == p.answer == int(draft.answer) for p, draft, t in found)
    assert sum(draft.waited for _, draft, _ in found) / len(found) == pytest.approx(0.6, abs=0.06)


@pytest.mark.parametrize(
    "wrong", [{"recheck": 1.5}, {"recheck": -0.1}, {"recheck_slip": 2.0}, {"facts": "words"}]
)
def test_what_is_no_mixture_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: "):
        RecheckMixture(**wrong)
