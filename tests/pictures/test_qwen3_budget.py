"""The pictures of the thinking budget show each curve, number and box where it belongs."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from rlvr_lab.pictures.qwen3_budget import plot_by_terms, plot_cut, plot_cut_chain
from rlvr_lab.pictures.style import COLOURS, INK


def levels(ax: Axes) -> list[float]:
    """Heights of the dotted horizontal lines that span the panel."""
    flat = [
        line
        for line in ax.lines
        if line.get_linestyle() == ":" and list(line.get_xdata()) == [0, 1]
    ]
    return [line.get_ydata()[0] for line in flat if line.get_ydata()[0] == line.get_ydata()[-1]]


def test_budget_curves_and_predictions() -> None:
    budgets = [0, 2, 4]
    curves = {"before": np.array([[0.1, 0.2, 0.3]] * 2), "after": np.array([[0.5, 0.6, 0.7]] * 2)}
    looks = {"before": ("reference", "--"), "after": ("policy", "-")}
    figure = plot_cut({"S": curves}, budgets, looks, {"S": {"guess": [0.1, 0.4, 1.0]}}, 0.1)
    (ax,) = figure.axes
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 3}
    np.testing.assert_allclose(drawn["guess"], [0.1, 0.4, 1.0])
    np.testing.assert_allclose(drawn["before, n = 2 seeds"], [0.1, 0.2, 0.3])
    np.testing.assert_allclose(drawn["after, n = 2 seeds"], [0.5, 0.6, 0.7])
    assert "blind guessing" in [text.get_text() for text in ax.texts]


def test_the_staircase_is_where_the_chain_fits() -> None:
    values = np.arange(6).reshape(2, 3) / 10
    figure = plot_by_terms({"S": values}, [0, 2, 3], [2, 3])
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts] == [
        "0.00",
        "0.10",
        "0.20",
        "0.30",
        "0.40",
        "0.50",
    ]
    (line,) = ax.lines
    # 2 terms fit from the second column on, 3 terms only in the third.
    assert line.get_xdata().tolist() == [0.5, 0.5, 1.5, 1.5]
    assert line.get_ydata().tolist() == [-0.5, 0.5, 0.5, 1.5]


def test_the_chain_that_is_cut() -> None:
    probabilities = np.linspace(0, 0.9, 10)
    figure = plot_cut_chain("7+5+8?", [7, 2, 0], 2, probabilities, 0, [0.1, 0.2, 0.3, 0.9])
    left, middle, right = figure.axes
    assert [patch.get_linestyle() in (":", "dotted") for patch in left.patches] == [
        *(False, False, True)
    ]
    assert [t.get_text() for t in left.texts] == ["7", "2", "0", "</think>"]
    np.testing.assert_allclose([bar.get_height() for bar in middle.patches], probabilities)
    assert [bool(bar.get_hatch()) for bar in middle.patches] == [True] + [False] * 9
    ring = next(
        line for line in right.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1
    )
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, 0.3)
    whole = plot_cut_chain("7+5+8?", [7, 2, 0], 3, probabilities, 0, [0.1, 0.2, 0.3, 0.9])
    assert "</think>" not in [t.get_text() for t in whole.axes[0].texts]


def test_each_panel_has_its_own_curves_predictions_and_looks() -> None:
    budgets = [0, 2, 8]
    panels = {
        "S": {"before": [[0.1, 0.2, 0.3]] * 2, "after": [[0.5, 0.6, 0.7]] * 2},
        "M": {"before": [[0.2, 0.3, 0.4]] * 3, "after": [[0.6, 0.7, 0.8]] * 3},
    }
    predictions = {
        "S": {"guess": [0.1, 0.4, 1.0], "copy": [0.1, 0.5, 1.0]},
        "M": {"guess": [0.1, 0.3, 1.0], "copy": [0.1, 0.6, 1.0]},
    }
    looks = {"before": ("wrong", "--"), "after": ("policy", "-")}
    figure = plot_cut(panels, budgets, looks, predictions, 0.15)
    assert [ax.get_title() for ax in figure.axes] == ["S", "M"]
    for ax, task, count in zip(figure.axes, panels, (2, 3), strict=True):
        lines = {line.get_label(): line for line in ax.lines if len(line.get_xdata()) == 3}
        assert set(lines) == {"guess", "copy", *(f"{name}, n = {count} seeds" for name in looks)}
        for name, values in predictions[task].items():
            line = lines[name]
            assert list(line.get_xdata()) == budgets and list(line.get_ydata()) == values
            assert line.get_color() == COLOURS["reference"]
        assert (lines["guess"].get_marker(), lines["copy"].get_marker()) == ("x", "+")
        for name, (colour, style) in looks.items():
            line = lines[f"{name}, n = {count} seeds"]
            assert list(line.get_xdata()) == budgets
            np.testing.assert_allclose(line.get_ydata(), panels[task][name][0])
            assert (line.get_color(), line.get_linestyle()) == (COLOURS[colour], style)
        assert levels(ax) == [0.15]
        assert (ax.get_xlabel(), ax.get_ylabel()) == (
            "thinking budget (tokens)",
            "share of correct answers",
        )
        assert list(ax.get_xticks()) == budgets and ax.get_ylim() == (0, 1.04)
        assert set(lines) <= {t.get_text() for t in figure.legends[0].get_texts()}
        assert ax.get_legend() is None


def test_a_cell_is_shaded_by_its_number_and_stands_in_its_row() -> None:
    tables = {"S": [[0.1, 0.2, 0.7], [0.3, 0.4, 0.5]], "M": [[0.9, 1.0, 1.0], [0.1, 0.2, 0.3]]}
    figure = plot_by_terms(tables, [0, 2, 6], [2, 5])
    assert [ax.get_title() for ax in figure.axes] == ["S", "M"]
    for ax, table in zip(figure.axes, tables.values(), strict=True):
        (image,) = ax.images
        np.testing.assert_allclose(image.get_array(), table)
        assert image.get_clim() == (0, 1) and image.origin == "upper"
        white, dark = image.cmap(0.0), image.cmap(1.0)
        assert white == to_rgba("white") and dark == pytest.approx(to_rgba(COLOURS["policy"]))
        for text in ax.texts:
            col, row = text.xy
            assert text.get_text() == f"{table[row][col]:.2f}"
            assert text.get_color() == ("white" if table[row][col] > 0.6 else INK)
        assert len(ax.texts) == 6
        assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "2", "6"]
        assert [t.get_text() for t in ax.get_yticklabels()] == ["2", "5"]
        assert ax.get_xlabel() == "thinking budget (tokens)"
        assert ax.get_ylabel() == "terms of the problem"
        # 2 terms fit from the budget 2 on, 5 terms from 6 on.
        assert ax.lines[0].get_xdata().tolist() == [0.5, 0.5, 1.5, 1.5]


def test_the_three_parts_of_a_cut_chain() -> None:
    probabilities = [0.0, 0.1, 0.05, 0.5, 0.0, 0.3, 0.05, 0.0, 0.0, 0.0]
    correct = [0.1, 0.2, 0.25, 0.3, 0.9]
    figure = plot_cut_chain("7+8+9+1?", [7, 5, 4, 5], 1, probabilities, 5, correct)
    left, middle, right = figure.axes
    assert left.get_title(loc="left") == "7+8+9+1?"
    filled = [to_rgba(COLOURS["entropy"]), *[(0, 0, 0, 0)] * 3]
    assert [patch.get_facecolor() for patch in left.patches] == filled
    np.testing.assert_allclose([patch.get_x() for patch in left.patches], [0.06, 1.06, 2.06, 3.06])
    values = {round(t.xy[0] - 0.5): t.get_text() for t in left.texts if t.get_text() != "</think>"}
    assert values == {0: "7", 1: "5", 2: "4", 3: "5"}
    (stop,) = [text for text in left.texts if text.get_text() == "</think>"]
    assert stop.xy[0] == 1 and list(left.lines[0].get_xdata()) == [1, 1]
    colours = [to_rgba(COLOURS["right" if digit == 5 else "reference"]) for digit in range(10)]
    assert [bar.get_facecolor() for bar in middle.patches] == colours
    assert [bool(bar.get_hatch()) for bar in middle.patches] == [d == 5 for d in range(10)]
    assert list(middle.get_xticks()) == list(range(10)) and middle.get_ylim() == (0, 1.04)
    assert (middle.get_xlabel(), middle.get_ylabel()) == (
        "answer (hatched: correct)",
        "probability",
    )
    curve = right.lines[0]
    assert list(curve.get_xdata()) == [0, 1, 2, 3, 4] and list(curve.get_ydata()) == correct
    (end,) = [line for line in right.lines if list(line.get_xdata()) == [4, 4]]
    assert end.get_linestyle() == ":"
    assert [t.xy[0] for t in right.texts if t.get_text() == "chain ends"] == [4]
    assert levels(right) == [0.1] and levels(middle) == []
    assert (right.get_xlabel(), right.get_ylabel()) == ("thinking budget (tokens)", "P(correct)")
    assert right.get_ylim() == (0, 1.04)
