"""Pictures of language mixing: each number at its place, each policy with its own mark."""

import numpy as np
import pytest

from rlvr_lab.pictures.r1_language import plot_language_choice, plot_weights
from rlvr_lab.pictures.style import COLOURS

SHARES = {
    "base": {"wrong in digits": [0.5, 0.6], "wrong in words": [0.4, 0.5]},
    "after RL": {"wrong in digits": [0.9, 1.0], "wrong in words": [0.0, 0.2]},
}
LOOKS = {"base": ("reference", "o"), "after RL": ("policy", "D")}


def test_each_class_has_a_row_and_each_policy_its_mark() -> None:
    ax = plot_language_choice(SHARES, LOOKS)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["wrong in words", "wrong in digits"]
    means = [line for line in ax.lines if len(line.get_xdata()) == 1]
    found = {(round(float(m.get_xdata()[0]), 3), m.get_marker()): m.get_ydata()[0] for m in means}
    assert set(found) == {(0.55, "o"), (0.45, "o"), (0.95, "D"), (0.1, "D")}
    assert found[0.55, "o"] > found[0.95, "D"] > found[0.45, "o"] > found[0.1, "D"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == list(SHARES)


def test_the_weights_stand_beside_their_cost() -> None:
    mixing = {"none": [0.8, 0.9], "0.3": [0.0, 0.1]}
    figure = plot_weights(mixing, {"0.3": [-0.02, -0.04]})
    left, right = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["0.3", "none"]
    assert [t.get_text() for t in right.get_yticklabels()] == ["0.3"]
    dots = [line for line in right.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots[0].get_xdata(), [-0.02, -0.04])
    dots = [line for line in left.lines if line.get_marker() == "o"]
    assert dots[0].get_color() == COLOURS["wrong"] and dots[0].get_xdata()[1] == pytest.approx(0.9)
