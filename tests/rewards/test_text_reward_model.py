"""A learned reward model: pairs that are what they say, a fit that orders them, texts not ids."""

import pytest
import torch

from rlvr_lab.policy.loading import load_policy
from rlvr_lab.rewards.text_reward_model import RewardModel, character_tokenizer
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Problem
from rlvr_lab.training.loop import train
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.training.reward_models import fit_reward_model, preference_pairs


@pytest.fixture(scope="module")
def policy():
    return load_policy("sums", "cpu")


def verdict(text: str) -> bool:
    prompt, answer = text.split("?")
    total = sum(int(d) for d in prompt.strip(".").split("+")) % 10
    return Sums().verify(Problem(prompt + "?", total), answer, False).correct


def test_pairs_are_a_right_and_a_wrong_answer_to_one_question(policy) -> None:
    pairs = preference_pairs(policy, Sums(), 60, seed=3)
    assert len(pairs) == 60
    for chosen, rejected in pairs:
        assert chosen.split("?")[0] == rejected.split("?")[0]
        assert verdict(chosen) and not verdict(rejected)
    assert pairs == preference_pairs(policy, Sums(), 60, seed=3)


def test_flipped_labels_are_as_many_as_asked_for(policy) -> None:
    pairs = preference_pairs(policy, Sums(), 200, flip=0.25, seed=3)
    wrong = sum(verdict(rejected) for _, rejected in pairs)
    assert 30 <= wrong <= 70
    assert all(verdict(r) for _, r in preference_pairs(policy, Sums(), 20, flip=1.0, seed=3))


def test_a_fit_orders_what_it_has_not_seen() -> None:
    """A preference that shows: an answer after an equals sign."""
    train = [(f"{k}=7", f"{k}.7") for k in range(40)]
    held_out = [("77=7", "77.7"), ("91=3", "91.3")]
    model = fit_reward_model(train, held_out, steps=40, batch_size=16, hidden=16, device="cpu")
    assert model.accuracy == 1.0
    upside_down = [(b, a) for a, b in held_out]
    again = fit_reward_model(train, upside_down, steps=40, batch_size=16, hidden=16, device="cpu")
    assert again.accuracy == 0.0


def test_it_can_be_saved_and_loaded(tmp_path, policy) -> None:
    pairs = [("1+2", "1"), ("2+3+4", "2")]
    model = fit_reward_model(pairs, pairs, steps=2, hidden=16, device="cpu")
    model.save(str(tmp_path / "model"))
    loaded = RewardModel.load(tmp_path / "model", "cpu")
    assert loaded.tokenizer.get_vocab() == model.tokenizer.get_vocab()
    for key, value in model.model.state_dict().items():
        assert torch.equal(value, loaded.model.state_dict()[key]), key
    texts = ["=3", "<think>1</think>=1"]
    torch.testing.assert_close(loaded.score(["1+2?"], texts), model.score(["1+2?"], texts))
    assert loaded.accuracy == pytest.approx(model.accuracy)


def test_the_shipped_model_tells_good_looks_from_sums(policy) -> None:
    model = RewardModel.load(device="cpu")
    assert 0.75 < model.accuracy < 0.95
    held_out = preference_pairs(policy, Sums(), 100, seed=77)
    chosen, rejected = (model.score([""] * 100, list(side)) for side in zip(*held_out, strict=True))
    assert float((chosen > rejected).double().mean()) > 0.7


def test_another_vocabulary_reads_the_same_text(policy) -> None:
    text = "7+5+8+3....?<think>7203</think>=3"
    other = character_tokenizer()
    assert other.decode(other.encode(text)) == text
    assert len(other.encode(text)) > len(policy.tokenizer.encode(text))


def test_ppo_can_follow_it() -> None:
    config = PPOConfig(
        steps=2, prompts_per_step=4, group_size=4, rewards={"model": 1.0}, device="cpu"
    )
    records = list(train(config))
    assert all(r["reward"] == r["reward_model"] < 0.9 for r in records), "what is maximised"
    assert all(0 <= r["pass_rate"] <= 1 for r in records)
    plain = next(train(PPOConfig(steps=1, prompts_per_step=4, group_size=4, device="cpu")))
    assert "reward_model" not in plain
    assert plain["pass_rate"] == records[0]["pass_rate"], "the same answers, scored differently"


def test_bad_input_is_named(tmp_path, policy) -> None:
    with pytest.raises(ValueError, match="count: need at least 1"):
        preference_pairs(policy, Sums(), 0)
    with pytest.raises(ValueError, match="flip: must be a probability"):
        preference_pairs(policy, Sums(), 1, flip=1.5)
    with pytest.raises(ValueError, match="pairs, held_out"):
        fit_reward_model([], [])
    with pytest.raises(FileNotFoundError, match="reward-model"):
        RewardModel.load(tmp_path)
    with pytest.raises(ValueError, match="texts: 3 texts do not fit 2 prompts"):
        RewardModel.load(device="cpu").score(["1?", "2?"], ["a", "b", "c"])
