"""The world of two modes: its prompts, flags and chains; what the verifier and the rewards for manners see."""

import random
from collections import Counter

import pytest
import torch

from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.words import WORDS, build_tokenizer
from rlvr_lab.rewards.registry import make_reward
from rlvr_lab.tasks.task import Answers, Problem, grade
from rlvr_lab.tasks.two_modes import (
    FLAGS,
    KINDS,
    TwoModes,
    TwoModesMixture,
    digits_of,
    flag_of,
    follows,
    kind_of,
    make_problem,
    running,
    thinks,
    with_flag,
)
from rlvr_lab.tasks.worlds import WORLDS, make_task

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flag", FLAGS)
def test_a_problem_is_read_back_and_its_answer_is_that_of_its_digits(kind, flag) -> None:
    task, tokenizer = TwoModes(kind, flag), build_tokenizer()
    for problem in task.problems(200, random.Random(1)):
        prompt = problem.prompt
        digits = digits_of(prompt)
        assert (kind_of(prompt), flag_of(prompt)) == (kind, flag)
        assert problem == make_problem(kind, digits, flag)
        assert problem.answer == (sum(digits) % 10 if kind == "sums" else max(digits))
        assert 2 <= len(digits) <= 8 and problem.difficulty == len(digits) - 1
        # Eight places, the flag and the question mark, in the shared vocabulary: the layout does not move.
        ids = tokenizer(prompt).input_ids
        assert len(ids) == 10 and "".join(WORDS[i] for i in ids) == prompt


def test_the_prompts_are_spelled_as_the_text_says() -> None:
    assert make_problem("sums", [7, 5, 8]) == Problem("7+5+8......?", 0, 2)
    assert make_problem("maxima", [7, 2, 8], "no_think") == Problem(
        "seventwoeight...../no_think?", 8, 2
    )
    full = make_problem("sums", [1] * 8, "think")
    assert full.prompt == "1+1+1+1+1+1+1+1/think?" and digits_of(full.prompt) == [1] * 8
    for flag in FLAGS:
        for other in FLAGS:
            assert with_flag(make_problem("maxima", [3, 4], flag).prompt, other) == (
                make_problem("maxima", [3, 4], other).prompt
            )
    for count in (1, 9):
        with pytest.raises(ValueError, match="digits"):
            make_problem("sums", [1] * count)


def test_answers_and_terms_are_uniform_and_both_tasks_and_all_flags_are_drawn() -> None:
    drawn = TwoModes("both", "mixed").problems(6000, random.Random(0))
    kinds, flags = (Counter(f(p.prompt) for p in drawn) for f in (kind_of, flag_of))
    assert all(2800 < kinds[kind] < 3200 for kind in KINDS)
    assert all(1800 < flags[flag] < 2200 for flag in FLAGS)
    for kind in KINDS:
        own = [p for p in drawn if kind_of(p.prompt) == kind]
        assert all(230 < Counter(p.answer for p in own)[digit] < 370 for digit in range(10))
        assert all(350 < Counter(p.difficulty for p in own)[n] < 510 for n in range(1, 8))
    assert TwoModes() == TwoModes("both", "none", 2, 8)
    short = TwoModes("sums", "none", 3, 3).problems(20, random.Random(0))
    assert {p.difficulty for p in short} == {2}


def test_the_draws_of_a_seed_stay_what_they_are() -> None:
    """Recorded runs train on these draws."""
    drawn = TwoModes("both", "mixed").problems(6, random.Random(1))
    assert [problem.prompt for problem in drawn] == [
        "1+4+1+7+7+7+6+3/no_think?",
        "6+6....../think?",
        "4+3+9+1+5.../no_think?",
        "8+0.......?",
        "sixzerofour...../no_think?",
        "twooneonethreetwozero../think?",
    ]


def test_the_largest_digit_stands_anywhere_and_the_others_may_equal_it() -> None:
    drawn = [digits_of(p.prompt) for p in TwoModes("maxima", "none", 3, 3).problems(
        4000, random.Random(2))]  # fmt: skip
    alone = [digits.index(max(digits)) for digits in drawn if digits.count(max(digits)) == 1]
    assert all(0.3 < alone.count(place) / len(alone) < 0.37 for place in range(3))
    # The other two digits are uniform in 0 … m: one of them is m with probability 1 - (m / (m + 1))².
    expected = sum(1 - (m / (m + 1)) ** 2 for m in range(10)) / 10
    assert 1 - len(alone) / len(drawn) == pytest.approx(expected, abs=0.025)


def test_chains() -> None:
    assert running("sums", [7, 5, 8, 3]) == [7, 2, 0, 3]
    assert running("maxima", [2, 7, 3, 9]) == [2, 7, 7, 9]
    clean, rng = TwoModesMixture.clean(), random.Random(0)
    for problem in TwoModes().problems(100, rng):
        text = clean.solve(problem, rng)
        values = running(kind_of(problem.prompt), digits_of(problem.prompt))
        assert text == f"<think>{''.join(map(str, values))}</think>={values[-1]}"
        assert TwoModes().verify(problem, text, False).correct


def test_the_mixture_has_the_stated_shares_and_slips() -> None:
    rng, mixture, n = random.Random(0), TwoModesMixture(), 4000
    problems = TwoModes().problems(n, rng)
    texts = [mixture.solve(problem, rng) for problem in problems]
    direct = sum(text.startswith("=") for text in texts) / n
    malformed = sum(not TwoModes().well_formed(text) for text in texts) / n
    assert direct == pytest.approx(0.25, abs=0.02) and malformed == pytest.approx(0.20, abs=0.02)
    guesses = [(p, t) for p, t in zip(problems, texts, strict=True) if t.startswith("=")]
    assert 0.06 < sum(t == f"={p.answer}" for p, t in guesses) / len(guesses) < 0.14
    slips = steps = 0
    for problem in problems[:1000]:
        digits, values = digits_of(problem.prompt), mixture.chain(problem, rng)
        assert values[0] == digits[0] and len(values) == len(digits)
        for before, digit, value in zip(values, digits[1:], values[1:], strict=False):
            steps += 1
            slips += value != running(kind_of(problem.prompt), [before, digit])[-1]
    assert slips / steps == pytest.approx(0.06, abs=0.01)
    assert (mixture.direct, mixture.malformed, mixture.slip) == (0.25, 0.20, 0.06)
    for bad in ({"slip": 1.1}, {"direct": -0.1}, {"direct": 0.6, "malformed": 0.5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            TwoModesMixture(**bad)


def test_slips_guesses_and_broken_chains_take_every_digit_and_keep_their_order() -> None:
    rng, task = random.Random(0), TwoModes()
    problems = task.problems(400, rng)
    offsets, always = Counter(), TwoModesMixture(0.0, 0.0, 1.0)
    for problem in problems:
        kind, digits = kind_of(problem.prompt), digits_of(problem.prompt)
        values = always.chain(problem, rng)
        for before, digit, value in zip(values, digits[1:], values[1:], strict=False):
            offsets[(value - running(kind, [before, digit])[-1]) % 10] += 1
        # The answer is that of the chain, not that of the problem.
        text = always.solve(problem, random.Random(1))
        chain = text.removeprefix("<think>").split("</think>")[0]
        assert text == f"<think>{chain}</think>={chain[-1]}"
    assert set(offsets) == set(range(1, 10))
    assert all(0.08 < count / offsets.total() < 0.145 for count in offsets.values())
    guesses = Counter(TwoModesMixture(1.0, 0.0).solve(problem, rng) for problem in problems)
    assert set(guesses) == {f"={digit}" for digit in range(10)}
    for problem in problems:
        values = running(kind_of(problem.prompt), digits_of(problem.prompt))
        text = TwoModesMixture(0.0, 1.0, 0.0).solve(problem, rng)
        assert text.removeprefix("<think>") == f"{''.join(map(str, values))}={problem.answer}"


QUESTION = make_problem("sums", [7, 5, 8], "no_think")


@pytest.mark.parametrize(
    ("text", "truncated", "reason"),
    [
        ("=0", False, "right"),
        ("<think></think>=0", False, "right"),
        ("<think>720</think>=0ok", False, "right"),
        ("<think>720</think>=0okok", False, "malformed"),
        ("ok=0", False, "malformed"),
        ("<think>72wait0</think>=0", False, "malformed"),
        ("<think>720=0", False, "malformed"),
        ("720=0", False, "malformed"),
        ("=00", False, "malformed"),
        ("=3", False, "wrong"),
        ("<think>720", False, "no_answer"),
        ("=0", True, "truncated"),
        ("=0" + "ok" * 3000, False, "malformed"),
    ],
)
def test_the_verifier_reads_the_answer_in_either_mode(text, truncated, reason) -> None:
    assert TwoModes().verify(QUESTION, text, truncated).reason == reason
    if not truncated:
        assert TwoModes().well_formed(text) == (reason in ("right", "wrong"))


def test_what_a_malformed_text_answers_is_read_as_a_whole() -> None:
    answers = [TwoModes().verify(QUESTION, text, False).answer for text in ("=00", "7=12=0")]
    assert answers == ["00", "12"]


def test_modes() -> None:
    texts = ["<think>72</think>=2", "<think></think>=2", "=2", "<think></think><think>7", ""]
    texts += ["<think>72", "7<think>2</think>=2", "=2<think></think>"]  # only the beginning counts
    thinking, direct = {0, 5}, {1, 3}
    assert {i for i, text in enumerate(texts) if thinks(text)} == thinking
    for flag, kept in (("none", thinking), ("think", thinking), ("no_think", direct)):
        prompt = make_problem("maxima", [1, 2], flag).prompt
        assert {i for i, text in enumerate(texts) if follows(prompt, text)} == kept


def test_the_two_rewards_for_manners_do_not_read_correctness() -> None:
    problems = [make_problem("sums", [7, 5, 8], flag) for flag in ("think", "no_think")]
    texts = ["<think>720</think>=0ok", "<think></think>=9", "<think></think>=0ok", "ok=0"]
    ones, zeros = torch.ones(4, 3), torch.zeros(4, 3)
    batch = RolloutBatch(
        torch.ones(2, 1).long(), torch.ones(2, 1).bool(), ones.long(), ones.bool(), ones.bool(),
        zeros, zeros, torch.zeros(4).bool(), texts, 2,
    )  # fmt: skip
    task = TwoModes()
    seen = Answers(task, problems, batch, grade(task, problems, texts, [False] * 4))
    assert make_reward("polite")(seen).tolist() == [1, 0, 1, 0]
    assert make_reward("mode")(seen).tolist() == [1, 0, 1, 0]
    swapped = Answers(task, problems[::-1], batch, seen.verdicts)
    assert make_reward("mode")(swapped).tolist() == [0, 1, 0, 0]


def test_the_world_is_registered_with_mixed_flags() -> None:
    assert make_task("two_modes", {"flag": "think", "subject": "sums"}) == TwoModes("sums", "think")
    settings = WORLDS["two_modes"].settings
    assert settings == {"max_new_tokens": 20, "world_options": {"flag": "mixed"}}
    for bad in ({"subject": "x"}, {"flag": "x"}, {"min_terms": 1}, {"max_terms": 9},
                {"min_terms": 5, "max_terms": 4}):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(bad))):
            TwoModes(**bad)
    with pytest.raises(ValueError, match="count"):
        TwoModes().problems(0, random.Random(0))
