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
