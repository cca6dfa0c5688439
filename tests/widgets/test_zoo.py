"""The table that is the configuration: what its controls say is what is computed and drawn."""

import math
from dataclasses import asdict

import pytest

from rlvr_lab.exact.zoo import ROWS, Cells
from rlvr_lab.widgets import zoo as widget
from rlvr_lab.widgets.zoo import STARTS, ZooDashboard, cell_words, draw_zoo

PLACES = ("baseline", "divide_by_std", "ratio", "clip_low", "clip_high", "average")


def values(dashboard: ZooDashboard, **changes) -> dict:
    return {name: control.value for name, control in dashboard.controls.items()} | changes


def asked(monkeypatch: pytest.MonkeyPatch) -> list[Cells]:
    """Every row whose numbers are computed, in order; the numbers are those of GRPO, for speed."""
    seen, zoo = [], widget._zoo()
    known = zoo.numbers(ROWS["GRPO"])

    class Zoo:
        exact, far = zoo.exact, zoo.far

        def numbers(self, cells, *dials):
            seen.append((cells, *dials))
            return known

    monkeypatch.setattr(widget, "_zoo", Zoo)
    return seen


@pytest.mark.parametrize("name", STARTS)
def test_a_known_row_loads_its_cells(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard, seen = ZooDashboard(), asked(monkeypatch)
    dashboard.controls["start"].value = "RLOO"
    dashboard.controls["start"].value = name
    row = STARTS[name]
    got = values(dashboard)
    assert {key: got[key] for key in PLACES} == asdict(row)
    _, words = draw_zoo(**got)
    assert seen[0] == (row, 4, "updates", 8)
    assert f"Your row ({name})" in words or row == ROWS.get("GRPO")


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("baseline", "batch"),
        ("divide_by_std", False),
        ("ratio", "sequence"),
        ("clip_low", 0.1),
        ("clip_high", math.inf),
        ("average", "token"),
    ],
)
def test_a_cell_reaches_the_numbers(control: str, value, monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard, seen = ZooDashboard(), asked(monkeypatch)
    dashboard.controls[control].value = value
    _, words = draw_zoo(**values(dashboard))
    assert seen[0][0] == Cells(**{control: value})
    assert [cells for cells, *_ in seen[1:]] == list(ROWS.values())
    assert "Your row (GRPO, changed)" in words


def test_the_dials_reach_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard, seen = ZooDashboard(), asked(monkeypatch)
    _, words = draw_zoo(**values(dashboard, distance=2, drift="noise", group_size=4))
    assert {dials for _, *dials in map(tuple, seen) for dials in [tuple(dials)]} == {
        (2, "noise", 4)
    }
    assert "noise of 0.01 in each weight, G = 4" in words
    assert "on-policy" in draw_zoo(**values(dashboard, distance=0))[1]


def test_the_words_are_the_numbers_of_the_row() -> None:
    _, words = draw_zoo(**values(ZooDashboard()))
    found = widget._zoo().numbers(ROWS["GRPO"], 4, "updates", 8)
    assert f"bias {found.bias:.2f}, cosine {found.cosine:.2f}" in words
    assert f"pull on length {1000 * found.length:+.1f} thousandths" in words
    assert f"GSPO {widget._zoo().numbers(ROWS['GSPO'], 4).cosine:.2f}" in words


def test_what_has_no_place_in_a_row_is_switched_off() -> None:
    controls = ZooDashboard().controls
    assert not controls["divide_by_std"].disabled and not controls["clip_low"].disabled
    controls["baseline"].value = "maxrl"
    assert controls["divide_by_std"].disabled and not controls["divide_by_std"].value
    controls["ratio"].value = "cispo"
    assert controls["clip_low"].disabled and not controls["clip_high"].disabled
    controls["ratio"].value = "none"
    assert controls["clip_high"].disabled
    # A row on the way between two others may have no meaning; it is drawn without the division.
    assert draw_zoo(**values(ZooDashboard(), baseline="maxrl", divide_by_std=True))


def test_every_control_has_a_class_a_tooltip_and_a_keyboard() -> None:
    for name, control in ZooDashboard().controls.items():
        assert f"rl-exact-{name.replace('_', '-')}" in control._dom_classes
        assert control.tooltip and control.tabbable is not False


def test_cells_in_words() -> None:
    assert cell_words(ROWS["CISPO"]) == ("r − group mean, ÷ std", "token*", "≤ 1.28", "all tokens")
    assert cell_words(ROWS["GSPO"])[1:3] == ("answer, mean", "0.9997 … 1.0004")
    assert cell_words(STARTS["exact importance weights"])[2] == "none"
    assert cell_words(Cells(clip_high=math.inf))[2] == "0.8 … ∞"
    assert cell_words(Cells(clip_low=1.0))[2] == "0 … 1.2"
    assert cell_words(ROWS["REINFORCE"]) == ("r − batch mean", "none", "none", "sum")
