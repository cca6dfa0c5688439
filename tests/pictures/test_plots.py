"""Pictures: what stands on the axes, what gaps do, and that nothing is drawn outside the figure."""

import io
import math
import sys
from itertools import pairwise

import nbformat
import numpy as np
import PIL.Image
import pytest
from IPython.core.formatters import DisplayFormatter

from rlvr_lab.pictures import style as plots
from rlvr_lab.pictures import theory
from rlvr_lab.pictures.panels import MIXED, PANELS
from rlvr_lab.pictures.runs import (
    describe_run,
    plot_curve,
    plot_run,
)
from rlvr_lab.pictures.settings import name_setting, read_changes

P = np.linspace(0.01, 0.5, 50)


def record(step: int, **other) -> dict:
    return {
        "step": step,
        "reward": 0.4 + 0.01 * step,
        "pass_rate": 0.3 + 0.01 * step,
        "kl": 0.02 * step,
        "length": 12.0,
        "length_right": 10.0,
        "length_wrong": 10.0 + step,
        "entropy": 1.0,
        "changed": [],
        **other,
    }


def run(steps: int = 20, changes: dict[int, list[str]] | None = None) -> list[dict]:
    return [record(s, changed=(changes or {}).get(s, [])) for s in range(1, steps + 1)]


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def legends(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def words_outside(figure) -> list[str]:
    """Every text of the figure that is cut off by its edge."""
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    found = []
    legend_texts = [text for legend in figure.legends for text in legend.get_texts()]
    axes_texts = [
        text
        for ax in figure.axes
        for text in [*ax.texts, ax.xaxis.label, ax.yaxis.label, ax.title, ax._left_title]
    ]
    for text in legend_texts + axes_texts:
        box = text.get_window_extent()
        if text.get_text() and not (
            box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        ):
            found.append(text.get_text())
    return found


# --- the figure itself ----------------------------------------------------------------------------


def test_a_shown_figure_is_a_small_png_with_its_description_in_the_notebook() -> None:
    axes = plot_run(run(60, {20: ["average: sequence -> constant"]}))
    image = plots.show(axes.flat[0].figure, "reward rises")
    data, metadata = DisplayFormatter().format(image)
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    assert output.metadata["image/png"]["alt"] == "reward rises"
    png = PIL.Image.open(io.BytesIO(image.data))
    assert png.text["Description"] == "reward rises"
    assert png.width == 900
    assert len(image.data) < 60_000
    assert png.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_figure_without_description_is_refused() -> None:
    with pytest.raises(ValueError, match="alt"):
        plots.show(plots.new_figure()[0], " ")


def test_colours_are_distinct_and_pyplot_is_left_alone() -> None:
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS)
    assert set(plots.COLOURS) >= {"policy", "reference", "reward", "kl", "wrong", "right"}
    # The library never imports it; matplotlib's own inline backend may.
    assert "pyplot" not in vars(sys.modules["rlvr_lab.pictures.style"])


def test_new_figure_gives_one_axes_or_an_array() -> None:
    assert plots.new_figure()[1].get_figure() is not None
    assert plots.new_figure(2, 2)[1].shape == (2, 2)


# --- curves of a run ------------------------------------------------------------------------------


def test_raw_data_stays_faint_under_the_smoothing() -> None:
    ax = plot_curve(run(), "reward", smooth=5, label="GRPO")
    raw, smooth = ax.lines
    assert raw.get_alpha() < 0.5
    np.testing.assert_allclose(raw.get_ydata(), [r["reward"] for r in run()])
    # A trailing mean of a straight line lags by half the window.
    assert smooth.get_ydata()[-1] == pytest.approx(raw.get_ydata()[-3])
    assert ax.get_xlabel() == "step"
    assert ax.get_ylabel() == "reward per answer"
    assert ax.get_legend().get_texts()[0].get_text() == "GRPO"


def test_unsmoothed_is_one_line_and_goes_on_given_axes() -> None:
    _, ax = plots.new_figure()
    assert plot_curve(run(), "kl", ax) is ax
    assert len(ax.lines) == 1
    assert ax.get_ylabel() == "nats per answer"
    with pytest.raises(ValueError, match="smooth"):
        plot_curve(run(), "kl", smooth=0)


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_is_missing_is_a_gap(missing: float | None) -> None:
    records = run(6)
    records[2]["length_wrong"] = missing
    ax = plot_curve(records, "length_wrong", smooth=3)
    assert np.isnan(ax.lines[-1].get_ydata()).tolist() == [False, False, True, False, False, False]


def test_lengths_are_told_apart_by_more_than_colour() -> None:
    ax = plot_run(run()).flat[2]
    assert {"all", "✓ right", "✗ wrong"} <= set(texts(ax))
    thick = [line for line in ax.lines if line.get_linewidth() == 2]
    assert (
        len({(str(line.get_linestyle()), line.get_marker()) for line in thick}) == len(thick) == 3
    )
    assert words_outside(ax.figure) == []


def test_labels_of_equal_ends_do_not_collide() -> None:
    records = [record(s, length=10.0, length_right=10.0, length_wrong=10.0) for s in range(1, 9)]
    figure = plot_run(records).flat[0].figure
    figure.canvas.draw()
    labels = [t for t in figure.axes[2].texts if t.get_text() in {"all", "✓ right", "✗ wrong"}]
    boxes = sorted((t.get_window_extent() for t in labels), key=lambda box: box.y0)
    assert len(boxes) == 3
    assert all(below.y1 <= above.y0 + 3 for below, above in pairwise(boxes))


def test_a_run_has_four_panels_with_units() -> None:
    axes = plot_run(run(), label="GRPO", total=80)
    assert [ax.get_ylabel() for ax in axes.flat] == [
        "per answer",
        "nats per answer",
        "tokens",
        "nats per token",
    ]
    assert all(ax.get_xlim()[1] == 80 for ax in axes.flat)
    assert legends(axes.flat[0].figure) == ["GRPO"]


def test_the_last_panel_can_show_mixed_languages() -> None:
    records = [record(s, reward_mixed=0.1 * s) for s in range(1, 9)]
    panels = (*PANELS["policy-gradient"][:3], MIXED)
    axes = plot_run(records, panels=panels)
    assert [ax.get_ylabel() for ax in axes.flat[2:]] == ["tokens", "share of answers"]
    assert axes.flat[3].lines[0].get_ydata()[-1] == pytest.approx(0.8)
    assert axes.flat[3].get_ylim()[1] > 1
    words = describe_run(records, panels)
    assert "length and mixed languages over 8 steps" in words
    assert "share of answers in mixed languages 0.8" in words
    assert "length and mixed languages: no step" in describe_run([], panels)


def test_changes_leave_numbered_marks_that_the_legend_reads() -> None:
    changes = {5: ["average: sequence -> constant"], 9: ["kl_coef: 0.0 -> 0.1", "seed: 0 -> 1"]}
    axes = plot_run(run(20, changes))
    for ax in axes.flat:
        marks = [line for line in ax.lines if len(set(line.get_xdata())) == 1]
        assert [line.get_xdata()[0] for line in marks] == [5, 9]
        assert {"1", "2"} <= set(texts(ax))
    first, second = legends(axes.flat[0].figure)
    assert "step 5: normalise by length: on → off" in first
    assert "step 9: β: 0.0 → 0.1, seed: 0 → 1" in second
    assert words_outside(axes.flat[0].figure) == []


def test_earlier_runs_are_faint_and_named() -> None:
    alone = plot_run(run())
    both = plot_run(run(), label="now", earlier={"before": run(30), "long before": run(10)})
    for ax, compared in zip(alone.flat, both.flat, strict=True):
        assert len(compared.lines) > len(ax.lines)
        styles = {str(line.get_linestyle()) for line in compared.lines if line.get_alpha() == 0.55}
        assert len(styles) == 1  # matplotlib calls every dash pattern "--"
    assert legends(both.flat[0].figure) == ["now", "before", "long before"]


@pytest.mark.parametrize(
    "records",
    [
        [],
        run(1),
        [record(1, kl=None, reward=math.nan, length_wrong=None, entropy=None)],
        [{"step": 1}, {"step": 2}],
        [record(1, kl=-0.5), record(2, kl=-0.2)],
        [record(s, changed=["average: token -> sequence"]) for s in range(1, 13)],
    ],
    ids=["empty", "single", "nothing finite", "no keys", "negative", "a mark at every step"],
)
def test_any_run_can_be_drawn(records: list[dict]) -> None:
    axes = plot_run(records, total=10)
    plots.show(axes.flat[0].figure, describe_run(records))
    values = [r["kl"] for r in records if r.get("kl") is not None]
    assert axes.flat[1].get_ylim()[0] <= min([0, *values])


def test_four_panels_in_a_row() -> None:
    figure, axes = plots.new_figure(1, 4, width=11, height=2.8)
    assert plot_run(run(20, {5: ["seed: 0 -> 1"]}), axes).shape == (4,)
    assert words_outside(figure) == []
    boxes = [ax.get_tightbbox() for ax in axes]
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))


def test_a_run_in_words() -> None:
    words = describe_run([record(1), record(2, length_wrong=None, changed=["seed: 0 -> 1"])])
    assert "over 2 steps" in words
    assert "reward 0.42" in words
    assert "wrong" not in words
    assert "At step 2: seed: 0 → 1." in words


def test_changes_in_words() -> None:
    assert read_changes(["divide_by_std: True -> False"]) == "divide by std: on → off"
    assert read_changes(["clip_low: 0.2 -> 0.3", "clip_high: 0.2 -> 0.3"]) == "ε: 0.2 → 0.3"
    assert read_changes(["clip_low: 0.2 -> 0.3"]) == "ε below: 0.2 → 0.3"
    assert read_changes(["something new"]) == "something new"
    assert name_setting("learning_rate", 3e-4) == "learning rate 0.0003"
    assert name_setting("rewards.format", 0.1) == "weight of format 0.1"


# --- bands and exact pictures ---------------------------------------------------------------------


def test_a_band_states_n_and_holds_its_mean() -> None:
    curves = np.random.default_rng(0).normal(size=(6, 30))
    curves[0, 3] = np.nan
    ax = plots.plot_band(curves, label="wrong", colour="wrong")
    assert ax.get_legend().get_texts()[0].get_text() == "wrong, n = 6 seeds"
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.nanmean(curves, axis=0))
    assert len(ax.collections) == 1
    plots.plot_band(curves, ax, label="right", colour="right")
    assert len(ax.lines) == 2
    assert ax.get_xlabel() == "step"


def test_panels_draw_each_curve_and_the_level_of_guessing() -> None:
    looks = {"one": ("policy", "-"), "two": ("wrong", "--")}
    panels = {title: {"one": [[0.2, 0.4]], "two": [[0.6, 0.8]]} for title in ("left", "right")}
    figure = plots.plot_panels(panels, ["share", "share"], looks, guess=0.1)
    for ax in figure.axes:
        assert [line.get_ydata()[0] for line in ax.lines] == [0.2, 0.6, 0.1]
        assert texts(ax) == ["blind guessing"]
    assert [name.split(",")[0] for name in legends(figure)] == ["one", "two"]
    without = plots.plot_panels(panels, ["share", "share"], looks)
    assert [texts(ax) for ax in without.axes] == [[], []]


def test_std_multiplier_names_every_curve_and_covers_none() -> None:
    table = {g: 1 + np.log2(g / 2) * (0.6 - P) for g in (2, 4, 16, 64)}
    ax = theory.plot_std_multiplier(P, table, limit=1 / np.sqrt(P * (1 - P)))
    assert len(ax.lines) == 5 and texts(ax) == []
    named = [t.get_text() for t in ax.get_legend().get_texts()]
    assert named == ["G → ∞", "G = 64", "G = 16", "G = 4", "G = 2"]
    assert "pass rate" in ax.get_xlabel()
    assert "multiplier" in ax.get_ylabel()


def test_length_drift_has_one_curve_for_each_average_and_a_zero() -> None:
    drifts = {"sequence": 0.1 - P, "constant": 0 * P, "token": 0.01 * P}
    ax = theory.plot_length_drift(P, drifts)
    assert len(ax.lines) == 4
    assert [t.get_text() for t in ax.get_legend().get_texts()] == list(drifts)
    assert "tokens" in ax.get_ylabel()
    assert words_outside(ax.figure) == []


def test_one_legend_below_all_panels_has_each_name_once() -> None:
    figure, (left, right) = plots.new_figure(1, 2)
    left.plot([0, 1], label="both")
    right.plot([1, 0], label="both")
    right.plot([1, 1], label="right only")
    left.legend()
    plots.legend_below(figure, ncols=3)
    assert left.get_legend() is None and right.get_legend() is None
    (below,) = figure.legends
    assert [text.get_text() for text in below.get_texts()] == ["both", "right only"]
