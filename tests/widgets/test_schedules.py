"""The dashboard of the schedules: each control reaches the simulation, and drawing is quick."""

import time

import pytest

from rlvr_lab.exact.rollout_devices import Cluster
from rlvr_lab.exact.rollout_schedules import (
    asynchronous,
    heavy_tailed_lengths,
    partial,
    synchronous,
)
from rlvr_lab.pictures.style import show
from rlvr_lab.widgets.schedules import (
    SCHEDULES,
    draw_schedule,
    run_schedule,
    schedule_dashboard,
)

VALUES = {"devices": 5, "sigma": 0.5, "budget": 600, "writers": 3, "transfer": 4.0}


def test_each_control_reaches_the_simulation() -> None:
    cluster = Cluster(5, 60.0, 180.0, 4.0)

    def lengths():
        return heavy_tailed_lengths(600, 0.5, 12_000, seed=0)

    wanted = [
        synchronous(lengths(), cluster, 10, 6),
        partial(lengths(), cluster, 10, 6, 600),
        asynchronous(lengths(), cluster, 10, 6, 3),
        asynchronous(lengths(), cluster, 10, 6, 3, 1, in_order=True),
    ]
    for schedule, run in zip(SCHEDULES, wanted, strict=True):
        same = run_schedule(schedule, **VALUES) == run
        assert same, schedule  # a comparison inside the assert would print two long runs
    all_but_one = run_schedule("asynchronous", **VALUES | {"writers": 11})
    same = all_but_one == asynchronous(lengths(), cluster, 10, 6, 4)
    assert same
    same = run_schedule("partial", **VALUES | {"budget": 10**6}) == wanted[0]
    assert same
    with pytest.raises(ValueError, match="schedule: 'none'"):
        run_schedule("none", **VALUES)


def test_the_dashboard_says_what_it_draws() -> None:
    panel = schedule_dashboard()
    values = {name: widget.value for name, widget in panel.controls.items()}
    assert set(values) == {"schedule", *VALUES}
    figure, words = draw_schedule(**values | {"schedule": "asynchronous, in order"})
    run = run_schedule(**values | {"schedule": "asynchronous, in order"})
    assert f"6 updates take {run.end:.0f} s" in words and "maximum 1 versions" in words
    assert f"{run.throughput:.0f} trained tokens/s" in words and "6 write and 2 train" in words
    assert f"idle {run.share('idle'):.0%}" in figure.axes[0].get_title("left")
    assert "write" not in draw_schedule(**values | {"schedule": "partial"})[1]


def test_a_move_is_drawn_again_within_half_a_second_of_work() -> None:
    values = {name: widget.value for name, widget in schedule_dashboard().controls.items()}
    spent = []
    for _ in range(3):  # the first one loads fonts
        started = time.process_time()
        show(*draw_schedule(**values))
        spent.append(time.process_time() - started)
    assert min(spent) < 1.0, (
        "0.2 s where nothing else runs; the bound leaves room for a busy machine"
    )
