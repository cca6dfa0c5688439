"""SAPO, VESPO, LUSPO and the weight of whole answers: gradients against formulas written by hand."""

import math

import pytest
import torch

from rlvr_lab.objectives.averages import constant_mean, sequence_mean, token_mean
from rlvr_lab.objectives.losses import gspo_loss, reinforce_loss
from rlvr_lab.objectives.objective import Rows
from rlvr_lab.objectives.soft_clips import (
    SOFT_RATIOS,
    answer_weight_loss,
    luspo_loss,
    sapo_loss,
    vespo_loss,
)
from tests.objectives.test_losses import (
    ADVANTAGES,
    LENGTHS,
    LOGPROBS,
    MASK,
    OLD,
    RATIO,
    gradient,
    weights,
)

COLUMN = ADVANTAGES[:, None]
PRODUCT = torch.where(MASK, RATIO, 1.0).prod(dim=1, keepdim=True)


def test_sapo_weighs_a_token_by_the_slope_of_its_gate() -> None:
    tau = 1.05 - 0.05 * (COLUMN > 0).double()
    gate = 1 / (1 + torch.exp(-tau * (RATIO - 1)))
    expected = -4 * gate * (1 - gate) * RATIO * COLUMN * weights("sequence")
    found = gradient(lambda x: sapo_loss(x, OLD, ADVANTAGES, MASK))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    other = gradient(lambda x: sapo_loss(x, OLD, ADVANTAGES, MASK, 1.0, 3.0))
    assert torch.equal(other[[0, 2]], found[[0, 2]]), "τ_neg is of the answers with A < 0"
    assert not torch.equal(other[[1, 3]], found[[1, 3]])


def test_vespo_weighs_an_answer_by_its_product_of_ratios() -> None:
    k, lam = (torch.where(COLUMN > 0, *pair) for pair in ((2.0, 3.0), (3.0, 2.0)))
    phi = PRODUCT**k * torch.exp(lam * (1 - PRODUCT))
    expected = -phi * COLUMN * weights("token")
    found = gradient(lambda x: vespo_loss(x, OLD, ADVANTAGES, MASK))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_vespo_survives_ratios_that_a_product_would_not() -> None:
    for shift in (-300.0, 300.0):
        found = gradient(lambda x: vespo_loss(x, OLD, ADVANTAGES, MASK), OLD + shift)
        assert bool(torch.isfinite(found).all()) and float(found.abs().max()) < 1e-6


def test_luspo_is_gspo_times_the_length_of_each_answer() -> None:
    longer = torch.tensor(LENGTHS).double()[:, None]
    gspo = gradient(lambda x: gspo_loss(x, OLD, ADVANTAGES, MASK, 0.3, 0.3, average=sequence_mean))
    found = gradient(lambda x: luspo_loss(x, OLD, ADVANTAGES, MASK, 0.3, 0.3))
    torch.testing.assert_close(found, longer * gspo, rtol=0, atol=1e-14)
    assert float(found.abs().max()) > 0.1, "all clipped"


def test_the_weight_of_an_answer_is_its_probability_ratio_up_to_the_cap() -> None:
    for cap in (math.inf, 1.0):
        expected = -PRODUCT.clamp(max=cap) * COLUMN * weights("constant")
        found = gradient(lambda x, cap=cap: answer_weight_loss(x, OLD, ADVANTAGES, MASK, cap))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("average", [sequence_mean, token_mean, constant_mean(3)])
@pytest.mark.parametrize("name", SOFT_RATIOS)
def test_on_policy_all_are_the_plain_policy_gradient(name: str, average) -> None:
    def soft(x: torch.Tensor) -> torch.Tensor:
        rows = Rows(x, OLD, ADVANTAGES, MASK)
        return SOFT_RATIOS[name](rows, average, low=0.2, high=0.2, tau=0.1)

    plain = gradient(lambda x: reinforce_loss(x, ADVANTAGES, MASK, average), OLD)
    torch.testing.assert_close(gradient(soft, OLD), plain, rtol=0, atol=1e-14)


def test_the_table_passes_on_the_average_and_the_cap() -> None:
    rows = Rows(LOGPROBS, OLD, ADVANTAGES, MASK)
    for name, loss in (("sapo", sapo_loss), ("vespo", vespo_loss)):
        for average in (sequence_mean, token_mean):
            wanted = loss(LOGPROBS, OLD, ADVANTAGES, MASK, average=average)
            assert SOFT_RATIOS[name](rows, average, 0.2, 0.2, 0.1) == wanted
    wanted = answer_weight_loss(LOGPROBS, OLD, ADVANTAGES, MASK, 1.3, token_mean)
    assert SOFT_RATIOS["answer"](rows, token_mean, 0.2, 0.3, 0.1) == wanted


def test_a_temperature_has_to_be_positive() -> None:
    with pytest.raises(ValueError, match="tau_positive, tau_negative: must be positive"):
        sapo_loss(LOGPROBS, OLD, ADVANTAGES, MASK, 0.0)
