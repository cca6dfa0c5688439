"""The pictures of the stages show each line, dot and number where it belongs."""

import numpy as np
import pytest
from matplotlib.lines import Line2D

from rlvr_lab.pictures.qwen3_stages import plot_costs, plot_modes
from rlvr_lab.pictures.style import COLOURS


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
        assert [0.1, 0.1] in [list(line.get_ydata()) for line in ax.lines]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["a, n = 3 seeds", "b, n = 3 seeds"]
    keys = [line.get_marker() for line in figure.legends[0].findobj(Line2D)]
    assert [mark for mark in keys if mark in ("o", "^")] == ["o", "^"]
    with pytest.raises(ValueError, match="needs 1 arrays"):
        plot_modes(panels, ["one"], "share")
    with pytest.raises(ValueError, match="at most 3"):
        plot_modes({"x": {flag: [np.ones(2)] for flag in "abcd"}}, ["one"], "share")


def test_a_line_has_its_own_look_interval_and_seeds() -> None:
    seeds = {flag: [[k, k + 0.1, k + 0.5], [0.3, 0.3, 0.6]] for k, flag in enumerate("abc")}
    panels = {"sums": seeds, "maxima": {"c": seeds["c"], "a": seeds["a"], "b": seeds["b"]}}
    figure = plot_modes(panels, ["one", "two"], "share of answers")
    left, right = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["sums", "maxima"]
    assert [ax.get_ylabel() for ax in figure.axes] == ["share of answers"] * 2
    for ax, order in ((left, "abc"), (right, "cab")):
        assert [t.get_text() for t in ax.get_xticklabels()] == ["one", "two"]
        assert not ax.texts, "no level of guessing was given"
        dots = [line for line in ax.lines if line.get_marker() == "."]
        for k, (bars, flag) in enumerate(zip(ax.containers, order, strict=True)):
            line, _, (whiskers,) = bars.lines
            assert bars.get_label() == f"{flag}, n = 3 seeds"
            assert line.get_color() == COLOURS[("policy", "right", "reward")[k]]
            assert (line.get_marker(), line.get_linestyle()) == (("o", "-"), ("^", "--"), ("s", ":"))[k]  # fmt: skip
            for stage, values in enumerate(seeds[flag]):
                mean = np.mean(values)
                half = 4.302653 * np.std(values, ddof=1) / np.sqrt(3)  # t with two degrees
                np.testing.assert_allclose(line.get_ydata()[stage], mean)
                low, high = whiskers.get_segments()[stage][:, 1]
                np.testing.assert_allclose([low, high], [mean - half, mean + half], rtol=1e-5)
                own = dots[2 * k + stage]
                assert own.get_ydata().tolist() == values
                np.testing.assert_allclose(own.get_xdata(), stage + 0.09 * (k - 1))
    with pytest.raises(ValueError, match="needs 1 arrays"):
        plot_modes({"x": {"a": [np.ones(2)] * 2}}, ["one"], "share")
    with pytest.raises(ValueError, match="needs 3 arrays"):
        plot_modes({"x": {"a": [np.ones(2)] * 2}}, ["one", "two", "three"], "share")


def test_a_cost_has_its_number_colour_and_zero() -> None:
    effects = {
        "S, /think": {"style": [-0.2, -0.4], "mix": [0.0, 0.03]},
        "M": {"style": [0.1, 0.3], "mix": [1, 1]},
    }
    figure = plot_costs(effects, "difference", ["wrong", "right"])
    left, right = figure.axes
    assert left.get_xlim() == right.get_xlim(), "one scale"
    assert [ax.get_title() for ax in figure.axes] == list(effects)
    assert [ax.get_xlabel() for ax in figure.axes] == ["difference"] * 2
    for ax, rows in zip(figure.axes, effects.values(), strict=True):
        zero = [line for line in ax.lines if list(line.get_xdata()) == [0, 0]]
        assert len(zero) == 1
        numbers = {round(text.get_position()[1]): text for text in ax.texts}
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        for y, (name, colour) in ((1, ("style", "wrong")), (0, ("mix", "right"))):
            mean = np.mean(rows[name])
            assert float(numbers[y].get_text().replace("\N{MINUS SIGN}", "-")) == pytest.approx(
                mean, abs=0.0051
            )
            assert numbers[y].get_position()[0] == pytest.approx(mean)
            (own,) = [line for line in dots if round(float(line.get_ydata().mean())) == y]
            assert own.get_color() == COLOURS[colour]
            np.testing.assert_allclose(own.get_xdata(), rows[name])
    labelled = [
        [t.label1.get_visible() for t in ax.yaxis.get_major_ticks()] for ax in (left, right)
    ]
    assert labelled == [[True, True], [False, False]]
    plain = plot_costs({"S": {"style": [-0.2, -0.4]}}, "difference")
    assert plain.axes[0].lines[0].get_color() == COLOURS["policy"]


def test_each_cost_stands_in_its_cell_and_row() -> None:
    effects = {"S": {"style": [-0.2, -0.4], "mix": [0.0, 0.02]}, "M": {"style": [0, 0.2], "mix": [1, 1]}}  # fmt: skip
    figure = plot_costs(effects, "difference", ["wrong", "right"])
    for ax, means in zip(figure.axes, ([-0.3, 0.01], [0.1, 1.0]), strict=True):
        marks = [line for line in ax.lines if line.get_marker() == "D"]
        found = {int(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in marks}
        assert found == pytest.approx({1: means[0], 0: means[1]})
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["mix", "style"]
