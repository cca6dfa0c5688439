"""The runs that show why a fixed trust region stalls, and what is read off them."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.trust_region import (
    STALL,
    AfterGRPO,
    SignalConfig,
    at_equal_kl,
    measure_stall,
    policy_after_grpo,
    signal_shares,
    stall_changes,
)
from rlvr_lab.objectives.trust_region import LineSearch, flatten
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.records import runs
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.training.loop import train
from rlvr_lab.training.state import TrainState
from rlvr_lab.training.trpo import TRPOConfig


def weights(policy) -> torch.Tensor:
    return flatten([p.detach() for p in policy.model.parameters()])


def test_the_limit_falls_with_the_square_of_what_is_left() -> None:
    config = TRPOConfig(steps=4, max_kl=0.16, delta_schedule="quadratic")
    assert [config.limit(done) for done in range(4)] == pytest.approx([0.16, 0.09, 0.04, 0.01])
    assert replace(config, delta_schedule="constant").limit(3) == 0.16


def test_a_run_starts_from_a_copy_of_what_grpo_made() -> None:
    first, again = policy_after_grpo(1, 0), policy_after_grpo(1, 0)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(load_policy("sums")))
    with torch.no_grad():
        next(first.model.parameters()).zero_()
    state = AfterGRPO(grpo_steps=1).begin()
    assert torch.equal(weights(state.policy), weights(again))
    assert torch.equal(weights(policy_after_grpo(0, 0)), weights(load_policy("sums")))


@pytest.mark.parametrize("shuffle", [False, True])
def test_shuffled_rewards_are_the_same_numbers_at_other_answers(monkeypatch, shuffle) -> None:
    seen = []
    monkeypatch.setattr(
        "rlvr_lab.training.trpo.trpo_update",
        lambda config, state, batch, rewards: seen.append(rewards) or LineSearch(0, 0, 0),
    )
    config = AfterGRPO(grpo_steps=0, steps=2, prompts_per_step=4, group_size=4, shuffle=shuffle)
    collected = []
    original = AfterGRPO.collect
    monkeypatch.setattr(
        AfterGRPO, "collect", lambda self, s: collected.append(original(self, s)) or collected[-1]
    )
    list(train(config, state=config.begin(load_policy("sums"))))
    for given, experience in zip(seen, collected, strict=True):
        assert torch.equal(given.sort().values, experience.rewards.sort().values)
        assert torch.equal(given, experience.rewards) != shuffle


def test_the_share_of_signal_is_taken_from_pairs_of_batches() -> None:
    def share(*gradients) -> dict:
        data = [(torch.tensor(g).double(), 0.5) for g in gradients]
        return SignalConfig(steps=len(data)).after(
            TrainState(load_policy("sums"), step=len(data), data=data)
        )

    assert share([1.0, 1.0], [1.0, -1.0])["share"] == 0
    assert share([1.0, 2.0], [1.0, 2.0])["share"] == 1
    found = share([3.0, 0.0], [1.0, 0.0], [2.0, 0.0])  # pairs 3, 6, 2; squares 9, 1, 4
    assert found["signal"] == pytest.approx(11 / 3) and found["total"] == pytest.approx(14 / 3)
    assert found["pass_rate"] == 0.5
    with pytest.raises(ValueError, match="steps"):
        SignalConfig(steps=1)


def test_the_signal_is_that_of_the_surrogate_and_moves_nothing() -> None:
    config = SignalConfig(steps=2, prompts_per_step=2, group_size=4)
    state = config.begin(load_policy("sums"))
    before = weights(state.policy)
    experience = config.collect(state)
    config.update(state, experience)
    assert torch.equal(weights(state.policy), before)
    r = experience.rewards.view(2, 4)
    a = (r - r.mean(1, keepdim=True)).flatten()
    mask = experience.batch.completion_mask
    logprobs = token_logprobs(state.policy.model, experience.batch)
    value = (logprobs * a[:, None])[mask].sum() / mask.sum()
    expected = torch.autograd.grad(value, list(state.policy.model.parameters()))
    torch.testing.assert_close(state.data[0][0].float(), flatten(expected), atol=1e-6, rtol=1e-4)


def run_of(config, **columns) -> Run:
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    return Run(config, [{"step": i, **row} for i, row in enumerate(rows, start=1)])


def test_a_pass_rate_belongs_to_the_kl_of_the_steps_before_it() -> None:
    run = run_of(TRPOConfig(), step_kl=[0.1, 0.3, 9.0], pass_rate=[0.2, 0.4, 0.8])
    assert at_equal_kl([run, run], [0.0, 0.1, 0.25, 0.4]).tolist() == pytest.approx(
        np.array([[0.2, 0.4, 0.6, 0.8]] * 2)
    )
    with pytest.raises(ValueError, match="grid"):
        at_equal_kl([run], [0.5])


def test_the_length_of_a_path_does_not_depend_on_how_it_is_cut() -> None:
    whole = run_of(TRPOConfig(), step_kl=[0.16, 0.0], pass_rate=[0.2, 0.8])
    halves = run_of(TRPOConfig(), step_kl=[0.04, 0.04, 0.0], pass_rate=[0.2, 0.5, 0.8])
    for run in (whole, halves):
        assert at_equal_kl([run], [0.0, 0.1, 0.4], power=0.5)[0] == pytest.approx([0.2, 0.35, 0.8])


def test_a_change_is_measured_from_the_policy_at_the_start(monkeypatch) -> None:
    def fake(config):
        if isinstance(config, SignalConfig):
            yield {"step": 16, "pass_rate": 0.9, "share": 0.1 * config.grpo_steps, "kl": 1.0}
        else:
            for step in range(1, 21):
                yield {"step": step, "pass_rate": 0.5 + 0.01 * config.seed, "fraction": 1.0}

    monkeypatch.setattr(runs, "train", fake)
    recording = Recording(list(measure_stall(2, first=3)))
    assert len(recording.runs) == 2 * (2 + len(STALL)) and "kl" not in recording.runs[0].records[0]
    for values in stall_changes(recording).values():
        assert values.tolist() == pytest.approx([-0.37, -0.36])
    assert {k: v.tolist() for k, v in signal_shares(recording).items()} == {0: [0, 0], 40: [4, 4]}
    with pytest.raises(ValueError, match="seeds"):
        next(measure_stall(0))


def test_every_row_of_the_stall_removes_what_it_says() -> None:
    usual = asdict(AfterGRPO())
    assert all(
        usual[field] != value for change in STALL.values() for field, value in change.items()
    )
