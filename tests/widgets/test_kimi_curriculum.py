"""The sampler's dashboard: the words and the bars are those of the strategy."""

import numpy as np
import pytest

from rlvr_lab.experiments.kimi.curriculum import STRATEGIES, pool_of
from rlvr_lab.widgets.kimi_curriculum import draw_sampler, sampler_dashboard


def test_the_sampler_is_drawn_for_these_settings() -> None:
    figure, words = draw_sampler("one_minus_s", 0.8, 0.3, 0.5, 4)
    rates = 0.8 ** np.arange(1, 12)
    p = pool_of(0.5) * (1 - rates)
    p /= p.sum()
    top, bottom = figure.axes
    np.testing.assert_allclose([bar.get_height() for bar in top.patches], p)
    np.testing.assert_allclose(top.lines[0].get_ydata(), pool_of(0.5))
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), rates)
    wasted = rates**4 + (1 - rates) ** 4
    np.testing.assert_allclose(bottom.lines[1].get_ydata(), wasted)
    hard, share = f"{p[7:].sum():.0%}", f"{p @ wasted:.0%}"
    assert top.get_title() == f"{hard} of the problems are hard, {share} of the groups silent"
    assert f"{hard} of the problems asked" in words and f"{share} of the groups of 4" in words
    early, late = (draw_sampler("easy_to_hard", 0.8, u, 0.5, 4)[0] for u in (0.0, 1.0))
    assert early.axes[0].patches[10].get_height() == 0 < late.axes[0].patches[10].get_height()


def test_every_strategy_that_chooses_before_sampling_is_offered() -> None:
    dashboard = sampler_dashboard()
    assert set(dashboard.controls["strategy"].options) == set(STRATEGIES) - {"filter"}
    values = {name: control.value for name, control in dashboard.controls.items()}
    for name in dashboard.controls["strategy"].options:
        figure, words = draw_sampler(**{**values, "strategy": name})
        heights = [bar.get_height() for bar in figure.axes[0].patches]
        assert sum(heights) == pytest.approx(1) and words.startswith(f"Strategy {name}")
