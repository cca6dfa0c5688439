"""The exercises of the course, read off their sheets, and what a learner has solved.

Nothing is executed and nothing leaves the machine: the state of an exercise is what its check printed when the
learner last ran it, as saved in the notebook.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_lab.checks.stubs import PROSE_STUB, Notebook, read
from rlvr_lab.policy.data import data_folder

__all__ = ["KINDS", "Exercise", "exercises", "overview", "progress", "states"]

KINDS = {
    "write": "write a function",
    "repair": "find the bug in a function",
    "diagnose": "say from its curves what is wrong with a run",
    "predict": "commit a prediction, then run",
    "train": "choose settings that reach a goal on fresh seeds",
    "derive": "derive a formula and enter it",
    "essay": "judge a report, read by a person",
}
"""Kind of an exercise → what it asks."""

SOLVED, CHANGED, TRIED, WRITTEN, OPEN = "solved", "changed", "tried", "written", "open"
SIGNS = {SOLVED: "✓", CHANGED: "~", TRIED: "✗", WRITTEN: "w", OPEN: "·"}
MEANINGS = {
    SOLVED: "the check printed ✓",
    CHANGED: "your code was run again after its check: run the check",
    TRIED: "the check names a mistake",
    WRITTEN: "your text is read by a person",
    OPEN: "not begun",
}

_HEAD = re.compile(
    r"## (?P<number>\d+) · (?P<title>[^\n]+)\n+"
    r"\*\*Difficulty\*\* (?P<dots>[●○]+) \((?P<difficulty>\d) of 5\) · "
    r"\*\*about (?P<minutes>\d+) minutes\*\* · \*\*(?P<kind>\w+)\*\*"
)


@dataclass(frozen=True)
class Exercise:
    """One exercise of a sheet.

    Attributes:
        sheet: name of the notebook without its ending, e.g. ``06_grpo``.
        number: its number on the sheet, from 1.
        title: its title.
        kind: a key of ``KINDS``.
        difficulty: from 1 to 5.
        minutes: how long it takes, about.
        points: of each graded cell, by its ``grade_id``.
        answers: ``grade_id`` of the cells that the learner fills in.
    """

    sheet: str
    number: int
    title: str
    kind: str
    difficulty: int
    minutes: int
    points: dict[str, int]
    answers: tuple[str, ...]

    @property
    def maximum(self) -> int:
        """Points for the whole exercise."""
        return sum(self.points.values())


def _sections(notebook: Notebook) -> Iterator[tuple[re.Match[str], list[dict[str, Any]]]]:
    """The head of each exercise, and its cells."""
    found: list[tuple[re.Match[str] | None, list[dict[str, Any]]]] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and source.startswith("## "):
            found.append((_HEAD.match(source), []))
        if found:
            found[-1][1].append(cell)
    return ((head, cells) for head, cells in found if head)


def _grading(cells: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The cells with grading metadata, with it."""
    return (
        (cell, cell["metadata"]["nbgrader"]) for cell in cells if "nbgrader" in cell["metadata"]
    )


def exercises_of(notebook: Notebook, sheet: str) -> list[Exercise]:
    """The exercises of one sheet, in their order.

    Raises:
        ValueError: for an exercise of an unknown kind, or whose dots do not agree with its number.
    """
    found = []
    for head, cells in _sections(notebook):
        kind, difficulty = head["kind"], int(head["difficulty"])
        if kind not in KINDS:
            raise ValueError(f"{sheet}, exercise {head['number']}: unknown kind {kind!r}")
        if head["dots"] != "●" * difficulty + "○" * (5 - difficulty):
            raise ValueError(
                f"{sheet}, exercise {head['number']}: {head['dots']} is not {difficulty}"
            )
        graded = [grading for _, grading in _grading(cells)]
        found.append(
            Exercise(
                sheet,
                int(head["number"]),
                head["title"],
                kind,
                difficulty,
                int(head["minutes"]),
                {one["grade_id"]: one["points"] for one in graded if one["grade"]},
                tuple(one["grade_id"] for one in graded if one["solution"]),
            )
        )
    return found


def _sheets(folder: Path | None) -> dict[str, Notebook]:
    folder = folder or data_folder().parent / "notebooks" / "exercises"
    paths = sorted(folder.glob("*.ipynb"))
    if not paths:
        raise FileNotFoundError(f"no exercise sheets in {folder}")
    return {path.stem: read(path) for path in paths}


def exercises(folder: Path | None = None) -> list[Exercise]:
    """All exercises of the sheets in ``folder``, by default those of the course.

    Raises:
        FileNotFoundError: when there is no sheet.
        ValueError: when a file is no notebook, or a head is not as it should be.
    """
    sheets = _sheets(folder)
    return [one for name, sheet in sheets.items() for one in exercises_of(sheet, name)]


def _state(cells: list[dict[str, Any]]) -> str:
    """The state of an exercise: the worst of its graded cells."""
    found, latest = [], 0
    for cell, grading in _grading(cells):
        source, count = "".join(cell["source"]), cell.get("execution_count") or 0
        if not grading["grade"]:
            latest = max(latest, count)
        elif cell["cell_type"] == "markdown":
            found.append(OPEN if PROSE_STUB in source or not source.strip() else WRITTEN)
        else:
            found.append(_verdict(cell["outputs"], count < latest))
    order = [OPEN, TRIED, CHANGED, WRITTEN, SOLVED]
    begun = [state for state in found if state != OPEN]
    if OPEN in found and begun:
        return TRIED
    return min(found, key=order.index, default=OPEN)


def _verdict(outputs: list[dict[str, Any]], older: bool) -> str:
    """What the outputs of a check say; ``older`` if the learner's code was run after it."""
    errors = [output for output in outputs if output["output_type"] == "error"]
    untouched = [e for e in errors if "is not written yet" in e["evalue"]]
    if not outputs or untouched:
        return OPEN
    if errors:
        return TRIED
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    return TRIED if "✓" not in printed else CHANGED if older else SOLVED


def states(folder: Path | None = None) -> dict[tuple[str, int], str]:
    """(sheet, number) → state of each exercise, as saved in the notebooks of ``folder``."""
    return {
        (name, int(head["number"])): _state(cells)
        for name, sheet in _sheets(folder).items()
        for head, cells in _sections(sheet)
    }


def progress(folder: Path | None = None) -> str:
    """A table of all exercises with their state, difficulty, minutes and points, and the sums."""
    every, state = exercises(folder), states(folder)
    width, lines, sheet = max(len(one.title) for one in every), [], ""
    for one in every:
        if one.sheet != sheet:
            sheet = one.sheet
            lines += ["", sheet]
        dots = "●" * one.difficulty + "○" * (5 - one.difficulty)
        lines.append(
            f"  {SIGNS[state[sheet, one.number]]} {one.number:2} {one.title:{width}}  {one.kind:8}  {dots}  "
            f"{one.minutes:3} min  {one.maximum:2} points"
        )
    done = [one for one in every if state[one.sheet, one.number] in (SOLVED, WRITTEN)]
    rest = sum(one.minutes for one in every) - sum(one.minutes for one in done)
    lines += [
        "",
        *(f"  {SIGNS[name]}  {meaning}" for name, meaning in MEANINGS.items()),
        "",
        f"{len(done)} of {len(every)} exercises, {sum(one.maximum for one in done)} of "
        f"{sum(one.maximum for one in every)} points, about {rest / 60:.1f} hours to go",
        "Read from the saved notebooks: save a sheet to count what you did. Nothing leaves this machine.",
    ]
    return "\n".join(lines[1:])


def overview(every: list[Exercise]) -> str:
    """A table of the number of exercises by kind and difficulty.

    >>> one = Exercise("01", 1, "t", "write", 2, 10, {"t-check": 3}, ("t",))
    >>> print(overview([one, one]).splitlines()[1])
    write       ·  2  ·  ·  ·     2    20 min    6 points
    """

    def row(name: str, some: list[Exercise]) -> str:
        counts = [sum(one.difficulty == d for one in some) for d in range(1, 6)]
        shown = " ".join(f"{count or '·':>2}" for count in counts)
        minutes, points = (sum(getattr(one, key) for one in some) for key in ("minutes", "maximum"))
        return f"{name:9}  {shown}  {len(some):4}  {minutes:4} min  {points:3} points"

    kinds = [row(kind, [one for one in every if one.kind == kind]) for kind in KINDS]
    present = [
        text
        for kind, text in zip(KINDS, kinds, strict=True)
        if any(one.kind == kind for one in every)
    ]
    return "\n".join(["kind        1  2  3  4  5   all", *present, row("all", every)])
