"""The instructor's commands: ``python -m rlvr_lab class {release,collect,autograde,feedback,export,…}``.

Only the parser stands here, the steps in ``classroom_steps``. They run with the instructor's Python, which
``make instructor`` makes; the learner's Python says how to get there.
"""

import argparse
import sys
from datetime import datetime
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import Any

__all__ = ["add_class"]

NEEDS = """\
`class {name}` needs nbgrader, which is not installed in this Python ({python}).
It has an environment of its own. In the project's folder:

    make instructor
    .venv/instructor/bin/python -m rlvr_lab class {name} …"""


def add_class(commands: Any) -> None:
    """Add the command ``class`` with its own commands to the command line."""
    what = "hand out, collect, mark and return the exercises of a class (for instructors)"
    parts = commands.add_parser("class", help=what, description=what).add_subparsers(
        required=True, metavar="STEP"
    )

    def add(name: str, what: str, assignments: bool = True) -> argparse.ArgumentParser:
        command = parts.add_parser(name, help=what, description=what)
        command.set_defaults(run=_run, step=name)
        command.add_argument("--course", type=Path, default=Path("class"), help="%(default)s")
        if assignments:
            which = "sheets, e.g. 06_grpo; default: all"
            command.add_argument("--assignment", nargs="+", metavar="SHEET", help=which)
        return command

    command = add("release", "make the sheets that students get, with hidden tests kept back")
    command.add_argument("--sheets", type=Path, help="solution notebooks; default: the course's")
    command = add("collect", "copy submissions into the course and say what was found")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a folder or file per student")
    command.add_argument("--due", type=_time, metavar='"2026-12-01 23:59"', help="local time")
    command.add_argument("--roster", type=Path, help="CSV; default: students.csv in the course")
    command.add_argument("--dry-run", action="store_true", help="only look")
    command = add("autograde", "run and mark submissions in the sandbox")
    command.add_argument("--student", nargs="+", help="only these")
    command.add_argument("--force", action="store_true", help="mark again what is marked already")
    command = add("feedback", "write each student's feedback (HTML)")
    command.add_argument("--student", nargs="+", help="only these")
    command = add("export", "write points as CSV, and the list of what is still to mark")
    command.add_argument("--out", type=Path, help="default: export/ in the course")
    command = add("marks", "read points and comments given by hand", assignments=False)
    command.add_argument("--import", dest="file", type=Path, required=True, metavar="FILE.csv")
    what = "open nbgrader's formgrader in JupyterLab, to mark answers in prose"
    command = add("formgrader", what, assignments=False)
    command.add_argument("options", nargs="*", help="more of JupyterLab's own, after --")


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is no time; write "2026-12-01 23:59"') from None


def _run(options: argparse.Namespace) -> int:
    """Run a step, if this Python has nbgrader."""
    if find_spec("nbgrader") is None:
        raise ValueError(NEEDS.format(name=options.step, python=sys.executable))
    from rlvr_lab.grading import classroom_steps  # reads nbconvert, which training needs not

    for stream in (sys.stdout, sys.stderr):  # a student's name never stops a command
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    return getattr(classroom_steps, options.step)(options)
