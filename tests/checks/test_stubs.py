"""Stubs are made from solutions, the committed ones are up to date, and no answer slips through."""

import copy
import json
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from rlvr_lab.checks import stubs
from rlvr_lab.checks.catalogue import exercises

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
STUBS = sorted((NOTEBOOKS / "exercises").glob("*.ipynb"))

SOLVED = """\
import torch


def double(x):
    \"\"\"Twice x.\"\"\"
    unit = 1
    ### BEGIN SOLUTION
    y = 2 * x

    return y * unit
    ### END SOLUTION


def half(x):
    if x:
        ### BEGIN SOLUTION
        return x / 2
        ### END SOLUTION
    return 0"""

UNSOLVED = """\
import torch


def double(x):
    \"\"\"Twice x.\"\"\"
    unit = 1
    raise NotImplementedError("double is still to be written")


def half(x):
    if x:
        raise NotImplementedError("half is still to be written")
    return 0"""


def cell(kind: str, name: str, source: str, **metadata: Any) -> dict:
    made = {"cell_type": kind, "id": name, "metadata": metadata, "source": source.splitlines(True)}
    if kind == "code":
        output = {"name": "stdout", "output_type": "stream", "text": ["✓"]}
        made |= {"execution_count": 3, "outputs": [output]}
    return made


def grading(name: str, **changed: Any) -> dict:
    return {
        "cell_type": "code",
        "grade": False,
        "grade_id": name,
        "locked": False,
        "schema_version": 3,
        "solution": True,
        "task": False,
    } | changed


def solution_notebook() -> dict:
    graded = grading("check", grade=True, solution=False, locked=True, points=2)
    essay = grading("essay", grade=True, cell_type="markdown", points=4)
    hidden = "check(double)\n### BEGIN HIDDEN TESTS\ncheck(half)\n### END HIDDEN TESTS"
    return {
        "cells": [
            cell("markdown", "task", "Write `double`."),
            cell("code", "double", SOLVED, nbgrader=grading("double")),
            cell("code", "check", hidden, nbgrader=graded, execution={"iopub.status.busy": "now"}),
            cell("code", "picture", "draw(double)", tags=["needs-answer", "wide"]),
            cell("markdown", "essay", "Because of this and that.", nbgrader=essay),
        ],
        "metadata": {"language_info": {"name": "python", "version": "3.99"}, "widgets": {}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stubs.write(solution_notebook(), tmp_path / "solutions" / "01.ipynb")
    return tmp_path


def test_a_region_becomes_one_line_at_its_own_indentation() -> None:
    assert stubs.stub_source(SOLVED) == UNSOLVED


@pytest.mark.parametrize(
    "source",
    [
        "### BEGIN SOLUTION\nx = 1",
        "x = 1\n### END SOLUTION",
        "### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION",
        "### BEGIN SOLUTION\nx = 1\n### END HIDDEN TESTS",
    ],
)
def test_a_region_that_is_not_closed_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"SOLUTION|HIDDEN"):
        stubs.stub_source(source)


def test_a_stub_keeps_ids_and_loses_answers_outputs_and_hidden_tests() -> None:
    given = solution_notebook()
    before = copy.deepcopy(given)
    made = stubs.stub(given)
    assert given == before
    task, double, check, picture, essay = made["cells"]
    assert [c["id"] for c in made["cells"]] == [c["id"] for c in given["cells"]]
    assert task == given["cells"][0]
    assert "".join(double["source"]) == UNSOLVED
    assert double["metadata"] == {"nbgrader": grading("double")}
    assert check["source"] == ["check(double)"]
    assert check["metadata"]["tags"] == ["raises-exception"]
    assert "execution" not in check["metadata"]
    assert picture["metadata"]["tags"] == ["raises-exception", "wide"]
    assert essay["source"] == [stubs.PROSE_STUB]
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in made["cells"])
    assert made["metadata"] == stubs.METADATA


def test_a_solution_without_its_marks_is_refused() -> None:
    notebook = solution_notebook()
    notebook["cells"][1]["source"] = ["def double(x):\n", "    return 2 * x"]
    with pytest.raises(ValueError, match="'double'"):
        stubs.stub(notebook)


def test_what_is_generated_does_not_drift_and_any_change_does(folder: Path) -> None:
    (path,) = stubs.generate(folder)
    assert path == folder / "exercises" / "01.ipynb"
    assert stubs.drift(folder) == []
    path.write_text(path.read_text("utf-8").replace("is still", "is  still"), "utf-8")
    assert stubs.drift(folder) == [path]
    stubs.generate(folder)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert stubs.drift(folder) == [path]
    path.unlink()
    assert stubs.drift(folder) == [path]
    stubs.generate(folder)
    orphan = folder / "exercises" / "99.ipynb"
    orphan.write_text("{}", "utf-8")
    assert stubs.drift(folder) == [orphan]


@pytest.mark.parametrize("answered", [1, 4])
def test_answers_are_never_written_over(folder: Path, answered: int) -> None:
    (path,) = stubs.generate(folder)
    notebook = stubs.read(path)
    notebook["cells"][answered]["source"] = ["my own words"]
    stubs.write(notebook, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="contains answers"):
        stubs.generate(folder)
    assert path.read_bytes() == before


def test_files_that_cannot_be_used_are_refused_with_their_name(folder: Path) -> None:
    path = folder / "solutions" / "01.ipynb"
    path.write_text('{"cells": [', "utf-8")
    with pytest.raises(ValueError, match=r"01\.ipynb: not a notebook"):
        stubs.generate(folder)
    path.write_text(json.dumps(solution_notebook() | {"nbformat_minor": 4}), "utf-8")
    with pytest.raises(ValueError, match=r"01\.ipynb: expected notebook format 4\.5"):
        stubs.drift(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no solution notebooks"):
        stubs.generate(folder)


# -------------------------------------------------------------------------- the notebooks themselves


def test_the_stubs_are_what_their_solutions_make() -> None:
    """If this fails: ``python -m rlvr_lab exercises``, unless the stub holds answers of your own."""
    assert stubs.drift() == []


@pytest.mark.parametrize(
    "path", SOLUTIONS + STUBS, ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_a_notebook_is_written_as_nbformat_writes_it(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.read_text("utf-8") == nbformat.writes(notebook) + "\n"
    assert notebook.metadata == stubs.METADATA
    assert not any("execution" in cell.metadata for cell in notebook.cells)


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_the_grading_metadata_is_complete(path: Path) -> None:
    found = [c.metadata.nbgrader for c in nbformat.read(path, 4).cells if "nbgrader" in c.metadata]
    assert len({cell.grade_id for cell in found}) == len(found)
    for cell in found:
        assert set(cell) - {"points"} == set(grading("x"))
        assert (cell.schema_version, cell.task) == (3, False)
        assert cell.grade == ("points" in cell)
        assert cell.locked != cell.solution
    answers = [cell.grade_id for cell in found if cell.solution and not cell.grade]
    assert len(answers) >= 4
    open_cells: list[str] = []  # one check may take the functions of two cells
    for cell in found:
        if cell.solution and not cell.grade:
            open_cells.append(cell.grade_id)
        elif cell.grade and not cell.solution:
            assert cell.grade_id == f"{open_cells[0]}-check"
            open_cells.clear()
    assert not open_cells
    prose = [cell.grade_id for cell in found if cell.solution and cell.grade]
    derivations = [name for name in prose if name.endswith("-derivation")]
    assert {name.removesuffix("-derivation") for name in derivations} <= set(answers)


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_what_a_person_marks_has_a_rubric(path: Path) -> None:
    kind = ""
    for cell in nbformat.read(path, 4).cells:
        if cell.id.endswith("-task"):
            kind = cell.source.split("minutes** · **")[1].split("**")[0]
        grading = cell.metadata.get("nbgrader", {})
        if grading.get("grade") and grading.solution:
            assert kind == ("derive" if cell.id.endswith("-derivation") else "essay")
            marks = ("**Marking** (", "**Derivation.** ", "Typical errors:")
            samples = ("**A strong answer** (", "**A weak answer** (", "*Why ", "**Marking** (")
            for part in marks if kind == "derive" else samples:
                assert part in cell.source, (cell.id, part)


def test_each_derivation_is_written_down_and_each_essay_is_marked() -> None:
    graded: dict[str, int] = {"derive": 0, "essay": 0}
    for exercise in exercises():
        if exercise.kind in graded:
            graded[exercise.kind] += 1
            ends = [name.endswith("-derivation") for name in exercise.points]
            assert sum(ends) == (exercise.kind == "derive"), exercise.title
    assert graded["derive"] >= 9
    assert graded["essay"] >= 4


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_each_exercise_says_what_it_asks(path: Path) -> None:
    tasks = [c for c in nbformat.read(path, 4).cells if c.id.endswith("-task")]
    assert len(tasks) >= 5
    for number, task in enumerate(tasks, start=1):
        assert task.source.startswith(f"## {number} · ")
        for part in ("**Difficulty** ●", "of 5)", " minutes**", "<summary>Hint</summary>"):
            assert part in task.source
        head, hint, *_ = task.source.split("<details>")  # the answer to a question may follow
        assert len(head.split()) >= 50, "a few warm sentences before the work"
        assert 15 <= len(hint.split()) <= 120


@pytest.mark.parametrize("path", STUBS, ids=lambda path: path.stem)
def test_run_all_goes_past_what_is_not_solved(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=60, resources=folder).execute()
    checks = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade")]
    for cell in (c for c in checks if c.cell_type == "code"):
        (output,) = cell.outputs
        assert output.ename == "Mistake"
        assert "is not written yet" in output.traceback[0]
        assert len(output.traceback) == 1
