"""Every dial of every kind of run: it shows its field, moves it and nothing else, and can be fixed."""

from dataclasses import replace

import ipywidgets as W
import pytest

from rlvr_lab.experiments.kimi.length import DelayedLengthConfig
from rlvr_lab.experiments.overoptimisation import ProxyConfig
from rlvr_lab.pictures.panels import PANELS, panels_of
from rlvr_lab.tasks.worlds import WORLDS
from rlvr_lab.training import PolicyGradientConfig, PPOConfig, TRPOConfig
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.pairs import DpoConfig
from rlvr_lab.training.stale import StaleConfig
from rlvr_lab.widgets.controls import Controls
from rlvr_lab.widgets.dial_tables import DIALS, dials_of
from rlvr_lab.widgets.words import LiveRun, ending, name_runs, progress

STARTS = {
    "policy-gradient": PolicyGradientConfig(updates_per_batch=2),
    "ppo": PPOConfig(),
    "trpo": TRPOConfig(),
    "pairs": DpoConfig(),
    "overoptimise": ProxyConfig(),
    "stale": StaleConfig(lag=2, correction="icepop"),
}
LAB = replace(PolicyGradientConfig(), world="lab", **WORLDS["lab"].settings)
# Settings that move together: the two sides of a clip; only the group's mean may be divided by a std.
TOGETHER = {
    ("policy-gradient", "epsilon"): {"clip_low", "clip_high"},
    ("policy-gradient", "baseline"): {"baseline", "divide_by_std"},
}


def every_dial() -> list:
    cases = [(kind, dial.name) for kind, start in STARTS.items() for dial in dials_of(start, None)]
    asked = [(kind, d.name) for kind, start in STARTS.items() for d in DIALS[kind] if d.asked]
    return cases + asked


def start_for(kind: str, name: str) -> RunConfig:
    if (kind, name) == ("pairs", "margin"):
        return DpoConfig(loss="simpo")
    return LAB if name == "p" else STARTS[kind]


def move(widget: W.Widget) -> None:
    """Another value than the one it has."""
    if isinstance(widget, W.Checkbox):
        widget.value = not widget.value
    elif isinstance(widget, W.SelectionSlider | W.Dropdown):
        values = [value for _, value in widget.options]
        widget.value = values[(values.index(widget.value) + 1) % len(values)]
    elif isinstance(widget, W.FloatLogSlider):
        widget.value = widget.value * 0.5
    else:
        widget.value = widget.value + 1 if widget.value < widget.max else widget.value - 1


def test_each_kind_of_run_has_dials_and_panels() -> None:
    assert set(DIALS) == set(PANELS) == set(STARTS)
    for kind, dials in DIALS.items():
        assert len({dial.name for dial in dials}) == len(dials), kind
        assert len(PANELS[kind]) % 2 == 0


@pytest.mark.parametrize("kind", STARTS)
def test_a_dashboard_gives_back_the_configuration_that_it_opens_with(kind: str) -> None:
    assert Controls(STARTS[kind], {}).config() == STARTS[kind]


@pytest.mark.parametrize(("kind", "name"), every_dial())
def test_a_dial_moves_its_own_field_and_nothing_else(kind: str, name: str) -> None:
    start = start_for(kind, name)
    controls = Controls(start, {}, dials=[name])
    (dial,) = controls.dials.values()
    move(controls.widgets[name])
    now = controls.config()
    changed = {sentence.partition(": ")[0] for sentence in start.changes_to(now)}
    whole = {field.partition(".")[0] for field in changed}
    assert whole == TOGETHER.get((kind, name), {dial.field.partition(".")[0]})
    assert controls.widgets[name].tooltip and f"rl-{name}" in controls.widgets[name]._dom_classes
    shown = Controls(now, {}, dials=[name]).widgets[name]
    assert shown.value == controls.widgets[name].value, (
        "another dashboard shows what this one wrote"
    )


@pytest.mark.parametrize(("kind", "name"), every_dial())
def test_what_is_fixed_during_a_run_cannot_be_moved(kind: str, name: str) -> None:
    start = start_for(kind, name)
    controls = Controls(start, {}, dials=[name])
    (dial,) = controls.dials.values()
    controls.lock(start)
    fixed = dial.field.partition(".")[0] in start.FIXED
    assert controls.widgets[name].disabled is fixed or not dial.enabled(start)
    controls.lock(None)
    assert not controls.widgets[name].disabled


def test_only_simpo_has_a_margin_and_it_has_no_reference() -> None:
    controls = Controls(DpoConfig(), {}, dials=["loss", "margin", "reference"])
    disabled = {}
    for loss in ("dpo", "ln_dpo", "simpo", "orpo"):
        controls.widgets["loss"].value = loss
        disabled[loss] = [n for n in ("margin", "reference") if controls.widgets[n].disabled]
        assert controls.config() == DpoConfig(loss=loss)
    known = {"dpo": ["margin"], "ln_dpo": ["margin"], "simpo": ["reference"]}
    assert disabled == {**known, "orpo": ["margin", "reference"]}


def test_another_baseline_takes_the_division_away_and_gives_it_back() -> None:
    controls = Controls(PolicyGradientConfig(), {}, dials=["baseline", "std"])
    controls.widgets["baseline"].value = "leave_one_out"
    assert controls.config() == PolicyGradientConfig(baseline="leave_one_out", divide_by_std=False)
    assert controls.widgets["std"].disabled
    controls.widgets["baseline"].value = "group"
    assert controls.config() == PolicyGradientConfig()
    alone = Controls(PolicyGradientConfig(), {}, dials=["baseline"])
    alone.widgets["baseline"].value = "none"
    assert alone.config() == PolicyGradientConfig(baseline="none", divide_by_std=False)


def test_the_clip_is_wider_above_whatever_epsilon_is() -> None:
    controls = Controls(PolicyGradientConfig(), {}, dials=["epsilon", "above"])
    controls.widgets["above"].value = 0.08
    controls.widgets["epsilon"].value = 0.1
    assert (controls.config().clip_low, controls.config().clip_high) == (0.1, 0.18)


def test_p_and_difficulty_are_options_of_their_worlds() -> None:
    controls = Controls(LAB, {}, dials=["p", "terms"])
    assert controls.widgets["terms"].disabled and not controls.widgets["p"].disabled
    assert controls.config() == LAB
    controls.widgets["p"].value = 0.2
    assert controls.config().world_options == {"p_right": 0.2}
    sums = Controls(PolicyGradientConfig(), {}, dials=["p", "terms"])
    sums.widgets["terms"].value = 8
    assert sums.config().world_options == {"min_terms": 8}
    assert sums.widgets["p"].disabled


def test_world_and_algorithm_stand_where_a_dashboard_asks_for_them() -> None:
    presets = {"grpo": PolicyGradientConfig(), "none": PolicyGradientConfig(kl_coef=0.1)}
    controls = Controls(None, presets, dials=["lr", "preset", "seed", "world"])
    assert list(controls.widgets) == ["lr", "preset", "seed", "world"]
    controls.widgets["preset"].value = "none"
    assert controls.config() == presets["none"]


def test_a_subclass_has_the_dials_and_panels_of_its_kind() -> None:
    own = DelayedLengthConfig()
    assert {"length_weight", "length_from", "group"} <= {dial.name for dial in dials_of(own)}
    assert panels_of(own) == PANELS["policy-gradient"]


def test_what_has_no_dials_or_panels_is_named() -> None:
    with pytest.raises(ValueError, match="config: there are no dials for runs of RunConfig"):
        dials_of(RunConfig())
    with pytest.raises(ValueError, match="config: there are no panels for runs of RunConfig"):
        panels_of(RunConfig())
    with pytest.raises(ValueError, match="dials: 'colour' is none of epsilon, "):
        dials_of(PPOConfig(), ["colour"])
    with pytest.raises(ValueError, match="dials: 'length_from' is none of"):
        dials_of(PolicyGradientConfig(), ["length_from"])


def test_runs_are_named_by_what_they_differ_in() -> None:
    runs = [LiveRun(1, "", PPOConfig(seed=1)), LiveRun(2, "", PPOConfig(lam=0.5, seed=2))]
    assert name_runs(runs) == ["run 1: λ 0.95, seed 1", "run 2: λ 0.5, seed 2"]
    assert name_runs(runs[:1]) == ["run 1: these settings"]
    assert name_runs([LiveRun(3, "SimPO", DpoConfig())]) == ["run 3: SimPO"]
    assert Controls(PPOConfig(), {}).preset == ""


def test_the_status_counts_steps_and_says_what_the_first_panel_shows() -> None:
    """Runs on pairs have a record for every fifth step only."""
    records = [{"step": s, "chosen": -3.0, "rejected": -4.0} for s in (0, 5, 10)]
    run = LiveRun(1, "", DpoConfig(steps=20), records, times=[0.0, 1.0, 2.0, 3.0])
    said = progress(run)
    assert "Step 10 of 20" in said
    assert "0.20 s a step" in said and "about 2 s left" in said
    news = "log-probability of chosen answers in nats -3.00, that of rejected answers -4.00"
    assert news in said
    assert ending(run) == f"Stopped after 10 of 20 steps, 3 s · {news}"
    sampled = LiveRun(
        2, "", PPOConfig(), [{"step": 1, "reward": 0.3, "pass_rate": 0.25}], [0.0, 1.0]
    )
    assert ending(sampled).endswith("· pass rate 0.25")


def test_what_is_fixed_stays_fixed_even_if_its_widget_moves() -> None:
    """A change that was on its way when Run was pressed must not end the run with a refusal."""
    controls = Controls(PPOConfig(), {})
    controls.lock(PPOConfig())
    controls.widgets["seed"].value = 7
    controls.widgets["lambda"].value = 0.5
    assert controls.config() == PPOConfig(lam=0.5)
