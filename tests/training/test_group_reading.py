"""A group in sentences: about length only where answers of equal reward could stop, one place at a time."""

import math
from dataclasses import replace

import pytest
import torch

from rlvr_lab.training.group_reading import FORMAT, choices, places, read_group, teaching_group
from rlvr_lab.training.group_weights import GroupWeights, group_weights
from rlvr_lab.training.loop import train
from rlvr_lab.training.step_keeper import StepKeeper
from tests.training.test_group_weights import CONFIG, answer, by_length, kept


def said(*answers, **changes) -> str:
    return " ".join(read_group(GroupWeights("GRPO", "?", list(answers), **changes)))


def test_places_count_from_the_first_trained_token() -> None:
    there = places([a for a in by_length(True).answers if not a.good])
    assert len(there) == 10
    assert there[0] == ([-1.0], [-0.25, -0.1])
    assert there[3] == ([-0.25], [-0.1])


def test_the_sentences_say_what_divides_by_length_and_what_does_not() -> None:
    divided = " ".join(read_group(by_length(True)))
    constant = " ".join(read_group(by_length(False)))
    assert "2 of 5 answers are correct." in divided
    assert (
        "Each token of a 1-token incorrect answer is pushed down 10 times as hard as each"
        in divided
    )
    assert "each token of a 10-token one (−1.00 against −0.10)" in divided
    assert (
        "Token 1: 1 incorrect answer stopped (−1.00), 2 went on (−0.17 on average). Both are pushed down, "
        "stopping 5.7 times as hard. Equal weights would cancel on average, however often each is sampled. "
        "The difference remains: going on gains, and incorrect answers become longer."
    ) in divided
    assert (
        "Token 2: 1 correct answer stopped (+0.50), 1 went on (+0.25). Both are pushed up,"
        in divided
    )
    assert "stopping gains, and correct answers become shorter." in divided
    assert "is pushed down just as hard as each token of a 10-token one" in constant
    assert constant.count("Both are pushed down, just as hard.") == 1
    assert constant.count("nothing pulls at the length.") == 2
    assert "longer" not in constant and "shorter" not in constant


def test_one_place_speaks_and_not_the_mean_over_all() -> None:
    # Pooled, the end tokens get (−0.4 − 1.6) / 2 = −1 and all others −1: "nothing pulls". At token 1 it is not so.
    short, long = answer(1, -0.4, False), answer(4, -1.0, False)
    long.weights[-1] = -1.6
    words = said(short, long)
    assert "Token 1: 1 incorrect answer stopped (−0.40), 1 went on (−1.00)." in words
    assert "going on 2.5 times as hard" in words and "stopping gains" in words
    assert "nothing pulls" not in words


def test_the_place_where_most_answers_choose_is_told() -> None:
    found = choices([answer(n, -1 / n, False) for n in (3, 3, 4, 7)])
    assert [(one.place, len(one.stops), len(one.goes)) for one in found] == [(3, 2, 2), (4, 1, 1)]


@pytest.mark.parametrize("other", [0.0, 0.1])
def test_only_equal_rewards_are_compared(other: float) -> None:
    bad = [answer(1, -1.0, False, reward=0.0), answer(5, -0.1, False, reward=other)]
    assert ("Token 1" in said(*bad)) == (other == 0.0)
    assert ("times as hard" in said(*bad)) == (other == 0.0)
    assert len(choices(bad)) == (other == 0.0)


def test_of_several_rewards_the_one_with_the_widest_spread_is_named() -> None:
    pairs = ((1, 0.1), (2, 0.0), (4, 0.0), (9, 0.1), (12, 0.0))
    bad = [answer(n, -1 / n, False, reward=r) for n, r in pairs]
    assert "a 2-token incorrect answer with reward 0 is pushed down 6 times as hard" in said(*bad)


@pytest.mark.parametrize(
    ("stop", "free"), [(0.5, True), (0.01, True), (0.001, False), (0.99, False)]
)
def test_length_is_told_only_where_stopping_is_a_choice(stop: float, free: bool) -> None:
    words = said(*(answer(n, -1 / n, False, stop=stop) for n in (1, 2, 4)))
    assert ("answers become longer" in words) == free
    assert (FORMAT in words) == (stop == 0.99)
    assert ("say nothing about length" in words) == (stop == 0.001)


def test_another_beginning_is_another_context() -> None:
    short, long = answer(2, -0.5, False), answer(4, -0.25, False)
    long.words[1] = "<think>"
    assert choices([short, long]) == []
    assert "No answer stopped before the limit" in said(
        *(answer(n, -1.0, False, ended=False) for n in (3, 3))
    )


def test_the_measured_change_stands_beside_the_weights_of_the_run_only() -> None:
    short, long = (
        replace(answer(n, -1 / n, False), after=[0.0, math.log(0.1)] * 2) for n in (1, 4)
    )
    change = "π(⟨end⟩) 20 % → 10 %."
    assert change in said(short, long, own=True)
    assert "Measured" not in said(short, long)


def test_stopping_against_going_on_with_opposite_signs() -> None:
    words = said(answer(1, -0.2, False), answer(4, 0.9, False))
    assert "Stopping is pushed down, going on is pushed up. Equal weights" in words
    assert "incorrect answers become longer" in words
    assert "Going on is pushed up. Equal weights" in said(
        answer(1, 0.0, False), answer(4, 0.9, False)
    )


def test_uneven_weights_are_called_a_mean() -> None:
    short, long = answer(2, -0.8, False), answer(4, -0.2, False)
    short.weights[1] = -1.2
    words = said(short, long)
    assert (
        "On average a token of a 2-token incorrect answer is pushed down 5 times as hard as a token"
        in words
    )


def test_a_silent_group_says_why_and_nothing_else() -> None:
    assert read_group(GroupWeights("GRPO", "?", [answer(n, 0.0, False) for n in (1, 3)])) == [
        "0 of 2 answers are correct. All rewards are equal, so every weight is 0."
    ]
    assert said(answer(1, 0.0, False), answer(2, 0.0, True)).endswith("correct. Every weight is 0.")


def test_after_the_update_nothing_is_concluded_about_length() -> None:
    group = replace(by_length(True), at="after")
    group.answers[1].weights[2], group.answers[1].clipped[2] = 0.0, True
    first, *rest = read_group(group)
    assert first == (
        "These are the weights of one more pass over this batch, which this run does not make. "
        "1 token is clipped: its weight is 0."
    )
    assert rest == ["2 of 5 answers are correct."]


def test_a_group_that_teaches_is_chosen() -> None:
    step = kept()
    good = torch.zeros(24, dtype=torch.bool)
    lengths = torch.ones(24, dtype=torch.long)
    good[8:16:2] = True  # group 1: both kinds, all of one length
    good[16:20] = True  # group 2: both kinds, lengths differ
    lengths[16], lengths[0] = 7, 12  # group 0 is silent, though its lengths differ most
    mask = torch.arange(12)[None] < lengths[:, None]
    made = replace(step, good=good, rewards=good.float(), mask=mask)
    assert teaching_group(made) == 2
    # a spread between different rewards teaches nothing about length
    lengths = torch.ones(24, dtype=torch.long)
    lengths[8:16:2], lengths[16] = 9, 3
    mask = torch.arange(12)[None] < lengths[:, None]
    assert teaching_group(replace(made, mask=mask)) == 2
    lengths = torch.ones(24, dtype=torch.long)
    lengths[9], lengths[16] = 9, 3  # an incorrect answer of group 1, alone with its reward
    mask, rewards = torch.arange(12)[None] < lengths[:, None], good.float()
    rewards[9] = 0.1
    assert teaching_group(replace(made, mask=mask, rewards=rewards)) == 2


def test_a_real_step_agrees_with_its_sentences() -> None:
    keeper = StepKeeper()
    list(train(replace(CONFIG, group_size=16), watch=keeper))
    step = keeper.steps[0]
    group = group_weights(step, step.weigh("run"), teaching_group(step), "GRPO")
    found = choices(group.answers)
    assert found
    for one in found:
        assert one.stop == pytest.approx(one.stops[0], rel=1e-4)  # 1/|o|: equal place, equal weight
        assert abs(one.stop) > abs(one.go)
        assert 0.1 < math.exp(one.before) < 0.4


def test_answers_of_one_length_are_named_as_such() -> None:
    group = by_length(True)
    short = [answer for answer in group.answers if answer.length == 1]
    words = read_group(replace(group, answers=2 * short))
    assert "All 2 incorrect answers have 1 token: no length to compare." in words
    assert not any("have 1 token" in said for said in read_group(group))
