"""The one optimiser step: what it returns, what it clips, what it refuses."""

import pytest
import torch
from torch import nn

from rlvr_lab.training.optimise import (
    OPTIMIZERS,
    NonFiniteLossError,
    adamw,
    optimiser_step,
    trained,
)


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def slope(p: nn.Parameter) -> torch.Tensor:
    """A loss with gradient (3, 4): its norm is 5."""
    return (p * torch.tensor([3.0, 4.0], dtype=torch.float64)).sum()


@pytest.mark.parametrize(("max_norm", "scale"), [(None, 1.0), (10.0, 1.0), (5.0, 1.0), (1.0, 0.2)])
def test_the_gradient_is_clipped_and_its_norm_before_that_returned(max_norm, scale) -> None:
    p = parameter(1.0, 1.0)
    assert optimiser_step(OPTIMIZERS["sgd"]([p], 0.1), slope(p), max_norm) == pytest.approx(5.0)
    expected = torch.tensor([1 - 0.3 * scale, 1 - 0.4 * scale], dtype=torch.float64)
    torch.testing.assert_close(p.detach(), expected, rtol=0, atol=1e-5)


def test_the_norm_is_that_of_all_groups_together_and_old_gradients_do_not_count() -> None:
    one, two = parameter(0.0), parameter(0.0)
    optimizer = torch.optim.SGD([{"params": [one]}, {"params": [two]}], lr=1.0)
    for _ in range(2):
        assert optimiser_step(optimizer, 3 * one.sum() + 4 * two.sum(), 2.5) == pytest.approx(5.0)
    assert [one.item(), two.item()] == pytest.approx([-3.0, -4.0], abs=1e-5)


@pytest.mark.parametrize("factor", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_refused_and_moves_nothing(factor: float) -> None:
    p = parameter(1.0, 1.0)
    optimizer = OPTIMIZERS["sgd"]([p], 0.25)
    with pytest.raises(NonFiniteLossError, match=r"now 0\.25\).*max_grad_norm \(2\.0\)"):
        optimiser_step(optimizer, slope(p) * factor, 2.0)
    assert p.tolist() == [1.0, 1.0] and p.grad is None


@pytest.mark.parametrize("loss", [lambda p: p.sqrt().sum(), lambda p: slope(p) + torch.inf])
def test_a_finite_loss_with_an_endless_gradient_is_refused_and_the_reverse(loss) -> None:
    p = parameter(0.0, 0.0)
    with pytest.raises(NonFiniteLossError):
        optimiser_step(OPTIMIZERS["sgd"]([p], 0.25), loss(p))
    assert p.tolist() == [0.0, 0.0]


def test_adamw_has_the_settings_of_language_models() -> None:
    p = parameter(1.0)
    (group,) = adamw([p], 0.5).param_groups
    assert group["lr"] == 0.5 and group["betas"] == (0.9, 0.95)
    assert group["eps"] == 1e-8 and group["weight_decay"] == 0
    assert adamw([p], 0.5, eps=1e-5).param_groups[0]["eps"] == 1e-5
    assert type(OPTIMIZERS["adamw"]([p], 0.5)) is torch.optim.AdamW
    assert type(OPTIMIZERS["sgd"]([p], 0.5)) is torch.optim.SGD


def test_frozen_parameters_are_not_trained() -> None:
    free, frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    assert [id(p) for p in trained(free, frozen)] == [id(free.weight), id(free.bias)]
