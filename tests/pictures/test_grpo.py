"""The pictures of notebook 06 show what they are given."""

import numpy as np
import pytest

from rlvr_lab.exact.grpo_dynamics import exact_grpo
from rlvr_lab.pictures import grpo as pictures


def heights(ax) -> list[list[float]]:
    return [list(map(float, line.get_ydata())) for line in ax.lines]


def test_silent_groups_are_labelled_by_their_size() -> None:
    p = np.linspace(0, 1, 11)
    ax = pictures.plot_silent_groups(p, {2: p, 8: 1 - p})
    assert [text.get_text() for text in ax.texts] == ["G = 2", "G = 8"]
    assert heights(ax) == [list(p), list(1 - p)]


def test_values_and_pulls_stand_side_by_side() -> None:
    x = np.array([-1.0, 0.0, 1.0])
    left, right = pictures.plot_kl_pulls(x, {"k2": x**2}, {"k2": x})
    assert heights(left)[0] == [1, 0, 1] and heights(right)[0] == [-1, 0, 1]


def test_a_panel_for_each_target_and_the_mean_of_the_worlds() -> None:
    two = [[1.0, 0.5], [1.0, 0.7]]
    curves = {"k3, per token": two, "k3, whole answer": [[1.0, 0.4]]}
    figure = pictures.plot_kl_cosines([0.1, 1.0], {"reverse": curves, "forward": curves})
    assert [ax.get_title("left") for ax in figure.axes] == ["reverse", "forward"]
    assert heights(figure.axes[0]) == [*two, [1.0, 0.6], [1.0, 0.4], [1.0, 0.4]]
    styles = [line.get_linestyle() for line in figure.axes[0].lines]
    assert styles[0] != styles[-1]


def test_runs_are_means_over_seeds() -> None:
    found = {"pass_rate": np.array([[0.0, 1.0], [1.0, 1.0]]), "kl": np.zeros((2, 2))}
    axes = pictures.plot_kl_against_steps({"no KL": found})
    assert heights(axes[0]) == [[0.5, 1.0]] and heights(axes[1]) == [[0.0, 0.0]]


def test_bins_without_steps_leave_a_gap() -> None:
    bins = np.array([[0.2, np.nan], [0.4, np.nan]])
    ax = pictures.plot_pass_rate_at_equal_kl([0, 1, 2], {"reward": bins})
    found = ax.lines[0].get_ydata()
    assert found[0] == pytest.approx(0.3) and np.isnan(found[1])


def test_the_run_before_is_faint() -> None:
    run = vars(exact_grpo(steps=2))
    left, right = pictures.plot_exact_grpo({"before": run, "now": run})
    assert [line.get_alpha() for line in right.lines] == [0.35, 0.35, None, None]
    assert len(left.lines) == 6
