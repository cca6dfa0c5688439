"""Points as tables: what the gradebook holds, out to CSV; marks given by hand, in from CSV."""

import csv
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import Any

from rlvr_lab.checks.stubs import read
from rlvr_lab.grading.classroom_collect import due_times, hours_late
from rlvr_lab.grading.classroom_course import Course, grading
from rlvr_lab.grading.classroom_files import utf8
from rlvr_lab.grading.classroom_nbgrader import gradebook

__all__ = ["export", "import_marks", "marks_of"]

TO_MARK = ["student", "assignment", "cell", "points", "comment", "maximum", "notebook"]


def graded_cells(course: Course, assignment: str) -> dict[str, float]:
    """grade_id → the most points it gives, in the order of the sheet."""
    cells = read(course.notebook("source", assignment))["cells"]
    marks = [grading(cell) for cell in cells if grading(cell).get("grade")]
    return {mark["grade_id"]: float(mark["points"]) for mark in marks}


def marks_of(course: Course, assignment: str) -> list[dict[str, Any]]:
    """A row for each student: points per cell, their sum, what is still to mark, hours late, remarks.

    A student with remarks but without a marked submission has a row without points.
    """
    cells, due = graded_cells(course, assignment), due_times(course).get(assignment)
    remarks = course.remembered("collected.json").get("remarks", {})
    rows: dict[str, dict[str, Any]] = {}
    with gradebook(course) as book:
        for submission in book.assignment_submissions(assignment):
            if not course.notebook("autograded", assignment, submission.student_id).is_file():
                continue  # nbgrader knows it, but could not mark it
            (notebook,) = submission.notebooks
            grades = {grade.name: grade for grade in notebook.grades}
            late = 0.0
            if due is not None and submission.timestamp is not None:  # nbgrader's is in UTC, unsaid
                late = hours_late(submission.timestamp.replace(tzinfo=UTC), due)
            rows[submission.student_id] = {
                "points": {name: _points(grades.get(name)) for name in cells},
                "to_mark": [name for name in cells if _open(grades.get(name))],
                "late": late,
            }
    waiting = {
        path.parents[1].name for path in course.folder.glob(f"submitted/*/{assignment}/*.ipynb")
    }
    named = {who for who, about in remarks.items() if about.keys() & {assignment, ""}}
    for student in sorted({*waiting, *named, *course.roster()} - set(rows)):
        rows[student] = {"points": dict.fromkeys(cells), "to_mark": [], "late": 0.0}
    for student, row in rows.items():
        said = remarks.get(student, {})
        row["remarks"] = [*said.get(assignment, []), *said.get("", [])]
        if student in waiting and all(points is None for points in row["points"].values()):
            row["remarks"].append("not marked yet")
        row |= {"student": student, "sum": sum(points or 0.0 for points in row["points"].values())}
    return [rows[student] for student in sorted(rows)]


def _points(grade: Any) -> float | None:
    """The points of a grade; ``None`` when there are none yet."""
    if grade is None or (grade.manual_score is None and grade.auto_score is None):
        return None
    return float(grade.score)


def _open(grade: Any) -> bool:
    """Whether somebody still has to read the answer."""
    return grade is not None and grade.needs_manual_grade


def export(course: Course, assignments: list[str], folder: Path) -> list[Path]:
    """Write the tables; returns their paths.

    ``<assignment>.csv`` has a row for each student, ``totals.csv`` the sums over all assignments, and
    ``to_mark.csv`` the answers that somebody has to read, in the columns that ``class marks --import`` reads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    totals: dict[str, dict[str, float]] = {}
    waiting: list[list[Any]] = []
    written, open_points = [], {}
    for assignment in assignments:
        cells = graded_cells(course, assignment)
        named = [f"{name} ({most:g})" for name, most in cells.items()]
        head = ["student", *named, "sum", "maximum", "to mark", "late", "remarks"]
        body = []
        for row in marks_of(course, assignment):
            student, most = row["student"], sum(cells.values())
            left = sum(cells[name] for name in row["to_mark"])
            given = [row["points"][name] for name in cells]
            remarks = "; ".join(row["remarks"])
            body.append([student, *given, row["sum"], most, left, row["late"], remarks])
            totals.setdefault(student, {})[assignment] = row["sum"]
            open_points[student] = open_points.get(student, 0.0) + left
            place = course.notebook("autograded", assignment, student)
            waiting += [
                [student, assignment, name, "", "", cells[name], place] for name in row["to_mark"]
            ]
        written.append(_write(folder / f"{assignment}.csv", head, body))
    most = sum(sum(graded_cells(course, name).values()) for name in assignments)
    body = [
        [
            student,
            *(sums.get(name, "") for name in assignments),
            sum(sums.values()),
            most,
            open_points[student],
        ]
        for student, sums in sorted(totals.items())
    ]
    head = ["student", *assignments, "sum", "maximum", "to mark"]
    written.append(_write(folder / "totals.csv", head, body))
    written.append(_write(folder / "to_mark.csv", TO_MARK, waiting))
    return written


def _write(path: Path, head: list[str], rows: Iterable[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(head)
        writer.writerows([_plain(value) for value in row] for row in rows)
    return path


def _plain(value: Any) -> Any:
    """A value for a spreadsheet, which must not take a student's text for a formula."""
    if isinstance(value, float):
        return f"{value:g}"
    if value is None:
        return ""
    text = utf8(str(value))
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def import_marks(course: Course, path: Path) -> tuple[int, int]:
    """Read marks given by hand: columns ``student, assignment, cell, points, comment``, others are ignored.

    Rows without points are left out. Either all marks are taken or none.

    Returns:
        How many marks were taken, and how many rows had no points.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: with the number of the row, when one cannot be used.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        absent = [name for name in TO_MARK[:4] if name not in (reader.fieldnames or [])]
        if absent:
            raise ValueError(f"{path}: no column {', '.join(absent)}")
        rows = list(enumerate(reader, start=2))
    taken = 0
    with gradebook(course) as book:
        for number, row in rows:
            if (row["points"] or "").strip():
                try:
                    _take(course, book, row)
                except ValueError as error:
                    book.db.rollback()
                    raise ValueError(f"{path}, row {number}: {error}; no mark was taken") from error
                taken += 1
        book.db.commit()
    return taken, len(rows) - taken


def _take(course: Course, book: Any, row: dict[str, str]) -> None:
    from nbgrader.api import MissingEntry

    student, assignment, cell = (row[name].strip().removeprefix("'") for name in TO_MARK[:3])
    if assignment not in course.released():
        raise ValueError(f"no assignment {assignment!r}")
    cells = graded_cells(course, assignment)
    if cell not in cells:
        raise ValueError(f"{assignment} has no graded cell {cell!r}")
    try:
        points = float(row["points"].replace(",", "."))
    except ValueError:
        raise ValueError(f"points: {row['points']!r} is no number") from None
    if not 0 <= points <= cells[cell]:
        raise ValueError(f"points: {points:g} is not between 0 and {cells[cell]:g}")
    try:
        grade = book.find_grade(cell, assignment, assignment, student)
    except MissingEntry:
        raise ValueError(f"{student!r} has no marked submission of {assignment}") from None
    grade.manual_score, grade.needs_manual_grade = points, False
    if (row.get("comment") or "").strip():
        try:
            comment = book.find_comment(cell, assignment, assignment, student)
        except MissingEntry:  # a check cell, which nbgrader gives no comment
            raise ValueError(
                f"{cell} is a check: nbgrader keeps comments only on answers"
            ) from None
        comment.manual_comment = row["comment"].strip()
