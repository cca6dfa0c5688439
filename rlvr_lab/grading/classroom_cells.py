"""What nbgrader does to the cells of a sheet, where the course does it differently.

Four preprocessors: ``StubSolutions`` makes the released sheet with the course's own stubs, ``AlignCells`` brings
a submission into the shape of its sheet, ``MarkCells`` runs and marks it in the sandbox in place of nbgrader's
``Execute``, and ``HideTests`` takes the hidden tests out of the feedback. They leave ordinary outputs behind,
so that nbgrader's gradebook and formgrader see nothing unusual.

They are nbconvert preprocessors; the module needs no nbgrader.
"""

import re
from pathlib import Path
from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_output
from traitlets import Bool, Float, Unicode

from rlvr_lab.checks.stubs import PROSE_STUB, read, stub
from rlvr_lab.grading import classroom_course
from rlvr_lab.grading.classroom_course import Course, fingerprint, grading

__all__ = ["AlignCells", "HideTests", "MarkCells", "StubSolutions", "without_seed"]

Resources = dict[str, Any]
_SEED = re.compile(r"\n? *\(to get the same inputs again[^\n]*")
_HIDDEN = re.compile(r"\n?### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS", re.DOTALL)


def without_seed(message: str) -> str:
    r"""A check's message without the line that names its seed.

    >>> without_seed("k3: wrong sign\n  (to get the same inputs again, and to see them: seed=12)")
    'k3: wrong sign'
    """
    return _SEED.sub("", message)


class _Ours(Preprocessor):
    """A preprocessor that is on, and knows the course."""

    enabled = Bool(True).tag(config=True)
    course = Unicode(help="the course's folder").tag(config=True)

    def _course(self) -> Course:
        return Course(Path(self.course))

    def _source(self, resources: Resources) -> tuple[str, dict[str, Any]]:
        """The assignment's name and its notebook with solutions and hidden tests."""
        assignment = resources["nbgrader"]["assignment"]
        return assignment, read(self._course().notebook("source", assignment))


class StubSolutions(_Ours):
    """Take the solutions out, in place of nbgrader's ``ClearSolutions``; hidden tests stay for now.

    The notebook also gets its assignment's name and version, by which it is recognised later.
    """

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        assignment, source = self._source(resources)
        made = from_dict(stub(source))
        for cell, solved in zip(made.cells, source["cells"], strict=True):
            if classroom_course.is_test(cell):
                cell.source = "".join(solved["source"])
            else:
                cell.source = "".join(cell.source)
        marks = {"assignment": assignment, "version": fingerprint(source)}
        made.metadata[classroom_course.RELEASED] = marks
        return made, resources


class HideTests(_Ours):
    """Take the hidden tests out of the check cells, before a student sees them."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: Resources, index: int
    ) -> tuple[NotebookNode, Resources]:
        if classroom_course.is_test(cell):
            cell.source = _HIDDEN.sub("", cell.source)
        return cell, resources


class AlignCells(_Ours):
    """Bring a submission into the shape of its sheet, before nbgrader looks at it.

    The sheet's cells get the sheet's metadata; those that the student deleted come back, empty; a second
    cell with the same id, and a cell of another version, become ordinary cells. What students write in other
    cells stays. Outputs go.
    """

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        _, source = self._source(resources)
        empty = stub(source)["cells"]
        own = {
            grading(cell)["grade_id"]: (place, cell)
            for place, cell in enumerate(empty)
            if grading(cell)
        }
        cells: list[dict[str, Any]] = []
        found: dict[str, int] = {}
        for given in nb.cells:
            grade_id = grading(given).get("grade_id")
            kind = (
                given.get("cell_type") if given.get("cell_type") in ("code", "raw") else "markdown"
            )
            cell = {"cell_type": kind, "metadata": {}, "source": str(given.get("source", ""))}
            ours = own.get(grade_id) if isinstance(grade_id, str) else None
            if ours and grade_id not in found:
                found[grade_id] = ours[0]
                cell |= {"cell_type": ours[1]["cell_type"], "metadata": ours[1]["metadata"]}
            cells.append(cell)
        order = [grading(cell).get("grade_id") for cell in cells]
        for grade_id, (place, cell) in own.items():
            if grade_id not in found:  # after the last of the sheet's cells that stands before it
                before = [i for i, name in enumerate(order) if found.get(name, place) < place]
                at = before[-1] + 1 if before else 0
                back = {key: cell[key] for key in ("cell_type", "metadata")}
                cells.insert(at, {**back, "source": "".join(cell["source"])})
                order.insert(at, grade_id)
                found[grade_id] = place
        for number, cell in enumerate(cells):
            cell["id"] = f"cell-{number}"
            if cell["cell_type"] == "code":
                cell |= {"outputs": [], "execution_count": None}
        whole = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        return from_dict(whole), resources


class MarkCells(_Ours):
    """Run and mark a submission in the sandbox; its check cells get what a check prints.

    A check that passed has its ✓ as output, one that failed an error with its message, so that nbgrader gives
    all points or none. Reasons that only the instructor should see go to the course's ``logs``.
    """

    cell_seconds = Float(30.0, help="for one of the student's cells").tag(config=True)
    call_seconds = Float(10.0, help="for one call of a student's function").tag(config=True)
    train_seconds = Float(300.0, help="for a check that trains").tag(config=True)
    notebook_seconds = Float(900.0, help="for one submission").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        from rlvr_lab.grading import marking  # starts processes, which releasing need not

        assignment, source = self._source(resources)
        student, course = resources["nbgrader"]["student"], self._course()
        limits = marking.Limits(
            cell=self.cell_seconds,
            call=self.call_seconds,
            train=self.train_seconds,
            notebook=self.notebook_seconds,
        )
        handed_in = course.notebook("submitted", assignment, student)
        marked = marking.mark(
            marking.read_submission(handed_in, limits),
            source,
            limits,
            lambda grade_id: course.hidden_seed(assignment, grade_id),
        )
        outcomes = {cell.grade_id: cell for cell in marked.cells}
        for cell in nb.cells:
            outcome = outcomes.get(grading(cell).get("grade_id"))
            if outcome is not None and classroom_course.is_test(cell):
                cell.outputs = [_output(outcome)]
            elif outcome is not None and outcome.points == 0:  # an empty answer is no answer
                cell.source = PROSE_STUB
        place = course.logs / f"{assignment}_{student}.txt"
        place.write_text("\n".join(_report(assignment, student, marked)) + "\n", "utf-8")
        return nb, resources


def _once(message: str) -> str:
    """A message without seeds; the hidden test repeats the ✓ of the visible one."""
    return "\n".join(dict.fromkeys(without_seed(message).splitlines()))


def _output(outcome: Any) -> NotebookNode:
    said = _once(outcome.message)
    if outcome.passed:
        return new_output("stream", name="stdout", text=said + "\n")
    name = outcome.error or "Mistake"
    return new_output("error", ename=name, evalue=said, traceback=[f"✗ {said.removeprefix('✗ ')}"])


def _report(assignment: str, student: str, marked: Any) -> list[str]:
    """What the instructor reads about one submission."""
    lines = [f"{assignment}, {student}: {marked.points:g} of {marked.possible:g} points"]
    for cell in marked.cells:
        points = "by hand" if cell.points is None else f"{cell.points:g}"
        lines.append(f"\n{cell.grade_id}: {points} of {cell.possible:g}")
        lines += [f"  {line}" for line in _once(cell.message).splitlines()]
        lines += [f"  log: {line}" for line in cell.log]
    known = {f"{cell.grade_id}: {line}" for cell in marked.cells for line in cell.log}
    general = [line for line in marked.log if line not in known]
    if general:
        lines += ["\nThe notebook as a whole:", *(f"  {line}" for line in general)]
    if marked.isolation:
        lines.append(f"\nThe student's code ran behind: {', '.join(marked.isolation)}")
    return lines
