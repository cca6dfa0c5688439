"""Curriculum: what is drawn is what was given."""

import numpy as np

from rlvr_lab.pictures.kimi_curriculum import plot_beside_paper, plot_by_tokens, plot_sampler

LOOKS = {"even": ("reference", "--"), "order": ("policy", "-")}
CURVES = {"even": np.array([[0, 0.2], [0, 0.4]]), "order": np.array([[0, 0.6], [0, 0.8]])}


def test_curves_stand_over_thousands_of_tokens() -> None:
    figure = plot_by_tokens({"A": CURVES, "B": CURVES}, "accuracy", LOOKS, [0, 90_000], 0.01)
    first, second = figure.axes
    assert (first.get_ylabel(), second.get_ylabel()) == ("accuracy", "")
    assert first.get_xlabel() == "sampled tokens, thousands"
    for line, mean, style in zip(first.lines, ([0, 0.3], [0, 0.7]), ("--", "-"), strict=False):
        np.testing.assert_allclose(line.get_ydata(), mean)
        assert list(line.get_xdata()) == [0, 90] and line.get_linestyle() == style
    assert list(first.lines[2].get_ydata()) == [0.01, 0.01]
    assert plot_by_tokens({"A": CURVES}, "share", LOOKS, [0, 1]).axes[0].get_ylabel() == "share"


def test_the_paper_stands_left_of_ours_with_the_switches() -> None:
    paper = {"even": ([0, 42], [0.3, 0.55]), "order": ([0, 44], [0.3, 0.6])}
    figure = plot_beside_paper(paper, 24, {"B": CURVES}, 50_000, LOOKS, [0, 90_000], 0.01)
    left, right = figure.axes
    assert [list(map(float, line.get_ydata())) for line in left.lines[:2]] == [
        [0.3, 0.55],
        [0.3, 0.6],
    ]
    assert [line.get_linestyle() for line in left.lines[:2]] == ["--", "-"]
    assert list(left.lines[1].get_xdata()) == [0, 44]
    assert list(left.lines[-1].get_xdata()) == [24, 24]
    assert list(right.lines[-1].get_xdata()) == [50, 50]
    np.testing.assert_allclose(right.lines[1].get_ydata(), [0, 0.7])
    assert list(right.lines[1].get_xdata()) == [0, 90]
    assert (left.get_title(), right.get_title()) == ("Kimi's Figure 9, one run each", "B")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["even, n = 2 seeds", "order, n = 2 seeds"]


def test_the_sampler_stands_above_what_there_is_to_learn() -> None:
    figure = plot_sampler([2, 3], [0.4, 0.6], [0.9, 0.1], [0.5, 0.0], [0.1, 1.0])
    top, bottom = figure.axes
    assert [bar.get_height() for bar in top.patches] == [0.9, 0.1]
    assert list(top.lines[0].get_ydata()) == [0.4, 0.6]
    assert [list(line.get_ydata()) for line in bottom.lines] == [[0.5, 0.0], [0.1, 1.0]]
    assert [line.get_label() for line in bottom.lines] == ["success rate s", "silent groups"]
    assert bottom.get_xlabel() == "number of terms"
