"""What the pictures of PPO show is what they were given."""

import numpy as np

from rlvr_lab.pictures import ppo as plots


def labels(ax) -> set[str]:
    return {text.get_text() for text in ax.texts}


def test_gae_shows_rewards_values_and_advantages() -> None:
    figure = plots.plot_gae([0.0, 1.0], [0.3, 0.6], {0.0: [0.3, 0.4], 0.95: [0.5, 0.4]})
    left, right = figure.axes
    np.testing.assert_allclose([bar.get_height() for bar in left.patches], [0.0, 1.0])
    np.testing.assert_allclose(left.lines[0].get_ydata(), [0.3, 0.6])
    np.testing.assert_allclose(right.lines[1].get_ydata(), [0.5, 0.4])
    assert right.lines[0].get_linestyle() != right.lines[1].get_linestyle()


def test_bias_and_noise_add_up() -> None:
    ax = plots.plot_bias_noise([0.0, 1.0], [[0.5, 0.1], [0.0, 0.9]])
    np.testing.assert_allclose(
        [line.get_ydata() for line in ax.lines], [[0.5, 0], [0.1, 0.9], [0.6, 0.9]]
    )
    assert labels(ax) == {"bias²", "noise²", "sum"}


def test_critics_are_labelled_at_their_ends() -> None:
    rows = {name: np.full((2, 4), v) for name, v in (("lookup table", 0.4), ("linear head", 0.0))}
    ax = plots.plot_critics(rows)
    assert labels(ax) == set(rows)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 0.4)


def test_gaps_are_sorted_and_a_clear_one_is_filled() -> None:
    gaps = {"a": [0.1, 0.11, 0.12], "bug: b": [-0.3, 0.2, 0.1], "c": [-0.2, -0.21, -0.19]}
    ax = plots.plot_gaps(gaps, "base", "area")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["c", "b", "a"]
    means = [line for line in ax.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(
        [float(m.get_xdata()[0]) for m in means], [-0.2, 0.0, 0.11], atol=1e-9
    )
    assert [m.get_markerfacecolor() == "white" for m in means] == [False, True, False]
    assert [m.get_marker() for m in means] == ["o", "D", "o"]


def test_inner_steps_and_switches_draw_their_numbers() -> None:
    left, right = plots.plot_inner_steps([1, 0.5], [1, 1.7], [0, 0.2], eps=0.2).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [1, 1.7])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [0, 0.2])
    ax = plots.plot_switch(np.full((2, 3), 0.4), np.full((2, 3), 0.6), "bug: x")
    np.testing.assert_allclose([line.get_ydata()[0] for line in ax.lines], [0.4, 0.6, 0.1])
    assert "blind guessing" in labels(ax)


def test_curves_that_lie_together_have_markers_of_their_own() -> None:
    curves = {name: np.full((2, 12), 0.5) for name in ("REINFORCE", "GRPO")}
    figure = plots.plot_algorithms({"share": curves, "KL": curves}, ["share", "nats"])
    lines = figure.axes[0].lines[:2]
    assert lines[0].get_marker() != lines[1].get_marker()
    assert lines[0].get_markevery() != lines[1].get_markevery()
    assert "blind guessing" in labels(figure.axes[0])
