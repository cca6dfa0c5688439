"""A class on disk: its folder, its secret, the sheets it hands out, and who takes part.

A course is a folder in nbgrader's layout, outside the project or ignored by git::

    source/A/A.ipynb         solutions with hidden tests      release/A/A.ipynb         what students get
    submitted/S/A/A.ipynb    what came back from student S    autograded/, feedback/    after marking
    gradebook.db             points and comments              secret                    key of the hidden seeds
    releases.json            which versions went out          collected.json            what came in, and when
    students.csv             the roster, if there is one      logs/, export/            reasons, tables

This module needs no nbgrader.
"""

import ast
import copy
import csv
import hashlib
import hmac
import json
import os
import secrets
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_lab.checks.stubs import METADATA, Notebook, stub, stub_source
from rlvr_lab.grading.classroom_files import file_name, printable, safe_name
from rlvr_lab.policy.data import data_folder

__all__ = [
    "RELEASED",
    "Course",
    "choose",
    "fingerprint",
    "grading",
    "hidden_call",
    "is_test",
    "open_course",
    "source_of",
    "table",
]

RELEASED = "rlvr_lab"
"""The key in a released notebook's metadata; its value holds ``assignment`` and ``version``."""


@dataclass(frozen=True)
class Course:
    """The files of a course in ``folder``, an absolute path."""

    folder: Path

    def notebook(self, step: str, assignment: str, student: str = "") -> Path:
        """The path of an assignment's notebook in a step such as ``"source"`` or ``"submitted"``."""
        return self.folder / step / student / assignment / f"{assignment}.ipynb"

    @property
    def logs(self) -> Path:
        folder = self.folder / "logs"
        folder.mkdir(exist_ok=True)
        return folder

    def write_log(self, assignment: str, student: str, lines: Iterable[str]) -> None:
        """Write the log of one submission, whatever stands in it."""
        text = "\n".join(lines) + "\n"
        place = self.logs / f"{file_name(f'{assignment}_{student}')}.txt"
        place.write_text(text, "utf-8", "backslashreplace")

    def released(self) -> list[str]:
        """The assignments that have been released."""
        return sorted(path.parent.name for path in self.folder.glob("source/*/*.ipynb"))

    def chosen(self, names: Iterable[str] | None) -> list[str]:
        """``names``, or all that have been released.

        Raises:
            ValueError: when one of them has not, or none at all.
        """
        return choose(
            names, self.released(), f"released in {self.folder}; `class release` does that"
        )

    def hidden_seed(self, assignment: str, grade_id: str, handed_in: str = "") -> int:
        """The seed of a check's hidden test: the same each time, and unknown without the secret.

        With ``handed_in``, which stands for a submission, the seed is that submission's own.
        """
        place = self.folder / "secret"
        if not place.is_file():
            place.touch(mode=0o600)
            place.write_text(secrets.token_hex(32) + "\n", "ascii")
        key = bytes.fromhex(place.read_text("ascii").strip())
        what = f"{assignment}/{grade_id}" + f"/{handed_in}" * bool(handed_in)
        digest = hmac.digest(key, what.encode("utf-8", "backslashreplace"), "sha256")
        return int.from_bytes(digest[:8]) >> 4  # 60 bits

    def remembered(self, name: str) -> dict[str, Any]:
        """What stands in the course's file ``name``; empty if there is none."""
        place = self.folder / name
        try:
            return json.loads(place.read_text("utf-8")) if place.is_file() else {}
        except ValueError as error:
            raise ValueError(f"{place} is damaged ({error}); move it away") from None

    def remember(self, name: str, what: dict[str, Any]) -> None:
        """Keep ``what`` in the course's file ``name``."""
        text = json.dumps(what, ensure_ascii=False, indent=1, sort_keys=True)
        beside = self.folder / f"{name}.new"  # a failure must not cost what stands there
        beside.write_text(text + "\n", "utf-8", "backslashreplace")
        os.replace(beside, self.folder / name)

    def roster(self, path: Path | None = None) -> list[str]:
        """The students of ``path``, by default of the course's ``students.csv``; empty without one.

        The students' names stand in the column ``student`` (or ``id``), otherwise in the first column.

        Raises:
            FileNotFoundError: when ``path`` does not exist.
            ValueError: when a name stands there twice, or is none.
        """
        place = path or self.folder / "students.csv"
        if path is None and not place.is_file():
            return []
        with place.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(map(str.strip, row))]
        head = [name.strip().lower() for name in rows[0]] if rows else []
        column = next((head.index(name) for name in ("student", "id") if name in head), None)
        body = rows if column is None else rows[1:]
        names = [row[column or 0].strip() for row in body if len(row) > (column or 0)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{place}: {name!r} stands there more than once")
            if name and not name.strip(" ."):
                raise ValueError(f"{place}: {name!r} is no student's name")
        return [safe_name(name) for name in names if name]


def choose(names: Iterable[str] | None, among: list[str], what: str) -> list[str]:
    """``names``, or all of ``among`` when there are none.

    Raises:
        ValueError: when a name is not among them, or when there is nothing to choose from.
    """
    if not among:
        raise ValueError(f"no assignment is {what}")
    wanted = list(dict.fromkeys(names or among))
    for name in wanted:
        if name not in among:
            raise ValueError(f"--assignment: {name!r} is not {what} (known: {', '.join(among)})")
    return wanted


def open_course(folder: Path, create: bool = False) -> Course:
    """The course in ``folder``.

    Args:
        folder: of the course; it must lie outside the project, or git must ignore it.
        create: make the folder if it does not exist.

    Raises:
        FileNotFoundError: when there is no course and ``create`` is false.
        ValueError: when git would see students' work in ``folder``.
    """
    folder, project = folder.resolve(), data_folder().parent
    if _git_would_see(folder, project):
        raise ValueError(
            f"--course: {folder} lies in the project and git does not ignore it. Students' work and "
            "marks must not get into the repository: choose a folder outside, or ./class"
        )
    if not folder.is_dir():
        if not create:
            raise FileNotFoundError(f"no course in {folder}: `class release --course {folder}`")
        folder.mkdir(parents=True)
    return Course(folder)


def _git_would_see(folder: Path, project: Path) -> bool:
    if not folder.is_relative_to(project) or not (project / ".git").exists():
        return False
    if folder == project:
        return True
    asked = ["git", "-C", str(project), "check-ignore", "--quiet", str(folder / "gradebook.db")]
    try:
        return subprocess.run(asked, check=False, capture_output=True).returncode == 1
    except FileNotFoundError:  # no git, nothing that could see it
        return False


# --------------------------------------------------------------------------------------- the notebooks


def grading(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell's nbgrader metadata; empty if it has none, or none that can be read."""
    metadata = cell.get("metadata")
    found = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return dict(found) if isinstance(found, dict) else {}


def is_test(cell: dict[str, Any]) -> bool:
    """Whether a cell holds a check: it gives points and is not written by the student."""
    marks = grading(cell)
    return bool(marks.get("grade")) and not marks.get("solution") and cell["cell_type"] == "code"


def hidden_call(source: str, seed: int) -> str:
    r"""A check cell with one more hidden test: each check that students see, with ``seed``.

    Raises:
        ValueError: when the cell calls no check.

    >>> print(hidden_call("checks.check_k3(k3)", 7))
    checks.check_k3(k3)
    ### BEGIN HIDDEN TESTS
    checks.check_k3(k3, seed=7)
    ### END HIDDEN TESTS
    """
    calls = []
    for node in ast.parse(stub_source(source)).body:
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("checks.check_"):
            call.keywords = [word for word in call.keywords if word.arg != "seed"]
            call.keywords.append(ast.keyword("seed", ast.Constant(seed)))
            calls.append(ast.unparse(call))
    if not calls:
        raise ValueError(f"a graded cell calls no check: {source!r}")
    return "\n".join([source, "### BEGIN HIDDEN TESTS", *calls, "### END HIDDEN TESTS"])


def source_of(course: Course, solved: Notebook, assignment: str) -> Notebook:
    """A solution notebook with a hidden test in each check cell.

    The hidden seeds come from the course's secret, so the same course makes the same notebook.
    """
    notebook = copy.deepcopy(solved)
    for cell in notebook["cells"]:
        if is_test(cell):
            seed = course.hidden_seed(assignment, grading(cell)["grade_id"])
            cell["source"] = hidden_call("".join(cell["source"]), seed).splitlines(keepends=True)
    notebook["metadata"] = dict(METADATA)
    return notebook


def fingerprint(notebook: Notebook) -> str:
    """The version of a sheet as students see it: a hash of its cells' ids and sources."""
    seen = [[cell["id"], "".join(cell["source"])] for cell in stub(notebook)["cells"]]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:12]


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A table for the terminal, its columns as wide as they need to be.

    >>> print(table(["student", "points"], [["ada", 3.0], ["b", None]]))
    student  points
    ada           3
    b             –
    """
    shown = [
        ["–" if x is None else f"{x:g}" if isinstance(x, float) else printable(str(x)) for x in row]
        for row in rows
    ]
    number = [
        bool(rows) and all(x is None or isinstance(x, int | float) for x in column)
        for column in zip(*rows, strict=True)
    ] or [False] * len(head)
    widths = [max(map(len, column)) for column in zip(head, *shown, strict=True)]
    lines = [
        "  ".join(
            part.rjust(width) if right else part.ljust(width)
            for part, width, right in zip(line, widths, number, strict=True)
        ).rstrip()
        for line in [head, *shown]
    ]
    return "\n".join(lines)
