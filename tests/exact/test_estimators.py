"""Expected gradients against ordered groups, Monte Carlo, and the closed forms of the theory."""

import itertools
from dataclasses import replace
from functools import partial

import pytest
import torch

from rlvr_lab.exact.estimators import all_groups, compare, expected_gradient
from rlvr_lab.exact.oracle import World
from rlvr_lab.objectives.advantages import group_advantages, leave_one_out_advantages
from rlvr_lab.objectives.averages import constant_mean, sequence_mean, token_mean
from rlvr_lab.objectives.kl import k1, k2, k3, kl_penalty
from rlvr_lab.objectives.losses import cispo_loss, gspo_loss, ppo_clip_loss, reinforce_loss
from rlvr_lab.objectives.objective import Objective, Rows
from rlvr_lab.objectives.ratios import log_ratio, token_ratio

CENTRED = partial(group_advantages, divide_by_std=False)
SUM = constant_mean(1)


def clip(rows: Rows, average) -> torch.Tensor:
    return ppo_clip_loss(
        rows.logprobs, rows.old_logprobs, rows.advantages, rows.mask, average=average
    )


def gspo(rows: Rows, average) -> torch.Tensor:
    return gspo_loss(
        rows.logprobs, rows.old_logprobs, rows.advantages, rows.mask, 0.2, 0.2, average=average
    )


def cispo(rows: Rows, average) -> torch.Tensor:
    return cispo_loss(rows.logprobs, rows.old_logprobs, rows.advantages, rows.mask, average=average)


def grpo(rows: Rows, average) -> torch.Tensor:
    penalty = kl_penalty(rows.logprobs, rows.ref_logprobs, rows.mask, 0.3, average)
    return clip(rows, average) + penalty


def one_group(world: World, members: list[int], estimator: Objective) -> torch.Tensor:
    """ĝ of one group, by autograd through the model: the definition, without any of the sums."""
    old = world.logprobs(world.behaviour).detach()
    rows = Rows(
        world.logprobs()[members],
        old[members],
        estimator.advantage(world.rewards[members], len(members)),
        world.mask[members],
        world.logprobs(world.reference).detach()[members],
    )
    return -world.gradient(estimator.loss(rows, estimator.average))


ESTIMATORS = {
    "REINFORCE, token mean": Objective(CENTRED, average=token_mean),
    "GRPO with KL": Objective(group_advantages, grpo, sequence_mean),
    "DAPO": Objective(group_advantages, clip, token_mean),
    "GSPO": Objective(leave_one_out_advantages, gspo, sequence_mean),
    "CISPO": Objective(CENTRED, cispo, token_mean),
}


@pytest.mark.parametrize("off_policy", [False, True])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_counts_give_what_all_ordered_groups_give(name: str, off_policy: bool) -> None:
    world = World.tiny(0, vocabulary=2, length=3, off_policy=off_policy)
    world = replace(world, rewards=torch.tensor([0.2, 1.0, 0.0, 0.7]).double())
    estimator, size = ESTIMATORS[name], 3
    chances = world.answer_logprobs(world.behaviour).exp().detach()
    mean, square = 0.0, 0.0
    for members in itertools.product(range(4), repeat=size):
        estimate = one_group(world, list(members), estimator)
        weight = chances[list(members)].prod()
        mean, square = mean + weight * estimate, square + weight * estimate.square().sum()
    found, variance = expected_gradient(world, estimator, size)
    torch.testing.assert_close(found, mean, rtol=0, atol=1e-12)
    assert variance == pytest.approx(float(square - mean.square().sum()), abs=1e-10)


@pytest.mark.parametrize("name", ["GRPO with KL", "DAPO"])
def test_monte_carlo_agrees_within_three_standard_errors(name: str) -> None:
    world, estimator, size, draws = World.tiny(1, off_policy=True), ESTIMATORS[name], 4, 500
    chances = world.answer_logprobs(world.behaviour).exp().detach()
    generator = torch.Generator().manual_seed(0)
    groups = torch.multinomial(chances, draws * size, True, generator=generator).view(draws, size)
    distinct, count = torch.unique(groups.sort(dim=1).values, dim=0, return_counts=True)
    estimates = torch.stack([one_group(world, row.tolist(), estimator) for row in distinct])
    mean = (count.double() @ estimates) / draws
    exact, variance = expected_gradient(world, estimator, size)
    spread = (count.double() @ (estimates - mean).square()) / draws
    moving = spread > 1e-12
    z = ((mean - exact)[moving] / (spread[moving] / draws).sqrt()).abs()
    assert float((mean - exact).norm()) < 3 * (variance / draws) ** 0.5
    assert float((z < 3).double().mean()) > 0.99
    assert float(spread.sum()) == pytest.approx(variance, rel=0.2)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unbiased_estimators_have_no_bias_and_the_group_mean_its_factor(
    size: int, seed: int
) -> None:
    world = World.tiny(seed, reward=lambda a: a.count(1) + 0.3 * len(a))
    for advantage in (lambda r, _: r, lambda r, _: r - 0.7, leave_one_out_advantages):
        assert float(compare(world, Objective(advantage), size).bias.norm()) < 1e-10
    centred = compare(world, Objective(CENTRED), size)
    assert centred.factor == pytest.approx((size - 1) / size, abs=1e-10)
    assert centred.cosine == pytest.approx(1, abs=1e-10)


def test_a_baseline_lowers_the_variance_but_not_the_mean() -> None:
    world = World.tiny(0)
    value = float(world.expected_reward().detach())
    plain = compare(world, Objective(), 4)
    with_baseline = compare(world, Objective(lambda r, _: r - value), 4)
    torch.testing.assert_close(plain.expected, with_baseline.expected, rtol=0, atol=1e-12)
    assert with_baseline.variance < plain.variance


def test_off_policy_the_importance_ratio_of_whole_answers_is_needed() -> None:
    world = World.tiny(2, off_policy=True)

    def weighted(rows: Rows, average) -> torch.Tensor:
        ratio = (
            log_ratio(rows.logprobs, rows.old_logprobs, rows.mask).sum(dim=1, keepdim=True).exp()
        )
        return average(-ratio * rows.advantages[:, None], torch.ones_like(ratio, dtype=torch.bool))

    def by_token(rows: Rows, average) -> torch.Tensor:
        ratio = token_ratio(rows.logprobs, rows.old_logprobs, rows.mask)
        return average(-ratio * rows.advantages[:, None], rows.mask)

    assert float(compare(world, Objective(loss=weighted), 2).bias.norm()) < 1e-10
    # What PPO and GRPO use, one ratio a token, leaves out how the earlier tokens got there.
    assert float(compare(world, Objective(loss=by_token), 2).bias.norm()) > 1e-2
    assert float(compare(world, Objective(), 2).bias.norm()) > 1e-2


def test_on_policy_the_clip_does_nothing() -> None:
    world = World.tiny(0)
    for loss in (clip, cispo):
        found, _ = expected_gradient(world, Objective(CENTRED, loss), 3)
        plain, _ = expected_gradient(world, Objective(CENTRED), 3)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)


# ------------------------------------------------------------------- the KL estimators as losses


def answers(rows: Rows) -> tuple[torch.Tensor, ...]:
    """Log-probs of whole answers, [B, 1]: one action each."""
    return tuple(
        torch.where(rows.mask, x, 0.0).sum(dim=1, keepdim=True)
        for x in (rows.logprobs, rows.old_logprobs, rows.ref_logprobs)
    )


def kl_loss(estimator, corrected: bool = False):
    """β·KL, β = 1, as a loss on whole answers; the expected estimate is minus the KL's gradient."""

    def loss(rows: Rows, average) -> torch.Tensor:
        new, old, ref = answers(rows)
        value = estimator(new, ref)
        value = torch.exp(new - old) * value if corrected else value
        return average(value, torch.ones_like(value, dtype=torch.bool))

    return Objective(loss=loss)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("estimator", "truth"),
    [
        (kl_loss(k1), None),
        (kl_loss(k2), "reverse"),
        (kl_loss(k3), "forward"),
        (kl_loss(k3, corrected=True), "reverse"),
        (kl_loss(k1, corrected=True), "reverse"),
    ],
    ids=["k1", "k2", "k3", "rho k3", "rho k1"],
)
def test_gradients_of_the_kl_estimators(seed: int, estimator: Objective, truth: str | None) -> None:
    world = World.tiny(seed)
    found, _ = expected_gradient(world, estimator, 2)
    reverse, forward = (-world.gradient(world.kl(direction)) for direction in (False, True))
    expected = {None: 0 * reverse, "reverse": reverse, "forward": forward}[truth]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert float((reverse - forward).norm()) > 0.05, "the two directions must be told apart"


def test_a_kl_in_the_reward_has_the_reverse_gradient() -> None:
    world = World.tiny(1)
    whole = world.gradient(world.expected_reward() - 0.4 * world.kl())
    found = compare(world, Objective(kl_coef=0.4, kl_in_reward=True), 2, exact=whole)
    assert float(found.bias.norm()) < 1e-10


def test_off_policy_only_the_corrected_estimator_is_right() -> None:
    world = World.tiny(3, off_policy=True)
    reverse = -world.gradient(world.kl())
    right, _ = expected_gradient(world, kl_loss(k3, corrected=True), 2)
    torch.testing.assert_close(right, reverse, rtol=0, atol=1e-10)
    for estimator in (kl_loss(k1), kl_loss(k2), kl_loss(k3)):
        assert float((expected_gradient(world, estimator, 2)[0] - reverse).norm()) > 1e-2


def test_token_by_token_k2_forgets_that_tokens_lead_to_later_ones() -> None:
    """Σ_t k2 differs from the gradient of the answers' KL; with answers of one token it does not."""

    def by_token(rows: Rows, average) -> torch.Tensor:
        return kl_penalty(rows.logprobs, rows.ref_logprobs, rows.mask, 1.0, average, k2)

    for length, equal in ((1, True), (3, False)):
        world = World.tiny(0, length=length)
        found, _ = expected_gradient(world, Objective(loss=by_token, average=SUM), 2)
        gap = float((found + world.gradient(world.kl())).norm())
        assert (gap < 1e-10) == equal and (gap < 1e-10 or gap > 1e-2)


# ----------------------------------------------------------------------------------- the groups


def test_groups_and_their_chances() -> None:
    chances = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    groups = all_groups(chances.log(), 4)
    assert len(groups.members) == 15 and float(groups.chance.sum()) == pytest.approx(1, abs=1e-14)
    one = (groups.members == torch.tensor([0, 0, 1, 2])).all(dim=1)
    assert float(groups.chance[one]) == pytest.approx(12 * 0.2**2 * 0.3 * 0.5, abs=1e-14)


def test_what_cannot_be_listed_is_refused() -> None:
    world = World.tiny()
    with pytest.raises(ValueError, match="group_size: need at least 1, got 0"):
        expected_gradient(world, Objective(), 0)
    with pytest.raises(ValueError, match="group_size: 12 of 15 answers"):
        expected_gradient(world, Objective(), 12)


def test_a_direction_without_length_has_no_angle() -> None:
    world = World.tiny(reward=lambda _: 1.0)
    found = compare(world, Objective(CENTRED), 2, exact=world.gradient(world.entropy()))
    assert found.factor == 0 and found.cosine != found.cosine


def test_reinforce_is_the_default() -> None:
    world = World.tiny()
    explicit = Objective(
        lambda r, _: r, lambda b, a: reinforce_loss(b.logprobs, b.advantages, b.mask, a), SUM
    )
    both = [expected_gradient(world, e, 2)[0] for e in (Objective(), explicit)]
    assert torch.equal(*both)
