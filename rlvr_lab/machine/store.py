"""Execute a notebook from top to bottom and store it so that it can be read without running."""

import json
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from rlvr_lab.records.runs import write_whole

__all__ = ["store"]


def store(path: Path, timeout: int = 600) -> None:
    """Run every cell of the notebook at ``path`` and write it back with its outputs.

    Dashboards carry out one run (``RLVR_LAB_STORE``), so the stored page shows a finished run. Widgets
    (the sentence that stands for them stays) and execution times are left out, since they change with
    every execution.

    Args:
        path: of the notebook.
        timeout: seconds that one cell may take.

    Raises:
        FileNotFoundError: when there is no such notebook.
        nbclient.exceptions.CellExecutionError: when a cell fails; the file stays as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        coalesce_streams=True,  # how the kernel cuts up what a cell prints depends on the machine's load
        resources={"metadata": {"path": str(path.resolve().parent)}},
    )
    client.execute(env={**os.environ, "RLVR_LAB_STORE": "1"})
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
    write_whole(path, (text + "\n").encode())
