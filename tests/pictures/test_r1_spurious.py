"""The picture shows each reward's own curves, and the level of guessing where it belongs."""

import numpy as np

from rlvr_lab.pictures.r1_spurious import plot_rewards


def test_each_panel_shows_its_metric_of_each_reward() -> None:
    keys = ("accuracy", "chains", "length", "entropy")
    curves = {
        name: {key: np.full((2, 3), 10 * i + j) for j, key in enumerate(keys)}
        for i, name in enumerate(("truth", "coin"))
    }
    looks = {"truth": ("right", "-"), "coin": ("wrong", "--")}
    figure = plot_rewards(curves, [0, 10, 20], looks, 0.1)
    for j, ax in enumerate(figure.axes):
        drawn = [line for line in ax.lines if list(line.get_xdata()) == [0, 10, 20]]
        assert [line.get_ydata().tolist() for line in drawn] == [[j] * 3, [10 + j] * 3]
        assert [line.get_linestyle() for line in drawn] == ["-", "--"]
        assert ("blind guessing" in [text.get_text() for text in ax.texts]) == (j == 0)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "truth, n = 2 seeds",
        "coin, n = 2 seeds",
    ]
