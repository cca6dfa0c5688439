"""What the pictures of notebook 02 show is what was recorded."""

import numpy as np

from rlvr_lab.experiments.overoptimisation import ProxyConfig
from rlvr_lab.pictures import preferences as plots
from rlvr_lab.records.calibration import reliability
from rlvr_lab.records.runs import Recording, Run

LOOKS = {"a": ("policy", "-"), "b": ("kl", "--")}


def recording(slope: float) -> Recording:
    def climb(shift: float) -> Run:
        keys = ("step", "distance", "proxy", "gold")
        rows = [(d, d, slope * d + shift, shift - d) for d in np.arange(4.0).tolist()]
        return Run(ProxyConfig(pairs=100), [dict(zip(keys, row, strict=True)) for row in rows])

    return Recording([climb(0.0), climb(1.0)])


def test_climbs_stand_over_their_mean_distance_and_are_named_once():
    figure = plots.plot_climbs({"a": recording(1.0), "b": recording(2.0)}, LOOKS)
    proxy, gold = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["proxy reward", "gold reward"]
    np.testing.assert_allclose(proxy.lines[1].get_xydata()[-1], [3.0, 6.5])
    np.testing.assert_allclose(gold.lines[0].get_ydata(), [0.5, -0.5, -1.5, -2.5])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a, n = 2 seeds", "b, n = 2 seeds"]


def test_a_climb_is_drawn_and_told_while_it_goes_on():
    records = [{"step": s, "proxy": 1.0 * s, "gold": -1.0 * s, "kl": 2.0 * s} for s in (1, 2)]
    figure, words = plots.plot_climb(records, total=5)
    assert words == "Step 2: proxy 2.0, gold -2.0, KL 4.0."
    assert figure.axes[1].lines[0].get_ydata().tolist() == [2.0, 4.0]
    assert plots.plot_climb([], total=5)[1] == "No step yet."


def test_a_reliability_diagram_has_a_mark_for_each_bin_that_is_not_empty():
    diagram = reliability([0.1, 0.12, 0.9], [0, 1, 1], bins=5)
    ax = plots.plot_reliability({"a": diagram}, LOOKS)
    (marks,) = ax.collections
    np.testing.assert_allclose(marks.get_offsets(), [[0.11, 0.5], [0.9, 1.0]])
    small, large = sorted(marks.get_sizes())
    assert large > small


def test_the_pull_keeps_the_setting_before_as_a_grey_line():
    figure = plots.plot_pull([(True, False, 0.0), (False, True, 0.5)])
    for ax in figure.axes:
        before, now = ax.lines
        assert before.get_linestyle() == "--" and now.get_linestyle() == "-"
    weight = figure.axes[0].lines[1].get_ydata()
    np.testing.assert_allclose(weight, weight[0])  # a mean does not depend on the length
    assert weight[0] > 0.5  # and the margin is not yet reached


def test_the_weight_of_a_pair_is_a_half_at_margin_zero():
    ax = plots.plot_pair_weight(0.5)
    x, y = ax.lines[1].get_data()
    assert y[x == 0] == 0.5 and y[0] > 0.99 and y[-1] < 0.01


def test_published_ranges_are_coloured_by_whether_they_beat_the_start():
    figure = plots.plot_published_ranges(
        {"A": (1.0, 2.0, "two settings"), "B": (3.0, 3.0, "one setting")}, ("SFT", 2.5), "score"
    )
    line, a, b = figure.axes[0].lines
    assert line.get_xdata()[0] == 2.5
    assert a.get_color() != b.get_color()
    assert "3 (one setting)" in [text.get_text() for text in figure.axes[0].texts]


def test_the_optimum_is_drawn_from_its_numbers():
    ax = plots.plot_optimum([0.5, 0.5], [0.1, 0.9], [2.0, -1.0], beta=1.0)
    assert [bar.get_height() for bar in ax.patches] == [0.5, 0.5, 0.9, 0.1]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["r = −1.00", "r = 2.00"]
