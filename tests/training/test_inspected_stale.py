"""A kept step whose answers another policy wrote: its weights are the gradient of the trainer's own update."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.training.inspected_kinds import TITLES
from rlvr_lab.training.inspection import can_inspect, inspect_step
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import trained
from rlvr_lab.training.stale import StaleConfig
from tests.reference.plain import base_policy, double, elsewhere, snapshot

BASE = StaleConfig(
    steps=3,
    prompts_per_step=4,
    group_size=4,
    max_new_tokens=12,
    optimizer="sgd",
    learning_rate=0.4,
    max_grad_norm=None,
    device="cpu",
    lag=2,
)
CASES = {
    "none": {},
    "clip": {"correction": "clip", "clip_low": 0.05, "clip_high": 0.05},
    "tis": {"correction": "tis", "cap": 1.1},
    "icepop with KL": {
        "correction": "icepop",
        "cap": 1.2,
        "floor": 0.9,
        "kl_coef": 0.05,
        "learning_rate": 0.05,
    },
    "sequence": {"correction": "sequence", "average": "token"},
    "noise": {"correction": "tis", "lag": 0, "noise": 0.5},
    "no mismatch": {"correction": "tis", "lag": 0, "learning_rate": 0.05},
}


@pytest.mark.parametrize("name", CASES)
def test_the_weights_are_the_step_that_sgd_takes(name: str) -> None:
    config = replace(BASE, **CASES[name])
    with double():
        state = config.begin(base_policy())
        state.reference.model = elsewhere(state.policy.model)
        list(train(config, state=state))  # now the sampler is two steps old
        experience = config.collect(state)
        step, after = inspect_step(config, state, experience)
        with torch.no_grad():
            torch.testing.assert_close(
                step.before[step.mask],
                token_logprobs(state.policy.model, experience.batch)[step.mask],
            )
        far = (step.before - experience.batch.old_logprobs)[step.mask].abs().max()
        assert (float(far) > 1e-3) == (name != "no mismatch")
        logprobs = token_logprobs(state.policy.model, experience.batch)
        weights = step.weigh("run").total
        wanted = torch.autograd.grad((weights * logprobs).sum(), trained(state.policy.model))
        before = snapshot(state.policy.model)
        config.update(state, experience)
        rate = config.learning_rate
        moved = [(a - b) / rate for a, b in zip(snapshot(state.policy.model), before, strict=True)]
        assert max(float(w.abs().max()) for w in wanted) > 1e-3
        for found, right in zip(moved, wanted, strict=True):
            torch.testing.assert_close(found, right, atol=1e-11, rtol=0)
        torch.testing.assert_close(
            after()[step.mask],
            token_logprobs(state.policy.model, experience.batch)[step.mask].detach(),
        )


def test_the_other_lenses_keep_the_correction() -> None:
    """The same batch under Dr. GRPO has the same importance weights as under GRPO."""
    config = replace(BASE, correction="sequence", cap=1.05)
    state = config.begin()
    list(train(config, state=state))
    experience = config.collect(state)
    step, _ = inspect_step(config, state, experience)
    run, other = step.weigh("run"), step.weigh("dr-grpo")
    there = step.mask & (run.advantages != 0)
    torch.testing.assert_close(run.factor[there], other.factor[there], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        run.factor[there], config.weights(experience)[there], atol=1e-5, rtol=1e-5
    )
    assert float((run.factor[there] - 1).abs().max()) > 0.01


def test_it_can_be_looked_inside() -> None:
    assert can_inspect(BASE)
    assert "dr-grpo" in TITLES
