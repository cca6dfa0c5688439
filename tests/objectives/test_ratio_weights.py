"""The weight of a token against its ratio, from the losses, beside formulas written by hand."""

import pytest
import torch

from rlvr_lab.objectives.averages import constant_mean, sequence_mean
from rlvr_lab.objectives.losses import gspo_loss
from rlvr_lab.objectives.objective import ALGORITHMS, RATIOS
from rlvr_lab.objectives.ratio_weights import LOSSES, weight_by_ratio
from rlvr_lab.objectives.soft_clips import luspo_loss

RATIO = torch.linspace(0.05, 3, 60, dtype=torch.float64)


def sapo(tau: float) -> torch.Tensor:
    gate = torch.sigmoid(tau * (RATIO - 1))
    return 4 * gate * (1 - gate) * RATIO


EXPECTED = {
    "REINFORCE, RLOO": (torch.ones_like(RATIO),) * 2,
    "GRPO, Dr. GRPO, MaxRL": (RATIO * (RATIO <= 1.2), RATIO * (RATIO >= 0.8)),
    "DAPO": (RATIO * (RATIO <= 1.28), RATIO * (RATIO >= 0.8)),
    "GSPO, LUSPO": (RATIO * (RATIO <= 1.0004), RATIO * (RATIO >= 0.9997)),
    "CISPO": (RATIO.clamp(max=1.28),) * 2,
    "SAPO": (sapo(1.0), sapo(1.05)),
    "VESPO": (
        RATIO**2 * torch.exp(3 * (1 - RATIO)),
        RATIO**3 * torch.exp(2 * (1 - RATIO)),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_curve_is_the_derivative_of_its_loss(name: str) -> None:
    for expected, advantage in zip(EXPECTED[name], (2.0, -0.5), strict=True):
        found = weight_by_ratio(LOSSES[name], RATIO, advantage)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_every_row_of_the_table_has_a_curve() -> None:
    names = {"MaxRL": "maxrl", "Dr. GRPO": "dr-grpo"}
    own = {name for title in LOSSES for name in title.split(", ")}
    assert {names.get(name, name.lower()) for name in own} == set(ALGORITHMS) | {
        *("sapo", "vespo", "luspo")
    }
    assert {ALGORITHMS[key].get("ratio", "token") for key in ALGORITHMS} <= set(RATIOS)


def test_a_long_answer_multiplies_its_ratios_in_vespo_only() -> None:
    for name, loss in LOSSES.items():
        one, four = (weight_by_ratio(loss, RATIO, 1.0, tokens) for tokens in (1, 4))
        assert torch.allclose(one, four) == (name != "VESPO"), name
    product = RATIO**4
    torch.testing.assert_close(four, product**2 * torch.exp(3 * (1 - product)))


def test_luspo_is_gspo_times_the_length() -> None:
    gspo, luspo = (
        weight_by_ratio(lambda rows, _, f=f: f(*rows[:4]), RATIO, 1.0, tokens=5)
        for f in (
            lambda *rows: gspo_loss(*rows, average=sequence_mean),
            lambda *rows: luspo_loss(*rows),
        )
    )
    torch.testing.assert_close(luspo, 5 * gspo, rtol=1e-12, atol=0)
    summed = weight_by_ratio(
        lambda rows, _: gspo_loss(*rows[:4], average=constant_mean(1)), RATIO, 1.0, tokens=5
    )
    torch.testing.assert_close(summed, luspo, rtol=0, atol=0)


def test_without_an_advantage_there_is_no_weight() -> None:
    with pytest.raises(ValueError, match="advantage: must not be 0"):
        weight_by_ratio(LOSSES["DAPO"], RATIO, 0.0)
