"""TRPO on the language model: its KL holds, a rejected step changes nothing, it learns."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.objectives.averages import masked_mean
from rlvr_lab.objectives.kl import exact_kl
from rlvr_lab.objectives.trust_region import LineSearch, flatten
from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.logprobs import state_logits, token_logprobs
from rlvr_lab.records.runs import Run
from rlvr_lab.training import trpo
from rlvr_lab.training.loop import train
from rlvr_lab.training.rollouts import collect
from rlvr_lab.training.trpo import TRPOConfig, trpo_update

SMALL = TRPOConfig(steps=3, prompts_per_step=6, group_size=8, device="cpu")


def test_the_logits_are_those_that_the_tokens_were_drawn_from() -> None:
    state = SMALL.begin()
    batch = collect(SMALL, state).batch
    logprobs = state_logits(state.policy.model, batch).log_softmax(-1)
    found = logprobs.gather(2, batch.completion_ids[..., None]).squeeze(2)
    mask = batch.completion_mask
    torch.testing.assert_close(found[mask], batch.old_logprobs[mask], atol=1e-4, rtol=1e-4)
    scored = token_logprobs(state.policy.model, batch)
    torch.testing.assert_close(found[mask], scored[mask], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("natural", [True, False])
def test_the_kl_that_is_reported_is_the_kl_that_was_made(natural: bool) -> None:
    config = replace(SMALL, natural=natural)
    state = config.begin()
    experience = collect(config, state)
    with torch.no_grad():
        old = state_logits(state.policy.model, experience.batch)
    found = trpo_update(config, state, experience.batch, experience.rewards)
    with torch.no_grad():
        new = state_logits(state.policy.model, experience.batch)
    made = float(masked_mean(exact_kl(old, new), experience.batch.completion_mask))
    assert found.fraction > 0 and found.gain > 0
    assert found.kl == pytest.approx(made, rel=1e-4)
    assert made <= config.max_kl


def test_every_step_of_a_short_run_keeps_its_kl() -> None:
    records = list(train(SMALL))
    accepted = [r for r in records if r["accepted"]]
    assert accepted and all(0 < r["step_kl"] <= SMALL.max_kl * 1.01 for r in accepted)
    assert [r["step"] for r in records] == [1, 2, 3]


def test_the_recorded_runs_kept_theirs() -> None:
    runs = [Run.load(p) for p in sorted((data_folder() / "runs").glob("sums_trpo_seed*.json"))]
    assert len(runs) == 5
    for run in runs:
        assert len(run.records) == 50 and run.config == TRPOConfig(steps=50, seed=run.config.seed)
        too_far = [
            r for r in run.records if r["accepted"] and r["step_kl"] > 1.01 * run.config.max_kl
        ]
        assert too_far == []
        assert run.records[-1]["pass_rate"] > run.records[0]["pass_rate"] + 0.3


def test_a_rejected_step_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from rlvr_lab.objectives import trust_region as machinery

    monkeypatch.setattr(machinery, "line_search", lambda *_: LineSearch(0.0, 0.0, 0.0))
    state = SMALL.begin()
    before = flatten(list(state.policy.model.parameters())).clone()
    record = next(train(SMALL, state=state))
    assert not record["accepted"] and record["step_kl"] == 0.0
    assert torch.equal(before, flatten(list(state.policy.model.parameters())))


def test_groups_without_spread_make_no_step() -> None:
    state = SMALL.begin()
    batch = collect(SMALL, state).batch
    found = trpo.trpo_update(SMALL, state, batch, torch.ones(len(batch.texts)))
    assert found.fraction == 0.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_kl", 0.0),
        ("damping", -1.0),
        ("cg_iterations", 0),
        ("group_size", 1),
        ("fisher_groups", 99),
        ("line_search_tries", 0),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(field: str, value) -> None:
    with pytest.raises(ValueError, match=f"{field}: must be"):
        TRPOConfig(**{field: value})
