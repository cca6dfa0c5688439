"""The pictures show each seed's own numbers in the row and the panel where they belong."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from rlvr_lab.pictures.kimi_curation import plot_levels, plot_ratings, plot_removed, plot_ways
from rlvr_lab.pictures.style import COLOURS


def test_each_test_has_its_own_mark_in_the_row_of_its_kind() -> None:
    shares = {
        "without a chain": {"sums": [0.1, 0.2], "tricks": [0.9, 0.8]},
        "best of 8": {"sums": [0.6, 0.7], "tricks": [1.0, 1.0]},
    }
    ax = plot_removed(shares, {"sums": 0.08})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["tricks", "sums"]
    dots = [line for line in ax.lines if line.get_marker() == "o" and line.get_alpha() == 0.35]
    found = {
        (
            tuple(map(float, line.get_xdata())),
            round(float(np.mean(line.get_ydata()))),
            line.get_color(),
        )
        for line in dots
    }
    first, second = COLOURS["wrong"], COLOURS["policy"]
    assert found == {
        ((0.1, 0.2), 1, first),
        ((0.9, 0.8), 0, first),
        ((0.6, 0.7), 1, second),
        ((1.0, 1.0), 0, second),
    }
    ticks = [line for line in ax.lines if line.get_linestyle() == ":" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in ticks] == [[0.08, 0.08]]
    assert round(float(np.mean(ticks[0].get_ydata()))) == 1
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["without a chain", "best of 8", "blind guessing, 1 − (1 − g)⁸"]


def test_ratings_show_rates_by_terms_and_both_estimates() -> None:
    terms, first, second = [[3, 3, 8]], [[10, 8, 2]], [[10, 6, 4]]
    figure = plot_ratings(terms * 2, first * 2, second * 2, 10)
    left, right = figure.axes
    mean = left.lines[-1]
    assert list(mean.get_xdata()) == [3, 8]
    assert mean.get_ydata().tolist() == pytest.approx([0.85, 0.3])
    assert len(left.lines) == 3 and "2 seeds" in left.get_title()
    points = {tuple(map(float, xy)) for xy in right.collections[0].get_offsets()}
    assert points == {(1.0, 1.0), (0.8, 0.6), (0.2, 0.4)}
    assert "6 problems" in right.get_title()


def test_bars_are_the_ways_of_correct_answers() -> None:
    ways = {"flawless chain": [0.1, 0.3], "another chain": [0.1, 0.1], "no chain": [0.4, 0.4]}
    none = {"flawless chain": [0.0, 0.0], "another chain": [0.0, 0.0], "no chain": [1.0, 1.0]}
    figure = plot_ways(
        {"before": {"sums": ways, "tricks": none}, "after": {"sums": none, "tricks": ways}}
    )
    for ax, title, row in zip(figure.axes, ("before", "after"), (1, 0), strict=True):
        assert ax.get_title() == title
        assert [label.get_text() for label in ax.get_yticklabels()] == ["tricks", "sums"]
        bars = {(round(b.get_y() + 0.31), to_hex(b.get_facecolor()).upper()): b for b in ax.patches}
        parts = [bars[row, COLOURS[m]] for m in ("right", "reward", "wrong")]
        assert [b.get_width() for b in parts] == pytest.approx([0.2, 0.1, 0.4])
        assert [b.get_x() for b in parts] == pytest.approx([0, 0.2, 0.3])
        assert bars[1 - row, COLOURS["wrong"]].get_width() == 1
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["flawless chain", "another chain", "no chain"]


def test_levels_stand_in_the_order_given_with_marks_to_compare_with() -> None:
    ax = plot_levels(
        {"a": [0.1, 0.3], "b": [0.5, 0.7]}, {"base": 0.25}, "accuracy", None, {"b": "wrong"}
    )
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "a"]
    dots = [line for line in ax.lines if line.get_alpha() == 0.35]
    assert [
        (list(d.get_xdata()), round(float(np.mean(d.get_ydata()))), d.get_color()) for d in dots
    ] == [
        ([0.1, 0.3], 1, COLOURS["policy"]),
        ([0.5, 0.7], 0, COLOURS["wrong"]),
    ]
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] == [0.25]
    assert [text.get_text() for text in ax.texts] == ["base"] and ax.get_xlabel() == "accuracy"
