"""One group in numbers and in sentences."""

import math

import pytest

from rlvr_lab.training.group_weights import (
    AnswerWeights,
    GroupWeights,
    equal_total,
    group_weights,
    nouns,
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


STOP = 0.2
"""π(⟨end⟩) at each place."""


def answer(
    length: int,
    weight: float,
    good: bool,
    ended: bool = True,
    reward: float | None = None,
    stop: float = STOP,
) -> AnswerWeights:
    """An answer whose first word the environment wrote."""
    ends = [False] * length + [ended]
    weights = [0.0] + [weight] * length
    flags = [False] + [True] * length
    words = ["wrong"] + ["hmm"] * (length - 1) + ["⟨end⟩" if ended else "hmm"]
    clipped = [False] * (length + 1)
    reason, reward = "right" if good else "wrong", float(good) if reward is None else reward
    before = [0.0] + [math.log(stop if end else 1 - stop) for end in ends[1:]]
    return AnswerWeights(
        0, words, weights, flags, ends, clipped, good, reason, reward, 2 * good - 1.0, before
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
            assert one.before == step.before[one.row][real].tolist()
            assert one.after == step.after[one.row][real].tolist()
            # under 1/|o| the whole answer gets A, whatever its length
            assert one.whole == pytest.approx(one.advantage, rel=1e-5)
            assert one.per_token == pytest.approx(one.advantage / one.length, rel=1e-5)
            assert sum(one.ends) == (len(one.words) < 12 or one.words[-1] == "⟨end⟩")
        assert group.own and nouns(step) == (group.good, group.bad) == ("correct", "incorrect")
        assert not group_weights(step, step.weigh("dr-grpo"), number, "x").own or group.silent
        assert not group_weights(step, weights, number, "x", "after").own
    with pytest.raises(IndexError, match="has 3, got 3"):
        group_weights(step, weights, 3, "GRPO")


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
    assert group.same_as(by_length(True)) and not group.same_as(other)
    assert not group.silent and group.times(0.0).silent


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
        "0",
        "–",
    ]
    assert signed(-12.3, 10) == "−12.3" or signed(-12.3, 10) == "−12"
