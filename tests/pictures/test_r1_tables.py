"""The pictures of the R1 paper's tables show each number at its place."""

import numpy as np
import pytest

from rlvr_lab.pictures.r1_tables import plot_distilled, plot_scores
from rlvr_lab.pictures.style import COLOURS

TABLE = {"A": {"x": 90.0, "y": 80.0}, "B": {"x": 10.0, "y": 30.0}, "C": {"x": 50.0, "y": None}}


def test_each_score_is_a_mark_in_its_row() -> None:
    figure = plot_scores({"t": TABLE}, breaks=("B",), missing="none", differences=True)
    (ax,) = figure.axes
    marks = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert sorted(marks["x"]) == [[10, 1], [50, 0], [90, 2]]
    assert sorted(marks["y"]) == [[30, 1], [80, 2]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["C", "B", "A"]
    texts = {(text.get_text(), text.xy[1]) for text in ax.texts}
    assert texts == {("none", 0), ("+10.0", 2), ("−20.0", 1)}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["x", "y"]
    spans = [line for line in ax.lines if list(line.get_ydata()) == [1.5, 1.5]]
    assert len(spans) == 1  # above B


def test_differences_are_coloured_by_their_sign() -> None:
    (ax,) = plot_scores({"t": TABLE}, differences=True).axes
    red = {text.get_text(): text.get_color()[0] > text.get_color()[1] for text in ax.texts}
    assert red == {"+10.0": False, "−20.0": True}


def test_ties_are_grey() -> None:
    (ax,) = plot_scores({"t": {"A": {"x": 50.0, "y": 50.0}}}, differences=True).axes
    (text,) = ax.texts
    assert text.get_text() == "+0.0" and len(set(text.get_color())) == 1


def test_a_panel_holds_three_models() -> None:
    two = plot_scores({"s": TABLE, "t": TABLE})
    assert [ax.get_title() for ax in two.axes] == ["s", "t"]
    with pytest.raises(ValueError, match="panels: at most 3"):
        plot_scores({"t": {"A": dict.fromkeys("wxyz", 1.0)}})


def test_the_students_stand_by_size_and_family() -> None:
    ax = plot_distilled(
        [7.0, 1.5, 70.0],
        {"M": [50.0, 20.0, 80.0], "N": [10.0, 5.0, 9.0]},
        {"M": 60.0, "N": 30.0},
        ["Q", "Q", "L"],
        "other",
    )
    lines = {tuple(map(tuple, line.get_xydata().tolist())): line for line in ax.lines}
    first = lines[(1.5, 20.0), (7.0, 50.0)]
    assert first.get_color() == COLOURS["policy"]
    assert lines[((70.0, 80.0),)].get_markerfacecolor() == "white"
    assert ((1.5, 5.0), (7.0, 10.0)) in lines and ((88.0, 30.0), (120.0, 30.0)) in lines
    assert {"M", "N", "other"} <= {text.get_text() for text in ax.texts}
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1.5", "7", "70"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Q", "L"]
    np.testing.assert_allclose(ax.get_xlim(), (1.3, 120))
