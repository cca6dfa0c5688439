"""The moments of a batch against the sum over all its answers, one by one, and against ``estimators``."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rlvr_lab.exact.batches import advantage_table, average_weights, batch_gradient
from rlvr_lab.exact.estimators import expected_gradient
from rlvr_lab.exact.oracle import World
from rlvr_lab.exact.zoo import ROWS, Cells
from rlvr_lab.objectives.advantages import batch_advantages, group_advantages
from rlvr_lab.objectives.averages import constant_mean, sequence_mean, token_mean
from rlvr_lab.objectives.objective import Objective, Rows

TABLE = ROWS | {
    "whitened by the batch, over tokens": Cells("batch", True, "token", average="token"),
    "SAPO": Cells(ratio="sapo"),
    "VESPO": Cells(ratio="vespo", average="token"),
    "LUSPO": Cells(ratio="sequence", clip_low=0.1, clip_high=0.1, average="constant"),
    "whole answers, capped": Cells("leave_one_out", False, "answer", 1, 0.3, "constant"),
}


def two_prompts(off_policy: bool = True) -> list[World]:
    """Four answers of 1, 2, 3 and 3 tokens to each of two prompts."""
    base = World.tiny(0, vocabulary=2, length=3, off_policy=off_policy)
    rewards = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0]]).double()
    return [replace(base, prompt=n, rewards=r) for n, r in enumerate(rewards)]


def by_brute_force(
    worlds: list[World], objective: Objective, size: int
) -> tuple[Tensor, float, float]:
    """Parts, variance and clipped share from all Yᴺᴳ batches, one after the other."""
    chances = [world.answer_logprobs(world.behaviour).exp().detach() for world in worlds]
    new, old = ([w.logprobs(m).detach() for w in worlds] for m in (None, worlds[0].behaviour))
    parts, square, lost, tokens = torch.zeros(len(worlds), 1).double(), 0.0, 0.0, 0.0
    for members in itertools.product(range(len(worlds[0].ids)), repeat=size * len(worlds)):
        rows = [(i // size, y) for i, y in enumerate(members)]
        weight = torch.stack([chances[n][y] for n, y in rows]).prod()
        advantages = objective.advantage(torch.stack([worlds[n].rewards[y] for n, y in rows]), size)
        leaf = torch.stack([new[n][y] for n, y in rows]).requires_grad_()
        batch = Rows(
            leaf,
            torch.stack([old[n][y] for n, y in rows]),
            advantages,
            torch.stack([worlds[n].mask[y] for n, y in rows]),
        )
        (slope,) = torch.autograd.grad(-objective.total(batch), leaf)
        each = torch.stack(
            [slope[i] @ worlds[n].jacobian[y] for i, (n, y) in enumerate(rows)]
        ).view(len(worlds), size, -1)
        parts = parts + weight * each.sum(dim=1)
        square = square + weight * each.sum(dim=(0, 1)).square().sum()
        count = batch.mask.sum()
        lost, tokens = lost + weight * count * objective.clipped(batch), tokens + weight * count
    return parts, float(square - parts.sum(dim=0).square().sum()), float(lost / tokens)


@pytest.mark.parametrize("name", TABLE)
def test_the_batch_is_the_sum_over_all_batches(name: str) -> None:
    worlds, objective = two_prompts(), TABLE[name].objective
    parts, variance, clipped = by_brute_force(worlds, objective, 2)
    found = batch_gradient(worlds, objective, 2)
    torch.testing.assert_close(found.parts, parts, rtol=0, atol=1e-10)
    assert found.variance == pytest.approx(variance, abs=1e-10)
    assert found.clipped == pytest.approx(clipped, abs=1e-10)
    assert variance > 1e-6 and float(found.expected.norm()) > 1e-4, "nothing to compare"


@pytest.mark.parametrize("off_policy", [False, True])
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", TABLE)
def test_with_one_prompt_it_is_what_the_list_of_all_groups_gives(
    name: str, size: int, off_policy: bool
) -> None:
    world, objective = World.tiny(1, off_policy=off_policy), TABLE[name].objective
    mean, variance = expected_gradient(world, objective, size)
    found = batch_gradient([world], objective, size)
    torch.testing.assert_close(found.expected, mean, rtol=0, atol=1e-10)
    assert found.variance == pytest.approx(variance, abs=1e-10)


def test_a_baseline_of_the_batch_sees_one_group_in_the_list_of_all_groups() -> None:
    world = World.tiny(1)
    whitened, divided = (
        expected_gradient(world, Objective(advantage), 3)
        for advantage in (lambda rewards, _: batch_advantages(rewards), group_advantages)
    )
    torch.testing.assert_close(whitened[0], divided[0], rtol=0, atol=1e-12)
    assert whitened[1] == pytest.approx(divided[1], abs=1e-12)


def test_without_shared_statistics_the_prompts_add_up() -> None:
    """Dr. GRPO does not mix its prompts: the batch is the mean of the groups, its variance their sum / N²."""
    worlds, objective = two_prompts(), ROWS["Dr. GRPO"].objective
    alone = [expected_gradient(world, objective, 4) for world in worlds]
    found = batch_gradient(worlds, objective, 4)
    torch.testing.assert_close(found.expected, (alone[0][0] + alone[1][0]) / 2, rtol=0, atol=1e-10)
    assert found.variance == pytest.approx((alone[0][1] + alone[1][1]) / 4, abs=1e-10)


def test_which_baselines_look_at_the_whole_batch_is_found_by_trying() -> None:
    table, by_batch = advantage_table(group_advantages, 3, 4)
    assert not by_batch and table.shape == (2, 5)
    torch.testing.assert_close(table[:, 1], group_advantages(torch.eye(4)[0].double(), 4)[[3, 0]])
    table, by_batch = advantage_table(lambda rewards, _: batch_advantages(rewards), 3, 4)
    assert by_batch and table.shape == (2, 13)
    one = batch_advantages(torch.eye(12)[0].double())
    torch.testing.assert_close(table[:, 1], one[[11, 0]])


@pytest.mark.parametrize("average", [sequence_mean, token_mean, constant_mean(5)])
def test_weights_of_an_average_on_a_ragged_batch(average) -> None:
    lengths = torch.tensor([1, 3, 2, 3])
    mask = torch.arange(3) < lengths[:, None]
    x = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    (wanted,) = torch.autograd.grad(average(x, mask), x)
    by_length, by_total = average_weights(average, 4, 3)
    torch.testing.assert_close(
        (by_length[lengths] * by_total[9])[:, None] * mask, wanted, rtol=1e-12, atol=0
    )


def test_what_cannot_be_counted_is_refused() -> None:
    world = World.tiny()
    with pytest.raises(ValueError, match="group_size: need at least 2, got 1"):
        batch_gradient([world], Objective(), 1)
    with pytest.raises(ValueError, match="rewards: must all be 0 or 1"):
        batch_gradient([replace(world, rewards=world.rewards / 2)], Objective(), 2)
    with pytest.raises(ValueError, match="objective: its KL term"):
        batch_gradient([world], Objective(kl_coef=0.1), 2)

    def by_place(x: Tensor, mask: Tensor) -> Tensor:
        return (torch.where(mask, x, 0.0) * torch.arange(1, x.shape[1] + 1)).sum()

    def by_longest(x: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, x, 0.0).sum() / mask.sum(dim=1).max()

    for average in (by_place, by_longest):
        with pytest.raises(ValueError, match="average: a token's weight must be"):
            batch_gradient([world], Objective(average=average), 2)
