"""A batch that does not fit is updated in parts: the gradient of every loss is that of the whole batch."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from rlvr_lab.objectives.objective import ALGORITHMS
from rlvr_lab.policy import logprobs
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.memory_plan import Limits
from rlvr_lab.policy.sampling import sample
from rlvr_lab.training.policy_gradient import PolicyGradientConfig, improve
from rlvr_lab.training.state import TrainState
from tests.policy.precise import exact

TIGHT = Limits(logits=44 * 8 * 5, activations=400_000)
PROMPTS = ["7+5+8+3....?", "1+2?", "1+2+3+4+5+6+7+8?"]
CASES = {
    **ALGORITHMS,
    "KL in the loss": {"kl_coef": 0.3, "kl_estimator": "k3"},
    "KL in the reward": {**ALGORITHMS["rloo"], "kl_coef": 0.3},
    "k2 by tokens": {"kl_coef": 0.3, "kl_estimator": "k2", "average": "token"},
    "Kimi": {"ratio": "squared", "divide_by_std": False, "average": "constant"},
    "bonus": {"entropy_coef": 0.1},
    "bonus and KL": {"entropy_coef": 0.1, "kl_coef": 0.3, "average": "constant"},
}


@pytest.fixture(scope="module")
def drawn():
    policy = exact(load_policy("sums", "cpu", torch.float64))
    batch = sample(policy, PROMPTS, 4, 20, torch.Generator().manual_seed(3))
    torch.manual_seed(0)
    for parameter in policy.model.parameters():  # π is not π_old: ratios differ from 1
        parameter.data += 0.02 * torch.randn_like(parameter)
    rewards = torch.rand(12, dtype=torch.float64)
    rewards[4:8] = 1.0  # a group without a spread
    reference = batch.old_logprobs - torch.where(batch.completion_mask, 0.1, 0.0)
    return policy, batch, rewards, reference


def steps(drawn, names, limits, monkeypatch):
    """The parameters after two passes over two minibatches, and what was noted."""
    policy, batch, rewards, reference = drawn
    policy = replace(policy, model=deepcopy(policy.model))
    config = PolicyGradientConfig(**{"temperature": 0.8, **names})
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=0.05)
    state = TrainState(policy, None, optimizer=optimizer)
    monkeypatch.setattr(logprobs, "limits_on", lambda device: limits)
    noted = improve(
        state,
        config.objective,
        batch,
        rewards,
        reference,
        temperature=config.temperature,
        updates=2,
        minibatches=2,
        max_norm=1.0,
    )
    return list(policy.model.parameters()), noted


@pytest.mark.parametrize("names", CASES.values(), ids=CASES.keys())
def test_parts_change_no_parameter(drawn, names, monkeypatch) -> None:
    whole, wanted = steps(drawn, names, Limits.none(), monkeypatch)
    again = []
    real = logprobs.checkpoint
    monkeypatch.setattr(logprobs, "checkpoint", lambda *a, **k: again.append(1) or real(*a, **k))
    parts, found = steps(drawn, names, TIGHT, monkeypatch)
    assert len(again) > 4, "the batch was not split"
    moved = zip(whole, drawn[0].model.parameters(), strict=True)
    assert any(float((a - b).abs().max()) > 1e-4 for a, b in moved)
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
    for name in wanted:
        assert found[name] == pytest.approx(wanted[name], rel=1e-9, abs=1e-12), name


def test_float32_agrees_to_a_millionth(monkeypatch) -> None:
    policy = load_policy("sums", "cpu")
    batch = sample(policy, PROMPTS, 4, 20, torch.Generator().manual_seed(3))
    rewards = torch.rand(12, generator=torch.Generator().manual_seed(0))
    given = policy, batch, rewards, batch.old_logprobs
    ends = [steps(given, {}, limits, monkeypatch)[0] for limits in (Limits.none(), TIGHT)]
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
