"""Timelines and the curves over them: what is drawn is what was given."""

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from rlvr_lab.exact.rollout_devices import Cluster
from rlvr_lab.exact.rollout_schedules import asynchronous, synchronous
from rlvr_lab.pictures.kimi_schedules import (
    LOOKS,
    plot_lengths_taken,
    plot_schedules,
    plot_step_shares,
    plot_timelines,
)

LENGTHS = [6.0, 2.0, 4.0, 4.0, *[5.0] * 20]
CLUSTER = Cluster(3, 1.0, 1.0, 2.0)


def boxes(collection: PolyCollection) -> list[tuple[float, float, float]]:
    """(device, start, end) of each bar."""
    found = []
    for path in collection.get_paths():
        x, y = path.vertices[:, 0], path.vertices[:, 1]
        found.append((round(float(y.min() + y.max()) / 2), float(x.min()), float(x.max())))
    return sorted(found)


def test_every_event_is_a_bar_with_its_colour_and_hatch() -> None:
    runs = {
        "shared": synchronous(LENGTHS, CLUSTER, 4, 2),
        "split": asynchronous(LENGTHS, CLUSTER, 4, 2, 2),
    }
    figure = plot_timelines(runs)
    assert [ax.get_title("left") for ax in figure.axes] == list(runs)
    for ax, run in zip(figure.axes, runs.values(), strict=True):
        assert len(ax.collections) == 4
        for collection, (kind, (colour, hatch)) in zip(ax.collections, LOOKS.items(), strict=True):
            wanted = sorted((e.device, e.start, e.end) for e in run.events if e.kind == kind)
            np.testing.assert_allclose(boxes(collection), wanted)
            if wanted:
                assert to_hex(collection.get_facecolor()[0]) == colour.lower()
            assert (collection.get_hatch() or "") == hatch
        assert ax.get_xlim() == (0, max(run.end for run in runs.values()))
        low, high = ax.get_ylim()
        assert low > high, "device 0 is on top"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(LOOKS)
    assert figure.axes[-1].get_xlabel() == "time (seconds)"
    looks = list(LOOKS.values())
    assert len({colour for colour, _ in looks}) == len({hatch for _, hatch in looks}) == 4


def test_a_version_is_written_once_on_a_row() -> None:
    run = asynchronous(LENGTHS, CLUSTER, 4, 2, 2)
    (ax,) = plot_timelines({"split": run}).axes
    drawn = [(text.get_text(), text.get_position()) for text in ax.texts]
    assert len(drawn) == len({(label, y) for label, (_, y) in drawn})
    for label, (x, y) in drawn:
        inside = [e for e in run.events if e.device == y and e.start < x < e.end]
        assert [f"v{e.version}" for e in inside] == [label]
        assert inside[0].kind in ("rollout", "train")
    assert {label for label, _ in drawn} == {"v0", "v1"}
    half = plot_timelines({"split": run}, until=run.end / 2)
    assert half.axes[0].get_xlim() == (0, run.end / 2)


def test_curves_of_schedules_stand_over_the_setting() -> None:
    grid, one = [0.0, 0.5, 1.0], np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])
    panels = {"throughput (1/s)": {"a": one, "b": one + 1}, "idle (share)": {"a": one}}
    figure = plot_schedules(panels, grid, "σ", {"idle (share)": (0, 9)})
    assert [ax.get_title() for ax in figure.axes] == list(panels)
    first = figure.axes[0]
    np.testing.assert_allclose(first.lines[0].get_ydata(), [2, 3, 4])
    np.testing.assert_allclose(first.lines[2].get_ydata(), [3, 4, 5])
    assert first.lines[0].get_linestyle() != first.lines[2].get_linestyle()
    assert first.get_xlabel() == "σ" and figure.axes[1].get_ylim() == (0, 9)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "a, n = 2 seeds",
        "b, n = 2 seeds",
    ]


def test_the_lengths_of_the_updates_stand_next_to_their_mean() -> None:
    figure = plot_lengths_taken({"a": np.array([[100.0, 300.0], [200.0, 500.0]])}, 350.0)
    (ax,) = figure.axes
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [150, 400])
    assert list(ax.lines[1].get_ydata()) == [350, 350]
    assert ax.get_ylim()[0] == 0 and "tokens" in ax.get_ylabel()
    assert [text.get_text() for text in ax.texts] == ["all answers"]


def test_shares_here_have_a_point_for_each_seed_and_published_ones_one() -> None:
    (ax,) = plot_step_shares({"ours": [20.0, 40.0]}, {"theirs": 70.0}, "share (%)").axes
    drawn = [sorted(map(float, line.get_xdata())) for line in ax.lines]
    assert drawn == [[20.0, 40.0], [30.0], [70.0]]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["here: ours (n = 2)", "theirs"]
    assert [text.get_text() for text in ax.texts] == ["30", "70"]
    assert ax.get_xlim() == (0, 100) and ax.get_xlabel() == "share (%)"
