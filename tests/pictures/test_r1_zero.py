"""The paper's curves and ours stand in their own panels."""

import numpy as np

from rlvr_lab.pictures.r1_zero import plot_growth, plot_zero
from rlvr_lab.pictures.style import COLOURS


def test_the_paper_stands_left_and_ours_right() -> None:
    paper = {"pass@1": ([200, 400], [0.1, 0.7]), "cons@16": ([200, 400], [0.2, 0.8])}
    ours = {"pass@1": [[0.2, 0.9], [0.4, 0.7]], "cons@16": [[0.5, 1.0], [0.5, 1.0]]}
    figure = plot_zero(
        paper, {"o1": 0.74}, ([0, 400], [550, 900]), ours, [[6, 11], [8, 11]], [0, 2], 0.1
    )
    left, right, left_length, right_length = figure.axes
    one, vote, level = left.lines
    assert one.get_xydata().tolist() == [[200, 0.1], [400, 0.7]]
    assert vote.get_ydata().tolist() == [0.2, 0.8] and level.get_ydata() == [0.74, 0.74]
    assert {text.get_text() for text in left.texts} == {"pass@1", "cons@16", "o1"}
    np.testing.assert_allclose(right.lines[0].get_xydata(), [[0, 0.3], [2, 0.8]])
    np.testing.assert_allclose(right.lines[1].get_ydata(), [0.5, 1.0])
    assert right.lines[0].get_color() == one.get_color() == COLOURS["policy"]
    assert right.lines[1].get_linestyle() == vote.get_linestyle() != "-"
    assert list(right.lines[2].get_ydata()) == [0.1, 0.1]  # blind guessing
    assert left_length.lines[0].get_ydata().tolist() == [550, 900]
    np.testing.assert_allclose(right_length.lines[0].get_ydata(), [7, 11])
    assert "n = 2 seeds" in right.get_title()


def test_growth_has_a_panel_for_each_world_on_one_scale() -> None:
    looks = {"a": ("wrong", "-"), "b": ("policy", "--")}
    figure = plot_growth(
        {"real": {"a": [[6, 11]], "b": [[6, 12]]}, "hidden": {"b": [[6, 3]]}}, [0, 2], looks
    )
    real, hidden = figure.axes
    assert [line.get_ydata().tolist() for line in real.lines] == [[6, 11], [6, 12]]
    assert hidden.lines[0].get_color() == COLOURS["policy"] and len(hidden.lines) == 1
    assert real.get_ylim() == hidden.get_ylim() and real.get_ylim()[1] > 12
    assert {text.get_text() for text in real.texts} == {"a", "b"}
    assert (real.get_title(), hidden.get_title()) == ("real", "hidden")
