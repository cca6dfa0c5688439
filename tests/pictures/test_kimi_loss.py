"""The minimum of the squared loss against τ."""

import numpy as np

from rlvr_lab.pictures.kimi_loss import plot_squared_minimum
from tests.pictures.test_plots import texts


def test_each_curve_is_drawn_against_tau_and_the_start_is_a_level() -> None:
    taus = np.array([0.1, 0.5, 1.0, 2.0])
    ax = plot_squared_minimum(
        taus, [0.9, 0.8, 0.7, 0.6], [0.9, 0.8, 0.7, 0.6], [0.8, 0.7, 0.6, 0.5], 0.25
    )
    best, log_z, mean, start = ax.lines
    assert [list(line.get_ydata()) for line in (best, log_z, mean)] == [
        [0.9, 0.8, 0.7, 0.6],
        [0.9, 0.8, 0.7, 0.6],
        [0.8, 0.7, 0.6, 0.5],
    ]
    assert all(list(line.get_xdata()) == list(taus) for line in (best, log_z, mean))
    assert list(start.get_ydata()) == [0.25, 0.25] and ax.get_xscale() == "log"
    assert {"minimum with the mean reward", "before the update"} <= set(texts(ax))
