"""A hostile notebook costs its own exercise; the others are marked, and nothing else is touched."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr_lab.checks import stubs
from rlvr_lab.grading import marking
from rlvr_lab.grading.marking import Limits, mark
from tests.grading.hostile import CHECK, HOSTILE, ROOT, SAID, SHEET, small

SOLUTION = stubs.read(ROOT / "notebooks" / "solutions" / f"{SHEET}.ipynb")
SOURCE = small(SOLUTION)
LIMITS = Limits(cell=6, call=4)
FOLDERS = ("rlvr_lab", "data", "notebooks")


def seeds(grade_id: str) -> int:
    return 2**60 + len(grade_id)


def state() -> dict[Path, tuple[int, int, int]]:
    """Size, time and rights of every file of the course."""
    files = [
        p for folder in FOLDERS for p in (ROOT / folder).rglob("*") if "__pycache__" not in p.parts
    ]
    found = {p: p.stat() for p in [*files, ROOT / "README.md"] if p.is_file()}
    return {p: (s.st_size, s.st_mtime_ns, s.st_mode) for p, s in found.items()}


@pytest.fixture(scope="module", autouse=True)
def nothing_is_touched() -> Iterator[None]:
    marking.nursery()
    before = state()
    yield
    assert state() == before
    assert not Path("/tmp/rlvr-was-here").exists()


def test_the_solution_gets_full_points() -> None:
    marked = mark(SOURCE, SOURCE, LIMITS, seeds)
    assert marked.points == marked.possible > 0
    assert marked.log == ()
    assert all(cell.message.startswith("✓ ") and not cell.error for cell in marked.cells)


def test_the_stub_gets_none() -> None:
    marked = mark(stubs.stub(SOURCE), SOURCE, LIMITS, seeds)
    assert marked.points == 0 and marked.log == ()
    assert all("is not written yet" in cell.message for cell in marked.cells)


@pytest.mark.parametrize("name", HOSTILE)
def test_an_attack_costs_its_own_exercise(name: str) -> None:
    start = time.monotonic()
    marked = mark(HOSTILE[name].make(SOURCE), SOURCE, LIMITS, seeds)
    zero = {cell.grade_id for cell in marked.cells if cell.points == 0}
    assert zero == HOSTILE[name].zero, marked
    assert all(cell.points == cell.possible for cell in marked.cells if cell.grade_id not in zero)
    said = "\n".join([*marked.log, marked.cell(CHECK).message, *(ran.error for ran in marked.ran)])
    assert SAID.get(name, "") in said
    assert str(seeds(CHECK)) not in said
    assert all(len(ran.printed) < 11_000 for ran in marked.ran)
    assert marking.nursery().process.poll() is None
    assert time.monotonic() - start < 60
