"""Kimi's length reward against cases by hand, a plain loop, and answers with verdicts."""

import math
import random

import pytest
import torch

from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.rewards.length import length_reward, length_rewards
from rlvr_lab.rewards.registry import make_reward
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Answers, Verdict, grade


def by_hand(lengths, correct, size):
    """The paper's formula, answer by answer."""
    found = []
    for start in range(0, len(lengths), size):
        group = lengths[start : start + size]
        low, high = min(group), max(group)
        for length, right in zip(group, correct[start : start + size], strict=True):
            lam = 0.0 if high == low else 0.5 - (length - low) / (high - low)
            found.append(lam if right else min(0.0, lam))
    return found


CASES = {  # lengths, correct, rewards
    "all correct": ([100, 300, 500, 900], [1, 1, 1, 1], [0.5, 0.25, 0.0, -0.5]),
    "all incorrect": ([100, 300, 500, 900], [0, 0, 0, 0], [0.0, 0.0, 0.0, -0.5]),
    "mixed": ([2, 4, 6, 10], [0, 1, 0, 1], [0.0, 0.25, 0.0, -0.5]),
    "all equal": ([7, 7, 7, 7], [1, 0, 1, 0], [0.0, 0.0, 0.0, 0.0]),
    "two lengths": ([3, 11, 3, 11], [1, 1, 0, 0], [0.5, -0.5, 0.0, -0.5]),
    "beyond the middle": ([1, 6, 7, 11], [0, 0, 0, 0], [0.0, 0.0, -0.1, -0.5]),
}


@pytest.mark.parametrize("name", CASES)
def test_cases_by_hand(name) -> None:
    lengths, correct, wanted = CASES[name]
    found = length_rewards(torch.tensor(lengths).double(), torch.tensor(correct).bool(), 4)
    assert found.tolist() == pytest.approx(wanted, abs=1e-15)
    assert by_hand(lengths, correct, 4) == pytest.approx(wanted, abs=1e-15)


def test_groups_are_apart_and_equal_the_loop() -> None:
    rng = random.Random(0)
    for size in (1, 2, 5):
        lengths = [rng.randint(1, 40) for _ in range(30)]
        correct = [rng.random() < 0.5 for _ in range(30)]
        found = length_rewards(torch.tensor(lengths).double(), torch.tensor(correct), size)
        assert found.tolist() == pytest.approx(by_hand(lengths, correct, size), abs=1e-15)
        assert found.abs().max() <= 0.5
    assert not length_rewards(torch.rand(6).double(), torch.ones(6).bool(), 1).any()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_lengths_are_checked(bad) -> None:
    with pytest.raises(ValueError, match=r"^lengths: must be finite and not negative"):
        length_rewards(torch.tensor([1.0, bad]), torch.ones(2).bool(), 2)
    for size in (0, 4):
        with pytest.raises(ValueError, match=rf"^group_size: 6 answers .* groups of {size}"):
            length_rewards(torch.ones(6), torch.ones(6).bool(), size)


def answers() -> Answers:
    task, policy = Sums(), load_policy("sums", "cpu")
    problems = task.problems(4, random.Random(0))
    generator = torch.Generator().manual_seed(0)
    batch = sample(policy, [p.prompt for p in problems], 8, 40, generator)
    verdicts = grade(task, problems, batch.texts, batch.truncated.tolist())
    return Answers(task, problems, batch, verdicts)


def test_the_reward_reads_lengths_verdicts_and_groups_of_the_answers() -> None:
    given = answers()
    lengths = given.batch.completion_mask.sum(dim=1).tolist()  # with the end-of-sequence token
    correct = [verdict.correct for verdict in given.verdicts]
    assert len(set(lengths)) > 3 and 0 < sum(correct) < 32
    whole = by_hand(lengths, correct, 8)
    assert make_reward("length")(given).tolist() == pytest.approx(whole, abs=1e-7)
    for name, kept in (("length_correct", True), ("length_incorrect", False)):
        wanted = [x if right is kept else 0.0 for x, right in zip(whole, correct, strict=True)]
        assert make_reward(name)(given).tolist() == pytest.approx(wanted, abs=1e-7)
    given.verdicts[:] = [Verdict("truncated")] * 32
    assert make_reward("length")(given).max() == 0


def test_whom_is_checked() -> None:
    with pytest.raises(ValueError, match=r"^whom: must be both, correct or incorrect, got 'all'"):
        length_reward("all")
