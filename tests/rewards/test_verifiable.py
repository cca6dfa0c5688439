"""Rewards stay raw, and the KL in the reward has the right sign."""

import pytest
import torch

from rlvr_lab.objectives.kl import kl_shaped_rewards
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.rewards.registry import REWARDS, make_reward
from rlvr_lab.rewards.text_reward_model import RewardModel
from rlvr_lab.rewards.verifiable import accuracy_rewards, tagged, truncation, well_formed
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Answers, Problem, Verdict, grade

PROBLEMS = [Problem("1+1......?", 2), Problem("2+2......?", 4)]


def answers(texts: list[str], truncated: list[bool]) -> Answers:
    """Answers to the first problem."""
    rows = len(texts)
    ones, zeros = torch.ones(rows, 1), torch.zeros(rows, 1)
    batch = RolloutBatch(
        torch.ones(1, 1).long(), torch.ones(1, 1).bool(), ones.long(), ones.bool(), ones.bool(),
        zeros, zeros, torch.tensor(truncated), texts, rows,
    )  # fmt: skip
    verdicts = grade(Sums(), PROBLEMS[:1], texts, truncated)
    return Answers(Sums(), PROBLEMS[:1], batch, verdicts)


def test_each_answer_meets_its_own_question():
    texts = ["=2", "=4", "=2", "=4"]
    verdicts = grade(Sums(), PROBLEMS, texts, [False] * 4)
    assert [v.correct for v in verdicts] == [True, False, False, True]
    with pytest.raises(ValueError, match="texts"):
        grade(Sums(), PROBLEMS, texts[:3], [False] * 3)


def test_a_truncated_answer_earns_nothing():
    verdicts = grade(Sums(), PROBLEMS[:1], ["=2"], [True])
    assert accuracy_rewards(verdicts).tolist() == [0.0]
    seen = answers(["=2", "=9", "=2", "2"], [True, False, False, False])
    assert well_formed(seen).tolist() == [0.0, 1.0, 1.0, 0.0]
    assert truncation(seen).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert accuracy_rewards([Verdict("right")]).tolist() == [1.0]


def test_the_tags_are_paid_only_around_a_chain_of_a_whole_answer():
    texts = ["=2", "<think>2</think>=2", "<think>2</think>=9", "<think>2=2", "<think>2</think>=2"]
    seen = answers(texts, [False, False, False, False, True])
    assert tagged(seen).tolist() == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert well_formed(seen).tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


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


def test_a_reward_has_a_name_and_an_unknown_name_is_refused():
    seen = answers(["=2", "=9"], [False, False])
    cut = answers(["=2", "=9", "=2"], [False, False, True])
    assert make_reward("accuracy")(cut).tolist() == [1.0, 0.0, 0.0]
    assert make_reward("format")(cut).tolist() == [1.0, 1.0, 0.0]
    assert make_reward("truncation")(cut).tolist() == [0.0, 0.0, 1.0]
    assert isinstance(make_reward("model", "cpu"), RewardModel)
    for name in REWARDS:
        assert make_reward(name, "cpu")(seen).shape == (2,)
    with pytest.raises(ValueError, match=r"rewards: must be names of accuracy.*got 'charm'"):
        make_reward("charm")
