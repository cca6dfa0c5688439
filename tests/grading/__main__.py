"""Mark a synthetic class: ``python -m tests.grading --submissions 20``.

Good, weak, partly solved and hostile submissions go through release, collect, autograde, feedback and export,
as an instructor would run them; the marks that come out are compared with the marks that are right. Those of
honest submissions are computed apart from the marker: their cells run here, in this process, and the
checks are called with fresh numbers. It also prints the exercises by kind and difficulty, how many seeded
mistakes the checks name, and the slowest check.

Exit status 1 when a mark differs or a seeded mistake is not named.
"""

import argparse
import ast
import contextlib
import copy
import csv
import io
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from rlvr_lab import checks
from rlvr_lab.checks import stubs
from rlvr_lab.checks.catalogue import KINDS, Exercise, exercises, exercises_of
from rlvr_lab.grading.classroom_course import grading, is_test, table
from tests.grading.hostile import HOSTILE, SHEET, SLOW
from tests.grading.test_classroom import run
from tests.grading.tiny import put
from tests.seeded_mistakes import BANK

ROOT = Path(__file__).parents[2]
SOLUTIONS = ROOT / "notebooks" / "solutions"
DUE = 1_800_000_000

Notebook = dict[str, Any]
Points = dict[str, float | None]

FAULTS = {
    "returns nothing": "def {name}(*inputs):\n    return None",
    "stops": "def {name}(*inputs):\n    raise ValueError('what now?')",
    "is no function": "{name} = 3",
    "is off": "_{name} = {name}\n\n\ndef {name}(*inputs):\n    return -1 - _{name}(*inputs)",
    "does not parse": "def {name}(:",
}
"""What a weak student's cell does to a function that was correct before."""


def calls(source: str) -> list[tuple[str, list[str]]]:
    """The checks that students see in a cell, and what each is given."""
    seen = ast.parse(stubs.stub_source(source)).body
    found = [node.value for node in seen if isinstance(node, ast.Expr)]
    return [
        (call.func.attr, [ast.unparse(argument) for argument in call.args])
        for call in found
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    ]


def graded(notebook: Notebook) -> dict[str, dict[str, Any]]:
    """grade_id → the cell that gives points."""
    return {grading(c)["grade_id"]: c for c in notebook["cells"] if grading(c).get("grade")}


def training(notebook: Notebook, sheet: str) -> list[Exercise]:
    return [one for one in exercises_of(notebook, sheet) if one.kind == "train"]


def unsolved(notebook: Notebook, ids: set[str]) -> Notebook:
    """The notebook with these cells as they were handed out."""
    made, empty = copy.deepcopy(notebook), {c["id"]: c for c in stubs.stub(notebook)["cells"]}
    for cell in made["cells"]:
        if grading(cell).get("grade_id") in ids and grading(cell).get("solution"):
            cell["source"] = empty[cell["id"]]["source"]
    return made


def broken(notebook: Notebook, grade_id: str, fault: str) -> Notebook:
    """The notebook with a fault in the first function that this check looks at."""
    made = copy.deepcopy(notebook)
    ((_, names), *_) = calls("".join(graded(made)[grade_id]["source"]))
    for cell in made["cells"]:
        source = "".join(cell["source"])
        if grading(cell).get("solution") and f"def {names[0]}(" in source:
            code = FAULTS[fault].format(name=names[0])
            cell["source"] = code if fault == "does not parse" else f"{source}\n\n\n{code}"
    return made


def prepares(cell: dict[str, Any]) -> bool:
    """Whether a check may need what this cell defines."""
    shows = stubs.NEEDS_ANSWER in cell["metadata"].get("tags", [])
    return cell["cell_type"] == "code" and not grading(cell).get("grade") and not shows


def honest(notebook: Notebook, source: Notebook) -> Points:
    """The points of a notebook that means no harm: its cells run in this process."""
    space: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if prepares(cell):
            with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
                exec("".join(cell["source"]), space)
    points: Points = {}
    texts = {grading(c).get("grade_id"): "".join(c["source"]) for c in notebook["cells"]}
    for grade_id, cell in graded(source).items():
        worth = float(grading(cell)["points"])
        if not is_test(cell):
            points[grade_id] = None if texts[grade_id] != stubs.PROSE_STUB else 0.0
            continue
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec("".join(cell["source"]), space)
            points[grade_id] = worth
        except Exception:
            points[grade_id] = 0.0
    return points


def submissions(
    sheets: list[str], number: int, draw: random.Random, train: bool
) -> list[tuple[str, str, Notebook, Points]]:
    """(what it is, its sheet, the notebook, the right points) of each submission."""
    made, kinds = [], ["good", "weak", "partly solved", "hostile"]
    attacks = [name for name in HOSTILE if name not in SLOW]
    draw.shuffle(attacks)
    for turn in range(number):
        sheet, kind = sheets[turn // len(kinds) % len(sheets)], kinds[turn % len(kinds)]
        source = stubs.read(SOLUTIONS / f"{sheet}.ipynb")
        slow = {i for one in training(source, sheet) for i in (*one.answers, *one.points)}
        solved = source if train else unsolved(source, slow)
        tests = [i for i, c in graded(source).items() if is_test(c) and (train or i not in slow)]
        if kind == "hostile" and sheets.count(SHEET):
            what = attacks[turn // len(kinds) % len(attacks)]
            sheet, source = SHEET, stubs.read(SOLUTIONS / f"{SHEET}.ipynb")
            slow = {i for one in training(source, sheet) for i in (*one.answers, *one.points)}
            notebook = HOSTILE[what].make(source if train else unsolved(source, slow))
            right = {i: float(grading(c)["points"]) for i, c in graded(source).items()}
            zero = HOSTILE[what].zero | (set() if train else slow)
            right = {i: 0.0 if i in zero else p for i, p in right.items()}
            right |= {i: None for i, c in graded(source).items() if not is_test(c)}
            made.append((f"hostile: {what}", sheet, notebook, right))
            continue
        if kind == "weak":
            for grade_id in draw.sample(tests, (len(tests) + 1) // 2):
                solved = broken(solved, grade_id, draw.choice(list(FAULTS)))
        elif kind == "partly solved":
            ids = [c["id"] for c in source["cells"] if grading(c).get("solution")]
            solved = unsolved(solved, set(draw.sample(ids, len(ids) // 2)))
        made.append((kind, sheet, solved, honest(solved, source)))
    return made


def mark(
    made: list[tuple[str, str, Notebook, Points]], sheets: list[str], draw: random.Random
) -> list[list[Any]]:
    """Send the submissions through the instructor's commands; a row for each, its last part what differs."""
    with TemporaryDirectory() as name:
        given, course = Path(name, "in"), Path(name, "class")
        for number, (_, sheet, notebook, _) in enumerate(made):
            student = f"student{number:02}"
            path = draw.choice([f"{student}/{sheet}", f"{student}/mine", f"{student}_{sheet}"])
            put(notebook, given / f"{path}.ipynb", DUE + draw.choice([0, 0, 5400]))
        at = ["--course", str(course)]
        steps = [
            ["release", "--assignment", *sheets, *at],
            ["collect", str(given), "--due", "2027-01-15T08:00:00+00:00", *at],
            *(["autograde", *at], ["feedback", *at], ["export", *at]),
        ]
        began = time.monotonic()
        for step, (status, printed, errors) in zip(steps, run(steps), strict=True):
            print(f"$ class {step[0]}: status {status}\n{printed}")
            if status:
                print(errors)
        print(f"the five commands took {time.monotonic() - began:.0f} s\n")
        rows = []
        for number, (what, sheet, _, right) in enumerate(made):
            student = f"student{number:02}"
            got = points_of(course / "export" / f"{sheet}.csv", student)
            wrong = [
                f"{i}: {show(got.get(i))}, not {show(p)}"
                for i, p in right.items()
                if got.get(i, -1) != p
            ]
            page = course / "feedback" / student / sheet / f"{sheet}.html"
            wrong += (
                [] if page.is_file() and "HIDDEN" not in page.read_text("utf-8") else ["feedback"]
            )
            sums = [sum(p or 0 for p in points.values()) for points in (right, got)]
            rows.append([student, sheet, what, *sums, "; ".join(wrong) or "all equal"])
        return rows


def points_of(path: Path, student: str) -> Points:
    """A student's row of an exported table: grade_id → points."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        row = next((row for row in csv.DictReader(file) if row["student"] == student), {})
    cells = {k.rsplit(" (", 1)[0]: v for k, v in row.items() if k.endswith(")")}
    return {name: float(value) if value else None for name, value in cells.items()}


def show(points: float | None) -> str:
    return "by hand" if points is None else f"{points:g}"


def by_kind() -> str:
    """How many exercises of each kind and difficulty there are."""
    every, rows = exercises(), []
    for kind in [*KINDS, "all"]:
        some = [one for one in every if kind in (one.kind, "all")]
        counts = [sum(one.difficulty == d for one in some) for d in range(1, 6)]
        points = sum(one.maximum for one in some)
        rows.append([kind, *counts, len(some), sum(one.minutes for one in some), points])
    head = ["kind", *(f"{d} of 5" for d in range(1, 6)), "exercises", "minutes", "points"]
    return table(head, rows)


def bank(train: bool) -> tuple[int, int, list[str], dict[str, float], int]:
    """Seeded mistakes that are named and that there are, those that are not, seconds of each check, left out."""
    killed, seeded, missed, seconds, left = 0, 0, [], {}, 0
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        source, space = stubs.read(path), {}
        slow = {i for one in training(source, path.stem) for i in one.points}
        for cell in source["cells"]:
            if prepares(cell):
                with contextlib.suppress(OSError), contextlib.redirect_stdout(io.StringIO()):
                    exec("".join(cell["source"]), space)  # a cell may show source code: OSError
        for grade_id, cell in graded(source).items():
            for check, names in calls("".join(cell["source"])) if is_test(cell) else []:
                if grade_id in slow and not train:
                    left += 1
                    continue
                began = time.monotonic()
                with contextlib.redirect_stdout(io.StringIO()):
                    getattr(checks, check)(*(eval(name, space) for name in names), seed=0)
                seconds[check] = time.monotonic() - began
                for number, mistake in enumerate(BANK[check], start=1):
                    seeded += 1
                    try:
                        with contextlib.redirect_stdout(io.StringIO()):
                            getattr(checks, check)(*mistake.functions, seed=0)
                    except AssertionError as error:
                        if mistake.keyword in str(error):
                            killed += 1
                            continue
                    missed.append(f"{check}, mistake {number} ({mistake.keyword})")
    return killed, seeded, missed, seconds, left


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.grading", description=__doc__)
    parser.add_argument("--submissions", type=int, default=20)
    parser.add_argument("--sheets", nargs="+", default=[SHEET, "04_trpo"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--train",
        action="store_true",
        help="solve the exercises that train, too (a minute for each)",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw = random.Random(options.seed)
    print(by_kind(), "\n", flush=True)
    killed, seeded, missed, seconds, left = bank(options.train)
    slowest = max(seconds, key=lambda name: seconds[name])
    print(f"seeded mistakes that the checks name: {killed} of {seeded}", *missed, sep="\n  ")
    print(f"slowest of {len(seconds)} checks: {slowest}, {seconds[slowest]:.2f} s", end="")
    print(f" ({left} checks that train were left out)\n" if left else "\n", flush=True)
    made = submissions(options.sheets, options.submissions, draw, options.train)
    rows = mark(made, options.sheets, draw)
    print(table(["student", "sheet", "submission", "expected", "given", "marks"], rows))
    wrong = sum(row[-1] != "all equal" for row in rows)
    print(f"\n{len(rows) - wrong} of {len(rows)} submissions: all equal")
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
