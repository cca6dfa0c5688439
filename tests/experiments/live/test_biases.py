"""The live runs of notebook 07: each variant moves what it names, and the run feels it."""

from dataclasses import replace

import pytest

from rlvr_lab.experiments.live.biases import LAB, LAB_VARIANTS, STUDY, SUMS, SUMS_VARIANTS
from rlvr_lab.experiments.live.runs import by_variant
from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.training.loop import train
from rlvr_lab.widgets.dial_tables import dials_of

LENGTH, STD = "average: sequence -> constant", "divide_by_std: True -> False"
LAB_CHANGED = {
    "start": [],
    "normalise by length off": [LENGTH],
    "divide by std off": [STD],
    "both off": [STD, LENGTH],
    "p = 0.2": ["world_options.p_right: 0.5 -> 0.2"],
    "p = 0.8": ["world_options.p_right: 0.5 -> 0.8"],
    "G = 4": ["group_size: 16 -> 4"],
}
SUMS_CHANGED = {
    "sums": [],
    "sums, at least 2 terms": ["world_options.min_terms: 4 -> 2"],
    "sums, 8 terms": ["world_options.min_terms: 4 -> 8"],
    "sums, normalise by length off": [LENGTH],
    "sums, divide by std off": [STD],
}


def changes(start, variants):
    return {name: sorted(start.changes_to(config)) for name, config in variants.items()}


def test_a_variant_is_its_start_with_the_named_dials_moved() -> None:
    assert changes(LAB, LAB_VARIANTS) == {n: sorted(c) for n, c in LAB_CHANGED.items()}
    assert changes(SUMS, SUMS_VARIANTS) == {n: sorted(c) for n, c in SUMS_CHANGED.items()}
    assert STUDY.variants == LAB_VARIANTS | SUMS_VARIANTS


@pytest.mark.parametrize("variants", [LAB_VARIANTS, SUMS_VARIANTS], ids=["lab", "sums"])
def test_every_dial_reaches_the_run(variants) -> None:
    found = []
    for config in variants.values():
        config = replace(config, steps=1, prompts_per_step=4)
        state = config.begin()
        list(train(config, state=state))
        weights = (p.detach().double() for p in state.policy.model.parameters())
        found.append(sum(float(w.abs().sum()) for w in weights))
    for i, one in enumerate(found):
        assert all(one != pytest.approx(other, abs=1e-9, rel=0) for other in found[:i]), i


def test_the_dashboards_have_the_dials() -> None:
    names = ["length", "std", "group", "p", "terms"]
    fields = {dial.field for dial in dials_of(LAB, names)}
    assert {"average", "divide_by_std", "group_size", "world_options.p_right"} <= fields
    assert "world_options.min_terms" in {dial.field for dial in dials_of(SUMS, names)}


def test_the_recording_has_every_variant_with_fresh_seeds() -> None:
    found = by_variant(recorded(STUDY.file), LAB_VARIANTS | SUMS_VARIANTS)
    for name, runs in found.items():
        assert [run.config.seed for run in runs] == [20, 21, 22, 23, 24]
        steps = (SUMS if name in SUMS_VARIANTS else LAB).steps
        assert all(len(run.records) == steps for run in runs)
