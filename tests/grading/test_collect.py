"""Submissions are recognised whatever their files are called; what cannot be used is named."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rlvr_lab.checks import stubs
from rlvr_lab.grading.classroom_collect import Found, collect
from rlvr_lab.grading.classroom_course import Course, fingerprint, source_of, table
from rlvr_lab.grading.classroom_files import file_name, printable, read_notebook, safe_name
from tests.grading.tiny import IDS, NAME, answered, handed_out, put, sheet

DUE = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)  # when `put` says that files were changed
VERSION = fingerprint(sheet())


@pytest.fixture
def course(tmp_path: Path) -> Course:
    made = Course(tmp_path / "class")
    made.folder.mkdir()
    stubs.write(source_of(made, sheet(), NAME), made.notebook("source", NAME))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "from the LMS"
    made.mkdir()
    return made


def found(course: Course, folder: Path, **options) -> dict[str, Found]:
    """Student → what was found; the used file if there is one."""
    every = collect(course, folder, [NAME], **options)
    return {one.student: one for one in sorted(every, key=lambda one: one.used)}


def remarks(one: Found) -> str:
    return "; ".join(one.remarks)


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("ada/tiny.ipynb", "ada"),
        ("ada/deeper/work.ipynb", "ada"),
        ("Ada Byron_1234_assignsubmission_file_/tiny.ipynb", "Ada Byron"),
        ("ada_tiny.ipynb", "ada"),
        ("ada_byron_tiny.ipynb", "ada_byron"),
        ("ada__final.ipynb", "ada"),
        ("ada_final.ipynb", "ada"),
        ("ada_byron__final version.ipynb", "ada_byron"),
        ("byronada_LATE_12_3456_tiny.ipynb", "byronada"),
        ("byronada_12_3456_tiny-1.ipynb", "byronada"),
        ("ada_tiny (2).ipynb", "ada"),
        ("ada.ipynb", "ada"),
        ("Zoë {1} [x]/tiny.ipynb", "Zoë {1} _x_"),
    ],
)
def test_whose_file_it_is(course: Course, folder: Path, name: str, student: str) -> None:
    put(answered(), folder / name)
    one = found(course, folder)[student]
    assert one.used and one.assignment == NAME
    copied = course.notebook("submitted", NAME, student)
    assert copied.read_bytes() == (folder / name).read_bytes()
    assert copied.with_name("timestamp.txt").read_text() == "2027-01-15 08:00:00 UTC\n"


def test_with_a_roster_its_names_decide(course: Course, folder: Path) -> None:
    for name in ("ada_b_final.ipynb", "ada_x.ipynb", "bo-tiny.ipynb", "cy_tiny.ipynb"):
        put(answered(), folder / name)
    told = found(course, folder, roster=["ada", "ada_b", "bo", "dee"])
    assert {name for name, one in told.items() if one.used} == {"ada", "ada_b", "bo", "cy"}
    assert "not on the roster" in remarks(told["cy"])
    assert remarks(told["dee"]) == "missing: no notebook to mark"


def test_a_sheet_as_handed_out_needs_no_remark(course: Course, folder: Path) -> None:
    put(answered(of=handed_out(VERSION)), folder / "ada/tiny.ipynb")
    put(answered(), folder / "ben/tiny.ipynb")  # as it stands in notebooks/exercises
    told = found(course, folder, due=DUE)
    assert told["ada"].remarks == told["ben"].remarks == []


def test_what_is_unusual_is_named(course: Course, folder: Path) -> None:
    course.remember("releases.json", {NAME: {"0ld": "2026-11-01 09:00:00", VERSION: "2026-11-20"}})
    put(answered(of=handed_out("0ld")), folder / "ada/My work (1).ipynb")
    changed = handed_out()
    del changed["cells"][-1]
    changed["cells"][2]["metadata"]["nbgrader"]["grade_id"] = "older"
    put(changed, folder / "ben/tiny.ipynb")
    told = found(course, folder)
    said = remarks(told["ada"])
    assert "renamed to My work (1).ipynb; recognised by its cells" in said
    assert f"old version 0ld, released on 2026-11-01; now {VERSION}" in said
    assert "another version: unknown cells older" in remarks(told["ben"])
    assert f"without the cells essay, {IDS[0]}" in remarks(told["ben"])
    assert told["ada"].used and told["ben"].used


def test_late_files_are_used_and_named(course: Course, folder: Path) -> None:
    put(answered(), folder / "ada/tiny.ipynb", DUE.timestamp() + 5400)
    put(answered(), folder / "ben/tiny.ipynb", DUE.timestamp())
    told = found(course, folder, due=DUE)
    assert (remarks(told["ada"]), remarks(told["ben"])) == ("1.5 hours late", "")


def test_of_two_files_the_newest_counts(course: Course, folder: Path) -> None:
    put(answered(*IDS), folder / "ada/tiny.ipynb", DUE.timestamp())
    put(answered(), folder / "ada/tiny old.ipynb", DUE.timestamp() - 60)
    every = collect(course, folder, [NAME])
    used = {one.file.name: (one.used, remarks(one)) for one in every}
    assert used["tiny.ipynb"] == (True, "two files: the newer is used, not tiny old.ipynb")
    assert used["tiny old.ipynb"][0] is False
    assert "not used: tiny.ipynb is newer" in used["tiny old.ipynb"][1]


def test_collecting_again_takes_newer_files_only(course: Course, folder: Path) -> None:
    place = course.notebook("submitted", NAME, "ada")
    put(answered(), folder / "ada/tiny.ipynb", DUE.timestamp())
    found(course, folder)
    put(answered(*IDS), folder / "ada/tiny.ipynb", DUE.timestamp() + 60)
    found(course, folder)
    newer = place.read_bytes()
    assert newer == (folder / "ada/tiny.ipynb").read_bytes()
    put(answered(), folder / "ada/tiny.ipynb", DUE.timestamp() + 30)
    told = found(course, folder)["ada"]
    assert not told.used and "a newer file was collected before" in remarks(told)
    assert place.read_bytes() == newer


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"cells": [', "it is no JSON"),
        ("", "it is empty"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "it is JSON, but no notebook"),
        ('{"nbformat": 3, "worksheets": []}', "it has the old notebook format 3"),
        ('{"nbformat": 4, "cells": 7}', "its cells are damaged"),
        (
            '{"nbformat": 4, "cells": [{"cell_type": "code", "source": [1]}]}',
            "its cells are damaged",
        ),
        ('{"nbformat": 4, "cells": [], "metadata": []}', "its cells are damaged"),
        (b"\xff\xfe\x00", "it is no text file"),
        ('{"nbformat": 4, "nbformat_minor": "x", "cells": []}', "its nbformat_minor is no number"),
        ('{"nbformat": 4, "cells": [], "n": ' + "9" * 5000 + "}", "it is no JSON"),
    ],
)
def test_a_file_that_is_no_notebook_is_named(
    course: Course, folder: Path, content: str | bytes, why: str
) -> None:
    put(answered(), folder / "ben/tiny.ipynb")
    path = folder / "ada" / "tiny.ipynb"
    path.parent.mkdir()
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    every = collect(course, folder, [NAME])
    said = [remarks(one) for one in every if one.student == "ada"]
    assert said[0].startswith(f"tiny.ipynb is not a notebook: {why}")
    assert said[1] == "missing: no notebook to mark"
    assert [one.student for one in every if one.used] == ["ben"]


def test_other_files_are_left_alone(course: Course, folder: Path, tmp_path: Path) -> None:
    put(answered(), folder / "ada/tiny.ipynb")
    put("report", folder / "ada/report.pdf")
    put("{}", folder / "ada/.ipynb_checkpoints/tiny-checkpoint.ipynb")
    put("{}", folder / "__MACOSX/ada/tiny.ipynb")
    put(json.dumps({"nbformat": 4, "cells": [], "metadata": {}}), folder / "ben/other.ipynb")
    (folder / "cy").mkdir()
    (folder / "cy/tiny.ipynb").symlink_to(tmp_path / "class/secret")
    every = collect(course, folder, [NAME])
    told = {one.file.name or one.student: remarks(one) for one in every if not one.used}
    assert told["report.pdf"] == "report.pdf: not a notebook's name; left alone"
    assert told["other.ipynb"] == "other.ipynb: no cell of any assignment is in it; not used"
    assert told["tiny.ipynb"] == "tiny.ipynb is not a notebook: it is a link, not a file"
    assert len(every) == 6  # the last two: ben's and cy's are missing


def test_a_dry_run_writes_nothing_and_originals_stay(course: Course, folder: Path) -> None:
    put(answered(), folder / "ada/tiny.ipynb")
    before = {path: path.read_bytes() for path in folder.rglob("*.ipynb")}
    assert found(course, folder, dry_run=True)["ada"].used
    assert not (course.folder / "submitted").exists()
    assert not (course.folder / "collected.json").exists()
    found(course, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*.ipynb")} == before


def test_what_was_found_is_kept_for_the_export(course: Course, folder: Path) -> None:
    put(answered(), folder / "ada/x.ipynb")
    now = DUE + timedelta(days=1)
    collect(course, folder, [NAME], DUE, ["ada", "eve"], now=lambda: now)
    kept = course.remembered("collected.json")
    assert kept["due"] == {NAME: DUE.isoformat()}
    assert kept["remarks"]["ada"][NAME] == ["renamed to x.ipynb; recognised by its cells"]
    assert kept["remarks"]["eve"][NAME] == ["missing: no notebook to mark"]
    log = (course.logs / "collect.txt").read_text()
    assert log.startswith("2027-01-16 08:00:00 UTC\n  ada: ") and "eve: no file (tiny" in log


def test_folders_that_cannot_be_collected(course: Course, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        collect(course, folder / "nowhere", [NAME])
    inside = course.folder / "submitted"
    inside.mkdir()
    with pytest.raises(ValueError, match="the course's own"):
        collect(course, inside, [NAME])


def test_a_notebook_is_read_as_it_is(tmp_path: Path) -> None:
    put(answered(), tmp_path / "a.ipynb")
    assert read_notebook(tmp_path / "a.ipynb") == answered()
    put(" " * ((20 << 20) + 1), tmp_path / "b.ipynb")
    with pytest.raises(ValueError, match="larger than 20 MB"):
        read_notebook(tmp_path / "b.ipynb")


# ------------------------------------------------------------------------ nobody's file stops the others


def test_no_text_of_a_student_breaks_the_course(course: Course, folder: Path) -> None:
    odd = "a\nada  tiny  yes \x1b[2J \ud800"
    stranger = answered()
    stranger["cells"].append(
        {"cell_type": "markdown", "metadata": {"nbgrader": {"grade_id": odd}}, "source": [odd]}
    )
    put(stranger, folder / "mal" / "tiny.ipynb")
    old = answered(of=handed_out("\ud800\x1b[2J"))
    put(old, folder / "old" / "My\nwork\udcff.ipynb")
    put(answered(), folder / "x\n\udcffy" / "tiny.ipynb")
    put(answered(), folder / "ben" / "tiny.ipynb")
    every = collect(course, folder, [NAME])
    assert {one.student for one in every if one.used} == {"mal", "old", "x__y", "ben"}
    said = [line for one in every for line in one.remarks]
    assert any("unknown cells a�ada  tiny  yes �[2J �" in line for line in said)
    assert any("old version ��[2J" in line for line in said)
    assert all(line.isprintable() for line in said)
    kept = course.remembered("collected.json")["remarks"]
    assert set(kept) == {"mal", "old", "x__y", "ben"}
    assert "\x1b" not in (course.logs / "collect.txt").read_text("utf-8")
    assert table(["a"], [["b\n\x1b\ud800"]]) == "a\nb���"


@pytest.mark.parametrize(
    "name", [" ..", " ", "_12_assignsubmission_file_", " .._1_assignsubmission_file_"]
)
def test_a_place_without_a_name_is_refused(course: Course, folder: Path, name: str) -> None:
    put(answered(), folder / name / "tiny.ipynb")
    put(answered(), folder / "ben" / "tiny.ipynb")
    every = collect(course, folder, [NAME])
    (refused,) = [one for one in every if not one.used]
    assert remarks(refused).endswith("its place gives no student's name; rename it. Not used")
    assert set(course.remembered("collected.json")["remarks"]) == {"ben"}
    assert [path.name for path in (course.folder / "submitted").iterdir()] == ["ben"]


def test_names_fit_into_file_systems() -> None:
    assert safe_name("Zoë {1} [x]/<b>") == "Zoë {1} _x___b_"
    long = [safe_name("ü" * 100 + end) for end in "ab"]
    assert long[0] != long[1] and all(len(name.encode()) <= 120 for name in long)
    assert len(file_name("a" * 250)) == 200 and file_name("tiny_ada") == "tiny_ada"
    assert printable("a" * 500) == "a" * 399 + "…"


def test_what_cannot_be_copied_stops_nobody(course: Course, folder: Path) -> None:
    put(answered(), folder / "ada/tiny.ipynb")
    put(answered(), folder / ("n" * 200) / "tiny.ipynb")
    put(answered(), folder / "zoe/tiny.ipynb")
    (course.folder / "submitted").mkdir()
    (course.folder / "submitted" / "ada").write_text("no folder")
    every = collect(course, folder, [NAME])
    assert "not copied: " in remarks(every[0])
    assert [one.used for one in every[1:3]] == [True, True]


def test_what_is_remembered_survives_a_failure(course: Course) -> None:
    course.remember("collected.json", {"a": "\ud800"})
    assert course.remembered("collected.json") == {"a": "\ud800"}
    with pytest.raises(TypeError):
        course.remember("collected.json", {"a": object()})
    assert course.remembered("collected.json") == {"a": "\ud800"}
    (course.folder / "collected.json").write_text("{")
    with pytest.raises(ValueError, match=r"collected\.json is damaged"):
        course.remembered("collected.json")
