"""The pictures of over-optimisation show the numbers that they are given."""

import numpy as np

from rlvr_lab import pictures as plots
from rlvr_lab.exact.optimal_policy import best_of_n_kl_bound, binary_best_of_n

LOOKS = {"a": ("policy", "-"), "b": ("kl", "--")}


def test_a_curve_ends_where_its_first_seed_ends():
    values = np.array([[0.0, 1.0, 2.0], [0.0, 3.0, np.nan], [0.0, 2.0, 5.0]])
    ax = plots.plot_equal({"a": values}, LOOKS, [1.0, 2.0, 3.0], zero="start")
    np.testing.assert_allclose(ax.lines[-1].get_xydata(), [[1.0, 0.0], [2.0, 2.0]])
    assert "a (n = 3)" in [text.get_text() for text in ax.texts]


def test_panels_at_equal_abscissa_share_one_legend():
    curves = {"a": np.ones((2, 3)), "b": np.zeros((2, 3))}
    figure = plots.plot_panels_at_equal(
        {"proxy": curves, "gold": curves}, LOOKS, [0, 1, 2], ["u", "v"]
    )
    assert [ax.get_title() for ax in figure.axes] == ["proxy", "gold"]
    assert len(figure.legends[0].get_texts()) == 2


def test_the_kl_of_best_of_n_is_drawn_over_powers_of_two():
    ax = plots.plot_best_of_n_kl(0.1, best_of_n_kl_bound, lambda p, n: binary_best_of_n(p, n)[1])
    formula, truth = ax.lines[:2]
    assert formula.get_ydata()[-1] > truth.get_ydata()[-1]
    np.testing.assert_allclose(truth.get_ydata()[-1], -np.log(0.1))
    assert [label.get_text() for label in ax.get_xticklabels()][:4] == ["1", "2", "4", "8"]


def test_fitted_forms_are_drawn_over_the_measured_points():
    points = {"a": (np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([[1.0, 2.0], [3.0, 4.0]]))}
    figure = plots.plot_forms(points, {"a": {"x": lambda d: d, "2x": lambda d: 2 * d}}, {"a": "kl"})
    dots, first, second = figure.axes[0].lines
    np.testing.assert_allclose(dots.get_ydata(), [2.0, 3.0])
    assert second.get_ydata()[-1] == 2 * first.get_ydata()[-1] == 4.0


def test_collapse_shows_the_mean_over_seeds_and_the_level_of_guessing():
    entropies = {"before": np.linspace(0, 2.4, 50), "after": np.zeros(50)}
    passes = {
        "before": [[0.2, 0.4]],
        "after": [[0.8, 1.0], [0.6, 1.0]],
        "blind guessing": [[0.1, 0.2]],
    }
    left, right = plots.plot_collapse(entropies, passes, [1, 2]).axes
    assert [round(float(line.get_ydata()[0]), 6) for line in right.lines] == [0.2, 0.7, 0.1]
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["before", "after"]
