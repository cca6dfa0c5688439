"""The pictures of the Kimi figures show each number at its place, and no label covers another."""

from itertools import combinations

import numpy as np

from rlvr_lab.experiments.kimi.tables import LONG, SHORTENED, long2short
from rlvr_lab.pictures.kimi_tables import (
    plot_long2short,
    plot_slopes,
    plot_trend,
)
from rlvr_lab.pictures.style import COLOURS


def test_slopes_stand_in_the_row_of_their_benchmark() -> None:
    figure = plot_slopes(
        {"s": {"m": {"A": 1.0, "B": 2.0}}, "t": {"l": {"A": 3.0, "B": 4.0}, "k": {"B": 5.0}}}, "u"
    )
    left, right = figure.axes
    assert left.lines[0].get_xydata().tolist() == [[1, 1], [2, 0]]
    assert [text.get_text() for text in left.get_yticklabels()] == ["B", "A"]
    assert right.lines[0].get_xydata().tolist() == [[3, 1], [4, 0]]
    assert right.lines[1].get_xydata().tolist() == [[5, 0]]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["l", "k"]
    assert left.get_xlim() == right.get_xlim() and left.get_xlim()[0] == 0
    assert (left.get_title(), right.get_xlabel()) == ("s", "u")


def test_models_stand_at_their_tokens_and_accuracy() -> None:
    panel = {"long": (100.0, 60.0), "own": (50.0, 40.0), "other": (70.0, 20.0)}
    (ax,) = plot_long2short({"M": panel}, ["own"], "long").axes
    marks = {tuple(line.get_xydata()[0]): line for line in ax.lines if len(line.get_xdata()) == 1}
    assert set(marks) == set(panel.values())
    assert marks[100, 60].get_marker() == "s" and marks[50, 40].get_marker() == "o"
    assert marks[70, 20].get_markerfacecolor() == "white"
    assert marks[50, 40].get_markerfacecolor() == COLOURS["policy"]
    joins = [line.get_xydata().tolist() for line in ax.lines if len(line.get_xdata()) == 2]
    assert joins == [[[100, 60], [50, 40]]]
    assert {text.get_text(): text.xy for text in ax.texts} == panel


def test_no_label_covers_another() -> None:
    panels = {name: long2short(name) for name in ("MATH500", "AIME2024")}
    figure = plot_long2short(panels, list(SHORTENED.values()), LONG)
    for ax, points in zip(figure.axes, panels.values(), strict=True):
        boxes = [text.get_window_extent() for text in ax.texts]
        assert len(boxes) == len(points)
        assert not any(one.overlaps(two) for one, two in combinations(boxes, 2))
        frame = ax.get_window_extent()
        assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_a_trend_is_shown_over_the_steps_and_against_each_other() -> None:
    steps, accuracy, length = [10, 20, 30], [1.0, 3.0, 2.0], [5.0, 6.0, 9.0]
    figure = plot_trend(steps, accuracy, length, ("acc", "len"), guess=0.5)
    left, middle, right = figure.axes[:3]
    assert left.lines[0].get_xydata().tolist() == [[10, 1], [20, 3], [30, 2]]
    assert middle.lines[0].get_xydata().tolist() == [[10, 5], [20, 6], [30, 9]]
    (dots,) = right.collections
    np.testing.assert_array_equal(dots.get_offsets(), [[5, 1], [6, 3], [9, 2]])
    np.testing.assert_array_equal(dots.get_array(), steps)
    assert (right.get_xlabel(), right.get_ylabel(), middle.get_ylabel()) == ("len", "acc", "len")
    levels = [
        line for ax in (left, middle, right) for line in ax.lines if line.get_linestyle() == ":"
    ]
    assert len(levels) == 2 and all(line.get_ydata()[0] == 0.5 for line in levels)
