"""Which KL an estimator descends: against derivatives of sums that are written out here."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.exact.kl_gradients import KL_LOSSES, between, kl_directions, kl_loss, per_token_kl
from rlvr_lab.exact.oracle import World
from rlvr_lab.objectives.averages import sequence_mean
from rlvr_lab.objectives.kl import k3, kl_penalty
from rlvr_lab.objectives.objective import Objective

WORLD = World.tiny(seed=1)


def test_the_per_token_kl_has_the_value_of_the_whole_and_is_zero_at_the_reference() -> None:
    torch.testing.assert_close(per_token_kl(WORLD), WORLD.kl())
    at_home = replace(WORLD, model=WORLD.reference)
    for forward in (False, True):
        assert abs(float(per_token_kl(at_home, forward).detach())) < 1e-14


def test_the_prefixes_of_the_per_token_kl_are_held_fixed() -> None:
    """With answers of one token there is no prefix, with two the gradients part."""
    one, two = (World.tiny(seed=1, length=length) for length in (1, 2))
    for world, same in ((one, True), (two, False)):
        gap = (world.gradient(per_token_kl(world)) - world.gradient(world.kl())).norm()
        assert (float(gap) < 1e-12) == same


def test_the_forward_per_token_kl_weighs_prefixes_by_the_policy() -> None:
    """By hand for two tokens: the first token's KL, and the second's at the prefixes 1 and 2."""
    world = World.tiny(seed=1, length=2)
    p, q = world.logprobs().detach(), world.logprobs(world.reference).detach()
    ids = world.ids.tolist()
    first = {token: p[y, 0] for y, (token, _) in enumerate(ids)}
    expected = sum(
        q[y, 0].exp() * (q[y, 0] - p[y, 0])
        for y in {token: y for y, (token, _) in enumerate(ids)}.values()
    )
    expected = expected + sum(
        first[token].exp() * q[y, 1].exp() * (q[y, 1] - p[y, 1])
        for y, (token, _) in enumerate(ids)
        if world.mask[y, 1]
    )
    torch.testing.assert_close(per_token_kl(world, forward=True).detach(), expected)


def test_every_loss_has_the_direction_that_the_page_says() -> None:
    found = kl_directions(WORLD)
    assert list(found) == list(KL_LOSSES)
    target = {
        "k2, whole answer": "reverse",
        "k3, whole answer": "forward",
        "ρ·k3, whole answer": "reverse",
        "k1 in the reward": "reverse",
        "k2, per token": "reverse per token",
        "k3, per token": "forward per token",
        "ρ·k3, per token": "reverse per token",
    }
    for name, direction in found.items():
        zero = [key for key, distance in direction.distance.items() if distance < 1e-10]
        assert zero == [target[name]] if name in target else direction.size < 1e-10
        if name in target:
            assert direction.cosine[target[name]] == pytest.approx(1)
    assert found["k3, per token"].spread > 0


def test_the_losses_per_token_are_those_of_the_package() -> None:
    def package(rows, average):
        return kl_penalty(rows.logprobs, rows.ref_logprobs, rows.mask, 1.0, average)

    mine = kl_loss(lambda new, old, ref: k3(new, ref), whole=False, average=sequence_mean)
    theirs = Objective(loss=package, average=sequence_mean)
    a, b = kl_directions(WORLD, {"mine": mine, "theirs": theirs}).values()
    assert a == b


def test_between_leads_from_the_reference_to_the_policy() -> None:
    assert float(between(WORLD, 0.0).kl().detach()) == pytest.approx(0, abs=1e-14)
    assert float(between(WORLD, 1.0).kl().detach()) == pytest.approx(float(WORLD.kl().detach()))
    assert 0 < float(between(WORLD, 0.1).kl().detach()) < float(WORLD.kl().detach())
    with pytest.raises(ValueError, match="share: must lie between 0 and 1"):
        between(WORLD, 1.5)
