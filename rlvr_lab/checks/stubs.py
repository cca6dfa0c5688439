"""The exercise sheets: ``notebooks/exercises`` is generated from ``notebooks/solutions``.

Only the solution notebooks are edited. Their cells carry nbgrader metadata, and the code that a learner has
to write stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION``. A stub is the same notebook with

- each of these regions replaced by ``raise NotImplementedError(…)`` at the same indentation,
- answers in prose replaced by a line to write in,
- ``### BEGIN HIDDEN TESTS`` … ``### END HIDDEN TESTS`` removed,
- all outputs cleared and all cell ids kept,
- the tag ``raises-exception`` on cells that need an answer, so that *Run all* does not stop there.

Notebooks are read and written here as plain JSON, in the format of ``nbformat``, without extra packages.
"""

import copy
import json
import re
from pathlib import Path
from typing import Any

from rlvr_lab.policy.data import data_folder

__all__ = ["drift", "generate", "holds_answers", "read", "stub", "stub_source", "write"]

Notebook = dict[str, Any]

NEEDS_ANSWER = "needs-answer"  # tag of a cell that runs only once the exercise is solved
RAISES = "raises-exception"
PROSE_STUB = "*Write your answer here.*"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

_MARK = re.compile(
    r"^(?P<indent>[ \t]*)### (?P<edge>BEGIN|END) (?P<what>SOLUTION|HIDDEN TESTS)\s*$"
)
_DEFINED = re.compile(r"^\s*def (?P<name>\w+)\(")


def stub_source(source: str) -> str:
    r"""A code cell without its solutions and hidden tests.

    Raises:
        ValueError: when a BEGIN has no END or an END no BEGIN.

    >>> print(stub_source("def f(x):\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION"))
    def f(x):
        raise NotImplementedError("f is still to be written")
    """
    lines: list[str] = []
    inside, name = None, "this"
    for line in source.splitlines():
        mark = _MARK.match(line)
        if mark is None:
            if inside is None:
                lines.append(line)
                defined = _DEFINED.match(line)
                name = defined["name"] if defined else name
        elif mark["edge"] == "BEGIN" and inside is None:
            inside = mark["what"]
            if inside == "SOLUTION":
                message = f"{name} is still to be written"
                lines.append(f'{mark["indent"]}raise NotImplementedError("{message}")')
        elif mark["edge"] == "END" and inside == mark["what"]:
            inside = None
        else:
            raise ValueError(f"source: unexpected {line.strip()!r}")
    if inside is not None:
        raise ValueError(f"source: ### BEGIN {inside} has no END")
    return "\n".join(lines).strip("\n")


def stub(notebook: Notebook) -> Notebook:
    """The exercise notebook for a solution notebook.

    Raises:
        ValueError: when a cell marked as a solution has no region to remove, so that the stub would
            contain the answer, or when a region is not closed.
    """
    made = copy.deepcopy(notebook)
    made["metadata"] = copy.deepcopy(METADATA)
    for cell in made["cells"]:
        grading = cell["metadata"].get("nbgrader", {})
        tags = set(cell["metadata"].pop("tags", []))
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            cell["metadata"].pop("execution", None)
            text = stub_source(source)
            if grading.get("solution") and "raise NotImplementedError" not in text:
                raise ValueError(f"cell {cell['id']!r}: a solution without ### BEGIN SOLUTION")
            if grading.get("grade") or NEEDS_ANSWER in tags:
                tags.add(RAISES)
        else:
            text = PROSE_STUB if grading.get("solution") else source
        if tags - {NEEDS_ANSWER}:
            cell["metadata"]["tags"] = sorted(tags - {NEEDS_ANSWER})
        cell["source"] = text.splitlines(keepends=True)
    return made


def read(path: Path) -> Notebook:
    """Read a notebook.

    Raises:
        ValueError: when the file is no notebook of format 4.5, whose cells have ids.
    """
    try:
        notebook = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name}: not a notebook ({error})") from error
    if (notebook.get("nbformat"), notebook.get("nbformat_minor")) != (4, 5):
        raise ValueError(f"{path.name}: expected notebook format 4.5, whose cells have ids")
    return notebook


def _text(notebook: Notebook) -> str:
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def write(notebook: Notebook, path: Path) -> None:
    """Write a notebook as ``nbformat`` would, with equal line ends on all systems."""
    _put(_text(notebook), path)


def _put(text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8", newline="\n")


def _stubs(folder: Path | None) -> dict[Path, str]:
    """The path of each stub and its content."""
    folder = folder or data_folder().parent / "notebooks"
    solutions = sorted((folder / "solutions").glob("*.ipynb"))
    if not solutions:
        raise FileNotFoundError(f"no solution notebooks in {folder / 'solutions'}")
    return {folder / "exercises" / path.name: _text(stub(read(path))) for path in solutions}


def holds_answers(notebook: Notebook) -> bool:
    """Whether this exercise notebook contains answers."""
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            untouched = "raise NotImplementedError" if cell["cell_type"] == "code" else PROSE_STUB
            if untouched not in "".join(cell["source"]):
                return True
    return False


def generate(folder: Path | None = None) -> list[Path]:
    """Write all stubs; returns their paths.

    Args:
        folder: holds ``solutions/`` and ``exercises/``; the project's ``notebooks/`` by default.

    Raises:
        FileNotFoundError: when there are no solutions.
        ValueError: when a stub cannot be made, or when answers would be overwritten. In both cases
            nothing is written.
    """
    stubs = _stubs(folder)
    for path in stubs:
        if path.is_file() and holds_answers(read(path)):
            raise ValueError(f"{path} contains answers, which would be lost: move it away first")
    for path, text in stubs.items():
        _put(text, path)
    return list(stubs)


def drift(folder: Path | None = None) -> list[Path]:
    """Stubs that are missing, out of date or without a solution; empty if everything is up to date."""
    stubs = _stubs(folder)
    stale = {
        path
        for path, text in stubs.items()
        if not path.is_file() or path.read_bytes() != text.encode("utf-8")
    }
    found = {orphan for path in stubs for orphan in path.parent.glob("*.ipynb")}
    return sorted(stale | (found - set(stubs)))
