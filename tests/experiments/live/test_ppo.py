"""The live run of notebook 05: each variant moves what it names, and the run feels it."""

from dataclasses import replace

import pytest

from rlvr_lab.experiments.live.ppo import START, STUDY, VARIANTS
from rlvr_lab.experiments.live.runs import by_variant
from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.pictures.panels import panels_of
from rlvr_lab.training.loop import train
from rlvr_lab.widgets.dial_tables import dials_of

CHANGED = {
    "start": [],
    "ε = 0.02": ["clip: 0.2 -> 0.02"],
    "ε = 1": ["clip: 0.2 -> 1.0"],
    "λ = 0": ["lam: 0.95 -> 0.0"],
    "λ = 1": ["lam: 0.95 -> 1.0"],
    "γ = 0.8": ["gamma: 1.0 -> 0.8"],
    "1 epoch": ["epochs: 2 -> 1"],
    "4 epochs": ["epochs: 2 -> 4"],
    "advantages not whitened": ["whiten_advantages: minibatch -> none"],
    "rewards whitened": ["whiten_rewards: False -> True"],
    "learning rates fall to 0": ["anneal: False -> True"],
    "no warm-up of the critic": ["critic_warmup: 2 -> 0"],
}


def run(config, steps):
    """Its records, and a sum that depends on each weight of the policy at the end."""
    config = replace(config, steps=steps)
    state = config.begin()
    records = list(train(config, state=state))
    moved = sum(float(p.detach().double().abs().sum()) for p in state.policy.model.parameters())
    return records, moved


def test_a_variant_is_the_start_with_one_dial_moved() -> None:
    assert {name: START.changes_to(config) for name, config in VARIANTS.items()} == CHANGED
    assert STUDY.variants == VARIANTS


def test_every_dial_reaches_the_run() -> None:
    found = {name: run(replace(c, prompts_per_step=4), 2) for name, c in VARIANTS.items()}
    moved = [moved for _, moved in found.values()]
    for i, one in enumerate(moved):
        assert all(one != pytest.approx(other, abs=1e-7, rel=0) for other in moved[:i]), i
    assert found["4 epochs"][0][0]["epochs_done"] == 4


def test_the_dashboard_has_the_dials_and_the_panels_their_metrics() -> None:
    moved = {one[0].split(":")[0] for one in CHANGED.values() if one}
    assert moved <= {dial.field for dial in dials_of(START)}
    details = {"whiten_advantages", "whiten_rewards", "anneal", "critic_warmup"}
    assert len(details & moved) >= 4
    records = list(train(replace(START, steps=1, critic_warmup=0, prompts_per_step=2)))
    wanted = {key for panel in panels_of(START) for key in (*panel.curves, panel.along)}
    assert {"pass_rate", "kl", "explained_variance", "ratio_outside"} <= wanted
    assert wanted <= records[0].keys()


def test_the_recording_has_every_variant_with_fresh_seeds() -> None:
    found = by_variant(recorded(STUDY.file), VARIANTS)
    for runs in found.values():
        assert [run.config.seed for run in runs] == [20, 21, 22, 23, 24]
        assert all(len(run.records) == START.steps for run in runs)
