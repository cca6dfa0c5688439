"""The three averages against plain loops, their token weights, and padding full of garbage."""

import math

import pytest
import torch

from rlvr_lab.objectives.averages import (
    completion_lengths,
    constant_mean,
    masked_mean,
    sequence_mean,
    token_mean,
)

AVERAGES = {"sequence": sequence_mean, "token": token_mean, "constant": constant_mean(5)}
# One prompt, G = 4 answers of 1, 2, 3 and 4 tokens; -9 marks padding.
HAND = torch.tensor(
    [[4.0, -9, -9, -9], [1.0, 3, -9, -9], [0.0, 3, 6, -9], [2.0, 2, 2, 2]], dtype=torch.float64
)
HAND_MASK = HAND != -9


def loop(name: str, x: torch.Tensor, mask: torch.Tensor) -> float:
    """The average ``name`` in plain Python, from the formula."""
    rows = [
        [value for value, trained in zip(values, flags, strict=True) if trained]
        for values, flags in zip(x.tolist(), mask.tolist(), strict=True)
    ]
    if name == "sequence":
        return sum(sum(row) / len(row) for row in rows) / len(rows)
    if name == "token":
        return sum(map(sum, rows)) / sum(map(len, rows))
    return sum(map(sum, rows)) / (len(rows) * 5)


def ragged(seed: int, rows: int = 7, width: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Random values and masks with gaps (tokens the environment wrote), never an empty row."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    mask = torch.rand(rows, width, generator=generator) < 0.6
    mask[:, seed % width] = True
    return x, mask


@pytest.mark.parametrize(
    ("name", "value"), [("sequence", 2.75), ("token", 2.5), ("constant", 1.25)]
)
def test_hand_checkable_group(name, value):
    # Row means 4, 2, 3, 2; 25 over 10 tokens; 25 over 4 rows of 5.
    assert AVERAGES[name](HAND, HAND_MASK).item() == pytest.approx(value, abs=1e-15)


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("seed", range(5))
def test_average_equals_loop(name, seed):
    x, mask = ragged(seed)
    assert AVERAGES[name](x, mask).item() == pytest.approx(loop(name, x, mask), abs=1e-14)


@pytest.mark.parametrize("name", AVERAGES)
def test_weight_of_each_token(name):
    x = HAND.clone().requires_grad_()
    AVERAGES[name](x, HAND_MASK).backward()
    for row, length in enumerate((1, 2, 3, 4)):
        weight = {"sequence": 1 / (4 * length), "token": 1 / 10, "constant": 1 / 20}[name]
        expected = [weight] * length + [0.0] * (4 - length)
        assert x.grad[row].tolist() == pytest.approx(expected, abs=1e-16)


@pytest.mark.parametrize("garbage", [math.inf, -math.inf, math.nan, 1e300])
@pytest.mark.parametrize("name", AVERAGES)
def test_padding_garbage_has_no_effect(name, garbage):
    x = HAND.masked_fill(~HAND_MASK, garbage).requires_grad_()
    value = AVERAGES[name](x, HAND_MASK)
    value.backward()
    assert value.item() == pytest.approx(loop(name, HAND, HAND_MASK), abs=1e-15)
    assert torch.isfinite(x.grad).all()
    assert (x.grad[~HAND_MASK] == 0).all()


def test_averages_agree_when_all_lengths_are_equal():
    x, _ = ragged(0)
    full = torch.ones_like(x, dtype=torch.bool)
    for average in (sequence_mean, token_mean, constant_mean(x.shape[1])):
        assert average(x, full).item() == pytest.approx(x.mean().item(), abs=1e-15)


def test_a_long_answer_weighs_the_same_as_a_short_one_only_in_the_sequence_mean():
    x = torch.tensor([[1.0, 0, 0, 0], [0.0, 0, 0, 0]])
    mask = torch.tensor([[True, False, False, False], [True] * 4])
    assert sequence_mean(x, mask).item() == 0.5  # its one token is half the batch
    assert token_mean(x, mask).item() == pytest.approx(0.2)


def test_masked_mean_takes_any_shape():
    x = torch.arange(24.0).view(2, 3, 4)
    assert masked_mean(x, x > 20).item() == 22.0


def test_completion_lengths_count_positions_not_prefixes():
    mask = torch.tensor([[True, False, True], [False, True, False]])
    assert completion_lengths(mask).tolist() == [2.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("average", [*AVERAGES.values(), masked_mean])
def test_dtype_is_kept(average, dtype):
    value = average(HAND.to(dtype), HAND_MASK)
    assert value.dtype == dtype and value.shape == ()


def test_float64_is_not_rounded_to_float32_on_the_way():
    x = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    full = torch.ones(3, 3, dtype=torch.bool)
    for average in (sequence_mean, token_mean, constant_mean(3)):
        assert abs(average(x, full).item() - 1 / 3) < 1e-16


@pytest.mark.parametrize("average", [sequence_mean, constant_mean(3)])
def test_an_empty_row_is_named(average):
    mask = torch.tensor([[True], [False], [True]])
    with pytest.raises(ValueError, match=r"mask: .*rows \[1\]"):
        average(torch.zeros(3, 1), mask)


def test_empty_masks_are_refused():
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    for average in (masked_mean, token_mean):
        with pytest.raises(ValueError, match="mask: it selects no token"):
            average(torch.zeros(2, 2), nothing)
    with pytest.raises(ValueError, match="mask"):
        completion_lengths(torch.zeros(0, 4, dtype=torch.bool))


@pytest.mark.parametrize("length", [0, -1.0, math.nan])
def test_a_constant_that_is_no_length_is_refused(length):
    with pytest.raises(ValueError, match="length"):
        constant_mean(length)
