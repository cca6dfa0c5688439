"""Rewards stay raw, and the KL in the reward has the right sign."""

import pytest
import torch

from rlvr_lab.rewards import accuracy_rewards, format_rewards, grade, kl_shaped_rewards
from rlvr_lab.tasks import Problem, Sums
from rlvr_lab.verifiers import Verdict

PROBLEMS = [Problem("1+1......?", 2), Problem("2+2......?", 4)]


def test_each_answer_meets_its_own_question():
    texts = ["=2", "=4", "=2", "=4"]
    verdicts = grade(Sums(), PROBLEMS, texts, [False] * 4)
    assert [v.correct for v in verdicts] == [True, False, False, True]
    with pytest.raises(ValueError, match="texts"):
        grade(Sums(), PROBLEMS, texts[:3], [False] * 3)


def test_a_truncated_answer_earns_nothing():
    verdicts = grade(Sums(), PROBLEMS[:1], ["=2"], [True])
    assert accuracy_rewards(verdicts).tolist() == [0.0]
    assert format_rewards(Sums(), ["=2"], [True]).tolist() == [0.0]
    assert format_rewards(Sums(), ["=9"], [False]).tolist() == [1.0]
    assert accuracy_rewards([Verdict("right")]).tolist() == [1.0]


def test_kl_in_the_reward_by_hand():
    rewards = torch.tensor([1.0, 0.0])
    logprobs = torch.tensor([[-1.0, -1.0], [-2.0, 99.0]])
    ref = torch.tensor([[-2.0, -1.5], [-1.0, -99.0]])
    mask = torch.tensor([[True, True], [True, False]])
    shaped = kl_shaped_rewards(rewards, logprobs, ref, mask, 0.1)
    torch.testing.assert_close(shaped, torch.tensor([1 - 0.1 * 1.5, 0.1 * 1.0]))
    assert rewards.tolist() == [1.0, 0.0], "rewards stay raw"
    with pytest.raises(ValueError, match="kl_coef"):
        kl_shaped_rewards(rewards, logprobs, ref, mask, -1.0)
