"""The museum's checks have two halves, and the first of them draws nothing."""

import numpy as np
import pytest
import torch

from rlvr_lab import checks
from rlvr_lab.checks.calls import Mistake


def unwritten(*given):
    raise NotImplementedError


def diagnosis(fault: str, step):
    return lambda: (fault, step)


RIGHT = diagnosis("no gradient", 1)


def loss(logprobs, advantages, mask):
    per_token = -advantages.detach()[:, None] * logprobs * mask
    return (per_token.sum(1) / mask.sum(1)).mean()


def test_the_diagnosis_can_be_checked_alone(capsys: pytest.CaptureFixture) -> None:
    checks.check_exhibit_2(RIGHT)
    assert capsys.readouterr().out.startswith("✓ the diagnosis is correct: rewards differ")
    checks.check_exhibit_2(RIGHT, loss)
    said = capsys.readouterr().out
    assert said.startswith("✓ exhibit 2: the diagnosis is correct: rewards differ")
    assert said.endswith("The line is mended\n")
    with pytest.raises(Mistake, match="one or two functions"):
        checks.check_exhibit_2(RIGHT, loss, loss)


def test_a_message_says_which_half_is_wrong(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(Mistake) as caught:
        checks.check_exhibit_2(RIGHT, unwritten)
    expected = "the diagnosis is correct. The line is still to be written, in unwritten"
    assert str(caught.value) == expected
    with pytest.raises(Mistake, match=r"^the diagnosis is correct. your function: the sign"):
        checks.check_exhibit_2(RIGHT, lambda n, a, m: -loss(n, a, m))
    with pytest.raises(Mistake, match="does not agree with the curves") as caught:
        checks.check_exhibit_2(diagnosis("nothing", 0), unwritten)
    assert "seed" not in str(caught.value) and "diagnosis is correct" not in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("step", [1, 1.0, np.int64(1), torch.tensor(1), torch.tensor([1.0])])
def test_a_whole_number_is_a_step_however_it_is_written(step) -> None:
    checks.check_exhibit_2(diagnosis("no gradient", step))


@pytest.mark.parametrize("step", [True, "1", None, 1.5, [1], torch.ones(2), float("nan")])
def test_anything_else_is_not(step) -> None:
    with pytest.raises(Mistake, match="a whole number"):
        checks.check_exhibit_2(diagnosis("no gradient", step))
