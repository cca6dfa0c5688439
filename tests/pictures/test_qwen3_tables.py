"""The pictures of the Qwen3 tables show each number at its place."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from rlvr_lab.pictures.qwen3_tables import plot_budgets, plot_composition, plot_distillation_vs_rl
from rlvr_lab.pictures.style import COLOURS, dark

ROWS = {
    "A": {"think": [10.0, 30.0, 25.0], "not": [None, 50.0, 50.5]},
    "B": {"think": [[60.0, 80.0], [90.0, 100.0], [90.0, 98.0]], "not": [None, 40.0, 20.0]},
}
STAGES = ("RL", "fusion", "general")


def marks(ax: Axes, marker: str) -> list[list[float]]:
    return sorted(
        line.get_xydata().tolist()[0]
        for line in ax.lines
        if line.get_marker() == marker and len(line.get_xdata()) == 1
    )


def test_each_stage_is_a_mark_in_the_row_of_its_task() -> None:
    think, other = plot_composition(ROWS, STAGES).axes
    assert [ax.get_title() for ax in (think, other)] == ["think", "not"]
    assert [text.get_text() for text in think.get_yticklabels()] == ["B", "A"]
    first, second, last = "^sD"
    assert marks(think, first) == [[10, 1], [70, 0]]
    assert marks(think, second) == [[30, 1], [95, 0]]
    assert marks(think, last) == [[25, 1], [94, 0]]
    assert marks(other, first) == [] and marks(other, last) == [[20, 0], [50.5, 1]]
    filled = {line.get_marker() for line in think.lines if line.get_markerfacecolor() != "white"}
    assert last in filled and first not in filled


def test_changes_stand_in_the_order_of_the_stages() -> None:
    think, other = plot_composition(ROWS, STAGES).axes
    found = {(text.get_text(), text.xy[1]): text.xy[0] for text in think.texts}
    assert found["+20.0", 1] < found["−5.0", 1] and found["+25.0", 0] < found["−1.0", 0]
    lone = [text for text in other.texts if text.xy[1] == 1]
    assert [text.get_text() for text in lone] == ["+0.5"]
    assert lone[0].xy[0] == found["−5.0", 1]
    red = {
        t.get_text(): t.get_color()[0] > t.get_color()[1] for t in think.texts if t.xy[1] in (0, 1)
    }
    assert red == {"+20.0": False, "−5.0": True, "+25.0": False, "−1.0": True}


def test_a_panel_without_changes_from_a_stage_has_no_column_for_them() -> None:
    rows = {"A": {"think": [1.0, 2.0, 3.0], "other": [None, 2.0, 3.0]}}
    think, other = plot_composition(rows, STAGES).axes
    heads = [[t.get_text() for t in ax.texts if "→" in t.get_text()] for ax in (think, other)]
    assert heads == [["1→2", "2→3"], ["2→3"]]


def test_stages_count_from_the_first() -> None:
    figure = plot_composition({"A": {"m": [1.0, 2.0, 2.0]}}, STAGES, first=2)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["2: after RL", "3: after fusion", "4: after general"]
    texts = {text.get_text(): text for text in figure.axes[0].texts}
    assert list(texts) == ["+1.0", "+0.0", "2→3", "3→4"]
    assert len(set(texts["+0.0"].get_color())) == 1  # a tie is grey
    assert texts["2→3"].xy[0] == texts["+1.0"].xy[0]


def test_seeds_are_dots_beside_their_mean() -> None:
    think = plot_composition(ROWS, STAGES).axes[0]
    dots = [line.get_xdata().tolist() for line in think.lines if line.get_marker() == "."]
    assert dots == [[60, 80], [90, 100], [90, 98]]


def test_groups_and_guessing_are_drawn() -> None:
    figure = plot_composition(ROWS, STAGES, breaks=("B",), guess={"A": 5.0}, unit="%")
    think = figure.axes[0]
    assert any(list(line.get_ydata()) == [0.5, 0.5] for line in think.lines)
    assert any(
        list(line.get_xdata()) == [5.0, 5.0] and min(line.get_ydata()) > 0.5 for line in think.lines
    )
    assert think.get_xlabel() == "%"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["1: after RL", "2: after fusion", "3: after general", "blind guessing"]


def test_a_grey_line_spans_a_row_and_the_legend_shows_the_marks() -> None:
    figure = plot_composition(ROWS, STAGES, xlim=(5, 105))
    think = figure.axes[0]
    spans = [
        line.get_xydata().tolist()
        for line in think.lines
        if len(line.get_xdata()) == 2 and line.get_color() == "#C8C8C8"
    ]
    assert spans == [[[70, 0], [95, 0]], [[10, 1], [30, 1]]]
    handles = figure.legends[0].legend_handles
    assert [handle.get_marker() for handle in handles] == ["^", "s", "D"]
    assert [handle.get_markerfacecolor() == "white" for handle in handles] == [True, True, False]
    assert all(ax.get_xlim() == (5, 105) for ax in figure.axes)


def test_stages_must_fit() -> None:
    with pytest.raises(ValueError, match="stages: two to 4"):
        plot_composition(ROWS, ["one"])
    with pytest.raises(ValueError, match="rows: B, think needs 2 values"):
        plot_composition(ROWS, STAGES[:2])


def test_the_last_method_is_on_top_with_its_hours() -> None:
    rows = {"M": {"start": 50.0, "RL": 60.0, "distil": 70.0}}
    figure = plot_distillation_vs_rl(rows, {"RL": 17920.0, "distil": 1800.0})
    (ax,) = figure.axes
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["distil (1,800 GPU hours)", "RL (17,920 GPU hours)", "start"]
    x = {line.get_label(): line.get_xdata().tolist() for line in ax.lines}
    assert x["start"] == [50] and x["RL (17,920 GPU hours)"] == [60]
    assert "+10.0" in [text.get_text() for text in ax.texts]


def test_budgets_stand_on_a_logarithmic_axis() -> None:
    curves = {"M": ([1, 4], [20.0, 60.0]), "N": ([1, 4], [50.0, 55.0])}
    ax = plot_budgets(curves, {"M": 10.0, "N": 45.0})
    assert ax.get_xscale() == "log"
    lines = [(line.get_xydata().tolist(), line.get_color()) for line in ax.lines]
    assert ([[1, 20], [4, 60]], COLOURS["policy"]) in lines
    assert ([[0.5, 45]], COLOURS["right"]) in lines and (
        [[0.5, 10], [1, 20]],
        COLOURS["policy"],
    ) in lines
    assert [text.get_text() for text in ax.get_xticklabels()] == ["no\nthinking", "1K", "4K"]
    ends = {text.get_text(): text.xy[1] for text in ax.texts}
    np.testing.assert_allclose([ends["M"], ends["N"]], [0.6, 0.55], atol=0.04)
    look = {
        (line.get_marker(), line.get_markerfacecolor(), len(line.get_xdata())): line.get_color()
        for line in ax.lines
    }
    for name, mark in (("policy", "o"), ("right", "s")):  # with its colour, hollow without thinking
        hue = COLOURS[name]
        assert look[mark, hue, 2] == look[mark, "white", 1] == hue
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("thinking budget (tokens)", "pass@1 (%)")
    assert ax.get_ylim() == (0, 100)
    hues = {text.get_text(): text.get_color() for text in ax.texts}
    assert hues["M"] == dark(COLOURS["policy"]) != hues["N"] == dark(COLOURS["right"])
