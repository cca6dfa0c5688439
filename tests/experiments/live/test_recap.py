"""The live run of notebook 01: each variant moves what it names, and the run feels it."""

from dataclasses import replace

import pytest

from rlvr_lab.experiments.live.recap import PRESETS, START, STUDY, VARIANTS
from rlvr_lab.experiments.live.runs import by_variant
from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.pictures.panels import panels_of
from rlvr_lab.training.loop import train

CHANGED = {
    "DPO": [],
    "length-normalised DPO": ["loss: dpo -> ln_dpo", "beta: 0.1 -> 0.6"],
    "SimPO": ["loss: dpo -> simpo", "beta: 0.1 -> 0.6"],
    "β = 0.03": ["beta: 0.1 -> 0.03"],
    "β = 0.3": ["beta: 0.1 -> 0.3"],
    "reference off": ["reference: True -> False"],
    "SimPO, γ = 0": ["loss: dpo -> simpo", "beta: 0.1 -> 0.6", "margin: 0.5 -> 0.0"],
}


def short(config):
    """Curves of four steps on few pairs."""
    config = replace(config, steps=4, pairs=100)
    return [{k: v for k, v in r.items() if k != "seconds_update"} for r in train(config)]


def test_a_variant_is_the_start_with_what_it_names_moved() -> None:
    assert {name: START.changes_to(config) for name, config in VARIANTS.items()} == CHANGED
    assert PRESETS.keys() < VARIANTS.keys() and STUDY.variants == VARIANTS


def test_every_dial_reaches_the_run() -> None:
    curves = {name: [r["chosen"] for r in short(config)] for name, config in VARIANTS.items()}
    assert len({tuple(curve) for curve in curves.values()}) == len(VARIANTS)


def test_the_panels_find_their_metrics() -> None:
    records = short(START)
    assert [r["step"] for r in records] == [0, 2, 4]
    wanted = {key for panel in panels_of(START) for key in (*panel.curves, panel.along)}
    assert wanted <= records[0].keys()
    assert {"chosen", "rejected", "reward_chosen", "reward_rejected", "margin"} <= wanted


def test_without_its_reference_length_normalised_dpo_is_simpo_without_a_margin() -> None:
    bare = short(replace(PRESETS["length-normalised DPO"], reference=False))
    simpo = short(VARIANTS["SimPO, γ = 0"])
    assert [r["gold"] for r in bare] == pytest.approx([r["gold"] for r in simpo], abs=1e-6)
    assert [r["loss"] for r in bare] == pytest.approx([r["loss"] for r in simpo], abs=1e-6)


def test_simpo_has_no_reference_to_leave_out() -> None:
    simpo = PRESETS["SimPO"]
    assert short(replace(simpo, reference=False)) == short(simpo)


def test_the_recording_has_every_variant_with_fresh_seeds() -> None:
    found = by_variant(recorded(STUDY.file), VARIANTS)
    for runs in found.values():
        assert [run.config.seed for run in runs] == [20, 21, 22, 23]
        assert all(len(run.records) == 1 + START.steps // START.measure_every for run in runs)
