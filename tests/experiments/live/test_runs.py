"""What all live studies share."""

from dataclasses import replace

import pytest

from rlvr_lab.experiments.live.runs import FIRST, SEEDS, by_variant, live_study, moved
from rlvr_lab.experiments.live.studies import LIVE_STUDIES
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

SMALL = PolicyGradientConfig(steps=2, prompts_per_step=2, group_size=2, max_new_tokens=8)


def test_a_study_trains_each_variant_from_each_seed_and_keeps_what_was_named() -> None:
    variants = {"start": SMALL, "hot": replace(SMALL, temperature=1.5)}
    study = live_study("small", "nothing", variants, ("pass_rate",))
    runs = list(study.runs(2, 7))
    assert [(run.config.temperature, run.config.seed) for run in runs] == [
        (1.0, 7),
        (1.5, 7),
        (1.0, 8),
        (1.5, 8),
    ]
    assert all(set(record) == {"step", "pass_rate"} for run in runs for record in run.records)
    assert (study.seeds, study.first, study.file) == (SEEDS, FIRST, "live/nothing")


def test_runs_are_found_by_their_settings_in_the_order_of_their_seeds() -> None:
    variants = {"start": RunConfig(steps=3), "long": RunConfig(steps=5)}
    runs = [Run(RunConfig(steps=steps, seed=seed), []) for seed in (9, 4) for steps in (5, 3)]
    found = by_variant(Recording(runs), variants)
    assert {name: [(r.config.steps, r.config.seed) for r in rs] for name, rs in found.items()} == {
        "start": [(3, 4), (3, 9)],
        "long": [(5, 4), (5, 9)],
    }


def test_a_run_of_no_variant_and_a_variant_without_runs_are_named() -> None:
    recording = Recording([Run(RunConfig(steps=3, seed=6), [])])
    with pytest.raises(ValueError, match="seed 6 is of no variant"):
        by_variant(recording, {"long": RunConfig(steps=5)})
    with pytest.raises(ValueError, match="no run of 'long'"):
        by_variant(recording, {"start": RunConfig(steps=3), "long": RunConfig(steps=5)})


def test_every_live_study_can_be_recorded_by_its_name() -> None:
    names = {f"live-{topic}" for topic in ("policy-gradient", "ppo", "grpo", "biases")}
    assert names <= LIVE_STUDIES.keys() <= STUDIES.keys()
    for name, study in LIVE_STUDIES.items():
        assert study.file == "live/" + name.removeprefix("live-").replace("-", "_")


def test_a_moved_dial_is_compared_with_the_same_seed_over_the_same_steps() -> None:
    def run(seed, *values):
        records = [{"step": i + 1, "kl": value} for i, value in enumerate(values)]
        return Run(RunConfig(seed=seed), records)

    runs = {"start": [run(3, 1, 2, 4), run(4, 0, 0, 0)], "β": [run(3, 1, 3, 8), run(4, 9, 1, 3)]}
    assert moved(runs, "β", "kl", slice(1, 3)).tolist() == [2.5, 2.0]
    assert moved(runs, "start", "kl", slice(1, 3), against="β").tolist() == [-2.5, -2.0]
    runs["other"] = [run(4, 1, 1, 1), run(3, 1, 1, 1)]
    with pytest.raises(ValueError, match=r"'β' has the seeds \[3, 4\], 'other' \[4, 3\]"):
        moved(runs, "β", "kl", against="other")
