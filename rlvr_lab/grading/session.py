"""A student's notebook in a worker: its cells run in order, and start again without a cell that does harm."""

import time
from dataclasses import dataclass
from typing import Any

from rlvr_lab.checks.stubs import NEEDS_ANSWER
from rlvr_lab.grading.effects import said
from rlvr_lab.grading.messages import Stopped
from rlvr_lab.grading.nursery import Limits, Nursery, Worker, nursery
from rlvr_lab.grading.submissions import cell_id, exercises, grade_id, owners, squeezed, text

__all__ = ["OutOfTime", "Ran", "Session", "reason"]


TRIED = 20  # attempts of a cell that are named


class OutOfTime(Exception):
    """The time for the whole notebook is used up."""


@dataclass(frozen=True)
class Ran:
    """A code cell of a submission that was run, or left out.

    Attributes:
        index: its place in the notebook, from 0.
        cell_id: its id, or nothing.
        owner: grade_id of the exercise that it belongs to.
        printed: what it printed, cut off.
        error: nothing, or why it failed.
    """

    index: int
    cell_id: str
    owner: str
    printed: str
    error: str


@dataclass(frozen=True)
class _Step:
    index: int
    name: str
    cell_id: str
    owner: str
    source: str
    counts: bool  # the learner's answer: what it does wrong costs the exercise
    each: bool  # an error in a statement does not stop the next
    place: int  # cells are run in this order


def reason(stop: Stopped, worker: Worker, seconds: float, what: str) -> tuple[str, str]:
    """Why a worker is of no use any more, and a short name for it. Ends the worker."""
    how = worker.close()
    match stop.kind:
        case "time":
            return (
                f"{what} took too long: stopped after {seconds:.0f} s (an endless loop?)",
                "Timeout",
            )
        case "refused":
            return f"{stop}: refused", "Refused"
        case "garbage":
            return f"{what} disturbed the marking: {stop}", "Refused"
    return f"{what} ended the process" + (f": {how}" if how else " (too much memory?)"), "Killed"


class Session:
    """Runs the cells of a submission.

    Attributes:
        ran: code cells by their place.
        costs: grade_id → what its cells did, with a short name for it; such an exercise gets no points.
        log: what happened, for the instructor.
        isolation: what confined the workers.
    """

    def __init__(
        self, nursery: Nursery, submitted: dict[str, Any], source: dict[str, Any], limits: Limits
    ) -> None:
        self.nursery, self.limits = nursery, limits
        self.end = time.monotonic() + limits.notebook
        self.worker: Worker | None = None
        self.left_out: set[int] = set()
        self.ran: dict[int, Ran] = {}
        self.costs: dict[str, list[tuple[str, str]]] = {}
        self.log: list[str] = []
        self.isolation: tuple[str, ...] = ()
        self.steps = sorted(_steps(submitted, source), key=lambda step: step.place)
        self.next = 0  # the step that the worker has not run yet

    def ready(self, before: int | None = None) -> Worker:
        """A worker in which all harmless cells have run, or those before a place.

        Raises:
            OutOfTime: when the time for the notebook is used up.
        """
        while True:
            if self.worker is None or not self.worker.alive:
                self.on_time()
                self.worker, self.next = self._start(), 0
                self.isolation = self.worker.isolation
            if self._advance(self.worker, before):
                return self.worker

    def left(self) -> bool:
        """Whether there are cells that the worker has not run yet."""
        return self.next < len(self.steps)

    def _start(self) -> Worker:
        try:
            return self.nursery.worker(self.limits)
        except (Stopped, OSError):  # the nursery has ended: once more, with a new one
            self.nursery.process.kill()
            self.nursery.process.wait()
            self.nursery = nursery()
        try:
            return self.nursery.worker(self.limits)
        except (Stopped, OSError) as error:
            self.log.append(f"no process for the notebook could be started: {error}")
            raise OutOfTime from None

    def _advance(self, worker: Worker, before: int | None) -> bool:
        while self.left() and (before is None or self.steps[self.next].place < before):
            step = self.steps[self.next]
            self.next += 1
            if step.index not in self.left_out and not self._run(worker, step):
                return False
        return True

    def _run(self, worker: Worker, step: _Step) -> bool:
        """Run a cell; whether the worker can be used afterwards."""
        worker.link.deadline = self.end
        worker.link.strict, worker.link.tried = step.counts, []
        where = f"cell {step.index + 1} ({step.name or step.owner})"
        if step.index < 0:
            where = "the sheet's own first cells"
        try:
            printed, error = worker.run(step.source, step.each)
        except Exception as own:  # of the student's, in what they have replaced
            printed, error = "", f"{type(own).__name__}: {said(own)}"[:300]
        except Stopped as stop:
            why, kind = reason(stop, worker, self.limits.cell, "the cell")
            self.on_time()
            self.left_out.add(step.index)
            printed, error = "", why
            self.log.append(f"{where}: {why}")
            if step.counts:
                self.costs.setdefault(step.owner, []).append((why, kind))
        for what in dict.fromkeys(worker.link.tried[:TRIED]):
            if (line := f"{where}: {what}: refused") not in self.log:
                self.log.append(line)
        worker.link.strict, worker.link.tried = True, []
        if step.index >= 0:
            self.ran[step.index] = Ran(step.index, step.cell_id, step.owner, printed, error)
        return worker.alive

    def on_time(self) -> None:
        """Raise ``OutOfTime`` when the time for the notebook is used up."""
        if time.monotonic() >= self.end:
            self.close()
            raise OutOfTime

    def close(self) -> None:
        """End the worker."""
        if self.worker is not None:
            self.worker.close()


def _steps(submitted: dict[str, Any], source: dict[str, Any]) -> list[_Step]:
    """The code cells to run: all but check cells, and cells that only show something as in the sheet.

    The sheet's own first cells (imports) come first, whatever the student has made of them.
    """
    asked = exercises(source)
    graded = {exercise.grade_id for exercise in asked}
    answers = {name for exercise in asked for name in exercise.needs}
    shows = {
        cell_id(cell): squeezed(text(cell))
        for cell in source["cells"]
        if NEEDS_ANSWER in cell["metadata"].get("tags", []) and cell_id(cell)
    }
    first = _first_cells(source)
    found: list[_Step] = []
    beginning = True
    for index, (cell, owner) in enumerate(
        zip(submitted["cells"], owners(submitted, source), strict=True)
    ):
        name, own = grade_id(cell), cell_id(cell)
        if not isinstance(cell, dict) or cell.get("cell_type") != "code" or name in graded:
            continue
        counts = name in answers
        beginning = beginning and not counts
        if shows.get(own) != squeezed(text(cell)) and text(cell).strip():
            place = index
            if not counts and squeezed(text(cell)) in first:
                first.remove(squeezed(text(cell)))
                place = -1
            found.append(_Step(index, name, own, owner, text(cell), counts, beginning, place))
    missing = [_Step(-1 - n, "", "", "", code, False, True, -2) for n, code in enumerate(first)]
    return missing + found


def _first_cells(source: dict[str, Any]) -> list[str]:
    """The sheet's code cells before its first answer or check."""
    found = []
    for cell in source["cells"]:
        if grade_id(cell):
            break
        if cell["cell_type"] == "code" and NEEDS_ANSWER not in cell["metadata"].get("tags", []):
            found.append(squeezed(text(cell)))
    return [code for code in found if code]
