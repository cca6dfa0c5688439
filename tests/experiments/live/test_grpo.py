"""The live run of notebook 06: each variant moves what it names, and the run feels it."""

from dataclasses import replace

from rlvr_lab.experiments.kl_runs import KL_BASE, kl_variant
from rlvr_lab.experiments.live.grpo import START, STUDY, VARIANTS
from rlvr_lab.experiments.live.runs import by_variant
from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.training.loop import train
from rlvr_lab.widgets.dial_tables import dials_of

CHANGED = {
    "start": [],
    "G = 2": ["group_size: 16 -> 2"],
    "G = 4": ["group_size: 16 -> 4"],
    "G = 32": ["group_size: 16 -> 32"],
    "temperature 0.6": ["temperature: 1.0 -> 0.6"],
}


def test_a_variant_is_the_start_with_one_dial_moved() -> None:
    assert {name: START.changes_to(config) for name, config in VARIANTS.items()} == CHANGED
    assert STUDY.variants == VARIANTS


def test_what_the_page_claims_of_the_kl_holds_for_this_start() -> None:
    """β, estimator and place are claimed from runs that differ from the start in the number of steps alone."""
    assert KL_BASE.changes_to(START) == ["steps: 40 -> 30"]
    recorded_runs = [replace(run.config, seed=0) for run in recorded("grpo_kl").runs]
    for change in (
        {"kl_coef": 0.2},
        {"kl_coef": 0.2, "kl_estimator": "k2"},
        {"kl_coef": 0.2, "kl_in": "reward"},
    ):
        assert replace(START, steps=40, **change) in recorded_runs
    assert kl_variant("loss k3 β=0.2") == replace(START, steps=40, kl_coef=0.2)


def test_every_dial_reaches_the_run() -> None:
    curves = {
        name: [(r["entropy"], r["tokens"]) for r in train(replace(c, steps=1, prompts_per_step=2))]
        for name, c in VARIANTS.items()
    }
    assert len({tuple(curve) for curve in curves.values()}) == len(VARIANTS)


def test_the_dashboard_has_the_dials() -> None:
    wanted = {"group_size", "temperature", "kl_coef", "kl_estimator", "kl_in"}
    assert wanted <= {dial.field for dial in dials_of(START)}


def test_the_recording_has_every_variant_with_fresh_seeds() -> None:
    found = by_variant(recorded(STUDY.file), VARIANTS)
    for runs in found.values():
        assert [run.config.seed for run in runs] == [20, 21, 22, 23, 24]
        assert all(len(run.records) == START.steps for run in runs)
