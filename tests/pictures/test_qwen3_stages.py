"""The pictures of the stages and of the budget show each curve, number and box where it belongs."""

import numpy as np
import pytest

from rlvr_lab.pictures.qwen3_budget import plot_by_terms, plot_cut, plot_cut_chain
from rlvr_lab.pictures.qwen3_stages import plot_costs, plot_modes


def test_each_panel_shows_the_means_and_seeds_of_its_flags() -> None:
    panels = {
        task: {flag: [np.array([s, s + 0.1, s + 0.2]) + shift for s in (0.1, 0.5)] for flag in "ab"}
        for task, shift in (("sums", 0.0), ("maxima", 0.2))
    }
    figure = plot_modes(panels, ["one stage", "two"], "share", 0.1)
    for ax, shift in zip(figure.axes, (0.0, 0.2), strict=True):
        assert [t.get_text() for t in ax.get_xticklabels()] == ["one\nstage", "two"]
        for number, bars in enumerate(ax.containers):
            x, y = (np.asarray(values, dtype=float) for values in bars.lines[0].get_data())
            np.testing.assert_allclose(y, [0.2 + shift, 0.6 + shift])
            np.testing.assert_allclose(x, np.arange(2) + 0.09 * (number - 1))
        dots = [line.get_ydata().tolist() for line in ax.lines if line.get_marker() == "."]
        np.testing.assert_allclose(dots[0], np.array([0.1, 0.2, 0.3]) + shift)
        assert "blind guessing" in [text.get_text() for text in ax.texts]
    names = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert names == ["a, n = 3 seeds", "b, n = 3 seeds"]
    with pytest.raises(ValueError, match="needs 1 arrays"):
        plot_modes(panels, ["one"], "share")
    with pytest.raises(ValueError, match="at most 3"):
        plot_modes({"x": {flag: [np.ones(2)] for flag in "abcd"}}, ["one"], "share")


def test_each_cost_stands_in_its_cell_and_row() -> None:
    effects = {"S": {"style": [-0.2, -0.4], "mix": [0.0, 0.02]}, "M": {"style": [0, 0.2], "mix": [1, 1]}}  # fmt: skip
    figure = plot_costs(effects, "difference", ["wrong", "right"])
    for ax, means in zip(figure.axes, ([-0.3, 0.01], [0.1, 1.0]), strict=True):
        marks = [line for line in ax.lines if line.get_marker() == "D"]
        found = {int(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in marks}
        assert found == pytest.approx({1: means[0], 0: means[1]})
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["mix", "style"]


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
