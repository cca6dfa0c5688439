"""What the pictures of a run show: every metric is one that such a run records, and has a name."""

from dataclasses import replace

import numpy as np
import pytest

from rlvr_lab.experiments.overoptimisation import ProxyConfig
from rlvr_lab.pictures.panels import MIXED, PANELS, curves_of, metric_words, panels_of
from rlvr_lab.pictures.runs import describe_run, plot_run
from rlvr_lab.training import PolicyGradientConfig, PPOConfig, TRPOConfig, train
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.pairs import DpoConfig
from rlvr_lab.training.stale import StaleConfig

SMALL = {"steps": 2, "prompts_per_step": 2, "group_size": 4}
RUNS = {
    "policy-gradient": PolicyGradientConfig(**SMALL),
    "ppo": PPOConfig(critic_warmup=0, **SMALL),
    "trpo": TRPOConfig(fisher_groups=1, **SMALL),
    "pairs": DpoConfig(steps=2, measure_every=1, pairs=50),
    "overoptimise": ProxyConfig(steps=2, pairs=50, batch_size=32),
    "stale": StaleConfig(lag=1, correction="icepop", **SMALL),
}


@pytest.mark.parametrize("config", RUNS.values(), ids=RUNS)
def test_a_run_records_what_its_panels_show(config: RunConfig) -> None:
    records = list(train(config))
    panels = panels_of(config)
    for panel in panels:
        for metric in [*panel.curves, panel.along]:
            assert metric in records[-1], metric
        assert panel.aside <= set(panel.curves)
    axes = plot_run(records, panels=panels)
    for ax, panel in zip(axes.flat, panels, strict=True):
        assert ax._left_title.get_text() == panel.title
        assert ax.get_ylabel() == panel.unit
    words = describe_run(records, panels)
    handed = curves_of(records, panels)
    assert describe_run(handed, panels) == words
    again = plot_run(handed, panels=panels)
    for ax, same in zip(axes.flat, again.flat, strict=True):
        for line, other in zip(ax.lines, same.lines, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), other.get_xydata())
    for panel in panels:
        assert panel.words in words
        for metric in panel.curves:
            if records[-1][metric] is not None:
                assert f"{metric_words(metric)} {float(records[-1][metric]):.3g}" in words


def test_a_panel_along_another_metric_has_that_on_its_axis() -> None:
    records = [
        {"step": s, "proxy": 1.0 * s, "gold": 2.0, "kl": 0.1, "entropy": 1.0, "distance": 0.5 * s}
        for s in range(1, 9)
    ]
    axes = plot_run(records, panels=PANELS["overoptimise"], earlier={"before": records}, smooth=1)
    by_step, by_distance = axes.flat[:2]
    np.testing.assert_allclose(by_step.lines[-1].get_xdata(), range(1, 9))
    np.testing.assert_allclose(by_distance.lines[-2].get_xdata(), np.arange(0.5, 4.5, 0.5))
    np.testing.assert_allclose(by_distance.lines[-2].get_ydata(), range(1, 9))
    assert by_distance.get_xlabel() == "√KL (√nats)"
    marked = [r | {"changed": ["seed: 0 -> 1"]} if r["step"] == 4 else r for r in records]
    by_step, by_distance = plot_run(marked, panels=PANELS["overoptimise"]).flat[:2]
    assert "1" in [text.get_text() for text in by_step.texts]
    assert "1" not in [text.get_text() for text in by_distance.texts]


def test_values_below_zero_fill_their_panel() -> None:
    records = [{"step": s, "chosen": -30.0 - s, "rejected": -40.0} for s in range(1, 9)]
    low, high = plot_run(records, panels=PANELS["pairs"]).flat[0].get_ylim()
    assert -42 < low < -40 and -31 < high < -28


def test_where_languages_mix_their_share_is_shown() -> None:
    mixed = replace(RUNS["policy-gradient"], rewards={"accuracy": 1.0, "mixed": 0.0})
    assert panels_of(mixed)[-1] == MIXED
    assert panels_of(replace(RUNS["ppo"], rewards={"accuracy": 1.0, "mixed": 0.0})) == PANELS["ppo"]


def test_of_earlier_runs_only_the_curves_that_are_not_aside_are_drawn() -> None:
    records = [{"step": s, "step_kl": 0.01 * s, "max_kl": 0.3} for s in range(1, 9)]
    ax = plot_run(records, panels=PANELS["trpo"], earlier={"before": records}).flat[1]
    faint = [line for line in ax.lines if line.get_alpha() == 0.55]
    assert len(faint) == 1
    np.testing.assert_allclose(faint[0].get_ydata()[0], 0.01)
