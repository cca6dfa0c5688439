"""The functions that the exercise sheets and their solutions hand to the checks."""

import ast
import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlvr_lab.checks import stubs

__all__ = ["NOTEBOOKS", "Functions", "code", "functions_of"]

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
Functions = dict[str, tuple[Callable[..., Any], ...]]


def code(notebook: dict) -> list[tuple[dict, str]]:
    return [
        (cell["metadata"].get("nbgrader", {}), "".join(cell["source"]))
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def called_check(source: str) -> tuple[str, list[str]]:
    """The check that a cell calls first, and the names of what it hands over."""
    call = ast.parse(source).body[0].value
    return call.func.attr, [argument.id for argument in call.args]


def functions_of(folder: str) -> tuple[Functions, dict[str, str]]:
    """check -> the functions which the notebooks of ``folder`` hand to it; check -> their source."""
    found, sources = {}, {}
    for path in sorted((NOTEBOOKS / folder).glob("*.ipynb")):
        cells = code(stubs.read(path))
        space: dict[str, Any] = {}
        for grading, source in cells:
            displayed_only = not grading and "def " not in source and "import " not in source
            if not grading.get("grade") and (not displayed_only or "kinds =" in source):
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(source, path.name, "exec"), space)
        for grading, source in cells:
            if grading.get("grade"):
                check, names = called_check(source)
                found[check] = tuple(space[name] for name in names)
                sources[check] = "\n".join(
                    s for g, s in cells if g.get("solution") and names[0] in s
                )
    return found, sources
