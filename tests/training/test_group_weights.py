"""One group in numbers and in sentences."""

import math

import pytest

from rlvr_lab.training.group_weights import (
    AnswerWeights,
    GroupWeights,
    equal_total,
    group_weights,
    places,
    pulls_on_length,
    read_group,
    signed,
)
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.step_keeper import StepKeeper

CONFIG = PolicyGradientConfig(
    world="lab", steps=1, prompts_per_step=3, group_size=8, max_new_tokens=12, rewards={"accuracy": 1.0},
    constant_length=4.0, optimizer="sgd", learning_rate=0.1, max_grad_norm=None, device="cpu",
)  # fmt: skip


def kept(**changes):
    keeper = StepKeeper()
    list(train(PolicyGradientConfig(**{**CONFIG.__dict__, **changes}), watch=keeper))
    return keeper.steps[0]


def answer(length: int, weight: float, good: bool, ended: bool = True) -> AnswerWeights:
    """An answer whose first word the environment wrote."""
    ends = [False] * length + [ended]
    weights = [0.0] + [weight] * length
    flags = [False] + [True] * length
    words = ["wrong"] + ["hmm"] * (length - 1) + ["⟨end⟩"]
    clipped = [False] * (length + 1)
    reason = "right" if good else "wrong"
    return AnswerWeights(
        0, words, weights, flags, ends, clipped, good, reason, float(good), 2 * good - 1.0
    )


def by_length(divided: bool) -> GroupWeights:
    sizes = [(1, False), (4, False), (10, False), (2, True), (4, True)]
    sign = {True: 1, False: -1}
    answers = [answer(n, sign[good] * (1 / n if divided else 0.25), good) for n, good in sizes]
    return GroupWeights("GRPO", "?", answers)


def test_a_group_is_sorted_and_its_weights_are_those_of_the_loss_times_b() -> None:
    step = kept()
    weights = step.weigh("run")
    for number in range(3):
        group = group_weights(step, weights, number, "GRPO")
        assert sorted(a.row for a in group.answers) == list(step.rows(number))
        assert [(a.good, a.length) for a in group.answers] == sorted(
            (a.good, a.length) for a in group.answers
        )
        for one in group.answers:
            real = step.shown[one.row]
            assert one.weights == pytest.approx((24 * weights.total[one.row][real]).tolist())
            assert one.words == [w for w in step.words[one.row] if w]
            assert one.length == int(step.mask[one.row].sum())
            assert one.verdict == ("right" if one.good else "wrong")
            assert one.reward == float(one.good)
            # under 1/|o| the whole answer gets A, whatever its length
            assert one.whole == pytest.approx(one.advantage, rel=1e-5)
            assert one.per_token == pytest.approx(one.advantage / one.length, rel=1e-5)
            assert sum(one.ends) == (len(one.words) < 12 or one.words[-1] == "⟨end⟩")
    with pytest.raises(IndexError, match="has 3, got 3"):
        group_weights(step, weights, 3, "GRPO")


def test_places_and_pulls_are_means_over_answers() -> None:
    bad = [a for a in by_length(True).answers if not a.good]
    there = places(bad)
    assert len(there) == 10
    assert there[0] == ([-1.0], [-0.25, -0.1])
    assert there[3] == ([-0.25], [-0.1])
    stop, go = pulls_on_length(bad)
    assert stop == pytest.approx(-(1 + 0.25 + 0.1) / 3)
    assert go == pytest.approx(-(3 * 0.25 + 9 * 0.1) / 12)
    assert pulls_on_length([answer(1, 1.0, True)]) is None
    assert pulls_on_length([answer(3, 1.0, True, ended=False)]) is None


def test_the_sentences_say_what_divides_by_length_and_what_does_not() -> None:
    divided, constant = (
        " ".join(read_group(by_length(True))),
        " ".join(read_group(by_length(False))),
    )
    assert "2 of 5 answers are correct." in divided
    assert "A token of the 1-token incorrect answer is pushed down 10 × as hard" in divided
    assert "a token of the 10-token one (−1.00 and −0.10)" in divided
    assert (
        "stopping is pushed down 3.3 × as hard as going on (−0.45 and −0.14 on average)" in divided
    )
    assert "towards longer incorrect answers" in divided
    assert "A token of the 2-token correct answer is pushed up 2 × as hard" in divided
    assert "towards shorter correct answers" in divided
    assert "pushed down as hard as a token of the 10-token one" in constant
    assert constant.count("The length is not pulled.") == 2
    assert "longer" not in constant and "shorter" not in constant


def test_a_silent_group_says_so_and_nothing_else() -> None:
    silent = GroupWeights("GRPO", "?", [answer(n, 0.0, False) for n in (1, 3)])
    assert read_group(silent) == [
        "0 of 2 answers are correct. Every weight is 0: this group is silent."
    ]
    assert silent.largest == 1.0


def test_stopping_against_going_on_with_opposite_signs() -> None:
    one, two = answer(2, -0.2, False), answer(4, -0.3, False)
    two.weights[1] = two.weights[2] = two.weights[3] = 0.9
    two.weights[4] = -3.1  # its mean stays negative
    said = " ".join(read_group(GroupWeights("GRPO", "?", [one, two])))
    assert "stopping and going on get −1.65 and +0.62 on average. This pulls towards longer" in said


def test_some_answers_stand_for_all_of_them() -> None:
    group = GroupWeights(
        "x", "?", [answer(n, -1.0, False) for n in range(1, 13)] + [answer(3, 1.0, True)]
    )
    few = group.some(6)
    assert [a.length for a in few.answers if not a.good] == [1, 4, 7, 9, 12]
    assert [a.length for a in few.answers if a.good] == [3]
    assert group.some(13) is group


def test_a_difference_and_a_multiple() -> None:
    group, other = by_length(True), by_length(False)
    doubled = other.times(2)
    assert doubled.answers[0].weights == [0.0, -0.5]
    minus = group.minus(doubled)
    assert minus.answers[0].weights == [0.0, -0.5]
    assert minus.title == "GRPO − GRPO"


def test_two_losses_get_the_same_total() -> None:
    step = kept()
    first, second = step.weigh("run"), step.weigh("dr-grpo")
    factor = equal_total(first, second)
    assert float(first.total.abs().sum()) == pytest.approx(factor * float(second.total.abs().sum()))
    assert equal_total(first, first.times(0.0)) == 1.0


def test_numbers_keep_their_sign() -> None:
    assert [signed(x) for x in (0.5, -0.5, 0.0, 1e-9, math.nan)] == [
        "+0.50",
        "−0.50",
        "0",
        "+0",
        "–",
    ]
    assert signed(-12.3, 10) == "−12.3" or signed(-12.3, 10) == "−12"
