"""What nbgrader does to the cells of a sheet, where the course does it differently.

Four preprocessors: ``StubSolutions`` makes the released sheet with the course's own stubs, ``AlignCells`` brings
a submission into the shape of its sheet, ``MarkCells`` runs and marks it in the sandbox in place of nbgrader's
``Execute``, and ``HideTests`` takes the hidden tests out of the feedback. They leave ordinary outputs behind,
so that nbgrader's gradebook and formgrader see nothing unusual.

They are nbconvert preprocessors; the module needs no nbgrader.
"""

import copy
import hashlib
import re
from pathlib import Path
from typing import Any

import bleach
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_output
from traitlets import Bool, Float, Unicode

from rlvr_lab.checks.stubs import PROSE_STUB, read, stub
from rlvr_lab.grading import classroom_course
from rlvr_lab.grading.classroom_course import Course, fingerprint, grading
from rlvr_lab.grading.classroom_files import utf8

__all__ = ["AlignCells", "HideTests", "MarkCells", "StubSolutions", "harmless"]

Resources = dict[str, Any]
_HIDDEN = re.compile(r"\n?### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS", re.DOTALL)


TAGS = re.findall(
    r"\w+",
    """a abbr b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img kbd li ol p pre s
    span strong sub summary sup table tbody td th thead tr u ul""",
)
_CLASSES = re.compile(r"(highlight|hl-[\w-]+|language-\w+|anchor-link|[a-z][a-z0-9]{0,2}|\s)*")


def _may_have(tag: str, name: str, value: str) -> bool:
    """Whether an attribute stays: what Markdown makes, and what highlights code."""
    if name == "class":
        return _CLASSES.fullmatch(value) is not None
    if (tag, name) == ("img", "src"):
        return re.match(r"(https?:|data:image/(png|jpeg|gif);|[^:]*$)", value) is not None
    return name in {"a": ("href",), "img": ("alt", "width"), "th": ("align",)}.get(tag, ("title",))


def harmless(html: str) -> str:
    """A text as HTML without scripts, styles, forms and the like; they are shown as they were written.

    nbgrader's pages put each text through nbconvert's filter ``strip_files_prefix``, whose place this takes.

    >>> harmless('<p onclick="x()">a <script>b</script></p>')
    '<p>a &lt;script&gt;b&lt;/script&gt;</p>'
    """
    schemes = ["http", "https", "mailto", "data"]
    return bleach.clean(html, tags=TAGS, attributes=_may_have, protocols=schemes)


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
            # a raw cell would be raw HTML in the feedback
            kind = "code" if given.get("cell_type") == "code" else "markdown"
            source = utf8(str(given.get("source", "")))
            cell = {"cell_type": kind, "metadata": {}, "source": source}
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
        place = course.notebook("submitted", assignment, student)
        seeds = _seeds(course, assignment, f"{student}/{_digest(place)}", source)
        marked = marking.mark(
            marking.read_submission(place, limits),
            _with_seeds(source, course, assignment, seeds),
            limits,
            seeds.__getitem__,
        )
        outcomes = {cell.grade_id: cell for cell in marked.cells}
        for cell in nb.cells:
            outcome = outcomes.get(grading(cell).get("grade_id"))
            if outcome is not None and classroom_course.is_test(cell):
                cell.outputs = [_output(outcome)]
            elif outcome is not None and outcome.points == 0:  # an empty answer is no answer
                cell.source = PROSE_STUB
        course.write_log(assignment, student, _report(assignment, student, marked, seeds))
        return nb, resources


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _seeds(course: Course, assignment: str, handed_in: str, source: dict[str, Any]) -> dict:
    """grade_id → the seed of its hidden test: the submission's own, and for training the course's.

    So nobody can learn from the feedback what the next test will be. Checks that train have bars, which all
    students should meet under the same conditions.
    """
    from rlvr_lab.grading.submissions import exercises

    return {
        one.grade_id: course.hidden_seed(assignment, one.grade_id, "" if one.train else handed_in)
        for one in exercises(source)
    }


def _with_seeds(
    source: dict[str, Any], course: Course, assignment: str, seeds: dict[str, int]
) -> dict[str, Any]:
    """The sheet with these seeds in its hidden tests, in place of the course's."""
    made = copy.deepcopy(source)
    for cell in filter(classroom_course.is_test, made["cells"]):
        name = grading(cell)["grade_id"]
        old = f"seed={course.hidden_seed(assignment, name)})"
        cell["source"] = "".join(cell["source"]).replace(old, f"seed={seeds[name]})")
    return made


def _once(message: str) -> str:
    """A message without repeated lines: the hidden test repeats the ✓ of the visible one."""
    return "\n".join(dict.fromkeys(message.splitlines()))


def _output(outcome: Any) -> NotebookNode:
    said = utf8(_once(outcome.message))
    if outcome.passed:
        return new_output("stream", name="stdout", text=said + "\n")
    name = outcome.error or "Mistake"
    return new_output("error", ename=name, evalue=said, traceback=[f"✗ {said.removeprefix('✗ ')}"])


def _report(assignment: str, student: str, marked: Any, seeds: dict[str, int]) -> list[str]:
    """What the instructor reads about one submission."""
    lines = [f"{assignment}, {student}: {marked.points:g} of {marked.possible:g} points"]
    for cell in marked.cells:
        points = "by hand" if cell.points is None else f"{cell.points:g}"
        lines.append(f"\n{cell.grade_id}: {points} of {cell.possible:g}")
        lines += [f"  {line}" for line in _once(cell.message).splitlines()]
        lines += [f"  log: {line}" for line in cell.log]
        if cell.points == 0 and cell.error == "Mistake":
            lines.append(f"  hidden test: seed={seeds[cell.grade_id]}")
    known = {f"{cell.grade_id}: {line}" for cell in marked.cells for line in cell.log}
    general = [line for line in marked.log if line not in known]
    if general:
        lines += ["\nThe notebook as a whole:", *(f"  {line}" for line in general)]
    if marked.isolation:
        lines.append(f"\nThe student's code ran behind: {', '.join(marked.isolation)}")
    return lines
