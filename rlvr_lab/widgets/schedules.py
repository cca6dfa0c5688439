"""The dashboard of notebook 09 that asks who waits for whom: a timeline that is drawn again at each move."""

import ipywidgets as W
from matplotlib.figure import Figure

from rlvr_lab.exact.rollout_devices import Cluster
from rlvr_lab.exact.rollout_schedules import (
    asynchronous,
    heavy_tailed_lengths,
    partial,
    synchronous,
)
from rlvr_lab.exact.rollout_timeline import Timeline
from rlvr_lab.pictures.kimi_schedules import plot_timelines
from rlvr_lab.widgets.live_figures import ExactDashboard

__all__ = ["SCHEDULES", "draw_schedule", "run_schedule", "schedule_dashboard"]

SCHEDULES = ("synchronous", "partial", "asynchronous", "asynchronous, in order")
STEPS = 6
_WHOLE = {"layout": W.Layout(width="300px"), "style": {"description_width": "130px"}}


def run_schedule(
    schedule: str, devices: int, sigma: float, budget: int, writers: int, transfer: float
) -> Timeline:
    """``STEPS`` updates with two answers per device, mean length 600 tokens, seed 0.

    Args:
        schedule: one of ``SCHEDULES``; in order the rollouts run at most one update ahead.
        devices: D.
        sigma: of the lengths.
        budget: tokens per answer and iteration; only ``partial`` uses it.
        writers: devices that write; only the asynchronous schedules use it, and they keep one for training.
        transfer: seconds for each new version.

    Raises:
        ValueError: for a schedule that does not exist.
    """
    cluster = Cluster(devices=devices, transfer=transfer)
    lengths, batch = heavy_tailed_lengths(600, sigma, 12_000, seed=0), 2 * devices
    if schedule == "synchronous":
        return synchronous(lengths, cluster, batch, STEPS)
    if schedule == "partial":
        return partial(lengths, cluster, batch, STEPS, budget)
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule: {schedule!r} is none of {', '.join(SCHEDULES)}")
    in_order = schedule == SCHEDULES[3]
    ahead = 1 if in_order else None
    return asynchronous(lengths, cluster, batch, STEPS, min(writers, devices - 1), ahead, in_order)


def draw_schedule(
    schedule: str, devices: int, sigma: float, budget: int, writers: int, transfer: float
) -> tuple[Figure, str]:
    """The timeline for these settings, and what it says in numbers."""
    run = run_schedule(schedule, devices, sigma, budget, writers, transfer)
    numbers = (
        f"{run.throughput:.0f} trained tokens/s, busy {run.utilisation:.0%}, "
        f"idle {run.share('idle'):.0%}, transfer {run.share('transfer'):.0%}, "
        f"staleness mean {run.mean_staleness:.2f}, maximum {run.max_staleness}"
    )
    split = ""
    if schedule.startswith("asynchronous"):
        split = f", {len(run.rollout_devices)} write and {len(run.train_devices)} train"
    words = (
        f"{schedule} schedule on {devices} devices{split}, σ = {sigma:g}, transfer {transfer:g} s: "
        f"{STEPS} updates take {run.end:.0f} s. {numbers} versions."
    )
    return plot_timelines({f"{schedule}{split}: {numbers}": run}), words


def schedule_dashboard() -> ExactDashboard:
    """Controls for the schedule, the devices, the tail, the budget, the split and the transfer."""
    return ExactDashboard(
        draw_schedule,
        schedule=W.Dropdown(options=SCHEDULES, description="schedule", **_WHOLE),
        devices=W.IntSlider(value=8, min=2, max=12, description="devices", **_WHOLE),
        sigma=W.SelectionSlider(
            options=[0.0, 0.5, 1.0, 1.5], value=1.0, description="tail σ", **_WHOLE
        ),
        budget=W.SelectionSlider(
            options=[300, 600, 1_200, 2_400, 4_800],
            value=1_200,
            description="token budget",
            **_WHOLE,
        ),
        writers=W.IntSlider(value=6, min=1, max=11, description="rollout devices", **_WHOLE),
        transfer=W.SelectionSlider(
            options=[0.0, 1.0, 2.0, 5.0, 10.0, 20.0],
            value=2.0,
            description="transfer (s)",
            **_WHOLE,
        ),
    )
