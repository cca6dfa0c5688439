"""The catalogue of exercises, and what a learner's saved notebooks say about their progress."""

import copy
import re
from collections import Counter
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from rlvr_lab import __main__ as command_line
from rlvr_lab.checks import catalogue, stubs

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
EVERY = catalogue.exercises()
SHEET = "01_rlhf_recap"


def test_the_course_has_exercises_of_every_kind_and_hard_ones() -> None:
    kinds = Counter(one.kind for one in EVERY)
    assert set(kinds) == set(catalogue.KINDS)
    assert len(EVERY) >= 60 and kinds["diagnose"] >= 10
    assert min(kinds[kind] for kind in ("predict", "train", "derive")) >= 6
    hard = Counter(one.difficulty for one in EVERY)
    assert hard[4] >= 12 and hard[5] >= 6
    cases = Counter(one.sheet for one in EVERY if one.kind == "essay")
    assert [cases[sheet] for sheet in cases if "case" in sheet] == [1, 1, 1]


def test_every_exercise_is_graded_and_has_a_place_for_an_answer() -> None:
    assert len({(one.sheet, one.number) for one in EVERY}) == len(EVERY)
    for one in EVERY:
        assert one.points and one.answers and 5 <= one.minutes <= 60, one
        assert all(points > 0 for points in one.points.values())


def test_each_essay_and_each_derivation_has_a_rubric_that_adds_up_in_words() -> None:
    for path in sorted((NOTEBOOKS / "solutions").glob("*.ipynb")):
        for cell in stubs.read(path)["cells"]:
            grading = cell["metadata"].get("nbgrader", {})
            if cell["cell_type"] == "markdown" and grading.get("grade"):
                assert "**Marking**" in "".join(cell["source"]), (path.stem, grading["grade_id"])


# ------------------------------------------------------------------------------------------ progress


def ran(cell: dict[str, Any], count: int, said: str = "", evalue: str = "") -> None:
    """The cell as it is saved after it was run."""
    cell["execution_count"] = count
    if said:
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": [said]}]
    if evalue:
        error = {"output_type": "error", "ename": "Mistake", "evalue": evalue, "traceback": []}
        cell["outputs"] = [error]


@pytest.fixture
def sheet() -> dict[str, Any]:
    return stubs.read(NOTEBOOKS / "exercises" / f"{SHEET}.ipynb")


def cell(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [
        c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name
    ]
    return found


def again(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """A second cell like ``name``, below it."""
    place = notebook["cells"].index(cell(notebook, name))
    second = copy.deepcopy(notebook["cells"][place])
    second["id"], second["metadata"]["nbgrader"]["grade_id"] = "second", "second"
    notebook["cells"].insert(place + 1, second)
    return second


def state(notebook: dict[str, Any], folder: Path, number: int = 1) -> str:
    stubs.write(notebook, folder / f"{SHEET}.ipynb")
    return catalogue.states(folder)[SHEET, number]


def test_the_state_is_what_the_check_last_printed(sheet: dict[str, Any], tmp_path: Path) -> None:
    check, answer = cell(sheet, "bradley-terry-check"), cell(sheet, "bradley-terry")
    assert state(sheet, tmp_path) == catalogue.OPEN
    ran(check, 2, evalue="bradley_terry_loss is not written yet: put your code …")
    assert state(sheet, tmp_path) == catalogue.OPEN
    ran(check, 3, evalue="bradley_terry_loss: the sign is flipped")
    assert state(sheet, tmp_path) == catalogue.TRIED
    ran(answer, 4)
    ran(check, 5, said="✓ bradley_terry_loss")
    assert state(sheet, tmp_path) == catalogue.SOLVED
    ran(answer, 6)
    assert state(sheet, tmp_path) == catalogue.CHANGED
    ran(check, 7, said="hello")
    assert state(sheet, tmp_path) == catalogue.TRIED, "a check that prints no ✓ was not passed"


def test_an_answer_in_prose_counts_as_written(tmp_path: Path) -> None:
    sheet = stubs.read(NOTEBOOKS / "exercises" / "10_case_qwen3.ipynb")
    essays = [one for one in EVERY if one.sheet == "10_case_qwen3" and one.kind == "essay"]
    number, name = essays[0].number, essays[0].answers[0]
    stubs.write(sheet, tmp_path / "10_case_qwen3.ipynb")
    assert catalogue.states(tmp_path)["10_case_qwen3", number] == catalogue.OPEN
    for text, expected in (("My words.", catalogue.WRITTEN), ("  \n", catalogue.OPEN)):
        cell(sheet, name)["source"] = [text]
        stubs.write(sheet, tmp_path / "10_case_qwen3.ipynb")
        assert catalogue.states(tmp_path)["10_case_qwen3", number] == expected


def test_an_exercise_is_solved_only_if_all_its_parts_are(
    sheet: dict[str, Any], tmp_path: Path
) -> None:
    second = again(sheet, "bradley-terry-check")
    ran(cell(sheet, "bradley-terry-check"), 2, said="✓ one")
    assert state(sheet, tmp_path) == catalogue.TRIED
    ran(second, 3, evalue="the sign is flipped")
    assert state(sheet, tmp_path) == catalogue.TRIED, "the worst of its parts"
    ran(second, 4, said="✓ two")
    assert state(sheet, tmp_path) == catalogue.SOLVED


def test_the_table_of_progress_adds_up(sheet: dict[str, Any], tmp_path: Path) -> None:
    ran(cell(sheet, "bradley-terry-check"), 2, said="✓ one")
    ran(cell(sheet, "dpo-loss-check"), 3, evalue="the sign is flipped")
    stubs.write(sheet, tmp_path / f"{SHEET}.ipynb")
    own = [one for one in EVERY if one.sheet == SHEET]
    table = catalogue.progress(tmp_path)
    assert "✓  1 Bradley and Terry" in table
    assert table.count("✗") == 2, "one row and the legend"
    points = sum(one.maximum for one in own)
    first = own[0]
    assert f"1 of {len(own)} exercises, {first.maximum} of {points} points" in table
    for one in own:
        assert f"{one.minutes:3} min" in table and one.title in table


def test_written_answers_count_and_their_minutes_are_done(tmp_path: Path) -> None:
    name = "10_case_qwen3"
    notebook = stubs.read(NOTEBOOKS / "exercises" / f"{name}.ipynb")
    own = [one for one in EVERY if one.sheet == name]
    (essay,) = [one for one in own if one.kind == "essay"]
    cell(notebook, essay.answers[0])["source"] = ["My words."]
    ran(cell(notebook, next(iter(own[0].points))), 2, said="✓ one")
    stubs.write(notebook, tmp_path / f"{name}.ipynb")
    table, done = catalogue.progress(tmp_path), own[0].maximum + essay.maximum
    assert f"2 of {len(own)} exercises, {done} of {sum(o.maximum for o in own)} points" in table
    rest = sum(one.minutes for one in own) - own[0].minutes - essay.minutes
    assert f"about {rest / 60:.1f} hours to go" in table


def test_any_answer_that_was_run_after_the_check_makes_it_old(
    sheet: dict[str, Any], tmp_path: Path
) -> None:
    second = again(sheet, "bradley-terry")
    ran(cell(sheet, "bradley-terry"), 9)
    ran(second, 3)
    ran(cell(sheet, "bradley-terry-check"), 5, said="✓ one")
    assert state(sheet, tmp_path) == catalogue.CHANGED


def test_the_command_reads_the_sheets_of_the_course(capsys: pytest.CaptureFixture) -> None:
    assert command_line.main(["exercises", "--status"]) == 0
    said = capsys.readouterr().out
    assert all(one.title in said for one in EVERY)
    assert "Nothing leaves this machine." in said


def test_the_command_reads_another_folder(
    sheet: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    stubs.write(sheet, tmp_path / f"{SHEET}.ipynb")
    assert command_line.main(["exercises", "--status", "--folder", str(tmp_path)]) == 0
    assert "02_overoptimisation" not in capsys.readouterr().out
    assert command_line.main(["exercises", "--status", "--folder", str(tmp_path / "no")]) == 2
    assert "no exercise sheets" in capsys.readouterr().err


def test_a_solved_sheet_is_read_as_solved(tmp_path: Path) -> None:
    """Run the solutions, save them as a learner would, and ask for the progress."""
    notebook = nbformat.read(NOTEBOOKS / "solutions" / f"{SHEET}.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}, allow_errors=True
    ).execute()
    nbformat.write(notebook, tmp_path / f"{SHEET}.ipynb")
    found = set(catalogue.states(tmp_path).values())
    assert found <= {catalogue.SOLVED, catalogue.WRITTEN} and catalogue.SOLVED in found


# -------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [("**write**", "**sing**", "unknown kind 'sing'"), ("●○○○○ (1", "●●○○○ (1", "is not 1")],
)
def test_a_head_that_contradicts_itself_is_refused(
    sheet: dict[str, Any], old: str, new: str, word: str
) -> None:
    for one in sheet["cells"]:
        one["source"] = [line.replace(old, new) for line in one["source"]]
    with pytest.raises(ValueError, match=word):
        catalogue.exercises_of(sheet, SHEET)


def test_the_overview_counts_kinds_and_difficulties() -> None:
    some = [one for one in EVERY if one.sheet == SHEET]
    *_, last = catalogue.overview(some).splitlines()
    assert last.split()[-5:-4] == [str(len(some))]
    assert f"{sum(one.minutes for one in some):4} min" in last


# ----------------------------------------------------------------------------- the plan in the README

WORDS = {"two and a half hours": 150, "two hours": 120}


def reading_minutes(name: str) -> int:
    """What the head of a notebook says about the time that it takes."""
    (path,) = NOTEBOOKS.glob(f"{name}_*.ipynb")
    said = re.search(r"\*\*about ([\w ]+)\*\*", "".join(stubs.read(path)["cells"][0]["source"]))[1]
    return WORDS[said] if said in WORDS else int(said.removesuffix(" minutes"))


def test_the_plan_for_a_class_adds_up() -> None:
    readme = (NOTEBOOKS.parent / "README.md").read_text("utf-8")
    plan = readme.split("### A plan for two weeks")[1].split("\n## ")[0]
    rows = [[part.strip(" *") for part in line.strip("|").split("|")] for line in plan.splitlines()]
    rows = [row for row in rows if len(row) == 6][2:]
    known = {(one.sheet[:2], one.number): one for one in EVERY}
    sums = [0, 0, 0, 0]
    for _, read, minutes, chosen, work, points in rows[:-1]:
        sheet, _, numbers = chosen.partition(": ")
        some = [known[sheet, int(number)] for number in numbers.split(", ")]
        found = [
            sum(map(reading_minutes, read.split(", "))),
            len(some),
            sum(one.minutes for one in some),
            sum(one.maximum for one in some),
        ]
        assert [int(minutes), int(work), int(points)] == [found[0], *found[2:]], (sheet, found)
        sums = [a + b for a, b in zip(sums, found, strict=True)]
    assert len(rows) == 11, "ten days and a sum"
    last = rows[-1]
    assert [int(last[2]), int(last[3].split()[0]), int(last[4]), int(last[5])] == sums
