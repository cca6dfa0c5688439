"""The pictures of tree search show the numbers they are given."""

import numpy as np

from rlvr_lab.pictures import plot_solved, plot_value_quality


def test_solved_shares_stand_over_their_tokens() -> None:
    curves = {"search": [[0.1, 0.5], [0.3, 0.7]], "sampling": [[0.0, 0.2], [0.0, 0.4]]}
    looks = {"search": ("policy", "-"), "sampling": ("reference", "--")}
    panels = {"one": curves, "two": {"search": [0.2, 0.6]}}
    guess = {"one": [0.01, 0.02], "two": [0.03, 0.04]}
    figure = plot_solved(panels, [64, 1024], "tokens", looks, guess)
    for ax, title in zip(figure.axes, panels, strict=True):
        lines = {line.get_label().split(",")[0]: line for line in ax.get_lines()}
        np.testing.assert_allclose(lines["search"].get_ydata(), [0.2, 0.6])
        np.testing.assert_allclose(lines["search"].get_xdata(), [64, 1024])
        np.testing.assert_allclose(lines["blind guessing"].get_ydata(), guess[title])
        assert [t.get_text() for t in ax.get_xticklabels()] == ["64", "1,024"]


def test_a_value_is_drawn_over_its_quality() -> None:
    ax = plot_value_quality([0.5, 1.0], {"at 256": [[0, 1], [0, 1]]}, {"none": (0.4, "reference")})
    curve, level = ax.get_lines()[0], ax.get_lines()[1]
    assert curve.get_ydata().tolist() == [0, 1] and set(level.get_ydata()) == {0.4}
    assert "none" in [text.get_text() for text in ax.texts]
