"""The enumerable world: a distribution, and gradients that agree with finite differences."""

import math

import numpy as np
import pytest
import torch

from rlvr_lab.exact.oracle import World, more_ones


def shifted(world: World, direction: torch.Tensor, value, h: float) -> float:
    """value(world) with the parameters moved by h along ``direction``; they are put back."""
    with torch.no_grad():
        start = 0
        for sign in (1, -1):
            start = 0
            for p in world.parameters:
                p += sign * h * direction[start : start + p.numel()].view_as(p)
                start += p.numel()
            if sign == 1:
                found = float(value(world))
    return found


def slope(world: World, direction: torch.Tensor, value, h: float = 1e-4) -> float:
    """Central difference of fourth order."""
    f = [shifted(world, direction, value, k * h) for k in (-2, -1, 1, 2)]
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)


@pytest.mark.parametrize(("vocabulary", "length", "count"), [(2, 1, 2), (3, 3, 15), (4, 4, 121)])
def test_all_answers_are_there_once_and_their_chances_add_up(vocabulary, length, count) -> None:
    world = World.tiny(1, vocabulary, length)
    answers = {tuple(row[keep].tolist()) for row, keep in zip(world.ids, world.mask, strict=True)}
    assert len(answers) == len(world.ids) == count
    assert all(0 not in answer[:-1] for answer in answers), "an answer goes on behind its end"
    assert all(answer[-1] == 0 or len(answer) == length for answer in answers)
    assert float(world.answer_logprobs().exp().sum().detach()) == pytest.approx(1, abs=1e-12)


def test_chances_are_those_of_the_models_own_forward_pass() -> None:
    world = World.tiny(2)
    for y in range(len(world.ids)):
        answer = world.ids[y][world.mask[y]]
        text = torch.cat([torch.zeros(1, dtype=torch.long), answer])
        logits = world.model(text[None]).logits[0, :-1].log_softmax(-1)
        expected = logits.gather(1, answer[:, None]).squeeze(1)
        torch.testing.assert_close(world.logprobs()[y][world.mask[y]], expected, rtol=0, atol=1e-14)


QUANTITIES = {
    "J": lambda w: w.expected_reward(),
    "entropy": lambda w: w.entropy(),
    "reverse KL": lambda w: w.kl(),
    "forward KL": lambda w: w.kl(forward=True),
}


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_agree_with_finite_differences(name: str, seed: int) -> None:
    world, value = World.tiny(seed), QUANTITIES[name]
    gradient = world.gradient(value(world))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(12):
        direction = torch.randn(len(gradient), dtype=torch.float64, generator=generator)
        direction /= direction.norm()
        assert slope(world, direction, value) == pytest.approx(
            float(gradient @ direction), abs=1e-8
        )


def test_every_component_of_the_gradient_of_j_agrees_with_finite_differences() -> None:
    world = World.tiny(0)
    gradient = world.gradient(world.expected_reward())
    found = [slope(world, e, QUANTITIES["J"]) for e in torch.eye(len(gradient)).double()[::9]]
    np.testing.assert_allclose(found, gradient[::9].numpy(), rtol=0, atol=1e-8)


def test_the_jacobian_is_the_gradient_of_each_token() -> None:
    world = World.tiny(3)
    chance = world.answer_logprobs().exp().detach()
    # ∇J = Σ_y π(y)·r(y)·∇log π(y), the score-function identity
    scores = world.jacobian.sum(dim=1)
    found = (chance * world.rewards) @ scores
    torch.testing.assert_close(found, world.gradient(world.expected_reward()), rtol=0, atol=1e-13)
    assert float((chance @ scores).abs().max()) < 1e-13, "E[∇log π] = 0"
    assert not world.jacobian[~world.mask].any()


def test_divergences_are_what_the_definition_says() -> None:
    world = World.tiny(4)
    p = world.answer_logprobs().exp().detach().numpy()
    q = world.answer_logprobs(world.reference).exp().detach().numpy()
    assert float(world.kl().detach()) == pytest.approx(float((p * np.log(p / q)).sum()), abs=1e-13)
    assert float(world.kl(True).detach()) == pytest.approx(
        float((q * np.log(q / p)).sum()), abs=1e-13
    )
    assert float(world.entropy().detach()) == pytest.approx(
        float(-(p * np.log(p)).sum()), abs=1e-13
    )
    assert float(world.entropy().detach()) < math.log(len(p))


def test_a_seed_makes_one_world_and_rewards_can_be_chosen() -> None:
    same = [World.tiny(7).answer_logprobs().detach() for _ in range(2)]
    assert torch.equal(*same)
    assert not torch.allclose(same[0], World.tiny(8).answer_logprobs())
    world = World.tiny(0, reward=len)
    assert torch.equal(world.rewards, world.mask.sum(dim=1).double())
    assert [more_ones(a) for a in ([1, 0], [1, 2], [2, 1, 1])] == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(("vocabulary", "length"), [(1, 3), (5, 3), (3, 0), (3, 5)])
def test_a_world_too_large_to_list_is_refused(vocabulary: int, length: int) -> None:
    with pytest.raises(ValueError, match=r"vocabulary: need 2 to 4|length: need 1 to 4"):
        World.tiny(0, vocabulary, length)
