"""The live run of notebook 04: each variant moves what it names, and the run feels it."""

from dataclasses import replace

import numpy as np

from rlvr_lab.experiments.live.runs import by_variant
from rlvr_lab.experiments.live.trust_region import START, STUDY, VARIANTS
from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.pictures.panels import panels_of
from rlvr_lab.training.loop import train

CHANGED = {
    "start": [],
    "δ = 0.005": ["max_kl: 0.02 -> 0.005"],
    "δ = 0.08": ["max_kl: 0.02 -> 0.08"],
    "plain gradient": ["natural: True -> False"],
}


def short(config):
    """Curves of three small steps."""
    return list(train(replace(config, steps=3, max_new_tokens=12)))


def test_a_variant_is_the_start_with_one_dial_moved() -> None:
    assert {name: START.changes_to(config) for name, config in VARIANTS.items()} == CHANGED
    assert STUDY.variants == VARIANTS


def test_every_dial_reaches_the_run_and_the_panels_find_their_metrics() -> None:
    runs = {name: short(config) for name, config in VARIANTS.items()}
    assert len({tuple(r["step_kl"] for r in records) for records in runs.values()}) == len(runs)
    for name, records in runs.items():
        limit = VARIANTS[name].max_kl
        assert {r["max_kl"] for r in records} == {limit}
        assert all(0 <= r["step_kl"] <= limit * 1.0001 for r in records)
    wanted = {key for panel in panels_of(START) for key in (*panel.curves, panel.along)}
    assert {"pass_rate", "step_kl", "max_kl", "surrogate_gain", "kl"} <= wanted
    assert wanted <= runs["start"][0].keys()


def test_the_fisher_matrix_is_taken_over_all_answers() -> None:
    assert START.fisher_groups == START.prompts_per_step


def test_the_recording_has_every_variant_with_fresh_seeds() -> None:
    found = by_variant(recorded(STUDY.file), VARIANTS)
    for runs in found.values():
        assert [run.config.seed for run in runs] == [20, 21, 22, 23, 24]
        assert all(np.isfinite(run.curve("step_kl")).all() for run in runs)
