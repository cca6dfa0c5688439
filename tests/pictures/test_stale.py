"""Pictures of the mismatch: what is drawn is what was given."""

import numpy as np
import pytest

from rlvr_lab.exact.mismatch import ESTIMATORS
from rlvr_lab.pictures.stale import (
    SMALLEST,
    plot_bias_and_variance,
    plot_mismatch_bars,
    plot_weight_rules,
)


def test_weight_rules_are_lines_with_names() -> None:
    ratio = np.linspace(0.1, 4, 9)
    ax = plot_weight_rules(ratio, {"none": np.ones(9), "TIS": np.minimum(ratio, 2)})
    np.testing.assert_array_equal(
        ax.lines[1].get_xydata(), np.stack([ratio, np.minimum(ratio, 2)], 1)
    )
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["none", "TIS"]


def test_bias_and_variance_have_a_column_for_each_mismatch() -> None:
    x = [0, 4, 8]
    bias = {name: [0.0, 0.1 * i, 0.2] for i, name in enumerate(ESTIMATORS)}
    variance = {name: [1.0, 2.0 + i, 3.0] for i, name in enumerate(ESTIMATORS)}
    figure = plot_bias_and_variance({"lag": (x, bias, variance), "noise": (x, bias, variance)})
    above, _, below, _ = figure.axes
    for i, name in enumerate(ESTIMATORS):
        np.testing.assert_array_equal(
            above.lines[i].get_ydata(), [SMALLEST, max(0.1 * i, SMALLEST), 0.2]
        )
        np.testing.assert_array_equal(below.lines[i].get_ydata(), variance[name])
    looks = {f"{line.get_color()} {line._unscaled_dash_pattern}" for line in above.lines}
    assert len(looks) == len(ESTIMATORS), "no two lines look alike"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(ESTIMATORS)
    assert above.get_xlabel() == "lag" and above.get_yscale() == "log"


def test_bars_bear_their_numbers() -> None:
    bias = {"none": 1.25, "product": 1e-16}
    figure = plot_mismatch_bars(bias, {"none": 20.0, "product": 3.0})
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [SMALLEST, 1.25]
    assert [text.get_text() for text in left.texts] == ["0", "1.25"]
    assert [bar.get_width() for bar in right.patches] == pytest.approx([3.0, 20.0])
    assert [label.get_text() for label in left.get_yticklabels()] == ["product", "none"]
