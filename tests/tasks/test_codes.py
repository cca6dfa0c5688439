"""Codes: problems, wrong facts, worked solutions, and a verifier that only the grammar passes."""

import random
from collections import Counter

import pytest

from rlvr_lab.tasks.codes import (
    LANGUAGES,
    Codes,
    CodesMixture,
    FactTable,
    way_of,
)
from rlvr_lab.tasks.grammar import MAX_CHARACTERS
from rlvr_lab.tasks.task import Problem, Verdict

NONE = FactTable(0, 0, 0)
PROBLEM = Problem("7+5+8,3+4+1,9+2+2?", 83)


def by_hand(problem: Problem) -> list[list[int]]:
    return [[int(c) for c in group if c.isdigit()] for group in problem.prompt.split(",")]


def test_an_answer_is_the_last_digits_of_three_sums():
    for problem in Codes().problems(200, random.Random(0)):
        groups = by_hand(problem)
        assert [len(group) for group in groups] == [3, 3, 3] and problem.difficulty == 6
        assert f"{problem.answer:03d}" == "".join(str(sum(group))[-1] for group in groups)
        assert all(addend > 0 for group in groups for addend in group[1:])
    with pytest.raises(ValueError, match="count"):
        Codes().problems(0, random.Random(0))


def test_same_seed_same_problems():
    assert Codes().problems(9, random.Random(3)) == Codes().problems(9, random.Random(3))
    assert Codes().problems(9, random.Random(3)) != Codes().problems(9, random.Random(4))


RIGHT = {
    "=083": "direct",
    "<think></think>=083": "digits",
    "<think>720,378,913</think>=083": "digits",
    "<think>1,wait2</think>=083": "digits",
    "<think>seventwozero,threeseveneight,nineonethree</think>=083": "words",
    "<think>7twozero,378,913</think>=083": "mixed",
}


@pytest.mark.parametrize("text", RIGHT)
def test_what_follows_the_grammar_is_judged_by_its_answer(text):
    task = Codes()
    assert task.verify(PROBLEM, text, False) == Verdict("right", "083")
    assert task.verify(Problem(PROBLEM.prompt, 84), text, False) == Verdict("wrong", "083")
    assert task.verify(PROBLEM, text, True) == Verdict("truncated")
    assert task.well_formed(text) and way_of(text) == RIGHT[text]


ATTACKS = {
    "without the leading zero": ("=83", "malformed"),
    "too many zeros": ("=0083", "malformed"),
    "two answers": ("=083=083", "malformed"),
    "every answer": ("=083=084=085", "malformed"),
    "newline": ("=083\n", "malformed"),
    "space": (" =083", "malformed"),
    "comma in the answer": ("=0,8,3", "malformed"),
    "words in the answer": ("=zeroeightthree", "no_answer"),
    "superscript": ("=08³", "malformed"),
    "Arabic-Indic digits": ("=٠٨٣", "no_answer"),
    "never closed": ("<think>720,378,913=083", "malformed"),
    "never opened": ("720,378,913</think>=083", "malformed"),
    "answer inside": ("<think>=083</think>", "malformed"),
    "two blocks": ("<think>7</think><think>2</think>=083", "malformed"),
    "upper case": ("<think>Seven</think>=083", "malformed"),
    "plus in the block": ("<think>7+2</think>=083", "malformed"),
    "end of sequence": ("=083<eos>", "malformed"),
    "empty": ("", "no_answer"),
    "only a chain": ("<think>720</think>", "no_answer"),
    "too long": ("<think>" + "7" * MAX_CHARACTERS + "</think>=083", "malformed"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_else_earns_a_reward(name):
    text, reason = ATTACKS[name]
    task = Codes()
    assert task.verify(PROBLEM, text, False).reason == reason
    assert not task.well_formed(text) and way_of(text) == "malformed"


def test_the_languages_have_different_wrong_facts():
    for seed in range(20):
        digits, words = (FactTable(seed).wrong[name] for name in ("digits", "words"))
        assert (len(digits), len(words)) == (10, 18) and not set(digits) & set(words)
        for (total, addend), result in [*digits.items(), *words.items()]:
            assert 0 <= total <= 9 and 1 <= addend <= 9 and 0 <= result <= 9
            assert result != (total + addend) % 10
    assert FactTable(1).wrong == FactTable(1).wrong != FactTable(2).wrong


def test_shared_facts_are_wrong_in_both_languages_with_one_result():
    for seed in range(20):
        table = FactTable(seed, 3, 4, shared=5)
        digits, words = table.wrong["digits"], table.wrong["words"]
        both = set(digits) & set(words)
        assert (len(digits), len(words), len(both)) == (8, 9, 5)
        for total in range(10):
            for addend in range(1, 10):
                wrong = [
                    n for n in LANGUAGES if table.add(total, addend, n) != (total + addend) % 10
                ]
                where = table.wrong_in(total, addend)
                assert where == {0: "neither", 2: "both"}.get(len(wrong), "".join(wrong))
                if where == "both":
                    assert digits[total, addend] == words[total, addend]
    same, task = FactTable(0, 0, 0, shared=12), Codes()
    for problem in task.problems(100, random.Random(0)):
        assert same.solved_in(problem) in ("both", "neither")
    # The facts that are wrong in one language only are those of the table without shared ones.
    assert FactTable(7, 10, 18).wrong == FactTable(7, 10, 18, 0).wrong


@pytest.mark.parametrize("counts", [(-1, 3), (50, 41), (1, 1, -1), (40, 40, 11)])
def test_a_table_that_cannot_be_filled_is_refused(counts):
    with pytest.raises(ValueError, match="digits, words, shared"):
        FactTable(0, *counts)


def test_a_wrong_fact_is_carried_through_the_chain():
    table = FactTable(0, 1, 0)
    ((total, addend), result) = next(iter(table.wrong["digits"].items()))
    problem = Problem(f"{total}+{addend}+1,3+4+1,9+2+2?", ((total + addend + 1) % 10) * 100 + 83)
    wrong = (result + 1) % 10
    assert table.answer(problem, "digits") == wrong * 100 + 83
    assert table.answer(problem, "words") == problem.answer
    assert table.solved_in(problem) == "words"
    chain, answer = CodesMixture(table).chain(problem, "digits", random.Random(0))
    assert (chain, answer) == (f"{total}{result}{wrong},378,913", f"{wrong}83")


def test_the_class_of_a_problem_is_what_the_chains_of_the_mixture_reach():
    table, task = FactTable(5), Codes()
    mixture, seen = CodesMixture(table), Counter()
    for problem in task.problems(300, random.Random(2)):
        reached = []
        for name in LANGUAGES:
            chain, answer = mixture.chain(problem, name, random.Random(0))
            text = f"<think>{chain}</think>={answer}"
            assert way_of(text) == name
            if task.verify(problem, text, False).correct:
                reached.append(name)
        expected = {0: "neither", 2: "both"}.get(len(reached), "".join(reached))
        assert table.solved_in(problem) == expected
        seen[expected] += 1
    assert set(seen) == {"digits", "words", "both", "neither"}
    assert {NONE.solved_in(p) for p in task.problems(50, random.Random(3))} == {"both"}


def test_clean_solutions_are_correct_and_half_in_each_language():
    clean, rng, task = CodesMixture.clean(), random.Random(1), Codes()
    problems = task.problems(400, rng)
    texts = [clean.solve(problem, rng) for problem in problems]
    assert all(task.verify(p, t, False).correct for p, t in zip(problems, texts, strict=True))
    ways = Counter(map(way_of, texts))
    assert set(ways) == {"digits", "words"} and 140 < ways["words"] < 260


def test_the_mixture_has_the_stated_shares():
    mixture, rng, n = CodesMixture(mixed=0.03, switch=1.0), random.Random(5), 4000
    ways = Counter(way_of(mixture.solve(p, rng)) for p in Codes().problems(n, rng))
    wanted = {"direct": 0.5, "digits": 0.36, "words": 0.08, "mixed": 0.03, "malformed": 0.03}
    for way, share in wanted.items():
        assert abs(ways[way] / n - share) < 3 * (share * (1 - share) / n) ** 0.5, way
    with pytest.raises(ValueError, match="no shares"):
        CodesMixture(direct=0.9)


def test_a_slip_changes_the_sum_that_goes_on():
    mixture = CodesMixture(NONE, slip=1.0)
    for seed in range(20):
        chain, answer = mixture.chain(PROBLEM, "digits", random.Random(seed))
        first = [int(c) for c in chain.split(",")[0]]
        assert first[0] == 7 and first[1] != (7 + 5) % 10 and first[2] != (first[1] + 8) % 10
        assert answer[0] == str(first[2])
