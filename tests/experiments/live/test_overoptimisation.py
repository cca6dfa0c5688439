"""The live run of notebook 02: each variant moves what it names, and the run feels it."""

from dataclasses import replace

from rlvr_lab.experiments.live.overoptimisation import START, STUDY, VARIANTS
from rlvr_lab.experiments.live.runs import by_variant
from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.pictures.panels import panels_of
from rlvr_lab.training.loop import train

CHANGED = {
    "start": [],
    "3,000 pairs": ["pairs: 300 -> 3000"],
    "no flips": ["flip: 0.25 -> 0.0"],
    "β = 0.2": ["kl_coef: 0.0 -> 0.2"],
    "GRPO": ["optimiser: ppo -> grpo"],
}


def short(config):
    """Curves of three steps on few answers."""
    return list(train(replace(config, steps=3, batch_size=32)))


def test_a_variant_is_the_start_with_one_dial_moved() -> None:
    assert {name: START.changes_to(config) for name, config in VARIANTS.items()} == CHANGED
    assert STUDY.variants == VARIANTS


def test_the_recorded_runs_of_the_page_have_the_same_settings() -> None:
    """What the page says of PPO on 300 noisy pairs is said of the dashboard's start, too."""
    config = recorded("overoptimisation/fresh/ppo_300_flips").runs[0].config
    assert replace(config, seed=START.seed) == START


def test_every_dial_reaches_the_run() -> None:
    # β reaches the gradient of step 2; whether three steps later another token is drawn is chance.
    runs = {name: short(config) for name, config in VARIANTS.items()}
    curves = {tuple((r["proxy"], r["grad_norm"]) for r in run) for run in runs.values()}
    assert len(curves) == len(VARIANTS)


def test_the_panels_find_their_metrics() -> None:
    records = short(START)
    wanted = {key for panel in panels_of(START) for key in (*panel.curves, panel.along)}
    assert {"proxy", "gold", "distance", "kl"} <= wanted <= records[0].keys()


def test_the_recording_has_every_variant_with_fresh_seeds() -> None:
    found = by_variant(recorded(STUDY.file), VARIANTS)
    for runs in found.values():
        assert [run.config.seed for run in runs] == [20, 21, 22, 23]
        assert all(len(run.records) == START.steps for run in runs)
