"""SAPO, VESPO and LUSPO and ``GRPOTrainer._compute_loss`` of TRL 1.16: same tensors, value and gradient."""

from functools import partial

import pytest
import torch

from rlvr_lab.objectives.soft_clips import luspo_loss, sapo_loss, vespo_loss
from tests.parity.test_grpo_loss import Case, configure, inputs, largest_difference, own_logprobs

pytestmark = pytest.mark.scale

OURS = {
    # TRL holds its τ of 1.05 in float32.
    "sapo": partial(sapo_loss, tau_negative=float(torch.tensor(1.05))),
    "vespo": vespo_loss,
    "luspo": luspo_loss,
}


def compared(name: str, grpo, tensors, loss, **options) -> tuple[float, float]:
    level = "sequence" if name == "luspo" else "token"
    configure(grpo, Case(name, level, 0.0, False, None, 3e-4, 4e-4))
    theirs = grpo._compute_loss(grpo.model, inputs(tensors))
    logprobs = own_logprobs(grpo.model, tensors)
    mine = loss(logprobs, tensors.old, tensors.advantages, tensors.mask, **options)
    return largest_difference(grpo.model, theirs, mine)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", OURS)
def test_value_and_gradient_equal_trl(name: str, grpo, tensors) -> None:
    assert max(compared(name, grpo, tensors, OURS[name])) < 1e-12


MISTAKES = {
    "sapo": {"tau_positive": 1.05, "tau_negative": 1.0},
    "vespo": {"positive": (3.0, 2.0), "negative": (2.0, 3.0)},
    "luspo": {"clip_low": 4e-4, "clip_high": 0.1},
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", MISTAKES)
def test_swapped_settings_are_far_outside_the_tolerance(name: str, grpo, tensors) -> None:
    assert max(compared(name, grpo, tensors, OURS[name], **MISTAKES[name])) > 1e-4


@pytest.mark.usefixtures("float64")
def test_a_ratio_upside_down_is_far_outside_the_tolerance(grpo, tensors) -> None:
    def upside_down(logprobs, old, advantages, mask) -> torch.Tensor:
        return sapo_loss(logprobs, 2 * logprobs.detach() - old, advantages, mask)

    assert max(compared("sapo", grpo, tensors, upside_down)) > 1e-4
