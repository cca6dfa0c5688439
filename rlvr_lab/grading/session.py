"""A student's notebook in a worker: its cells run in order, and start again without a cell that does harm."""

import time
from dataclasses import dataclass
from typing import Any

from rlvr_lab.checks.stubs import NEEDS_ANSWER
from rlvr_lab.grading.messages import Stopped
from rlvr_lab.grading.nursery import Limits, Nursery, Worker
from rlvr_lab.grading.submissions import cell_id, exercises, grade_id, owners, squeezed, text

__all__ = ["OutOfTime", "Ran", "Session", "reason"]


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
    shows_only: bool  # runs for the eye, once the exercise is solved


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
        self.steps = [*_steps(submitted, source)]

    def ready(self) -> Worker:
        """A worker in which all harmless cells have run.

        Raises:
            OutOfTime: when the time for the notebook is used up.
        """
        while self.worker is None or not self.worker.alive:
            self.on_time()
            self.worker = self.nursery.worker(self.limits)
            self.isolation = self.worker.isolation
            for step in self.steps:
                if step.index not in self.left_out and not self._run(self.worker, step):
                    break
        return self.worker

    def _run(self, worker: Worker, step: _Step) -> bool:
        """Run a cell; whether the worker can be used afterwards."""
        worker.link.deadline = self.end
        try:
            printed, error = worker.run(step.source)
        except Stopped as stop:
            why, kind = reason(stop, worker, self.limits.cell, "the cell")
            self.on_time()
            self.left_out.add(step.index)
            printed, error = "", why
            self.log.append(f"cell {step.index + 1} ({step.name or step.owner}): {why}")
            if not (step.shows_only and kind == "Timeout"):
                self.costs.setdefault(step.owner, []).append((why, kind))
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
    """The code cells to run: all but check cells, and cells that only show something as in the sheet."""
    graded = {exercise.grade_id for exercise in exercises(source)}
    shows = {
        cell_id(cell): squeezed(text(cell))
        for cell in source["cells"]
        if NEEDS_ANSWER in cell["metadata"].get("tags", []) and cell_id(cell)
    }
    found = []
    for index, (cell, owner) in enumerate(
        zip(submitted["cells"], owners(submitted, source), strict=True)
    ):
        name, own = grade_id(cell), cell_id(cell)
        if not isinstance(cell, dict) or cell.get("cell_type") != "code" or name in graded:
            continue
        if shows.get(own) != squeezed(text(cell)) and text(cell).strip():
            found.append(_Step(index, name, own, owner, text(cell), own in shows))
    return found
