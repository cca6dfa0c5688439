"""Exact gradients under another sampler, against autograd and against the enumeration of ``estimators``."""

import pytest
import torch

from rlvr_lab.exact.estimators import compare
from rlvr_lab.exact.mismatch import (
    ESTIMATORS,
    climb,
    corrected_gradient,
    estimators,
    noisy_logprobs,
    per_token_kl,
    relative_bias,
)
from rlvr_lab.exact.oracle import World
from rlvr_lab.objectives.averages import constant_mean
from rlvr_lab.objectives.importance import CORRECTIONS, weighted
from rlvr_lab.objectives.losses import ppo_clip_loss, reinforce_loss
from rlvr_lab.objectives.objective import Objective

SETTINGS = {
    "no correction": ("none", 2.0),
    "token": ("tis", float("inf")),
    "token, capped": ("tis", 2.0),
    "IcePop": ("icepop", 2.0),
    "product": ("sequence", float("inf")),
    "product, capped": ("sequence", 2.0),
}


@pytest.fixture(scope="module")
def far() -> World:
    """π and a sampler that is another untrained model: ratios from far below to far above 1."""
    return World.tiny(seed=2, off_policy=True)


def by_enumeration(world: World, name: str | None) -> tuple[torch.Tensor, float]:
    """The sum over all groups of one answer, with the trainer's losses; ``estimators`` samples from π_old."""
    j = world.expected_reward().detach()

    def loss(rows, average):
        if name is None:
            return ppo_clip_loss(*rows[:4], average=average)
        correction, cap = SETTINGS[name]
        weights = CORRECTIONS[correction](
            rows.logprobs.detach(), rows.old_logprobs, rows.mask, cap, 0.5
        )
        return reinforce_loss(rows.logprobs, rows.advantages, rows.mask, weighted(average, weights))

    objective = Objective(lambda rewards, group_size: rewards - j, loss, constant_mean(1))
    found = compare(world, objective, group_size=1)
    return found.expected, found.variance


@pytest.mark.parametrize("name", [*ESTIMATORS, None])
def test_expected_gradient_and_variance_are_those_of_the_enumeration(far, name) -> None:
    found = corrected_gradient(far, far.fixed_logprobs[1], ESTIMATORS[name] if name else None)
    expected, variance = by_enumeration(far, name)
    torch.testing.assert_close(found.expected, expected, atol=1e-12, rtol=1e-12)
    assert found.variance == pytest.approx(variance, rel=1e-10)
    assert torch.equal(found.bias, found.expected - found.exact)


def test_the_untruncated_product_is_unbiased_and_nothing_else_is(far) -> None:
    gaps = {
        name: relative_bias(corrected_gradient(far, far.fixed_logprobs[1], weights))
        for name, weights in [*ESTIMATORS.items(), ("clip", None)]
    }
    assert gaps.pop("product") < 1e-12
    assert min(gaps.values()) > 0.01


def test_the_token_weight_misses_exactly_the_other_tokens_ratios(far) -> None:
    """Multiply each token's weight by the ratios of the answer's other tokens, and the bias is gone."""
    mu = far.fixed_logprobs[1]

    def completed(new, old, mask):
        gap = torch.where(mask, new - old, 0.0)
        others = gap.sum(dim=1, keepdim=True) - gap
        return ESTIMATORS["token"](new, old, mask) * others.exp()

    assert float(corrected_gradient(far, mu, completed).bias.norm()) < 1e-12


def test_on_policy_every_estimator_is_the_gradient() -> None:
    world = World.tiny()
    for weights in (*ESTIMATORS.values(), None):
        found = corrected_gradient(world, world.fixed_logprobs[0], weights)
        assert float(found.bias.norm()) < 1e-12
        assert found.cosine == pytest.approx(1) and found.factor == pytest.approx(1)


def test_one_token_answers_have_no_rest_to_miss() -> None:
    """With one token per answer the token's ratio is the answer's: unbiased."""
    world = World.tiny(
        seed=2, length=1, off_policy=True, reward=lambda answer: float(answer[0] == 1)
    )
    found = corrected_gradient(world, world.fixed_logprobs[1], ESTIMATORS["token"])
    assert float(found.bias.norm()) < 1e-12


def test_a_climb_is_plain_gradient_ascent() -> None:
    world = World.tiny()
    before = [p.clone() for p in world.parameters]
    path = climb(world, 3, 0.05)
    assert len(path) == 4
    assert all(torch.equal(a, b) for a, b in zip(before, world.parameters, strict=True))
    rewards = [float(one.expected_reward().detach()) for one in path]
    assert rewards == sorted(rewards) and rewards[0] < rewards[3]
    here = World.tiny()
    gradient = here.gradient(here.expected_reward())
    for start, after in ((path[0], path[1]),):
        moved = torch.cat(
            [(b - a).flatten() for a, b in zip(start.parameters, after.parameters, strict=True)]
        )
        torch.testing.assert_close(moved.detach(), 0.05 * gradient, atol=1e-14, rtol=1e-10)


def test_noise_makes_a_policy_of_which_each_beginning_has_one_draw() -> None:
    world = World.tiny(length=3)
    make = lambda std: noisy_logprobs(world, std, torch.Generator().manual_seed(1))  # noqa: E731
    mu = make(0.7)
    assert float(mu.sum(dim=1).exp().sum()) == pytest.approx(1, abs=1e-12)
    assert torch.equal(mu == 0, ~world.mask | (mu == 0)) and not bool(mu[~world.mask].any())
    firsts = {
        int(token): float(value) for token, value in zip(world.ids[:, 0], mu[:, 0], strict=True)
    }
    assert all(mu[y, 0] == firsts[int(world.ids[y, 0])] for y in range(len(mu)))
    torch.testing.assert_close(make(0.0), world.fixed_logprobs[0], atol=1e-12, rtol=0)
    # Differences of log-probabilities of one beginning are differences of the noise: twice its variance.
    many = [noisy_logprobs(world, 0.7, torch.Generator().manual_seed(i)) for i in range(600)]
    gap = torch.stack([one[:, 0] - world.fixed_logprobs[0][:, 0] for one in many])
    by_token = {int(token): gap[:, y] for y, token in enumerate(world.ids[:, 0])}
    spread = float((by_token[1] - by_token[2]).std())
    assert spread == pytest.approx(0.7 * 2**0.5, rel=0.1)


def test_the_kl_per_token_is_its_sum(far) -> None:
    mu, pi = (x.sum(dim=1) for x in far.fixed_logprobs[::-1])
    total = sum(float(m.exp() * (m - p)) for m, p in zip(mu, pi, strict=True))
    length = sum(float(m.exp()) * int(row.sum()) for m, row in zip(mu, far.mask, strict=True))
    assert per_token_kl(far, far.fixed_logprobs[1]) == pytest.approx(total / length, rel=1e-10)


def test_bad_input_is_named() -> None:
    world = World.tiny()
    with pytest.raises(ValueError, match="sampler_logprobs: the probabilities"):
        corrected_gradient(world, world.fixed_logprobs[0] - 0.1, None)
    with pytest.raises(ValueError, match="steps: must not be negative"):
        climb(world, -1, 0.1)
    with pytest.raises(ValueError, match="rate: must be positive"):
        climb(world, 1, 0.0)


def test_the_cap_and_the_floor_reach_the_weights(far) -> None:
    mu, new = far.fixed_logprobs[1], far.fixed_logprobs[0]
    usual, other = estimators(), estimators(cap=1.2, floor=0.9)
    for name in usual:
        same = torch.equal(usual[name](new, mu, far.mask), other[name](new, mu, far.mask))
        assert same == (name in ("no correction", "token", "product")), name
    assert float(other["token, capped"](new, mu, far.mask).max()) == 1.2


def test_the_relative_bias_of_nothing_is_one(far) -> None:
    found = corrected_gradient(far, far.fixed_logprobs[1], lambda new, old, mask: mask * 0.0)
    assert relative_bias(found) == pytest.approx(1)
