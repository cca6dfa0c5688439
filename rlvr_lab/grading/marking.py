"""Mark a submitted notebook: the checks run here, the student's code runs in a confined process.

The marks depend only on what the instructor's sheet asks for and on the *values* that the student's
functions return. Submitted check cells never run, nothing that the student replaces in Python exists in this
process, and no object of theirs comes here: only plain data (``wire``). A cell or a call that hangs, crashes
or tries what is not allowed costs its own exercise; the other exercises are marked all the same.

What confines a student's code, in this order:

- a process of its own, with limits of time, memory, file size and output, a clean environment and an empty
  folder; it is killed at the end;
- on Linux (x86-64) the kernel: Landlock allows reading Python, its packages, ``rlvr_lab`` and ``data/``, and
  writing the empty folder; seccomp refuses new processes, sockets, signals to others and more;
- an audit hook that refuses an attempt and reports it to the instructor.

An attempt costs an exercise when the learner's answer, or a call of its function, makes it. In any other cell
it fails with a ``PermissionError`` and costs nothing, as a cell that takes too long does: an honest notebook
installs packages, lists folders and tries things out.

What this does **not** protect from: errors in the kernel, in Python or in a C library; other systems than
Linux on x86-64, where the audit hook stands alone and a determined student gets around it; a student who
fills the processor for as long as the limits allow; a student who learns which files exist. Nor is the
package a secret: a student can call its own functions and oracles, as they can at home. A class that may be
hostile needs a container without a network around all of this.
"""

import contextlib
import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rlvr_lab import checks
from rlvr_lab.checks.calls import Mistake
from rlvr_lab.grading.effects import clean, said
from rlvr_lab.grading.messages import Stopped
from rlvr_lab.grading.nursery import Limits, Worker, close, nursery
from rlvr_lab.grading.session import OutOfTime, Ran, Session, reason
from rlvr_lab.grading.submissions import (
    Call,
    Exercise,
    Unreadable,
    exercises,
    findings,
    grade_id,
    places,
    read_submission,
    text,
    untouched,
)

__all__ = ["CellMark", "Limits", "Marked", "Ran", "Unreadable", "close", "mark", "read_submission"]

Notebook = dict[str, Any]
Seeds = Callable[[str], int]
LONGEST = 2000  # characters of a message
LATE = "the time for the whole notebook was used up before this exercise"


@dataclass(frozen=True)
class CellMark:
    """The mark of a graded cell.

    Attributes:
        grade_id, possible: as the sheet has them.
        points: the points; None for an answer that somebody has to read.
        passed: whether the check passed; None for an answer that somebody has to read.
        message: for the student; never a seed.
        text: the answer in prose.
        error: nothing, or a short name: Mistake, NameError, Timeout, Refused, Killed, Missing, …
        log: reasons for the instructor.
    """

    grade_id: str
    possible: float
    points: float | None
    passed: bool | None
    message: str
    text: str = ""
    error: str = ""
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Marked:
    """The marks of a notebook.

    Attributes:
        cells: one for each graded cell of the sheet, in its order.
        log: what an instructor should know, in the order in which it was found.
        ran: the student's code cells.
        isolation: what confined the student's code.
    """

    cells: tuple[CellMark, ...]
    log: tuple[str, ...]
    ran: tuple[Ran, ...] = ()
    isolation: tuple[str, ...] = ()

    @property
    def points(self) -> float:
        """The points given so far."""
        return sum(cell.points or 0.0 for cell in self.cells)

    @property
    def possible(self) -> float:
        """The points of the sheet."""
        return sum(cell.possible for cell in self.cells)

    def cell(self, name: str) -> CellMark:
        """The mark of a cell, by its grade_id.

        Raises:
            KeyError: when the sheet has no such cell.
        """
        return {cell.grade_id: cell for cell in self.cells}[name]


def mark(
    submitted: Any, source: Notebook, limits: Limits | None = None, seeds: Seeds | None = None
) -> Marked:
    """Mark a notebook against the instructor's own.

    Args:
        submitted: the student's notebook as plain JSON; it may be anything.
        source: the instructor's notebook, with solutions; what it asks for decides, also in its hidden tests.
        limits: what the student's code may use.
        seeds: grade_id → hidden seed for the checks that the source calls without a seed; fresh ones
            by default.

    Raises:
        ValueError: when ``source`` is broken; never because of ``submitted``.
    """
    asked = exercises(source)
    if not isinstance(submitted, dict) or not isinstance(submitted.get("cells"), list):
        why = "this is no notebook: it has no list of cells"
        return Marked(tuple(_nothing(e, why, "Missing") for e in asked), (why,))
    whole, each = findings(submitted, source)
    session = Session(nursery(), submitted, source, limits or Limits())
    try:
        marks = _marks(session, asked, each, submitted, seeds, places(submitted, source))
    finally:
        session.close()
    log = [*map(clean, whole), *map(clean, session.log)]
    log += [f"{m.grade_id}: {line}" for m in marks for line in m.log]
    ran = tuple(session.ran[index] for index in sorted(session.ran))
    return Marked(marks, tuple(log), ran, session.isolation)


def _nothing(exercise: Exercise, message: str, error: str, log: tuple[str, ...] = ()) -> CellMark:
    return CellMark(exercise.grade_id, exercise.points, 0.0, False, message, "", error, log)


def _marks(
    session: Session,
    asked: list[Exercise],
    each: dict[str, list[str]],
    submitted: Notebook,
    seeds: Seeds | None,
    place: dict[str, int],
) -> tuple[CellMark, ...]:
    """Each check at its place among the cells, so that no later cell costs an earlier exercise.

    What fails there is tried again after all cells: a function may be defined anywhere.
    """
    done: dict[str, CellMark] = {}
    later = []
    for exercise in sorted(asked, key=lambda e: place[e.grade_id]):
        name = exercise.grade_id
        done[name] = _mark(session, exercise, each[name], submitted, seeds, place[name])
        if session.left() and _may_come_later(exercise, done[name]):
            later.append(exercise)
    with contextlib.suppress(OutOfTime):
        session.ready()
        for exercise in later:
            again = _mark(session, exercise, each[exercise.grade_id], submitted, seeds, None)
            if again.passed:
                done[exercise.grade_id] = again
    return tuple(done[exercise.grade_id] for exercise in asked)


def _may_come_later(exercise: Exercise, found: CellMark) -> bool:
    if found.passed is not False or found.error in ("Timeout", "Refused", "Killed", "Missing"):
        return False
    unready = any(word in found.message for word in ("NameError", "is not written yet"))
    return unready or found.error == "NameError" or not exercise.train


def _mark(
    session: Session,
    exercise: Exercise,
    found: list[str],
    submitted: Notebook,
    seeds: Seeds | None,
    place: int | None,
) -> CellMark:
    log = tuple(map(clean, found))
    if not exercise.calls:
        return _prose(exercise, submitted, log)
    try:
        session.ready(place)
        for call in _wanted(exercise, seeds):
            if exercise.grade_id in session.costs:
                break
            title = _check(session, exercise, call, place)
    except OutOfTime:
        return _nothing(exercise, LATE, "Timeout", (*log, LATE))
    except Mistake as mistake:
        why = _for_the_student(said(mistake), exercise, seeds) + _rough(session)
        return _nothing(exercise, why, "Mistake", log)
    except NameError as error:
        missing = [line for line in found if line.endswith("is missing")]
        why = "; ".join([f"{said(error)}: the notebook does not define it", *missing])
        return _nothing(exercise, clean(why)[:LONGEST], "NameError", (*log, said(error)))
    except Exception as error:  # a result that surprises a check is no reason to stop
        kind = clean(type(error).__name__)
        why = f"the check stopped with {kind}: {said(error)}"[:LONGEST]
        why = _for_the_student(why, exercise, seeds) + _rough(session)
        return _nothing(exercise, why, kind, (*log, why))
    if exercise.grade_id in session.costs:
        why, kind = session.costs[exercise.grade_id][0]
        return _nothing(exercise, why, kind, log)
    return CellMark(exercise.grade_id, exercise.points, exercise.points, True, title, log=log)


def _rough(session: Session) -> str:
    """A sentence about results with few digits."""
    kinds = sorted(session.worker.link.rough) if session.worker else []
    if not kinds:
        return ""
    return f"\n(The function returned {kinds[0]}, which is too rough to compare: return float32.)"


def _wanted(exercise: Exercise, seeds: Seeds | None) -> list[Call]:
    """The calls of the sheet, with the hidden seed where they have none; each once."""
    hidden = seeds(exercise.grade_id) if seeds else None
    calls = [
        Call(c.check, c.arguments, hidden if c.seed is None else c.seed) for c in exercise.calls
    ]
    return list(dict.fromkeys(calls))


def _check(session: Session, exercise: Exercise, call: Call, place: int | None) -> str:
    """Call a check with the student's functions; what it printed."""
    check = getattr(checks, call.check)
    seconds = session.limits.train if exercise.train else session.limits.check
    worker = session.ready(place)
    if exercise.grade_id in session.costs:  # found only when the cells ran again
        return ""
    try:
        with (
            _within(session, worker, seconds),
            contextlib.redirect_stdout(io.StringIO()) as printed,
        ):
            worker.forget()
            check(*[worker.find(argument) for argument in call.arguments], seed=call.seed)
            worker.tidy()
        return printed.getvalue().strip()
    except Stopped as stop:
        names = ", ".join(call.arguments)
        why, kind = reason(stop, worker, session.limits.call, f"the call of {names}")
        session.on_time()
        session.log.append(f"{exercise.grade_id}: {why}")
        session.costs.setdefault(exercise.grade_id, []).append((why, kind))
        return ""


@contextlib.contextmanager
def _within(session: Session, worker: Worker, seconds: float) -> Iterator[None]:
    """The student's part of a check has to be finished in time."""
    link = worker.link
    link.deadline = min(session.end, time.monotonic() + seconds)
    try:
        yield
    finally:
        link.deadline = session.end


def _for_the_student(message: str, exercise: Exercise, seeds: Seeds | None) -> str:
    """A check's message without its seed, and without the inputs that a given seed shows."""
    message = message.split("\n  (to get the same inputs again")[0].split("\nInputs of the call:")[
        0
    ]
    message = clean(message)
    for call in _wanted(exercise, seeds):
        if call.seed is not None and len(str(call.seed)) > 5:
            message = re.sub(rf"\b{call.seed}\b", "…", message)
    return message[:LONGEST]


def _prose(exercise: Exercise, submitted: Notebook, log: tuple[str, ...]) -> CellMark:
    """An answer that somebody has to read, unless there is none."""
    answers = [text(cell) for cell in submitted["cells"] if grade_id(cell) == exercise.grade_id]
    if not answers:
        return _nothing(exercise, f"cell {exercise.grade_id} is missing", "Missing", log)
    answer = next((a for a in reversed(answers) if not untouched(a)), "")
    if not answer:
        return _nothing(exercise, "no answer", "Missing", (*log, "no answer"))
    return CellMark(exercise.grade_id, exercise.points, None, None, "", clean(answer), log=log)
