"""Weights in bfloat16: what stays consistent, and what is lost."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.pretrained import share_moved
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.sampling import sample
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

CONFIG = PolicyGradientConfig(
    device="cpu", prompts_per_step=4, group_size=4, max_new_tokens=12, steps=1
)
ROUNDED = replace(CONFIG, dtype="bfloat16")
PROMPTS = ["7+5+8+3....?", "9+9+9+9+9+9+9+9?"]


@pytest.mark.parametrize("base", ["", "sums"])
def test_begin_loads_the_weights_in_the_dtype(base):
    for config, dtype in ((CONFIG, torch.float32), (ROUNDED, torch.bfloat16)):
        state = replace(config, base=base).begin()
        for model in (state.policy.model, state.reference.model):
            assert {p.dtype for p in model.parameters()} == {dtype}


def test_it_is_fixed_during_a_run_and_old_recordings_are_float32():
    assert "dtype" in PolicyGradientConfig.FIXED and PolicyGradientConfig().dtype == "float32"


def test_the_reference_is_the_policy_before_the_first_step():
    """Rounding the positions' frequencies as well would move the reference away from the policy."""
    state = ROUNDED.begin()
    ids = torch.arange(2, 20)[None].repeat(2, 1)
    with torch.no_grad():
        same = [m(ids).logits for m in (state.policy.model, state.reference.model)]
    assert torch.equal(*same)
    frequencies = {b.dtype for n, b in state.reference.model.named_buffers() if "inv_freq" in n}
    assert frequencies == {torch.float32}


@torch.no_grad()
def test_logprobs_stay_close_to_those_of_float32():
    """bfloat16 keeps 8 bits: one part in 256 per rounding, of logits of size 10."""
    full, rounded = (load_policy("sums", "cpu", dtype) for dtype in (None, torch.bfloat16))
    batch = sample(full, PROMPTS, 8, 12, torch.Generator().manual_seed(0))
    a, b = (token_logprobs(one.model, batch) for one in (full, rounded))
    error = (a - b)[batch.completion_mask].abs()
    assert b.dtype == torch.float32  # summed and compared in float32
    assert 0 < error.mean() < 0.03 and error.max() < 0.5


@torch.no_grad()
def test_sampling_and_scoring_agree_as_well_as_their_rounding_allows():
    rounded = load_policy("sums", "cpu", torch.bfloat16)
    batch = sample(rounded, PROMPTS, 8, 12, torch.Generator().manual_seed(0))
    error = (token_logprobs(rounded.model, batch) - batch.old_logprobs)[batch.completion_mask].abs()
    assert batch.old_logprobs.dtype == torch.float32
    assert error.mean() < 0.02 and error.max() < 0.25


def test_a_step_of_training_runs():
    state = ROUNDED.begin()
    said = ROUNDED.update(state, ROUNDED.collect(state))
    assert 0 < said["grad_norm"] < float("inf")


def test_small_steps_are_lost_in_bfloat16():
    """The warning at the field ``dtype``: a weight of size .1 moves by 2e-5 or not at all."""
    assert share_moved("float32", 2e-5) > 0.5
    assert share_moved("bfloat16", 2e-5) < 0.2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_a_step_on_cuda():
    config = replace(CONFIG, device="cuda", dtype="bfloat16")
    state = config.begin()
    assert 0 < config.update(state, config.collect(state))["grad_norm"] < float("inf")


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU here")
def test_a_step_on_mps():
    config = replace(CONFIG, device="mps")
    state = config.begin()
    assert 0 < config.update(state, config.collect(state))["grad_norm"] < float("inf")
