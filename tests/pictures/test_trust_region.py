"""Pictures of trust regions and estimates: what is drawn, and that it lies within the frame."""

import numpy as np
import pytest

from rlvr_lab.pictures import (
    plot_against_kl,
    plot_estimates,
    plot_fractions,
    plot_trust_region,
)
from tests.pictures.test_plots import texts, words_outside


def test_the_bars_are_shares_of_all_steps() -> None:
    ax = plot_fractions({"natural": [[1, 0.5], [0.25, 0.0]], "plain": [1, 1, 1, 0.0625]})
    widths = np.array([bar.get_width() for bar in ax.patches]).reshape(4, 2)
    assert widths.tolist() == [[0.75, 0.25], [0, 0.25], [0, 0.25], [0.25, 0.25]]
    assert "full step\n75 %" in texts(ax) and not words_outside(ax.figure)


def test_a_step_is_drawn_with_its_limit() -> None:
    x = np.linspace(0, 1.5, 4)
    figure = plot_trust_region({"natural": (x**2, x), "plain": (x, x)}, x, delta=0.2)
    left, right = figure.axes
    assert (
        texts(left) == ["limit δ", " full step"]
        and texts(right) == [" δ"]
        and not words_outside(figure)
    )
    model = next(line for line in left.lines if line.get_label() == "quadratic model")
    assert model.get_ydata().tolist() == pytest.approx(0.2 * x**2)


def test_estimates_lie_within_the_frame_with_the_exact_gradient() -> None:
    panels = {"none": [[1.0, -2.0], [3.0, 0.0]], "J": [[0.5, 0.5], [0.5, 1.5]]}
    figure = plot_estimates(panels, [0.5, -0.5], ["a", "b"])
    for ax, estimates in zip(figure.axes, panels.values(), strict=True):
        dots = ax.collections[0].get_offsets()
        assert sorted(dots[:, 1]) == sorted(np.ravel(estimates))
        assert (np.abs(dots[:, 0] - np.round(dots[:, 0])) <= 0.3).all()
        low, high = ax.get_ylim()
        assert low < dots[:, 1].min() and dots[:, 1].max() < high
    assert [text.split()[1] for ax in figure.axes for text in texts(ax)] == ["2.00", "0.25"]
    assert not words_outside(figure)


def test_curves_against_kl_are_named_at_their_ends() -> None:
    rates = {"natural": np.full((3, 4), 0.5), "plain": np.full((3, 4), 0.7)}
    ax = plot_against_kl([0.1, 0.2, 0.3, 0.4], rates)
    assert {"natural", "plain", "blind guessing"} <= set(texts(ax)) and ax.get_legend() is None
    assert not words_outside(ax.figure)
