"""The second stage: what annotators like, what the reward model reads, which rewards reach the parameters."""

import random
from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.r1 import second_stage
from rlvr_lab.experiments.r1.second_stage import (
    STUDY,
    VARIANTS,
    SecondStageConfig,
    StyleReward,
    describe_style,
    rule,
    taste,
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


def test_the_taste_and_the_rule_look_at_the_end_and_not_at_correctness() -> None:
    texts = ["=7", "=7ok", "ok=7", "=8ok", "=7okok"]
    polite = [0.0, 1.0, 0.0, 1.0, 1.0]
    for correct in (True, False):
        assert [taste(QUESTION, text, correct) for text in texts] == polite
    assert rule(answers(texts)).tolist() == polite


def test_a_reward_is_standardised() -> None:
    model, text = Noted(), "<think>37</think>=7ok"
    assert StyleReward(model, 1.0, 2.0)(answers([text, "=7"])).tolist() == [
        (len(text) - 1) / 2,
        0.5,
    ]
    assert model.read == [text, "=7"]


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
    style = StyleReward(Noted(), 3.0, 5.0)
    weights_of = {
        "correct": (0, 1),
        "style": (1, 0),
        "style_correct": (1, 2),
        "style_no_std": (1, 0),
    }
    ends = {}
    for name, weights in weights_of.items():
        config = replace(VARIANTS[name], **SMALL)

        def added(seen: Answers, w=weights) -> torch.Tensor:
            right = torch.tensor([float(v.correct) for v in seen.verdicts])
            lengths = torch.tensor([float(len(text)) for text in seen.batch.texts])
            return w[0] * (lengths - 3.0) / 5.0 + w[1] * right

        plain = replace(PRESETS["grpo"], steps=1, prompts_per_step=4, group_size=4, device="cpu")
        plain = replace(plain, rewards={"added": 1.0}, world_options={"courtesy": True})
        plain = replace(plain, divide_by_std=name != "style_no_std")
        states = []
        for one, functions in ((config, {"style": style}), (plain, {"added": added})):
            state = one.begin(load_policy("sums", "cpu"), rewards=functions)
            list(train(one, state=state))
            states.append(torch.cat([p.flatten() for p in state.policy.model.parameters()]))
        assert torch.allclose(*states, atol=1e-6), name
        ends[name] = states[0]
    assert not torch.allclose(ends["correct"], ends["style"], atol=1e-5)
    assert not torch.allclose(ends["style_correct"], ends["style"], atol=1e-5)
    assert not torch.allclose(ends["style_no_std"], ends["style"], atol=1e-5)


def test_the_rule_is_what_is_maximised_where_it_is_named() -> None:
    config = replace(VARIANTS["rule"], **SMALL)
    given = {"style": StyleReward(Noted()), "rule": rule}
    state = config.begin(load_policy("sums", "cpu"), rewards=given)
    experience = config.collect(state)
    assert set(experience.parts) == {"style", "rule"} and experience.parts["style"].any()
    torch.testing.assert_close(experience.rewards, experience.parts["rule"])


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


@pytest.fixture
def length_taste(monkeypatch) -> list:
    """The base never says ok; annotators who like long answers stand in. Returns what a model is fitted to."""
    fitted = []

    def fit(pairs, held_out, seed, **options):
        fitted.append((pairs, held_out, seed))
        return Noted()

    monkeypatch.setattr(second_stage, "fit_reward_model", fit)
    monkeypatch.setattr(second_stage, "taste", lambda problem, text, correct: float(len(text)))
    monkeypatch.setattr(second_stage, "PAIRS", 20)
    monkeypatch.setattr(second_stage, "HELD_OUT", 10)
    return fitted


def test_a_reward_model_learns_from_the_annotators_pairs(length_taste) -> None:
    reward = second_stage.fit_style(load_policy("sums", "cpu"), 3)
    ((pairs, held_out, seed),) = length_taste
    assert (len(pairs), len(held_out), seed) == (20, 10, 3) and not set(pairs) & set(held_out)
    assert all(len(chosen) > len(rejected) for chosen, rejected in [*pairs, *held_out])
    assert reward.model.accuracy == 0.75 and reward.scale > 0


def test_scores_are_standardised_at_the_start(length_taste) -> None:
    policy = load_policy("sums", "cpu")
    reward = second_stage.fit_style(policy, 3)
    config = replace(VARIANTS["style"], **{**SMALL, "test_problems": 48, "test_samples": 8})
    record = config.test(config.begin(policy, rewards={"style": reward}))
    assert abs(record["score"]) < 0.25


def test_all_variants_start_from_the_same_policy_with_the_reward_model_of_their_seed(
    monkeypatch,
) -> None:
    asked, starts = [], []

    def fitted(policy, seed):
        asked.append(seed)
        return StyleReward(Noted())

    def start(seed, device="auto"):
        starts.append(seed)
        return load_policy("sums", "cpu")

    def forbidden(*given):
        raise AssertionError("stage 2 starts from the courteous policy")

    monkeypatch.setattr(second_stage, "fit_style", fitted)
    monkeypatch.setattr(second_stage, "courteous_start", start)
    monkeypatch.setattr(second_stage, "sums_base", forbidden)
    few = {name: replace(VARIANTS[name], **SMALL) for name in ("correct", "style", "rule")}
    runs = list(second_stage.measure_second_stage(2, few, 4))
    assert asked == [4, 5] and set(starts) == {4, 5}
    assert [run.config.seed for run in runs] == [4, 4, 4, 5, 5, 5]
    assert all(run.config.table == run.config.seed for run in runs)
    assert all(run.records[0]["rm_accuracy"] == 0.75 for run in runs)
    assert len({run.records[0]["accuracy"] for run in runs[:3]}) == 1
    assert all(run.records[0]["score"] > 1 for run in runs), "the style is scored by the model"
    assert runs[0].records[1]["accuracy"] != runs[1].records[1]["accuracy"] or (
        runs[0].records[1]["entropy"] != runs[1].records[1]["entropy"]
    )


def test_what_is_recorded_is_what_it_says() -> None:
    weights = {name: config.rewards for name, config in VARIANTS.items()}
    assert weights["correct"] == {"style": 0.0, "accuracy": 1.0}
    assert weights["style"] == weights["style_no_std"] == weights["style_kl"] == {"style": 1.0}
    assert weights["style_correct"] == {"style": 1.0, "accuracy": 2.0}
    assert weights["rule"] == {"style": 0.0, "rule": 1.0}
    assert [name for name, c in VARIANTS.items() if not c.divide_by_std] == ["style_no_std"]
    kl = VARIANTS["style_kl"]
    assert (kl.kl_coef, kl.kl_estimator, kl.kl_in) == (0.2, "k3", "loss")
    assert [name for name, c in VARIANTS.items() if c.kl_coef] == ["style_kl"]
    assert (STUDY.first, STUDY.seeds) == (1, 5)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="world: must be sums"):
        SecondStageConfig(world="codes", world_options={})
    with pytest.raises(ValueError, match="rewards: must be with style"):
        SecondStageConfig(rewards={"accuracy": 1.0})
    with pytest.raises(ValueError, match="seeds"):
        list(STUDY.runs(0))
