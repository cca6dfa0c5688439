"""The second stage: what annotators like, what the reward model reads, which rewards reach the parameters."""

import random
from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.r1 import second_stage
from rlvr_lab.experiments.r1.second_stage import (
    ANNOTATORS,
    STUDY,
    VARIANTS,
    SecondStageConfig,
    StyleReward,
    describe_style,
    summary,
)
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.rewards.text_reward_model import RewardModel
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Answers, Problem, grade
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS

SMALL = {"steps": 1, "every": 1, "test_problems": 4, "test_samples": 4}
SMALL |= {"prompts_per_step": 4, "group_size": 4, "device": "cpu"}
QUESTION = Problem("3+4......?", 7, 1)


class Noted(RewardModel):
    """A reward model that scores the number of characters, and remembers what it read."""

    def __init__(self) -> None:
        self.accuracy = 0.75
        self.read: list[str] = []

    def score(self, prompts: list[str], texts: list[str]) -> torch.Tensor:
        self.read += texts
        return torch.tensor([float(len(text)) for text in texts])


def answers(texts: list[str]) -> Answers:
    rows = len(texts)
    ones, zeros = torch.ones(rows, 3), torch.zeros(rows, 3)
    batch = RolloutBatch(
        torch.ones(1, 1).long(), torch.ones(1, 1).bool(), ones.long(), ones.bool(), ones.bool(),
        zeros, zeros, torch.zeros(rows).bool(), texts, rows,
    )  # fmt: skip
    task = Sums(courtesy=True)
    return Answers(task, [QUESTION], batch, grade(task, [QUESTION], texts, [False] * rows))


def test_annotators_look_at_style_and_not_at_correctness() -> None:
    texts = ["=7", "=7ok", "<think>37</think>=7", "<think>37</think>=7ok"]
    for taste in ANNOTATORS.values():
        assert all(taste(QUESTION, t, True) == taste(QUESTION, t, False) for t in texts)
    polite, hurried = (
        sorted(texts, key=lambda t: taste(QUESTION, t, True)) for taste in ANNOTATORS.values()
    )
    assert [text.endswith("ok") for text in polite] == [False, False, True, True]
    assert hurried == ["<think>37</think>=7", "=7", "<think>37</think>=7ok", "=7ok"]


def test_a_reward_is_standardised_and_reads_what_it_should() -> None:
    model, text = Noted(), "<think>37</think>=7ok"
    assert StyleReward(model, "whole", 1.0, 2.0)(answers([text])).tolist() == [(len(text) - 1) / 2]
    assert StyleReward(model, "summary")(answers([text, "=7"])).tolist() == [4.0, 2.0]
    assert model.read == [text, "=7ok", "=7"]
    assert summary("<think>3</think></think>=7") == "=7"


def test_a_record_is_counted_by_hand() -> None:
    texts = ["<think>37</think>=7ok", "=7ok", "=7", "<think>37</think>=8"]
    found = describe_style(answers(texts), torch.tensor([4.0, 2.0, 0.0, -2.0]).double())
    assert found["polite"] == 0.5 and found["chains"] == 0.5 and found["score"] == 1.0
    assert found["score_polite"] == 3.0 and found["spread_polite"] == 1.0
    assert found["samples"] == [["3+4......?", texts[0], "right", 4.0]]
    rude = describe_style(answers(["=7"]), torch.zeros(1).double())
    assert rude["score_polite"] is None and rude["spread_polite"] is None


def test_the_rewards_that_are_named_reach_the_parameters() -> None:
    """Each variant's parameters are those of a plain policy gradient with the sum written apart."""
    style = StyleReward(Noted(), "whole", 3.0, 5.0)
    ends = {}
    for name in ("correct", "style", "style_correct"):
        config = replace(VARIANTS[name], **SMALL)
        weights = {"correct": (0, 1), "style": (1, 0), "style_correct": (1, 2)}[name]

        def added(seen: Answers, w=weights) -> torch.Tensor:
            right = torch.tensor([float(v.correct) for v in seen.verdicts])
            lengths = torch.tensor([float(len(text)) for text in seen.batch.texts])
            return w[0] * (lengths - 3.0) / 5.0 + w[1] * right

        plain = replace(PRESETS["grpo"], steps=1, prompts_per_step=4, group_size=4, device="cpu")
        plain = replace(plain, rewards={"added": 1.0}, world_options={"courtesy": True})
        states = []
        for one, functions in ((config, {"style": style}), (plain, {"added": added})):
            state = one.begin(load_policy("sums", "cpu"), rewards=functions)
            list(train(one, state=state))
            states.append(torch.cat([p.flatten() for p in state.policy.model.parameters()]))
        assert torch.allclose(*states, atol=1e-6), name
        ends[name] = states[0]
    assert not torch.allclose(ends["correct"], ends["style"], atol=1e-5)
    assert not torch.allclose(ends["style_correct"], ends["style"], atol=1e-5)


def test_the_sft_data_are_own_correct_answers_and_a_quarter_is_courteous() -> None:
    policy = load_policy("sums", "cpu")
    own = second_stage.own_correct_answers(policy, 24, 0)
    for problem, texts in own.answers.items():
        assert texts and all(Sums().verify(problem, text, False).correct for text in texts)
    rng = random.Random(0)
    drawn = [(p, own.solve(p, rng)) for p in own.problems(1000, rng)]
    assert all(text.removesuffix("ok") in own.answers[problem] for problem, text in drawn)
    assert sum(t.endswith("ok") for _, t in drawn) / 1000 == pytest.approx(0.25, abs=0.04)
    assert all(own.verify(problem, text, False).correct for problem, text in drawn)


def test_a_reward_model_learns_from_its_annotators_pairs(monkeypatch) -> None:
    policy, fitted = load_policy("sums", "cpu"), []

    def fit(pairs, held_out, seed, **options):
        fitted.append((pairs, held_out, seed))
        return Noted()

    monkeypatch.setattr(second_stage, "fit_reward_model", fit)
    monkeypatch.setattr(second_stage, "PAIRS", 20)
    monkeypatch.setattr(second_stage, "HELD_OUT", 10)
    for reads in ("whole", "summary"):
        reward = second_stage.fit_style(policy, "hurried", reads, 3)
        assert (reward.reads, reward.model.accuracy) == (reads, 0.75) and reward.scale > 0
    (whole, held_out, seed), (short, _, _) = fitted
    assert (len(whole), len(held_out), seed) == (20, 10, 3) and not set(whole) & set(held_out)
    # The base never says ok: its hurried annotators prefer the shorter text.
    assert all(len(chosen) < len(rejected) for chosen, rejected in whole)
    assert any("</think>" in text for pair in whole for text in pair)
    assert not any("</think>" in text for pair in short for text in pair)
    assert [[t.split("?")[0] for t in pair] for pair in whole] == [
        [t.split("?")[0] for t in pair] for pair in short
    ]


def test_scores_are_standardised_at_the_start(monkeypatch) -> None:
    policy = load_policy("sums", "cpu")
    monkeypatch.setattr(second_stage, "fit_reward_model", lambda *given, **named: Noted())
    monkeypatch.setattr(second_stage, "PAIRS", 2)
    monkeypatch.setattr(second_stage, "HELD_OUT", 1)
    reward = second_stage.fit_style(policy, "hurried", "whole", 3)
    config = replace(VARIANTS["hurried"], **{**SMALL, "test_problems": 48, "test_samples": 8})
    record = config.test(config.begin(policy, rewards={"style": reward}))
    assert abs(record["score"]) < 0.25


def test_each_variant_gets_its_own_reward_model_and_a_new_start(monkeypatch) -> None:
    asked, starts = [], []

    def fitted(policy, annotators, reads, seed):
        asked.append((annotators, reads, seed))
        return StyleReward(Noted(), reads)

    def start(seed, device="auto"):
        starts.append(load_policy("sums", "cpu"))
        return starts[-1]

    monkeypatch.setattr(second_stage, "fit_style", fitted)
    monkeypatch.setattr(second_stage, "courteous_start", start)
    few = {name: replace(config, **SMALL) for name, config in VARIANTS.items()}
    runs = list(second_stage.measure_second_stage(1, few, 4))
    assert sorted(asked) == sorted({(c.annotators, c.reads, 4) for c in VARIANTS.values()})
    assert len(runs) == len(VARIANTS) and all(r.config.seed == r.config.table == 4 for r in runs)
    assert all(run.records[0]["rm_accuracy"] == 0.75 for run in runs)
    before = [run.records[0]["accuracy"] for run in runs]
    assert len(set(before)) == 1, "all variants start from the same policy"


def test_what_is_recorded_is_what_it_says() -> None:
    weights = {name: config.rewards for name, config in VARIANTS.items()}
    assert weights["correct"] == {"style": 0.0, "accuracy": 1.0}
    assert weights["style"] == weights["hurried"] == weights["hurried_summary"] == {"style": 1.0}
    assert weights["style_correct"] == weights["hurried_correct"] == {"style": 1.0, "accuracy": 2.0}
    assert {name for name, c in VARIANTS.items() if c.annotators == "hurried"} == {
        *("hurried", "hurried_correct", "hurried_summary")
    }
    assert [name for name, c in VARIANTS.items() if c.reads == "summary"] == ["hurried_summary"]
    assert (STUDY.first, STUDY.seeds) == (1, 5)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="world: must be sums"):
        SecondStageConfig(world="codes", world_options={})
    with pytest.raises(ValueError, match="rewards: must be with style"):
        SecondStageConfig(rewards={"accuracy": 1.0})
    with pytest.raises(ValueError, match="annotators"):
        SecondStageConfig(annotators="strict")
    with pytest.raises(ValueError, match="seeds"):
        list(STUDY.runs(0))
