"""What an instructor's sheet asks for, and what a submission has in its place."""

import ast
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_lab.checks import train_cases, train_runs
from rlvr_lab.checks.stubs import PROSE_STUB, stub_source
from rlvr_lab.checks.trained import TrainCheck
from rlvr_lab.grading.nursery import Limits

__all__ = [
    "Call",
    "Exercise",
    "Unreadable",
    "exercises",
    "findings",
    "owners",
    "places",
    "read_submission",
]

Cell = dict[str, Any]
_HEADING = re.compile(r"^## ")
_TRAIN = {
    name
    for module in (train_cases, train_runs)
    for name, check in vars(module).items()
    if isinstance(check, TrainCheck)
}
"""Names of the checks that train."""


class Unreadable(ValueError):
    """A file that is no notebook; the message says why."""


@dataclass(frozen=True)
class Call:
    """``checks.<check>(<arguments>, seed=<seed>)`` in a sheet; the arguments as source text."""

    check: str
    arguments: tuple[str, ...]
    seed: int | None


@dataclass(frozen=True)
class Exercise:
    """A graded cell of the sheet.

    Attributes:
        grade_id, points: as nbgrader has them.
        calls: the checks that decide; empty for an answer in prose.
        needs: grade_ids of the cells in which the learner writes.
        train: whether the check trains, which takes longer.
    """

    grade_id: str
    points: float
    calls: tuple[Call, ...]
    needs: tuple[str, ...]
    train: bool


def read_submission(path: Path, limits: Limits | None = None) -> dict[str, Any]:
    """The notebook in a file that may hold anything.

    Raises:
        Unreadable: when the file is too large, or no notebook.
    """
    most = (limits or Limits()).notebook_bytes
    try:
        if path.stat().st_size > most:
            size = path.stat().st_size / 2**20
            raise Unreadable(
                f"{path.name} is too large: {size:.0f} MB, at most {most >> 20} MB are read"
            )
        found = json.loads(path.read_bytes())
    except Unreadable:
        raise
    except OSError as error:
        raise Unreadable(f"{path.name} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(
            f"{path.name} is no notebook: broken JSON ({type(error).__name__})"
        ) from None
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise Unreadable(f"{path.name} is no notebook: it has no list of cells")
    return found


def text(cell: Any) -> str:
    """The source of a cell of any notebook, also of a malformed one."""
    source = cell.get("source", "") if isinstance(cell, dict) else ""
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    return source if isinstance(source, str) else ""


def grade_id(cell: Any) -> str:
    """The grade_id of a cell, or nothing."""
    for key in ("metadata", "nbgrader", "grade_id"):
        cell = cell.get(key) if isinstance(cell, dict) else None
    return cell if isinstance(cell, str) else ""


def cell_id(cell: Any) -> str:
    found = cell.get("id") if isinstance(cell, dict) else ""
    return found if isinstance(found, str) else ""


def calls_in(source: str) -> tuple[Call, ...]:
    """The checks that a cell calls, in their order.

    Raises:
        ValueError: when the cell has no Python, or a seed that is no number.

    >>> calls_in("checks.check_k3(k3, seed=3)")
    (Call(check='check_k3', arguments=('k3',), seed=3),)
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner, check = node.func.value, node.func.attr
        if isinstance(owner, ast.Name) and owner.id == "checks" and check.startswith("check_"):
            seeds = [ast.literal_eval(k.value) for k in node.keywords if k.arg == "seed"]
            place = (node.lineno, node.col_offset)
            found.append(
                (place, Call(check, tuple(map(ast.unparse, node.args)), *(seeds or [None])))
            )
    return tuple(call for _, call in sorted(found, key=lambda pair: pair[0]))


def exercises(source: dict[str, Any]) -> list[Exercise]:
    """The graded cells of a sheet.

    Raises:
        ValueError: when a graded code cell calls no check.
    """
    found: list[Exercise] = []
    needs: list[str] = []
    for cell in source["cells"]:
        grading = cell["metadata"].get("nbgrader", {})
        if cell["cell_type"] == "markdown" and _HEADING.match(text(cell)):
            needs = []
        if grading.get("grade"):
            code = cell["cell_type"] == "code"
            calls = calls_in(text(cell)) if code else ()
            if code and not calls:
                raise ValueError(f"cell {grading['grade_id']}: a graded cell that calls no check")
            wanted = tuple(needs) if code else (grading["grade_id"],)
            points = float(grading.get("points", 0))
            train = any(call.check in _TRAIN for call in calls)
            found.append(Exercise(grading["grade_id"], points, calls, wanted, train))
            needs = []
        elif grading.get("solution"):
            needs.append(grading["grade_id"])
    return found


def owners(submitted: dict[str, Any], source: dict[str, Any]) -> list[str]:
    """For each cell of a submission, the grade_id of the exercise that it belongs to.

    A cell of the sheet belongs to the next graded cell of its section, or to the last one; a cell that
    the student has added belongs where the cell before it belongs.
    """
    known: dict[str, str] = {}
    graded = [e.grade_id for e in exercises(source)]
    waiting: list[str] = []
    last = graded[0] if graded else ""
    here = ""  # the last graded cell of this section
    for cell in source["cells"]:
        if cell["cell_type"] == "markdown" and _HEADING.match(text(cell)):
            if here:
                known |= dict.fromkeys(waiting, here)
                waiting = []
            here = ""
        waiting += [f"id {cell_id(cell)}"] + [f"grade {grade_id(cell)}"] * bool(grade_id(cell))
        if grade_id(cell) in graded:
            here = last = grade_id(cell)
            known |= dict.fromkeys(waiting, here)
            waiting = []
    known |= dict.fromkeys(waiting, last)
    found, place = [], graded[0] if graded else ""
    for cell in submitted["cells"]:
        grade, name = f"grade {grade_id(cell)}", f"id {cell_id(cell)}"
        place = known.get(grade, known.get(name, place))
        found.append(place)
    return found


def places(submitted: dict[str, Any], source: dict[str, Any]) -> dict[str, int]:
    """For each exercise, how many cells of a submission come before its check.

    The check has its place at its own cell, or after the last cell in which the learner writes.
    """
    names, whose = [grade_id(cell) for cell in submitted["cells"]], owners(submitted, source)
    found = {}
    for exercise in exercises(source):
        name = exercise.grade_id
        last = max((n for n, other in enumerate(names) if other in exercise.needs), default=-1)
        checks = [n for n, other in enumerate(names) if other == name and n >= last]
        own = checks[:1] or [n for n in (last,) if n >= 0]
        own = own or [max((n for n, other in enumerate(whose) if other == name), default=-1)]
        found[name] = own[0] + 1 or len(names)
    return found


# ------------------------------------------------------------------------- what is not as handed out


def squeezed(source: str) -> str:
    """Source without blank space at the ends of lines, to compare cells."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def findings(
    submitted: dict[str, Any], source: dict[str, Any]
) -> tuple[list[str], dict[str, list[str]]]:
    """What an instructor should know: about the notebook, and about each graded cell.

    Check cells are compared with those of the sheet, hidden tests left out. The submitted ones never run.
    """
    asked = exercises(source)
    sheet = {grade_id(cell): cell for cell in source["cells"] if grade_id(cell)}
    handed = Counter(grade_id(cell) for cell in submitted["cells"] if grade_id(cell))
    whole, each = [], {exercise.grade_id: [] for exercise in asked}
    if not set(handed) & set(sheet):
        whole.append("no cell of this assignment: is it the notebook of another one?")
    elif strange := sorted(set(handed) - set(sheet)):
        whole.append(
            f"another version of the assignment? Unknown cells: {', '.join(strange)[:300]}"
        )
    for exercise in asked:
        name = exercise.grade_id
        cells = [text(c) for c in submitted["cells"] if grade_id(c) == name]
        original = text(sheet[name])
        if exercise.calls:
            if not cells:
                each[name].append("the check cell was deleted; the original was used")
            if len(cells) > 1:
                each[name].append(
                    f"the check cell is there {len(cells)} times; the original was used once"
                )
            right = {squeezed(original), squeezed(stub_source(original))}
            if any(squeezed(cell) not in right for cell in cells):
                each[name].append("the check cell was edited; the original was used")
        for need in exercise.needs:
            if need not in handed:
                each[name].append(f"cell {need} is missing")
            elif handed[need] > 1 and need != name:
                each[name].append(f"cell {need} is there {handed[need]} times; the last one counts")
    return whole, each


def untouched(answer: str) -> bool:
    """Whether an answer in prose is empty, or still says that it is to be written."""
    return squeezed(answer).replace("*", "") in ("", PROSE_STUB.replace("*", ""))
