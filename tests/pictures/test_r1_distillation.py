"""Distillation against RL: what is drawn is what was given."""

import numpy as np

from rlvr_lab.pictures.r1_distillation import plot_against_cost, plot_two_methods


def test_curves_stand_over_a_logarithmic_cost() -> None:
    grid = [10.0, 100.0, 1000.0]
    panels = {"one": {"RL": np.array([[0, 0.5, 1], [0, 0.3, 1]])}, "two": {"RL": np.zeros((2, 3))}}
    figure = plot_against_cost(panels, {"RL": ("reward", "--")}, grid, "tokens", 0.001)
    assert [ax.get_title() for ax in figure.axes] == ["one", "two"]
    for ax, mean in zip(figure.axes, ([0, 0.4, 1], [0, 0, 0]), strict=True):
        assert ax.get_xscale() == "log" and ax.get_xlabel() == "tokens"
        line = ax.lines[0]
        np.testing.assert_allclose(line.get_ydata(), mean)
        assert list(line.get_xdata()) == grid and line.get_linestyle() == "--"
        assert list(ax.lines[1].get_ydata()) == [0.001, 0.001]


def test_two_methods_stand_in_one_row_of_each_case() -> None:
    panels = {"ours": {"a": {"RL": [0.1, 0.3], "distilled": [0.8, 1.0]}, "b": {"RL": 0.5}}}
    (ax,) = plot_two_methods(panels, ["accuracy"]).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "a"]
    drawn = [([*map(float, x.get_xdata())], round(float(x.get_ydata()[0]), 6)) for x in ax.lines]
    assert drawn == [([0.5], 0.1), ([0.1, 0.3], 1.1), ([0.2], 1.1), ([0.8, 1.0], 0.9), ([0.9], 0.9)]
    # The methods are named once, in whichever row they first appear.
    names = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert names == ["RL", "distilled"]
