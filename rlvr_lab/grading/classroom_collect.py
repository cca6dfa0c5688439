"""Collect submissions from a folder, as a learning-management system hands them over.

Known layouts: a folder per student (``ada/06_grpo.ipynb``, deeper folders too, Moodle's
``Ada Byron_1234_assignsubmission_file_/…``), and flat files that begin with the student's name
(``ada_06_grpo.ipynb``, ``ada__final.ipynb``, Canvas's ``byronada_LATE_12_345_06_grpo.ipynb``). With a roster the
longest of its names that a folder or a file begins with is the student.

A sheet is recognised by its cells, not by its file's name. Nothing here runs a student's code, and nothing in
a student's file stops the others: what cannot be used is named. This module needs no nbgrader.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlvr_lab.checks.stubs import read
from rlvr_lab.grading.classroom_course import RELEASED, Course, fingerprint, grading
from rlvr_lab.grading.classroom_files import plain_name, printable, read_notebook, safe_name

__all__ = ["Found", "collect", "due_times", "hours_late"]

_MOODLE = re.compile(r"(_\d+)?_assignsubmission_(file|onlinetext)_?$")
_CANVAS = re.compile(r"(_LATE)?(_\d+){1,2}$", re.IGNORECASE)
_COPY = re.compile(r"( ?\(\d+\)|-\d+)?$")
_SKIPPED = ("__MACOSX", ".ipynb_checkpoints")


@dataclass
class Found:
    """What one file turned out to be.

    Attributes:
        student: who handed it in; empty when the file's place names nobody.
        file: its path.
        time: when it was last changed.
        assignment: which sheet it is; ``None`` when it cannot be used.
        remarks: what the instructor should know, in sentences.
        used: whether it is the one that will be marked.
    """

    student: str
    file: Path
    time: datetime
    assignment: str | None = None
    remarks: list[str] = field(default_factory=list)
    used: bool = False


# ---------------------------------------------------------------------------------- whose, and which


def _student_of(name: str, roster: list[str], assignments: list[str], folder: bool) -> str:
    """The student whose name ``name`` begins with."""
    named = [
        one for one in roster if safe_name(name) == one or re.match(re.escape(one) + r"[\W_]", name)
    ]
    if named:
        return max(named, key=len)
    if folder:
        return _MOODLE.sub("", name).strip()
    stem = _COPY.sub("", name.split(".ipynb")[0])
    for assignment in assignments:
        if stem.endswith("_" + assignment):
            front = stem.removesuffix(assignment).rstrip("_")
            return _CANVAS.sub("", front) or front
    for separator in ("__", "_"):
        if separator in stem:
            return stem.split(separator)[0] or stem
    return stem


def _files(folder: Path, roster: list[str], assignments: list[str]) -> Iterator[tuple[str, Path]]:
    """Each file below ``folder`` with its student."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name in _SKIPPED:
            continue
        inside = sorted(entry.rglob("*")) if entry.is_dir() and not entry.is_symlink() else [entry]
        student = _student_of(plain_name(entry.name), roster, assignments, folder=entry.is_dir())
        student = safe_name(student) if student.strip(" .") else ""
        for path in inside:
            parts = path.relative_to(folder).parts
            hidden = any(part.startswith(".") or part in _SKIPPED for part in parts)
            if not hidden and (path.is_symlink() or path.is_file()):
                yield student, path


def _sheets(course: Course, assignments: list[str]) -> dict[str, tuple[set[str], str]]:
    """assignment → its grade_ids, and its version."""
    found = {}
    for assignment in assignments:
        source = read(course.notebook("source", assignment))
        ids = {grading(cell)["grade_id"] for cell in source["cells"] if grading(cell)}
        found[assignment] = ids, fingerprint(source)
    return found


def _recognise(found: Found, notebook: dict[str, Any], course: Course, sheets: dict) -> None:
    """Say which sheet a notebook is, and what is unusual about it."""
    ids = {grading(cell).get("grade_id") for cell in notebook["cells"]} - {None}
    ids = {one for one in ids if isinstance(one, str)}
    about = notebook.get("metadata", {}).get(RELEASED)
    about = about if isinstance(about, dict) else {}
    told = about.get("assignment")

    def likeness(name: str) -> tuple[int, bool, bool]:
        return len(ids & sheets[name][0]), told == name, name in found.file.name

    best = max(sheets, key=likeness)
    if not ids & sheets[best][0]:
        found.remarks.append(f"{found.file.name}: no cell of any assignment is in it; not used")
        return
    found.assignment = best
    own, version = sheets[best]
    if _COPY.sub("", found.file.name.split(".ipynb")[0])[-len(best) :] != best:
        found.remarks.append(f"renamed to {found.file.name}; recognised by its cells")
    if about.get("version") not in (None, version):
        released = course.remembered("releases.json").get(best, {}).get(str(about["version"]))
        when = (
            f", released on {released[:10]}" if released else ", which this course never released"
        )
        found.remarks.append(f"old version {str(about['version'])[:12]}{when}; now {version}")
    elif ids - own:
        found.remarks.append(f"another version: unknown cells {', '.join(sorted(ids - own))[:200]}")
    if own - ids:
        found.remarks.append(f"without the cells {', '.join(sorted(own - ids))[:200]}")


# --------------------------------------------------------------------------------------- the command


def collect(
    course: Course,
    folder: Path,
    assignments: list[str],
    due: datetime | None = None,
    roster: list[str] | None = None,
    dry_run: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Found]:
    """Find the submissions in ``folder`` and copy the newest of each student and sheet into the course.

    Args:
        course: into which they are copied; the originals stay as they are.
        folder: what the learning-management system handed over.
        assignments: the sheets to look for.
        due: when they were due; a later file is used, and named.
        roster: everybody who should hand in; who did not is named.
        dry_run: only look.
        now: the clock, for the log.

    Returns:
        One entry for each file, and one for each submission that is missing.

    Raises:
        FileNotFoundError: when there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    if folder.resolve().is_relative_to(course.folder / "submitted"):
        raise ValueError(
            f"{folder} is the course's own; nbgrader's `collect` has filled it already"
        )
    roster, sheets = roster or [], _sheets(course, assignments)
    every = [
        _look(student, path, course, sheets)
        for student, path in _files(folder, roster, assignments)
    ]
    _choose(every, course, due)
    every += _missing(every, course, roster, assignments, now())
    for found in every:
        if roster and found.student not in roster and found.file.name:
            found.remarks.append("not on the roster")
        if not dry_run and found.used:
            try:
                _copy(found, course)
            except OSError as error:  # one submission never stops the others
                found.used = False
                found.remarks.append(f"not copied: {error}")
        found.remarks = [printable(said) for said in found.remarks]
    if not dry_run:
        _remember(every, course, due, assignments, now())
    return every


def _look(student: str, path: Path, course: Course, sheets: dict) -> Found:
    try:
        seconds = path.lstat().st_mtime
        time = datetime.fromtimestamp(seconds, UTC)
    except (OSError, ValueError, OverflowError):  # no file system's time, or none of this calendar
        time = datetime.fromtimestamp(0, UTC)
    found = Found(student, path, time)
    if not student:
        where = "/".join(path.parts[-2:])
        found.remarks.append(f"{where}: its place gives no student's name; rename it. Not used")
        return found
    if ".ipynb" not in path.name.lower():
        found.remarks.append(f"{path.name}: not a notebook's name; left alone")
        return found
    try:
        notebook = read_notebook(path)
    except (ValueError, OSError) as error:
        found.assignment = next((name for name in sheets if name in path.name), None)
        if found.assignment is None and len(sheets) == 1:
            found.assignment = next(iter(sheets))
        found.remarks.append(f"{path.name} is not a notebook: {error}")
        found.time = datetime.fromtimestamp(0, UTC) if isinstance(error, OSError) else found.time
        return found
    _recognise(found, notebook, course, sheets)
    found.used = found.assignment is not None
    return found


def hours_late(time: datetime, due: datetime) -> float:
    """Hours after ``due``, rounded to minutes; 0 if in time."""
    return round(max(0.0, (time - due).total_seconds()) / 3600, 2)


def _choose(every: list[Found], course: Course, due: datetime | None) -> None:
    """Of several files for one sheet use the newest; name those that are late."""
    newest: dict[tuple[str, str], Found] = {}
    for found in (one for one in every if one.used and one.assignment):
        key = (found.student, found.assignment or "")
        other = newest.get(key)
        if other is None:
            newest[key] = found
            continue
        older, newer = sorted((other, found), key=lambda one: one.time)
        older.used, newest[key] = False, newer
        older.remarks.append(f"not used: {newer.file.name} is newer")
        newer.remarks.append(f"two files: the newer is used, not {older.file.name}")
    for (student, assignment), found in newest.items():
        before = _collected(course, student, assignment)
        if before is not None and before > found.time.replace(microsecond=0):
            found.used = False
            found.remarks.append("not used: a newer file was collected before")
        if due is not None and (late := hours_late(found.time, due)):
            found.remarks.append(f"{late:g} hours late")


def _collected(course: Course, student: str, assignment: str) -> datetime | None:
    place = course.notebook("submitted", assignment, student).with_name("timestamp.txt")
    if not place.is_file():
        return None
    try:  # nbgrader's own collect writes microseconds, too
        said = place.read_text("utf-8").strip().removesuffix("UTC").strip()
        return datetime.fromisoformat(said).replace(tzinfo=UTC)
    except ValueError:
        return None


STAMP = "%Y-%m-%d %H:%M:%S UTC"
"""How nbgrader wants to read a submission's time."""


def _missing(
    every: list[Found], course: Course, roster: list[str], assignments: list[str], now: datetime
) -> list[Found]:
    """An entry for each student without a usable file, for the sheets that somebody handed in."""
    handed = {found.assignment for found in every if found.used}
    asked = [name for name in assignments if name in handed or len(assignments) == 1]
    done = {(found.student, found.assignment) for found in every if found.used}
    people = list(dict.fromkeys([*roster, *sorted({found.student for found in every} - {""})]))
    absent = []
    for assignment in asked:
        for student in people:
            collected = course.notebook("submitted", assignment, student).is_file()
            if (student, assignment) not in done and not collected:
                absent.append(
                    Found(student, Path(), now, assignment, ["missing: no notebook to mark"])
                )
    return absent


def _copy(found: Found, course: Course) -> None:
    place = course.notebook("submitted", found.assignment or "", found.student).parent
    beside = place.with_name(f".{place.name}.new")  # so that a failure costs nothing
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    shutil.copyfile(found.file, beside / f"{place.name}.ipynb")
    (beside / "timestamp.txt").write_text(found.time.strftime(STAMP) + "\n", "utf-8")
    if place.exists():
        shutil.rmtree(place)
    beside.rename(place)


def due_times(course: Course) -> dict[str, datetime]:
    """assignment → when it was due, as ``collect`` was told."""
    kept = course.remembered("collected.json").get("due", {})
    return {name: datetime.fromisoformat(when) for name, when in kept.items()}


def _remember(
    every: Iterable[Found],
    course: Course,
    due: datetime | None,
    assignments: list[str],
    now: datetime,
) -> None:
    """Keep the remarks for the export, and a log of this run."""
    kept = course.remembered("collected.json")
    times = kept.setdefault("due", {})
    if due is not None:
        times.update({name: due.isoformat() for name in assignments})
    remarks: dict[tuple[str, str], list[str]] = {}
    for found in every:
        remarks.setdefault((found.student, found.assignment or ""), []).extend(found.remarks)
    for (student, assignment), said in remarks.items():
        if not student:
            continue
        kept.setdefault("remarks", {}).setdefault(student, {})[assignment] = said
    course.remember("collected.json", kept)
    with (course.logs / "collect.txt").open("a", encoding="utf-8") as log:
        log.write(f"{now:%Y-%m-%d %H:%M:%S} UTC\n")
        for found in every:
            used = "used" if found.used else "not used"
            place = found.file if found.file.name else "no file"
            what = f"{found.student}: {place} ({found.assignment or 'no assignment'}, {used})"
            log.write("  " + "; ".join([printable(what, 2000), *found.remarks]) + "\n")
