"""Few prompts: each line stands where its numbers are."""

import numpy as np

from rlvr_lab.pictures.qwen3_few_prompts import plot_against_set_size, plot_few_prompts
from rlvr_lab.pictures.style import COLOURS


def test_a_panel_for_each_set_with_both_tests_and_unlimited_prompts() -> None:
    steps = [0, 20, 40]
    on, off = np.array([[0.2, 0.8, 1.0], [0.2, 0.6, 0.8]]), np.array([[0.2, 0.1, 0.1]] * 2)
    figure = plot_few_prompts(
        {"1": (on, off), "4": (off, on)}, [[0.2, 0.6, 0.8], [0.2, 0.8, 1]], steps, 0.1
    )
    one, four = figure.axes
    assert (one.get_title(), four.get_title()) == ("1 prompt", "4 prompts")
    lines = {line.get_label(): line for line in one.lines}
    set_line, held = lines["on the set, n = 2 seeds"], lines["held-out, n = 2 seeds"]
    np.testing.assert_allclose(set_line.get_ydata(), [0.2, 0.7, 0.9])
    np.testing.assert_allclose(held.get_ydata(), [0.2, 0.1, 0.1])
    assert (set_line.get_color(), held.get_color()) == (COLOURS["reward"], COLOURS["policy"])
    unlimited = lines["held-out, unlimited prompts"]
    np.testing.assert_allclose(unlimited.get_ydata(), [0.2, 0.7, 0.9])
    assert list(held.get_xdata()) == steps == list(unlimited.get_xdata())
    assert set_line.get_linestyle() == "--" and held.get_linestyle() == "-"
    assert [ax.get_ylabel() for ax in figure.axes] == ["accuracy", ""]
    assert {ax.get_ylim() for ax in figure.axes} == {(0, 1.03)}
    assert any(list(line.get_ydata()) == [0.1, 0.1] for line in one.lines)  # guessing
    assert len(figure.legends[0].get_texts()) == 3


def test_the_sizes_stand_on_a_logarithmic_axis_and_unlimited_at_its_right() -> None:
    sizes = (1, 4, 16)
    curves = {
        "on the set": np.array([[1.0, 0.9, 0.8], [1.0, 1.0, 1.0]]),
        "held-out": np.array([[0.1, 0.4, 0.9], [0.2, 0.5, 0.8]]),
    }
    figure = plot_against_set_size(sizes, curves, [0.97, 0.99, 0.92, 0.96], 0.1)
    (ax,) = figure.axes
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(lines["held-out, n = 2 seeds"].get_ydata(), [0.15, 0.45, 0.85])
    for label, mark, colour in (("on the set", "s", "reward"), ("held-out", "o", "policy")):
        line = lines[f"{label}, n = 2 seeds"]
        assert list(line.get_xdata()) == list(sizes) and line.get_color() == COLOURS[colour]
        dots = [one for one in ax.lines if one.get_marker() == mark]
        assert [list(one.get_ydata()) for one in dots] == curves[label].tolist()
        assert all(list(one.get_xdata()) == list(sizes) for one in dots)
        assert {one.get_color() for one in dots} == {COLOURS[colour]}
    far = lines["held-out, unlimited prompts, n = 4 seeds"]
    assert list(far.get_ydata()) == [0.97, 0.99, 0.92, 0.96] and min(far.get_xdata()) > 16
    assert ax.get_xscale() == "log"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "4", "16", "unlimited"]
    assert list(ax.get_xticks()) == [*sizes, far.get_xdata()[0]]
    assert any(np.allclose(line.get_ydata(), 0.96) for line in ax.lines)  # the mean of unlimited
    assert any(list(line.get_ydata()) == [0.1, 0.1] for line in ax.lines)  # guessing
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("prompts in the set", "accuracy after 40 steps")
    assert ax.get_ylim() == (0, 1.03)
