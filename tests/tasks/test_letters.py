"""The preference world: gold reward by hand, pairs in order, a base that is exactly what it says."""

import math
import random

import pytest
import torch

from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.sampling import sample
from rlvr_lab.tasks.letters import LETTERS, PAD, PROMPT, STOP, PreferenceWorld
from rlvr_lab.tasks.task import Task
from rlvr_lab.training.loop import train
from rlvr_lab.training.pairs import letter_logprobs
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

WORLD, OPEN = PreferenceWorld(), PreferenceWorld(stop=0.3)


def by_hand(text: str, world: PreferenceWorld = WORLD) -> float:
    total = 0.0
    for index, letter in enumerate(LETTERS):
        count = text.count(letter)
        total += float(world.weights[index]) * min(count, 2) - max(0, count - 2)
    return total


def ids_of(text: str) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.tensor([[LETTERS.index(letter) for letter in text]])
    return ids, torch.ones_like(ids, dtype=torch.bool)


@pytest.mark.parametrize("text", ["aabbccddeeff", "aaaaaaaaaaaa", "abcdefghijkl", "ppppoonmmmna"])
def test_gold_reward_by_hand(text):
    assert float(WORLD.gold(WORLD.counts(*ids_of(text)))) == pytest.approx(by_hand(text), abs=1e-5)


def test_padding_and_the_end_count_for_nothing():
    ids, mask = torch.tensor([[0, 3, STOP, PAD]]), torch.tensor([[True, True, True, False]])
    assert float(OPEN.gold(OPEN.counts(ids, mask))) == pytest.approx(by_hand("ad"), abs=1e-5)


@pytest.mark.parametrize("flip", [0.0, 0.25, 1.0])
def test_pairs_are_ordered_but_for_the_annotators_errors(flip):
    pairs = WORLD.pairs(4000, flip, seed=3)
    won = WORLD.gold(WORLD.counts(pairs.chosen, pairs.chosen_mask))
    lost = WORLD.gold(WORLD.counts(pairs.rejected, pairs.rejected_mask))
    wrong = won < lost
    clear = (won - lost).abs() > 1e-4
    assert bool((wrong == pairs.flipped)[clear].all())
    assert float(pairs.flipped.double().mean()) == pytest.approx(flip, abs=0.03)


def test_the_same_seed_gives_the_same_pairs():
    one, two, other = (WORLD.pairs(50, 0.25, seed) for seed in (1, 1, 2))
    assert torch.equal(one.chosen, two.chosen) and not torch.equal(one.chosen, other.chosen)


def test_a_length_bias_makes_annotators_prefer_long_answers():
    def longer(bias: float) -> float:
        pairs = PreferenceWorld(stop=0.3, length_bias=bias).pairs(4000, 0.0, seed=0)
        won, lost = pairs.chosen_mask.sum(1), pairs.rejected_mask.sum(1)
        return float((won > lost).double().mean() - (won < lost).double().mean())

    assert longer(2.0) > longer(0.0) + 0.3


@pytest.mark.parametrize("world", [WORLD, OPEN], ids=["fixed", "open"])
def test_the_untrained_network_is_exactly_the_base(world):
    policy = world.base_policy(seed=0)
    ids, mask = world.base_answers(64, torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = letter_logprobs(policy, ids, mask)
    torch.testing.assert_close(found, world.base_logprobs(ids, mask), rtol=0, atol=1e-5)
    copy = policy.frozen_copy()
    with torch.no_grad():
        torch.testing.assert_close(letter_logprobs(copy, ids, mask), found)


def test_base_answers_have_the_stated_lengths():
    _, mask = OPEN.base_answers(20_000, torch.Generator().manual_seed(0))
    expected = sum(0.7**k for k in range(12))
    assert float(mask.sum(dim=1).double().mean()) == pytest.approx(expected, rel=0.02)
    ids, full = WORLD.base_answers(100, torch.Generator().manual_seed(0))
    assert bool(full.all()) and int(ids.max()) < len(LETTERS)


def test_the_two_ways_to_score_an_answer_agree():
    """Away from the base, on sampled answers: one plain pass, and the package's grouped one."""
    policy = OPEN.base_policy(seed=0)
    generator = torch.Generator().manual_seed(0)
    policy.model.lm_head.weight.data.normal_(std=0.3, generator=generator)
    batch: RolloutBatch = sample(policy, [PROMPT], 32, OPEN.length, generator)
    with torch.no_grad():
        plain = letter_logprobs(policy, batch.completion_ids, batch.completion_mask)
        grouped = token_logprobs(policy.model, batch)
    torch.testing.assert_close(plain, grouped, rtol=0, atol=1e-5)
    torch.testing.assert_close(plain, batch.old_logprobs, rtol=0, atol=1e-5)


def test_it_is_a_task_that_grpo_trains_on():
    assert isinstance(WORLD, Task)
    problem = WORLD.problems(1, random.Random(0))[0]
    good = max(LETTERS, key=by_hand) * 2
    assert WORLD.verify(problem, good, True).correct == (by_hand(good) >= WORLD.bar)
    config = PolicyGradientConfig(
        steps=30,
        prompts_per_step=8,
        group_size=16,
        world="letters",
        max_new_tokens=12,
        learning_rate=1e-3,
        device="cpu",
    )
    state = config.begin()
    rates = [record["pass_rate"] for record in train(config, state=state)]
    assert sum(rates[-5:]) / 5 > sum(rates[:5]) / 5 + 0.2


def test_bad_values_are_named():
    with pytest.raises(ValueError, match="length"):
        PreferenceWorld(length=0)
    with pytest.raises(ValueError, match="stop"):
        PreferenceWorld(stop=1.0)
    with pytest.raises(ValueError, match="count"):
        WORLD.pairs(0, 0.1, 0)
    with pytest.raises(ValueError, match=r"flip: .*1.5"):
        WORLD.pairs(5, 1.5, 0)
    assert math.isinf(float(WORLD.base_logprobs(torch.tensor([[STOP]]), torch.tensor([[True]]))))


def test_annotators_with_a_temperature_err_as_bradley_and_terry_say():
    world, count = PreferenceWorld(), 20_000
    pairs = world.pairs(count, flip=0.0, seed=3, temperature=2.0)
    gold = [
        world.gold(world.counts(ids, mask))
        for ids, mask in (
            (pairs.chosen, pairs.chosen_mask),
            (pairs.rejected, pairs.rejected_mask),
        )
    ]
    gap = (gold[0] - gold[1]).abs()
    chance = torch.sigmoid(-gap / 2.0)
    for near in (gap < gap.median(), gap >= gap.median()):
        found, wanted = pairs.flipped[near].float().mean(), chance[near].mean()
        assert float(found) == pytest.approx(float(wanted), abs=2 / float(near.sum()) ** 0.5)
    assert torch.equal((gold[0] < gold[1]), pairs.flipped & (gap > 0))
    with pytest.raises(ValueError, match="temperature"):
        world.pairs(10, 0.0, 0, temperature=-1.0)
