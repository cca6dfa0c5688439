"""What the instructor's commands do, and what they print.

Each step takes the parsed options and returns the exit status. They need nbgrader.
"""

import argparse
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlvr_lab.checks.stubs import read, stub, write
from rlvr_lab.grading import classroom_collect, classroom_marks, classroom_nbgrader
from rlvr_lab.grading.classroom_course import (
    Course,
    choose,
    fingerprint,
    open_course,
    source_of,
    table,
)
from rlvr_lab.grading.classroom_files import printable
from rlvr_lab.policy.data import data_folder

__all__ = ["autograde", "collect", "export", "feedback", "formgrader", "marks", "release"]


def release(options: argparse.Namespace) -> int:
    course = open_course(options.course, create=True)
    sheets = options.sheets or data_folder().parent / "notebooks" / "solutions"
    known = sorted(path.stem for path in sheets.glob("*.ipynb"))
    rows = []
    for assignment in choose(options.assignment, known, f"in {sheets}"):
        solved = read(sheets / f"{assignment}.ipynb")
        source = source_of(course, solved, assignment)
        source_path, released = (
            course.notebook(step, assignment) for step in ("source", "release")
        )
        before = {p: p.read_bytes() for p in (source_path, released) if p.is_file()}
        write(source, source_path)
        try:
            classroom_nbgrader.release(course, assignment)
        except RuntimeError as error:
            for path, content in before.items():  # what was handed out stays what it was
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            raise ValueError(f"{assignment} was not released: {error}") from error
        _compare(read(released), stub(solved), released)
        versions = course.remembered("releases.json")
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        versions.setdefault(assignment, {}).setdefault(fingerprint(source), now)
        course.remember("releases.json", versions)
        cells = classroom_marks.graded_cells(course, assignment)
        rows.append([assignment, len(cells), sum(cells.values()), fingerprint(source), released])
    print(table(["assignment", "graded cells", "points", "version", "hand out"], rows))
    return 0


def _compare(released: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    """Refuse a release that is not the exercise sheet cell for cell."""

    def seen(notebook: dict[str, Any]) -> list[tuple[str, str, str]]:
        return [(c["id"], c["cell_type"], "".join(c["source"])) for c in notebook["cells"]]

    if seen(released) != seen(expected):
        path.unlink()
        raise ValueError(f"{path.name}: the release is not the exercise sheet; it was removed")


def collect(options: argparse.Namespace) -> int:
    course = open_course(options.course)
    chosen = course.chosen(options.assignment)
    roster = course.roster(options.roster)
    found = classroom_collect.collect(
        course, options.folder, chosen, options.due, roster, options.dry_run
    )
    rows = [
        [one.student, one.assignment, "yes" if one.used else "no", "; ".join(one.remarks)]
        for one in found
    ]
    print(table(["student", "assignment", "used", "remarks"], rows))
    used = sum(one.used for one in found)
    verb = "would be copied" if options.dry_run else f"copied to {course.folder / 'submitted'}"
    print(f"\n{used} of {len(found)} used and {verb}; the originals are unchanged")
    return 0


def _submissions(course: Course, options: argparse.Namespace, step: str) -> list[tuple[str, str]]:
    """(assignment, student) of the notebooks in ``step`` that the options choose."""
    chosen = course.chosen(options.assignment)
    every = [
        (name, path.parents[1].name)
        for name in chosen
        for path in sorted(course.folder.glob(f"{step}/*/{name}/{name}.ipynb"))
    ]
    for student in options.student or []:
        if not any(student == other for _, other in every):
            raise ValueError(f"--student: {student!r} has no notebook in {course.folder / step}")
    return [one for one in every if not options.student or one[1] in options.student]


def autograde(options: argparse.Namespace) -> int:
    course, rows, failed = open_course(options.course), [], 0
    every = _submissions(course, options, "submitted")
    for number, (assignment, student) in enumerate(every, start=1):
        about = f"{number}/{len(every)} {assignment} {printable(student)}"
        print(about, file=sys.stderr, flush=True)
        began, said = time.monotonic(), ""
        try:
            classroom_nbgrader.autograde(course, assignment, student, options.force)
        except Exception as error:  # one submission never stops the others
            failed, said = failed + 1, f"not marked: {_reason(error)}"
            with suppress(OSError):
                course.write_log(assignment, student, [f"{assignment}, {student}: {said}"])
        rows.append([assignment, student, said, time.monotonic() - began])
    if not every:
        print(f"nothing to mark in {course.folder / 'submitted'}: first run `class collect`")
        return 0
    print(
        table(
            ["assignment", "student", "points", "of", "to mark", "failed", "seconds"],
            _summary(course, rows),
        )
    )
    print(f"\nreasons: {course.folder / 'logs'}/<assignment>_<student>.txt")
    return 1 if failed else 0


def _reason(error: Exception) -> str:
    """An exception in words, whatever it may be."""
    try:
        return printable(str(error)) or type(error).__name__
    except Exception:
        return type(error).__name__


def _summary(course: Course, rows: list[list[Any]]) -> list[list[Any]]:
    marks = {
        (assignment, row["student"]): row
        for assignment in dict.fromkeys(row[0] for row in rows)
        for row in classroom_marks.marks_of(course, assignment)
    }
    shown = []
    for assignment, student, said, seconds in rows:
        cells, row = classroom_marks.graded_cells(course, assignment), marks[assignment, student]
        wrong = [name.removesuffix("-check") for name in cells if (row["points"][name] or 0) == 0]
        open_ones = [name for name in row["to_mark"] if row["points"][name] is None]
        wrong = [name for name in wrong if name not in open_ones]
        what = said or (", ".join(wrong) if len(wrong) < len(cells) else "all")
        left = sum(cells[name] for name in row["to_mark"])
        shown.append(
            [assignment, student, row["sum"], sum(cells.values()), left, what, round(seconds, 1)]
        )
    return shown


def feedback(options: argparse.Namespace) -> int:
    course, rows = open_course(options.course), []
    for assignment, student in _submissions(course, options, "autograded"):
        try:
            classroom_nbgrader.feedback(course, assignment, student)
        except Exception as error:  # one submission never stops the others
            rows.append([assignment, student, f"not made: {_reason(error)}"])
        else:
            place = course.notebook("feedback", assignment, student).with_suffix(".html")
            rows.append([assignment, student, place.relative_to(course.folder)])
    print(table(["assignment", "student", "feedback"], rows))
    return 1 if any(str(row[2]).startswith("not made") for row in rows) else 0


def export(options: argparse.Namespace) -> int:
    course = open_course(options.course)
    chosen = course.chosen(options.assignment)
    for path in classroom_marks.export(course, chosen, options.out or course.folder / "export"):
        lines = len(path.read_text("utf-8").splitlines()) - 1
        print(f"{path}: {lines} rows")
    return 0


def marks(options: argparse.Namespace) -> int:
    taken, empty = classroom_marks.import_marks(open_course(options.course), options.file)
    print(f"{taken} marks taken from {options.file}; {empty} rows without points were left out")
    return 0


def formgrader(options: argparse.Namespace) -> int:
    course = open_course(options.course)
    classroom_nbgrader.settings(course)
    os.chdir(course.folder)
    words = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", *options.options]
    words += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    print("In JupyterLab choose the menu Nbgrader → Formgrader.", file=sys.stderr, flush=True)
    os.execv(sys.executable, words)
