"""A sheet of two exercises and an essay, and submissions of it, for the tests of the classroom."""

import copy
import json
import os
from pathlib import Path
from typing import Any

from rlvr_lab.checks.stubs import METADATA, read, stub

SOLUTIONS = Path(__file__).parents[2] / "notebooks" / "solutions"
NAME = "tiny"
IDS = ["leave-one-out", "k3"]
CHECKS = ["leave-one-out-check", "k3-check"]
ESSAY = "essay"
PROSE = "The baseline of answer i leaves its own reward out."

Notebook = dict[str, Any]


def sheet() -> Notebook:
    """The solution notebook: the first cells of sheet 06, two of its exercises, an essay."""
    cells = read(SOLUTIONS / "06_grpo.ipynb")["cells"]
    first = next(i for i, cell in enumerate(cells) if cell["cell_type"] == "code")
    wanted = {f"{one}{end}" for one in IDS for end in ("", "-check")}
    kept = [c for i, c in enumerate(cells) if i <= first or c["id"] in wanted]
    marks = {"cell_type": "markdown", "grade": True, "grade_id": ESSAY, "locked": False}
    marks |= {"points": 6, "schema_version": 3, "solution": True, "task": False}
    essay = {
        "cell_type": "markdown",
        "id": ESSAY,
        "metadata": {"nbgrader": marks},
        "source": [PROSE],
    }
    return copy.deepcopy(
        {"cells": [*kept, essay], "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    )


def handed_out(version: str = "") -> Notebook:
    """What students get, with the version that it claims to have."""
    made = stub(sheet())
    if version:
        made["metadata"]["rlvr_lab"] = {"assignment": NAME, "version": version}
    return made


def answered(*solved: str, essay: str = "", of: Notebook | None = None) -> Notebook:
    """A sheet in which the named cells are solved."""
    made, solution = of or handed_out(), {c["id"]: c for c in sheet()["cells"]}
    for cell in made["cells"]:
        if cell["id"] in solved:
            cell["source"] = solution[cell["id"]]["source"]
        if cell["id"] == ESSAY and essay:
            cell["source"] = [essay]
    return made


def put(notebook: Notebook | str, path: Path, time: float = 1_800_000_000) -> None:
    """Write a submission, last changed at ``time``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook), "utf-8")
    os.utime(path, (time, time))
