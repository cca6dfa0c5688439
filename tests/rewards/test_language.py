"""The language consistency reward: a share of the chain's numbers, and 0 where there is no chain."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.rewards.language import consistency, language_reward, mixed
from rlvr_lab.rewards.registry import make_reward
from rlvr_lab.tasks.codes import Codes
from rlvr_lab.tasks.task import Answers, Problem
from rlvr_lab.training.policy_gradient import PRESETS

TEXTS = [
    "<think>720,378,913</think>=083",
    "<think>seventwozero,threeseveneight,nineonethree</think>=083",
    "<think>7two0,37eight,91three</think>=083",
    "<think>7two</think>=083",
    "=083",
    "<think></think>=083",
    "<think>720,378,913=083",
]
MAJORITY = [1, 1, 6 / 9, 1 / 2, 0, 0, 0]
DIGITS = [1, 0, 6 / 9, 1 / 2, 0, 0, 0]
WORDS = [0, 1, 3 / 9, 1 / 2, 0, 0, 0]


def answers(cut: tuple[int, ...] = ()) -> Answers:
    rows = len(TEXTS)
    ones, zeros = torch.ones(rows, 1), torch.zeros(rows, 1)
    truncated = torch.tensor([row in cut for row in range(rows)])
    batch = RolloutBatch(
        torch.ones(1, 1).long(), torch.ones(1, 1).bool(), ones.long(), ones.bool(), ones.bool(),
        zeros, zeros, truncated, TEXTS, rows,
    )  # fmt: skip
    return Answers(Codes(), [Problem("7+5+8,3+4+1,9+2+2?", 83)], batch, [])


@pytest.mark.parametrize(
    ("target", "shares"), [(None, MAJORITY), ("digits", DIGITS), ("words", WORDS)]
)
def test_the_share_is_counted_by_hand(target, shares):
    assert [consistency(text, target) for text in TEXTS] == pytest.approx(shares)
    torch.testing.assert_close(language_reward(target)(answers()), torch.tensor(shares).float())
    name = f"language_{target}" if target else "language"
    torch.testing.assert_close(make_reward(name)(answers()), torch.tensor(shares).float())


def test_a_truncated_answer_earns_nothing():
    assert language_reward()(answers((0, 2))).tolist() == pytest.approx([0, 1, 0, 1 / 2, 0, 0, 0])
    assert mixed(answers((2,))).tolist() == [0, 0, 0, 1, 0, 0, 0]


def test_mixed_is_a_chain_in_both_languages():
    assert make_reward("mixed")(answers()).tolist() == [0, 0, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("target", ["english", ""])
def test_an_unknown_target_is_refused_before_a_run(target):
    with pytest.raises(ValueError, match="target"):
        language_reward(target)


def test_a_run_adds_it_to_the_accuracy_and_a_weight_of_0_only_records():
    weights = {"accuracy": 1.0, "format": 0.1, "language": 0.3, "mixed": 0.0}
    small = {"prompts_per_step": 4, "group_size": 8, "device": "cpu", "world": "codes"}
    config = replace(PRESETS["grpo"], **small, max_new_tokens=24, rewards=weights)
    experience = config.collect(config.begin(load_policy("codes", "cpu")))
    by_hand = [
        float(verdict.correct) + 0.1 * Codes().well_formed(text) + 0.3 * consistency(text)
        for verdict, text in zip(experience.answers.verdicts, experience.batch.texts, strict=True)
    ]
    torch.testing.assert_close(experience.rewards, torch.tensor(by_hand))
    assert 0 < experience.parts["language"].mean() < 1
