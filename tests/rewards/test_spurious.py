"""Rewards that say nothing of correctness: what they read, and what they do not."""

import random
from dataclasses import replace

import pytest
import torch

from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.rewards.registry import REWARDS, make_reward
from rlvr_lab.rewards.spurious import coin, constant, incorrect
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Answers, Verdict, grade


@pytest.fixture(scope="module")
def answers() -> Answers:
    task, problems = Sums(), Sums().problems(64, random.Random(0))
    generator = torch.Generator().manual_seed(0)
    batch = sample(load_policy("sums", "cpu"), [p.prompt for p in problems], 16, 12, generator)
    verdicts = grade(task, problems, batch.texts, batch.truncated.tolist())
    return Answers(task, problems, batch, verdicts)


def test_only_well_formed_wrong_answers_are_incorrect(answers: Answers) -> None:
    reasons = ["right", "wrong", "no_answer", "malformed", "truncated"]
    five = replace(answers, verdicts=[Verdict(reason) for reason in reasons])
    assert incorrect(five).tolist() == [0, 1, 0, 0, 0]
    reasons = {verdict.reason for verdict in answers.verdicts}
    assert {"right", "wrong", "malformed"} <= reasons
    assert 0 < float(incorrect(answers).mean()) < 1


def test_the_constant_is_one_number_per_answer(answers: Answers) -> None:
    assert constant(answers).tolist() == [1.0] * (64 * 16)


@pytest.mark.parametrize(("name", "p"), [("random", 0.5), ("rare_random", 0.1)])
def test_a_coin_has_its_probability_in_each_kind_of_answer(
    answers: Answers, name: str, p: float
) -> None:
    rewards = make_reward(name)(answers)
    assert set(rewards.tolist()) == {0.0, 1.0}
    correct = torch.tensor([verdict.correct for verdict in answers.verdicts])
    for rows in (correct, ~correct):
        n = int(rows.sum())
        assert abs(float(rewards[rows].mean()) - p) < 4 * (p * (1 - p) / n) ** 0.5


def test_a_coin_reads_the_problems_and_not_the_answers(answers: Answers) -> None:
    rewards = coin(0.5)(answers)
    assert torch.equal(coin(0.5)(answers), rewards)
    other = replace(answers.batch, texts=answers.batch.texts[::-1])
    swapped = replace(answers, batch=other, verdicts=answers.verdicts[::-1])
    assert torch.equal(coin(0.5)(swapped), rewards)
    elsewhere = replace(answers, problems=answers.problems[::-1])
    assert 0.3 < float((coin(0.5)(elsewhere) != rewards).double().mean()) < 0.7
    groups = rewards.reshape(64, 16)
    assert not (groups == groups[:, :1]).all(dim=1).any(), (
        "one coin for each answer, not each group"
    )


def test_a_coin_is_the_same_in_another_process(answers: Answers) -> None:
    """``hash`` would differ; these numbers were computed once."""
    first = coin(0.5)(answers)[:12].int().tolist()
    assert first == FIRST


FIRST = [1, 0, 0, 1, 0, 0, 1, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_a_coin_needs_a_probability(p: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        coin(p)


def test_each_has_a_name() -> None:
    assert {"constant", "incorrect", "random", "rare_random"} <= set(REWARDS)
