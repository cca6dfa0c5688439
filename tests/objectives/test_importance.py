"""Importance weights against their definitions, written out token by token."""

import math

import pytest
import torch

from rlvr_lab.objectives.averages import constant_mean, sequence_mean, token_mean
from rlvr_lab.objectives.importance import (
    CORRECTIONS,
    effective_share,
    icepop_weights,
    mismatch_kl,
    sequence_weights,
    truncated_weights,
    weighted,
)
from rlvr_lab.objectives.objective import Rows, objective_from

LENGTHS = (5, 1, 3, 2)
MASK = torch.arange(5) < torch.tensor(LENGTHS)[:, None]


def batch(spread: float = 0.7) -> tuple[torch.Tensor, torch.Tensor]:
    """log π_old and log μ; padding holds numbers that must not matter."""
    generator = torch.Generator().manual_seed(3)
    draw = lambda: torch.randn(4, 5, generator=generator, dtype=torch.float64)  # noqa: E731
    old = -draw().abs()
    return old + spread * draw(), old


def by_hand(name: str, new: list[float], old: list[float], cap: float, floor: float) -> list[float]:
    """The weights of one answer of |o| tokens: plain numbers, no mask."""
    ratios = [math.exp(a - b) for a, b in zip(new, old, strict=True)]
    if name == "none":
        return [1.0 for _ in ratios]
    if name == "tis":
        return [cap if ratio > cap else ratio for ratio in ratios]
    if name == "icepop":
        return [0.0 if ratio < floor or ratio > cap else ratio for ratio in ratios]
    product = math.prod(ratios)
    return [cap if product > cap else product for _ in ratios]


@pytest.mark.parametrize("name", CORRECTIONS)
def test_weights_are_their_definition(name: str) -> None:
    new, old = batch()
    found = CORRECTIONS[name](new, old, MASK, 1.6, 0.7)
    seen = set()
    for row, length in enumerate(LENGTHS):
        given = new[row, :length].tolist(), old[row, :length].tolist()
        wanted = by_hand(name, *given, cap=1.6, floor=0.7)
        assert found[row].tolist() == pytest.approx([*wanted, *[0.0] * (5 - length)], abs=1e-12)
        seen |= {x in (0.0, 1.6) for x in wanted}
    assert name == "none" or seen == {True, False}, "the batch must meet both sides of the bounds"


def test_the_limits_themselves_are_kept() -> None:
    """ρ = β exactly is inside, as ρ = α is."""
    new = torch.tensor([[2.0, 0.5]], dtype=torch.float64).log()
    found = icepop_weights(
        new, torch.zeros_like(new), torch.ones(1, 2).bool(), 2.0 + 1e-12, 0.5 - 1e-12
    )
    assert found.tolist() == [pytest.approx([2.0, 0.5])]


@pytest.mark.parametrize("name", CORRECTIONS)
def test_equal_policies_have_weight_one(name: str) -> None:
    _, old = batch()
    assert torch.equal(CORRECTIONS[name](old, old, MASK, 2.0, 0.5), MASK.double())


@pytest.mark.parametrize("name", CORRECTIONS)
def test_no_gradient_flows_and_padding_does_not_matter(name: str) -> None:
    new, old = batch()
    leaf = new.clone().requires_grad_()
    found = CORRECTIONS[name](leaf, old, MASK, 1.6, 0.7)
    assert not found.requires_grad
    dirty = torch.where(MASK, new, torch.inf), torch.where(MASK, old, -torch.inf)
    assert torch.equal(CORRECTIONS[name](*dirty, MASK, 1.6, 0.7), found)


@pytest.mark.parametrize("average", [sequence_mean, token_mean, constant_mean(7)])
def test_a_weighted_average_is_the_average_of_the_products(average) -> None:
    new, old = batch()
    weights = truncated_weights(new, old, MASK, 1.6).requires_grad_()
    x = torch.where(MASK, old, torch.nan)
    found = weighted(average, weights)(x, MASK)
    assert not found.requires_grad
    torch.testing.assert_close(found, average(torch.where(MASK, weights * old, 0.0), MASK).detach())


@pytest.mark.parametrize("ratio", ["token", "none", "cispo", "sequence"])
def test_an_objective_weights_its_loss_and_not_its_kl(ratio: str) -> None:
    """∂ loss / ∂ log π of token t is w_t times what it was, plus an unweighted KL term."""
    new, old = batch(0.05)
    weights = torch.rand(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    advantages = torch.tensor([1.0, -1.0, 0.5, 2.0], dtype=torch.float64)

    def slope(kl_coef: float, given: torch.Tensor | None) -> torch.Tensor:
        objective = objective_from("group", True, "sequence", 1, ratio, 0.2, 0.2, kl_coef)
        leaf = new.clone().requires_grad_()
        rows = Rows(leaf, old, advantages, MASK, old - 0.3, weights=given)
        return torch.autograd.grad(objective.total(rows), leaf)[0]

    plain, kl = slope(0.0, None), slope(0.4, None) - slope(0.0, None)
    if (
        ratio == "sequence"
    ):  # the ratio of an answer sees all its tokens: weigh the answer as a whole
        weights = weights[:, :1].expand_as(weights)
    assert float(kl.abs().max()) > 1e-3
    torch.testing.assert_close(slope(0.4, weights), weights * plain + kl)


def test_the_mean_log_ratio_estimates_the_kl_from_the_sampler() -> None:
    """Over all tokens of a vocabulary, drawn as often as μ says, the estimate is KL(μ‖π_old)."""
    mu, pi = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.5, 0.25])
    drawn = torch.tensor([[0, 0, 1, 2]])
    mask = torch.ones(1, 4).bool()
    wanted = float((mu * (mu / pi).log()).sum())
    assert mismatch_kl(pi.log()[drawn], mu.log()[drawn], mask) == pytest.approx(wanted, abs=1e-6)


def test_the_effective_share_is_kishs_over_answers() -> None:
    new, old = batch()
    products = [
        math.exp(sum((new - old)[row, :length].tolist())) for row, length in enumerate(LENGTHS)
    ]
    wanted = sum(products) ** 2 / (4 * sum(p * p for p in products))
    assert effective_share(new, old, MASK) == pytest.approx(wanted, rel=1e-9)
    assert effective_share(old, old, MASK) == pytest.approx(1.0)
    assert effective_share(old + 300 * new, old, MASK) >= 0.25 - 1e-9  # 1/B, and no overflow


def test_an_endless_cap_truncates_nothing() -> None:
    new, old = batch(3.0)
    assert float(truncated_weights(new, old, MASK, math.inf).max()) > 2
    total = torch.where(MASK, new - old, 0.0).sum(dim=1).exp()
    found = sequence_weights(new, old, MASK, math.inf)
    torch.testing.assert_close(found[:, 0], total)


@pytest.mark.parametrize("weights", [truncated_weights, icepop_weights, sequence_weights])
def test_a_bad_cap_is_named(weights) -> None:
    for cap in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="cap: must be positive"):
            weights(*batch(), MASK, cap)


def test_other_bad_input_is_named() -> None:
    new, old = batch()
    for floor in (-0.1, 2.1):
        with pytest.raises(ValueError, match="floor: must lie between 0 and cap = 2"):
            icepop_weights(new, old, MASK, 2.0, floor)
    for name, correction in CORRECTIONS.items():
        with pytest.raises(ValueError, match="sampler_logprobs: expected the shape of mask"):
            correction(new, old[:, :4], MASK, 2.0, 0.5)
        with pytest.raises(ValueError, match="trainer_logprobs: a trained token"):
            correction(torch.where(MASK, new, 0).masked_fill(MASK, -torch.inf), old, MASK, 2.0, 0.5)
        assert name
