"""The pictures of the table: every number stands in them, and a number without a value is a dash."""

import math

import numpy as np

from rlvr_lab.exact.zoo import Numbers
from rlvr_lab.pictures.zoo import plot_weight_by_ratio, plot_zoo

EXACT = Numbers(0.0, 1.0, 1.0, 0.0, 0.0, (0.2, 0.5, 0.3), 0.02, 0.0)
ROW = Numbers(0.25, 0.9, -0.5, 3.0, 1.75, (0.1, 0.6, 0.3), -0.0123, 0.07)
NONE = Numbers(1.0, 0.0, math.nan, 0.0, math.inf, (math.nan,) * 3, math.nan, 0.4)
CELLS = ("r", "token", "none", "sum")


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_the_numbers_of_a_row_stand_beside_its_name() -> None:
    figure = plot_zoo({"yours": (CELLS, ROW), "nothing": (CELLS, NONE)}, EXACT)
    words, bias, cosine, noise, shares, length, clipped = figure.axes
    assert texts(words) == ["yours", "r · token · none · sum", "nothing", "r · token · none · sum"]
    assert texts(bias) == ["0.25", "1.00"]
    assert texts(cosine) == ["−0.50", "–"]
    assert texts(noise) == ["1.75", "–"]
    assert texts(shares) == ["10", "60", "30"]
    assert texts(length) == ["−12.3", "–"]
    assert texts(clipped) == ["7", "40"]
    assert [line.get_xdata()[0] for line in shares.lines] == [0.2, 0.7]
    assert 20.0 in [line.get_xdata()[0] for line in length.lines]


def test_a_panel_for_each_sign_and_a_line_for_each_loss() -> None:
    ratio = np.linspace(0.1, 2, 5)
    curves = {name: {"SAPO": ratio, "VESPO": 2 * ratio} for name in ("A > 0", "A < 0")}
    figure = plot_weight_by_ratio(ratio, curves)
    for ax, title in zip(figure.axes, curves, strict=True):
        assert ax.get_title() == title
        named = {line.get_label(): line.get_ydata() for line in ax.lines[:2]}
        np.testing.assert_array_equal(named["VESPO"], 2 * ratio)
