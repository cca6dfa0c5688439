"""Reward models: more and cleaner pairs make better ones; ensembles take the mean or the worst."""

import pytest
import torch

from rlvr_lab.rewards.count_reward_model import ProxyReward, ensemble, held_out_accuracy
from rlvr_lab.tasks.letters import PreferenceWorld
from rlvr_lab.training.reward_models import fit_proxy

WORLD = PreferenceWorld()


def fitted(count: int, flip: float, seed: int = 0) -> ProxyReward:
    return fit_proxy(WORLD, WORLD.pairs(count, flip, seed), seed)


def test_more_pairs_and_fewer_errors_make_a_better_model():
    poor, large, clean = (
        held_out_accuracy(fitted(*setting), WORLD)
        for setting in [(300, 0.25), (3000, 0.25), (30_000, 0.0)]
    )
    assert 0.6 < poor < 0.75 < large < 0.88 < clean < 0.97


def test_always_wrong_annotators_teach_the_opposite():
    assert held_out_accuracy(fitted(3000, 1.0), WORLD) < 0.15


def test_the_gold_reward_itself_is_always_right():
    assert held_out_accuracy(WORLD.gold, WORLD) == 1.0


def test_scores_of_the_base_are_standardised_and_frozen():
    model = fitted(300, 0.25)
    base = WORLD.counts(*WORLD.base_answers(8192, torch.Generator().manual_seed(5)))
    scores = model(base)
    assert not scores.requires_grad
    assert float(scores.mean()) == pytest.approx(0, abs=0.06)
    assert float(scores.std()) == pytest.approx(1, abs=0.06)
    order = model.logits(base).argsort()
    assert torch.equal(scores[order], scores[order].sort().values)


def test_the_same_seed_gives_the_same_model():
    counts = WORLD.counts(*WORLD.base_answers(8, torch.Generator().manual_seed(0)))
    assert torch.equal(fitted(300, 0.25)(counts), fitted(300, 0.25)(counts))


def test_an_ensemble_reduces_its_members():
    members = [fitted(100, 0.0, seed) for seed in range(3)]
    counts = WORLD.counts(*WORLD.base_answers(64, torch.Generator().manual_seed(0)))
    each = torch.stack([member(counts) for member in members])
    assert torch.equal(ensemble(members, "min")(counts), each.min(dim=0).values)
    torch.testing.assert_close(ensemble(members, "mean")(counts), each.mean(dim=0))
    with pytest.raises(ValueError, match="models"):
        ensemble([])
    with pytest.raises(ValueError, match=r"reduce: .*median"):
        ensemble(members, "median")


def test_held_out_pairs_are_4096_of_a_seed_that_no_fit_uses():
    first = lambda counts: counts[..., 0].float()  # noqa: E731
    usual = held_out_accuracy(first, WORLD)
    assert usual == held_out_accuracy(first, WORLD, 4096, 10_000)
    assert usual != held_out_accuracy(first, WORLD, 4096, 10_001)


def test_the_model_is_two_hidden_layers_each_with_a_rectifier():
    torch.manual_seed(0)
    model = ProxyReward()
    counts = torch.rand(5, model.layers[0].in_features) * 6
    one, two, three = (part for part in model.layers if isinstance(part, torch.nn.Linear))
    hidden = one(counts).clamp(min=0)
    torch.testing.assert_close(model.logits(counts), three(two(hidden).clamp(min=0))[:, 0])
