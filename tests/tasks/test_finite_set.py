"""A fixed set of prompts: distinct, nested, without the test's, and how a step draws from it."""

import random
from collections import Counter

import pytest

from rlvr_lab.policy.loading import load_policy
from rlvr_lab.tasks.finite_set import FiniteSet
from rlvr_lab.tasks.length_lab import LengthLab
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Problem, Task, Verdict


class Dice(Task):
    """Six prompts, and everything that a task can say."""

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        return [Problem(f"{face}?", face) for face in (rng.randrange(6) for _ in range(count))]

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        return Verdict("truncated" if truncated else "right" if text == "me" else "wrong", text)

    def well_formed(self, text: str) -> bool:
        return text == "form"

    def forced_words(self, rows: int, rng: random.Random) -> list[str]:
        return [f"{rng.randrange(100)}"] * rows

    def measure(self, policy, max_new_tokens: int, temperature: float) -> dict[str, float]:
        return {"sum": max_new_tokens + temperature}


def test_the_members_are_the_first_distinct_prompts_of_one_stream() -> None:
    rng, seen = random.Random("finite set 3"), []
    while len(seen) < 5:
        (problem,) = Dice().problems(1, rng)
        if problem not in seen:
            seen.append(problem)
    assert FiniteSet(Dice(), 5, 3).members == seen
    assert FiniteSet(Dice(), 2, 3).members == seen[:2]
    assert FiniteSet(Sums(), 50, 3).members != FiniteSet(Sums(), 50, 4).members
    without = FiniteSet(Dice(), 4, 3, frozenset(p.prompt for p in seen[:2])).members
    assert without[:3] == seen[2:] and len(set(without)) == 4


class Scripted(Task):
    """Prompts in a given order."""

    def __init__(self, prompts: list[str]) -> None:
        self.left = iter(prompts)

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        return [Problem(next(self.left), 7, 5) for _ in range(count)]

    verify, well_formed = Dice.verify, Dice.well_formed


def test_patience_ends_after_draws_in_a_row_without_a_new_prompt() -> None:
    many = 10_000
    patient = ["a"] * (1 + many) + ["b"] * (1 + many) + ["c"]
    assert [p.prompt for p in FiniteSet(Scripted(patient), 3).members] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="found 1 prompts, not 2"):
        _ = FiniteSet(Scripted(["a"] * (2 + many) + ["b"]), 2).members


def test_a_member_is_the_problem_as_the_other_task_drew_it() -> None:
    assert FiniteSet(Scripted(["x", "y"]), 2).members == [Problem("x", 7, 5), Problem("y", 7, 5)]


def test_a_step_takes_whole_copies_and_distinct_rest() -> None:
    four = FiniteSet(Dice(), 4, 1)
    counts = Counter(four.problems(10, random.Random(0)))
    assert set(counts) == set(four.members) and sorted(counts.values()) == [2, 2, 3, 3]
    assert len(set(four.problems(3, random.Random(0)))) == 3
    assert four.problems(10, random.Random(0)) == four.problems(10, random.Random(0))
    firsts = {four.problems(4, random.Random(i))[0] for i in range(30)}
    assert firsts == set(four.members)  # the order is random
    rests = {p for i in range(30) for p, n in Counter(four.problems(5, random.Random(i))).items()
             if n == 2}  # fmt: skip
    assert rests == set(four.members)


def test_everything_else_is_said_by_the_other_task() -> None:
    one, rng = FiniteSet(Dice(), 1), random.Random
    assert one.verify(one.members[0], "me", False) == Verdict("right", "me")
    assert one.verify(one.members[0], "me", True).reason == "truncated"
    assert one.well_formed("form") and not one.well_formed("me")
    assert one.forced_words(2, rng(5)) == Dice().forced_words(2, rng(5))
    assert one.measure(load_policy("sums", "cpu"), 3, 0.5) == {"sum": 3.5}
    assert FiniteSet(Sums(), 3).well_formed("=7")
    assert FiniteSet(Sums(), 3).members == Sums().problems(3, rng("finite set 0"))
    assert FiniteSet(LengthLab(), 1).members == LengthLab().problems(1, rng("finite set 0"))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="count: need at least 1 prompt"):
        FiniteSet(Sums(), 0)
    with pytest.raises(ValueError, match="count: need at least 1 problem"):
        FiniteSet(Sums(), 1).problems(0, random.Random(0))
    with pytest.raises(ValueError, match="count: found 6 prompts, not 7"):
        _ = FiniteSet(Dice(), 7).members
