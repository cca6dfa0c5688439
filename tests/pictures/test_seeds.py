"""The four curves over seeds: means, the level of guessing, and how many seeds."""

import numpy as np

from rlvr_lab.pictures.seeds import (
    plot_each_seed,
    plot_effect_panels,
    plot_effects,
    plot_training_over_seeds,
)
from tests.pictures.test_plots import texts


def test_each_panel_shows_the_mean_over_seeds_and_the_first_one_the_level_of_guessing():
    keys = ("pass_rate", "kl", "length", "entropy")
    curves = {key: np.array([[0.1, 0.5], [0.3, 0.7]]) + i for i, key in enumerate(keys)}
    curves["pass_rate"] -= 0.05
    figure = plot_training_over_seeds(curves, guess=0.1)
    for ax, key in zip(figure.axes, keys, strict=True):
        np.testing.assert_allclose(ax.lines[0].get_ydata(), curves[key].mean(axis=0))
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 2])
    assert figure.axes[0].lines[1].get_ydata() == [0.1, 0.1]
    assert "blind guessing" in texts(figure.axes[0]) and not texts(figure.axes[1])
    assert "2 seeds" in figure._suptitle.get_text()
    assert [len(ax.lines) for ax in figure.axes] == [2, 1, 1, 1]


def test_effects_show_every_seed_the_mean_and_zero() -> None:
    ax = plot_effects({"first": [1.0, 2.0, 3.0], "second": [0.0, -0.1, -0.2]}, "tokens")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["second", "first"]
    assert texts(ax) == ["+2.00", "−0.10"]
    assert sorted(ax.lines[0].get_xdata()) == [1, 2, 3]


def test_each_panel_of_effects_has_its_unit_and_its_rows() -> None:
    figure = plot_effect_panels(
        {"tokens": {"a": [1.0, 2.0]}, "nats": {"a": [0.5, 0.1], "b": [0.0, 1.0]}}
    )
    left, right = figure.axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("tokens", "nats")
    assert [t.get_text() for t in right.get_yticklabels()] == ["b", "a"]
    assert sorted(left.lines[0].get_xdata()) == [1.0, 2.0]


def test_each_seed_is_a_line_and_the_mean_a_thick_one() -> None:
    runs = {"collapses": [[0.2, 0.1], [0.2, 0.9], [0.2, 0.8]], "does not": [[0.3, 0.9], [0.3, 1.0]]}
    figure = plot_each_seed(runs, "share correct", [0, 5], {"collapses": "wrong"}, (0, 1), 0.1)
    for ax, (title, curves) in zip(figure.axes, runs.items(), strict=True):
        *seeds, mean, guess = ax.lines
        assert [list(line.get_ydata()) for line in seeds] == curves
        np.testing.assert_allclose(mean.get_ydata(), np.mean(curves, axis=0))
        assert mean.get_linewidth() > seeds[0].get_linewidth()
        assert list(seeds[0].get_xdata()) == [0, 5] and list(guess.get_ydata()) == [0.1, 0.1]
        assert ax.get_title() == f"{title} (n = {len(curves)})" and ax.get_ylim() == (0, 1)
    assert figure.axes[0].lines[0].get_color() != figure.axes[1].lines[0].get_color()
