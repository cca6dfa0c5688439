"""A stored notebook holds a finished run and no widget state; a failing one is left alone."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from rlvr_lab.machine.store import store

DASHBOARD = """
from dataclasses import replace
from rlvr_lab.training import PRESETS
from rlvr_lab.widgets.dashboards import TrainingDashboard
dashboard = TrainingDashboard(replace(PRESETS["grpo"], steps=2, prompts_per_step=2, group_size=4))
dashboard.show()
"""


def written(folder: Path, *cells: str) -> Path:
    v4 = nbformat.v4
    path = folder / "page.ipynb"
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells]), path)
    return path


@pytest.mark.slow
def test_a_dashboard_is_stored_after_a_finished_run(tmp_path: Path) -> None:
    path = written(tmp_path, DASHBOARD, "print(len(dashboard.records), dashboard.running)")
    store(path)
    notebook = nbformat.read(path, as_version=4)
    shown, printed = notebook.cells
    assert printed.outputs[0].text == "2 False\n"
    controls, picture = shown.outputs
    assert controls.data == {"text/plain": "[Controls. They work while the notebook runs.]"}
    assert "over 2 steps" in picture.metadata["image/png"]["alt"]
    assert "widgets" not in notebook.metadata
    assert json.loads(path.read_text("utf-8"))["cells"][0]["metadata"] == {}


def test_what_a_cell_prints_in_pieces_is_stored_as_one_text(tmp_path: Path) -> None:
    path = written(
        tmp_path, "import time\nfor i in range(3):\n    print(i, flush=True)\n    time.sleep(0.3)"
    )
    store(path)
    (output,) = nbformat.read(path, as_version=4).cells[0].outputs
    assert output.text == "0\n1\n2\n"


def test_a_notebook_that_fails_is_left_as_it_was(tmp_path: Path) -> None:
    path = written(tmp_path, "1 / 0")
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        store(path)
    assert path.read_bytes() == before


def test_a_notebook_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        store(tmp_path / "gone.ipynb")
