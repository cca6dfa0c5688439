"""The live run of notebook 03: each variant moves what it names, and the run feels it."""

from dataclasses import replace

import pytest

from rlvr_lab.experiments.baselines import BASELINES
from rlvr_lab.experiments.live.policy_gradient import START, STUDY, VARIANTS
from rlvr_lab.experiments.live.runs import by_variant
from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.pictures.panels import panels_of
from rlvr_lab.training.loop import train
from rlvr_lab.widgets.dial_tables import dials_of

CHANGED = {
    "start": [],
    "baseline batch": ["baseline: none -> batch"],
    "baseline group": ["baseline: none -> group"],
    "baseline leave_one_out": ["baseline: none -> leave_one_out"],
    "2 questions": ["prompts_per_step: 4 -> 2"],
    "16 questions": ["prompts_per_step: 4 -> 16"],
}


def weights_after(config, steps=2):
    """A sum that depends on each weight after a few steps."""
    config = replace(config, steps=steps)
    state = config.begin()
    list(train(config, state=state))
    return sum(float(p.detach().double().abs().sum()) for p in state.policy.model.parameters())


def test_a_variant_is_the_start_with_one_dial_moved() -> None:
    assert {name: START.changes_to(config) for name, config in VARIANTS.items()} == CHANGED
    assert STUDY.variants == VARIANTS


def test_the_page_compares_the_same_settings_in_its_recorded_runs() -> None:
    assert BASELINES["no baseline, 16 answers"] == START
    assert BASELINES["mean of the others, 16 answers"] == VARIANTS["baseline leave_one_out"]


def test_every_dial_reaches_the_run() -> None:
    found = [weights_after(config) for config in VARIANTS.values()]
    for i, one in enumerate(found):
        assert all(one != pytest.approx(other, abs=1e-6, rel=0) for other in found[:i])


def test_the_dashboard_has_the_dials_and_the_panels_their_metrics() -> None:
    shown = {dial.field for dial in dials_of(START, ["baseline", "prompts", "group", "lr"])}
    assert {"baseline", "prompts_per_step"} <= shown
    records = list(train(replace(START, steps=1)))
    wanted = {key for panel in panels_of(START) for key in (*panel.curves, panel.along)}
    assert {"pass_rate", "kl", "length"} <= wanted <= records[0].keys()


def test_the_recording_has_every_variant_with_fresh_seeds() -> None:
    found = by_variant(recorded(STUDY.file), VARIANTS)
    for runs in found.values():
        assert [run.config.seed for run in runs] == [20, 21, 22, 23, 24]
        assert all(len(run.records) == START.steps for run in runs)
