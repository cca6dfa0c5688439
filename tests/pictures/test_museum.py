"""The picture of an exhibit shows both runs, has units everywhere, and does not name the fault."""

import pytest

from rlvr_lab.experiments.museum import EXHIBITS, exhibit
from rlvr_lab.experiments.museum_faults import FAULTS, METRICS, TOLERANCES, glossary
from rlvr_lab.pictures import COLOURS, describe_exhibit, exhibit_table, plot_exhibit, show


@pytest.mark.parametrize("number", EXHIBITS)
def test_an_exhibit_shows_twelve_metrics_of_both_runs(number: int) -> None:
    broken, healthy = exhibit(number)
    figure = plot_exhibit(broken, healthy)
    assert len(figure.axes) == 12
    shown = set()
    for ax in figure.axes:
        grey, line = ax.lines
        assert (
            grey.get_color() == COLOURS["reference"] and grey.get_linewidth() < line.get_linewidth()
        )
        assert line.get_color() in COLOURS.values() and ax.get_ylabel() and ax.get_title(loc="left")
        pairs = ((line, broken), (grey, healthy))
        found = [
            {
                key
                for key in TOLERANCES | {"loss": 0}
                if [r[key] for r in run] == list(drawn.get_ydata())
            }
            for drawn, run in pairs
        ]
        shown |= found[0] & found[1]
        low, high = ax.get_ylim()
        assert high - low > 1e-3, "rounding errors do not fill a panel"
    assert shown == {*TOLERANCES, "loss"}
    assert len(show(figure, describe_exhibit(broken, healthy)).data) < 200_000


@pytest.mark.parametrize("number", EXHIBITS)
def test_words_and_table_do_not_give_the_fault_away(number: int) -> None:
    broken, healthy = exhibit(number)
    words = describe_exhibit(broken, healthy)
    table = exhibit_table(broken, healthy, TOLERANCES)
    for name, meaning in FAULTS.items():
        assert name not in words and name not in table and meaning not in words
    assert "Twelve curves of a run over 24 steps" in words


def test_the_table_has_the_numbers_of_both_runs_and_the_tolerances() -> None:
    lines = exhibit_table(*exhibit(10), TOLERANCES, steps=(1, 24)).splitlines()
    assert lines[0].split() == ["step", "1", "24", "tolerance"] and len(lines) == 25
    cut = next(i for i, line in enumerate(lines) if "truncated" in line)
    start, end = (f"{exhibit(10)[0][i]['truncated']:.3g}" for i in (0, -1))
    assert lines[cut].split() == ["Answers", "cut", "off", "truncated", start, end, "0.1"]
    assert next(line for line in lines if line.startswith("Loss ")).endswith(" –")
    assert lines[cut + 1].split() == ["healthy", "0", "0"]
    assert max(map(len, exhibit_table(*exhibit(8), TOLERANCES).splitlines())) <= 112


def test_picture_table_and_glossary_use_the_same_words() -> None:
    broken, healthy = exhibit(1)
    titles = [ax.get_title(loc="left") for ax in plot_exhibit(broken, healthy).axes]
    rows = exhibit_table(broken, healthy, TOLERANCES).splitlines()[1::2]
    explained = glossary().splitlines()[1:13]
    assert titles == [title for title, _ in METRICS.values()]
    for (key, (title, meaning)), row, line in zip(METRICS.items(), rows, explained, strict=True):
        assert row.startswith(f"{title:<27}{key}") and line == f"{title:<27}{key:<13}{meaning}"
    assert all(len(line) <= 110 for line in glossary().splitlines())
    assert "Tolerance –" in glossary() and "1.1 at most" in glossary()
