"""Few prompts: each line stands where its numbers are."""

import numpy as np

from rlvr_lab.pictures.qwen3_few_prompts import plot_against_set_size, plot_few_prompts
from rlvr_lab.pictures.style import COLOURS


def test_a_panel_for_each_set_with_both_tests_and_unlimited_prompts() -> None:
    steps = [0, 20, 40]
    on, off = np.array([[0.2, 0.8, 1.0], [0.2, 0.6, 0.8]]), np.array([[0.2, 0.1, 0.1]] * 2)
    figure = plot_few_prompts({"1": (on, off), "4": (off, on)}, [[0.2, 0.7, 0.9]] * 2, steps, 0.1)
    one, four = figure.axes
    assert (one.get_title(), four.get_title()) == ("1 prompt", "4 prompts")
    lines = {line.get_label(): line for line in one.lines}
    set_line, held = lines["on the set, n = 2 seeds"], lines["held-out, n = 2 seeds"]
    np.testing.assert_allclose(set_line.get_ydata(), [0.2, 0.7, 0.9])
    np.testing.assert_allclose(held.get_ydata(), [0.2, 0.1, 0.1])
    assert (set_line.get_color(), held.get_color()) == (COLOURS["reward"], COLOURS["policy"])
    unlimited = lines["held-out, unlimited prompts"]
    np.testing.assert_allclose(unlimited.get_ydata(), [0.2, 0.7, 0.9])
    assert list(held.get_xdata()) == steps
    assert any(list(line.get_ydata()) == [0.1, 0.1] for line in one.lines)  # guessing
    assert len(figure.legends[0].get_texts()) == 3


def test_the_sizes_stand_on_a_logarithmic_axis_and_unlimited_at_its_right() -> None:
    sizes = (1, 4, 16)
    curves = {
        "on the set": np.ones((2, 3)),
        "held-out": np.array([[0.1, 0.4, 0.9], [0.2, 0.5, 0.8]]),
    }
    figure = plot_against_set_size(sizes, curves, [0.97, 0.99], 0.1)
    (ax,) = figure.axes
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(lines["held-out, n = 2 seeds"].get_ydata(), [0.15, 0.45, 0.85])
    far = lines["held-out, unlimited prompts, n = 2 seeds"]
    assert list(far.get_ydata()) == [0.97, 0.99] and min(far.get_xdata()) > 16
    assert ax.get_xscale() == "log"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "4", "16", "unlimited"]
    assert any(np.allclose(line.get_ydata(), 0.98) for line in ax.lines)
