"""nbgrader, set up for this course: its settings and its three steps, one submission at a time.

Everything that imports nbgrader stands here and in ``classroom_marks``, inside functions: the learner's
environment does not have it. ``configure`` is also what a course's ``nbgrader_config.py`` calls, so
that nbgrader's own commands and its formgrader behave as the commands of this package do.
"""

import glob
import logging
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from traitlets.config import Config, PyFileConfigLoader

from rlvr_lab.grading.classroom_cells import AlignCells, HideTests, MarkCells, StubSolutions
from rlvr_lab.grading.classroom_course import Course

__all__ = ["autograde", "configure", "feedback", "gradebook", "release", "settings"]

CONFIG = '''\
"""nbgrader's settings for this course, made by ``python -m rlvr_lab class release``. Add yours below.

Limits in seconds: ``c.MarkCells.cell_seconds = 60``; also ``call_seconds``, ``train_seconds``, ``notebook_seconds``.
"""

from pathlib import Path

from rlvr_lab.grading.classroom_nbgrader import configure

c = get_config()  # noqa: F821
configure(c, Path(__file__).resolve().parent)
'''


def configure(c: Config, folder: Path) -> None:
    """Put the course's own preprocessors in place of nbgrader's.

    Args:
        c: nbgrader's configuration, changed in place.
        folder: the course's folder.
    """
    from nbgrader import preprocessors as theirs
    from nbgrader.converters import generate_feedback
    from nbgrader.server_extensions import formgrader

    c.CourseDirectory.root = str(folder)
    c.CourseDirectory.course_id = "rlvr-lab"
    for ours in (StubSolutions, AlignCells, MarkCells, HideTests):
        c[ours.__name__].course = str(folder)
    c.GenerateAssignment.preprocessors = [
        StubSolutions,
        theirs.LockCells,
        theirs.CheckCellMetadata,
        theirs.ComputeChecksums,
        theirs.SaveCells,
        HideTests,
        theirs.ComputeChecksums,
        theirs.CheckCellMetadata,
    ]
    c.Autograde.sanitize_preprocessors = [
        AlignCells,
        theirs.OverwriteKernelspec,
        theirs.OverwriteCells,
        theirs.CheckCellMetadata,
    ]
    c.Autograde.autograde_preprocessors = [
        MarkCells,
        theirs.LimitOutput,
        theirs.SaveAutoGrades,
        theirs.AssignLatePenalties,
        theirs.CheckCellMetadata,
    ]
    c.GenerateFeedback.preprocessors = [
        theirs.GetGrades,
        HideTests,
        generate_feedback.CSSHTMLHeaderPreprocessor,
    ]
    templates = Path(formgrader.__file__).parent / "templates"
    c.HTMLExporter.extra_template_basedirs = [str(templates)]
    # nbgrader's two templates pay no heed to sanitize_html, but have this filter in front of each text
    c.HTMLExporter.filters = {"strip_files_prefix": "rlvr_lab.grading.classroom_cells.harmless"}
    c.HTMLExporter.sanitize_html = True
    c.HTMLExporter.raw_mimetypes = ["text/none"]


def settings(course: Course) -> Config:
    """The settings in the course's ``nbgrader_config.py``, which is written if there is none."""
    place = course.folder / "nbgrader_config.py"
    if not place.is_file():
        place.write_text(CONFIG, "utf-8")
    return PyFileConfigLoader(place.name, path=str(course.folder)).load_config()


@contextmanager
def gradebook(course: Course) -> Iterator[Any]:
    """nbgrader's gradebook of the course."""
    from nbgrader.api import Gradebook

    _quiet()
    with Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}", "rlvr-lab") as book:
        yield book


def release(course: Course, assignment: str) -> None:
    """nbgrader's ``generate_assignment``: source → release, and the cells into the gradebook.

    Raises:
        RuntimeError: when nbgrader refuses; its last error is the message.
    """
    from nbgrader.converters import GenerateAssignment

    _convert(course, GenerateAssignment, assignment, ".", force=True)


def autograde(course: Course, assignment: str, student: str, force: bool) -> None:
    """nbgrader's ``autograde`` for one submission: submitted → autograded, and the points.

    Raises:
        RuntimeError: when it could not be marked; nbgrader's last error is the message.
    """
    from nbgrader.converters import Autograde

    _convert(course, Autograde, assignment, student, force=force)


def feedback(course: Course, assignment: str, student: str) -> None:
    """nbgrader's ``generate_feedback`` for one submission: autograded → feedback.

    Raises:
        RuntimeError: when it could not be made; nbgrader's last error is the message.
    """
    from nbgrader.converters import GenerateFeedback

    _convert(course, GenerateFeedback, assignment, student, force=True)


def _convert(course: Course, kind: type, assignment: str, student: str, force: bool) -> None:
    from nbgrader.converters import NbGraderException
    from nbgrader.coursedir import CourseDirectory

    _quiet()
    config, (log, errors) = settings(course), _log(course)
    beside = str(Path(sys.executable).parent)  # nbgrader calls alembic, which stands there
    if beside not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = beside + os.pathsep + os.environ["PATH"]
    where = CourseDirectory(config=config, log=log)
    where.assignment_id, where.student_id = assignment, glob.escape(student)
    step = kind(coursedir=where, config=config, log=log, force=force)
    try:
        step.start()
    except (NbGraderException, SystemExit) as error:
        said = [line for text in errors for line in text.strip().splitlines()[-1:]]
        about = [
            line for line in said if "There was an error" not in line and "error log" not in line
        ]
        raise RuntimeError((about or said or [str(error)])[0]) from error
    finally:
        _owner_may_write(where, kind.__name__, assignment, student)


def _quiet() -> None:
    """nbgrader's database code warns about itself with this SQLAlchemy; nothing is lost."""
    from sqlalchemy.exc import SAWarning

    warnings.filterwarnings("ignore", category=SAWarning)


def _owner_may_write(where: Any, step: str, assignment: str, student: str) -> None:
    """nbgrader leaves files that nobody may write; the next run could not replace them on some systems."""
    if step == "Autograde":
        folder = Path(where.format_path(where.autograded_directory, student, assignment))
        for path in folder.rglob("*"):
            path.chmod(path.stat().st_mode | stat.S_IWUSR)


class _Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _log(course: Course) -> tuple[logging.Logger, list[str]]:
    """A logger into the course's ``logs/nbgrader.txt``, and the list of what it logs as errors."""
    log = logging.getLogger(f"rlvr_lab.class.{os.getpid()}")
    for old in list(log.handlers):
        old.close()
        log.removeHandler(old)
    log.propagate = False
    log.setLevel(logging.INFO)
    place = course.logs / "nbgrader.txt"
    file = logging.FileHandler(place, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    errors = _Errors()
    log.addHandler(file)
    log.addHandler(errors)
    return log, errors.said
