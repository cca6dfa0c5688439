"""A policy in other arithmetic: its weights and its noise against definitions in plain numbers."""

import math

import pytest
import torch

from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.perturbed import ROUNDINGS, noisy, rounded
from rlvr_lab.policy.sampling import sample

PROMPTS = ["3+4......?", "9+2+5.....?"]


@pytest.fixture(scope="module")
def policy():
    return load_policy("sums", "cpu")


def to_bits(x: float, bits: int, least: int = -200) -> float:
    """``x`` with so many significant bits; steps do not get finer below 2^least (subnormal numbers)."""
    if x == 0:
        return 0.0
    exponent = max(math.frexp(x)[1], least + 1)
    step = 2.0 ** (exponent - bits)
    return round(x / step) * step


def round_row(row: list[float], rounding: str) -> list[float]:
    if rounding == "bf16":
        return [to_bits(x, 8) for x in row]
    largest = max(abs(x) for x in row) or 1.0
    if rounding == "int4":
        return [round(x / largest * 7) * largest / 7 for x in row]
    return [to_bits(x / largest * 448, 4, least=-6) * largest / 448 for x in row]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_every_matrix_is_rounded_row_by_row_and_nothing_else(policy, rounding: str) -> None:
    found = dict(rounded(policy, rounding).model.named_parameters())
    for name, before in policy.model.named_parameters():
        after = found[name]
        assert not after.requires_grad
        if before.ndim != 2:
            assert torch.equal(before, after), name
            continue
        assert not torch.equal(before, after), name
        for row in (0, len(before) - 1):
            wanted = round_row(before[row].tolist(), rounding)
            assert after[row].tolist() == pytest.approx(wanted, rel=1e-5, abs=1e-9), name


def test_fewer_bits_are_further_away(policy) -> None:
    before = policy.model.lm_head.weight.detach()
    gaps = [
        float((rounded(policy, r).model.lm_head.weight - before).abs().max()) for r in ROUNDINGS
    ]
    assert 0 < gaps[0] < gaps[1] < gaps[2]


def draw(policy, seed: int = 0):
    return sample(policy, PROMPTS, 3, 6, torch.Generator().manual_seed(seed))


def test_the_noise_on_a_logit_has_the_given_spread(policy) -> None:
    """Log-probabilities of the same token under many noisy copies: their spread is that of the definition."""
    batch = draw(policy)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        hidden = torch.randn(4000, policy.model.config.hidden_size, generator=generator)
        clean = policy.model.lm_head(hidden)
        head = noisy(policy, 0.3, generator).model.lm_head
        gap = head(hidden) - clean
        assert float(gap.std()) == pytest.approx(0.3, rel=0.01)
        assert abs(float(gap.mean())) < 0.01
        assert not torch.equal(head(hidden), head(hidden)), "drawn anew at each reading"
        assert not torch.equal(
            token_logprobs(noisy(policy, 0.3, generator).model, batch), batch.old_logprobs
        )


def test_a_batch_records_the_distribution_that_it_was_sampled_from(policy) -> None:
    """log μ is that of the noisy logits, and the noise does not take the sampling's random numbers."""
    make = lambda std: noisy(policy, std, torch.Generator().manual_seed(5))  # noqa: E731
    little, none, much = draw(make(1e-6)), draw(policy), draw(make(1.0))
    assert torch.equal(little.completion_ids, none.completion_ids)
    torch.testing.assert_close(little.old_logprobs, none.old_logprobs, atol=1e-4, rtol=0)
    with torch.no_grad():
        gap = (token_logprobs(policy.model, much) - much.old_logprobs)[much.completion_mask]
    assert float(gap.abs().mean()) > 0.02
    assert torch.equal(draw(make(1.0)).old_logprobs, much.old_logprobs), "same seed, same noise"


def test_the_policy_itself_is_not_changed(policy) -> None:
    before = {name: p.clone() for name, p in policy.model.named_parameters()}
    head = policy.model.lm_head
    noisy(policy, 1.0, torch.Generator())
    rounded(policy, "int4")
    assert policy.model.lm_head is head
    assert all(torch.equal(p, before[name]) for name, p in policy.model.named_parameters())


def test_bad_input_is_named(policy) -> None:
    with pytest.raises(ValueError, match="rounding: must be one of bf16, fp8, int4, got 'fp4'"):
        rounded(policy, "fp4")
    for std in (0.0, -1.0):
        with pytest.raises(ValueError, match="std: must be positive"):
            noisy(policy, std, torch.Generator())
