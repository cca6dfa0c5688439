"""The covariance law is the derivative of the entropy, and what is left is of second order."""

from itertools import pairwise

import pytest
import torch

from rlvr_lab.exact.entropy_law import (
    covariance,
    entropy_change,
    entropy_parts,
    entropy_slope,
    moved,
    natural_direction,
    natural_step,
    second_update,
    table_step,
)
from rlvr_lab.exact.estimators import expected_gradient
from rlvr_lab.exact.kl_gradients import between
from rlvr_lab.exact.oracle import World
from rlvr_lab.objectives.kl import entropy
from rlvr_lab.objectives.objective import objective_from

PI = torch.tensor([0.6, 0.25, 0.1, 0.05], dtype=torch.float64)
REWARDS = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
A = REWARDS - PI @ REWARDS
WORLDS = [World.tiny(seed) for seed in range(3)]


def grpo(clip_low: float = 0.2, clip_high: float = 0.2):
    return objective_from("group", True, "sequence", 3, "token", clip_low, clip_high)


UNCLIPPED = {"clip_low": 1.0, "clip_high": 1e6}
DIRECTIONS = {
    "natural": natural_direction,
    "gradient of J": lambda world: world.gradient(world.expected_reward()),
    "GRPO": lambda world: expected_gradient(world, grpo(), 3)[0],
}


def test_the_covariance_is_a_sum_that_can_be_written_down() -> None:
    logs, x = PI.log(), torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    mean_log, mean_x = (PI * logs).sum(), (PI * x).sum()
    expected = (PI * (logs - mean_log) * (x - mean_x)).sum()
    torch.testing.assert_close(covariance(logs, x), expected)
    torch.testing.assert_close(covariance(logs, x + 7), expected)  # constants do not matter
    two = covariance(torch.stack([logs, logs.flip(0)]), torch.stack([x, x]))
    torch.testing.assert_close(two[0], expected)
    assert not torch.isclose(two[1], expected)


def test_an_answer_that_cannot_occur_adds_nothing() -> None:
    logs = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64).log()
    assert float(covariance(logs, torch.tensor([1.0, 0.0, 5.0], dtype=torch.float64))) == 0


@pytest.mark.parametrize(
    ("step", "log_odds"), [(natural_step, A), (table_step, PI * A)], ids=["natural", "table"]
)
def test_a_step_changes_the_entropy_as_the_law_says_up_to_second_order(step, log_odds) -> None:
    logs = PI.log()
    errors = []
    for rate in (4e-2, 2e-2, 1e-2):
        change = entropy(step(logs, A, rate)) - entropy(logs)
        errors.append(float(change - entropy_change(logs, rate * log_odds)))
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.15)
    assert errors[1] / errors[2] == pytest.approx(4, abs=0.08)


def test_a_table_step_is_gradient_ascent_on_the_logits() -> None:
    z = PI.log().clone().requires_grad_()
    (slope,) = torch.autograd.grad(z.softmax(-1) @ REWARDS, z)
    expected = (z.detach() + 0.3 * slope).log_softmax(-1)
    torch.testing.assert_close(table_step(PI.log(), A, 0.3), expected)


def test_a_natural_step_multiplies_the_odds() -> None:
    odds = natural_step(PI.log(), A, 0.5) - PI.log()
    torch.testing.assert_close(odds - odds[0], 0.5 * (A - A[0]))


def test_probable_good_answers_lower_the_entropy_and_rare_ones_raise_it() -> None:
    for best, sign in ((0, -1), (3, 1)):
        rewards = torch.nn.functional.one_hot(torch.tensor(best), 4).double()
        a = rewards - PI @ rewards
        assert sign * float(entropy_change(PI.log(), a)) > 0
        assert sign * float(entropy(natural_step(PI.log(), a, 0.1)) - entropy(PI.log())) > 0


# --------------------------------------------------------------------- a language model, all answers


@pytest.mark.parametrize("world", WORLDS, ids=range(3))
@pytest.mark.parametrize("name", DIRECTIONS)
def test_the_law_is_the_derivative_of_the_entropy(world: World, name: str) -> None:
    direction = DIRECTIONS[name](world)
    by_autograd = float(world.gradient(world.entropy()) @ direction)
    assert entropy_slope(world, direction) == pytest.approx(by_autograd, abs=1e-10)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_halving_a_step_quarters_the_error(name: str) -> None:
    world = WORLDS[1]
    direction, start = DIRECTIONS[name](world), float(world.entropy().detach())
    slope = entropy_slope(world, direction)
    ends = {
        size: float(moved(world, direction, size).entropy().detach())
        for size in (1e-2, 5e-3, 2.5e-3)
    }
    errors = [end - start - size * slope for size, end in ends.items()]
    for larger, smaller in pairwise(errors):
        assert larger / smaller == pytest.approx(4, abs=0.2)


def test_along_the_natural_gradient_the_law_needs_only_the_advantages() -> None:
    for world in WORLDS:
        logs = world.answer_logprobs().detach()
        advantages = world.rewards - logs.exp() @ world.rewards
        found = entropy_slope(world, natural_direction(world))
        assert found == pytest.approx(-float(covariance(logs, advantages)), abs=1e-10)


def test_a_world_without_enough_parameters_has_no_natural_step() -> None:
    world = World.tiny(vocabulary=2, length=2)
    world.model.requires_grad_(False)
    frozen = World(world.model, world.ids, world.mask, world.rewards, world.reference)
    frozen.__dict__["parameters"] = [next(world.model.parameters())]
    frozen.__dict__["jacobian"] = torch.zeros(*world.ids.shape, 4).double()
    with pytest.raises(ValueError, match=r"^world: its parameters cannot"):
        natural_direction(frozen)


def entropy_with_prefixes_fixed(world: World) -> torch.Tensor:
    """Σ_s sg(d(s))·H(s), answer by answer: each token's share of its prefix's entropy."""
    logprobs = world.logprobs()
    total = logprobs.new_zeros(())
    for y in range(len(world.ids)):
        for t in range(int(world.mask[y].sum())):
            # Answers that share the prefix and the token have together the probability of that prefix and token.
            same = (world.ids[:, : t + 1] == world.ids[y, : t + 1]).all(1) & world.mask[:, t]
            twins = int(same.sum())
            reached = logprobs[y, :t].sum().exp().detach()
            total = total - reached * logprobs[y, t].exp() * logprobs[y, t] / twins
    return total


@pytest.mark.parametrize("name", DIRECTIONS)
def test_the_two_parts_are_the_tokens_and_the_prefixes(name: str) -> None:
    for world in WORLDS:
        fixed = entropy_with_prefixes_fixed(world)
        torch.testing.assert_close(fixed, world.entropy())  # the chain rule of the entropy
        direction = DIRECTIONS[name](world)
        within, visits = entropy_parts(world, direction)
        assert within == pytest.approx(float(world.gradient(fixed) @ direction), abs=1e-10)
        assert within + visits == pytest.approx(entropy_slope(world, direction), abs=1e-12)
    assert abs(visits) > 1e-3


def test_with_answers_of_one_token_there_is_only_one_prefix() -> None:
    world = World.tiny(length=1)
    _, visits = entropy_parts(world, DIRECTIONS["gradient of J"](world))
    assert visits == pytest.approx(0, abs=1e-12)


def test_a_step_moves_a_copy_along_the_flat_gradient() -> None:
    world = World.tiny(seed=3)
    before = [p.detach().clone() for p in world.parameters]
    direction = torch.arange(sum(p.numel() for p in before), dtype=torch.float64)
    after = moved(world, direction, 0.5)
    shift = torch.cat(
        [(p.detach() - q).flatten() for p, q in zip(after.model.parameters(), before, strict=True)]
    )
    torch.testing.assert_close(shift, 0.5 * direction)
    for p, q in zip(world.model.parameters(), before, strict=True):
        assert torch.equal(p, q)
    assert after.reference is world.reference and after.behaviour is None


def test_the_clip_does_nothing_at_the_first_update_and_changes_the_second() -> None:
    world = World.tiny(seed=2)
    free = grpo(**UNCLIPPED)
    first = [expected_gradient(world, one, 3)[0] for one in (grpo(), free)]
    torch.testing.assert_close(*first)
    later = second_update(world, grpo(), 3, 0.05)
    torch.testing.assert_close(
        later.answer_logprobs(), moved(world, first[0], 0.05).answer_logprobs()
    )
    assert later.behaviour is world.model
    slopes = []
    for one in (grpo(), free):
        direction, _ = expected_gradient(later, one, 3)
        by_autograd = float(later.gradient(later.entropy()) @ direction)
        slopes.append(entropy_slope(later, direction))
        assert slopes[-1] == pytest.approx(by_autograd, abs=1e-10)
    assert abs(slopes[0] - slopes[1]) > 1e-2
    with pytest.raises(ValueError, match=r"^world: its answers already come"):
        second_update(later, grpo(), 3, 0.05)


def test_the_law_holds_wherever_the_policy_is() -> None:
    for share in (0.0, 0.5):
        world = between(World.tiny(seed=4), share)
        direction = DIRECTIONS["gradient of J"](world)
        by_autograd = float(world.gradient(world.entropy()) @ direction)
        assert entropy_slope(world, direction) == pytest.approx(by_autograd, abs=1e-10)
