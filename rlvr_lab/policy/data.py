"""Where the project keeps its models, runs and figures of papers."""

import os
from pathlib import Path

__all__ = ["data_folder"]


def data_folder() -> Path:
    """The project's ``data/`` folder: beside the package, or in ``$RLVR_LAB_DATA``.

    Raises:
        FileNotFoundError: when there is none.
    """
    beside = Path(__file__).parents[2] / "data"
    folder = Path(os.environ.get("RLVR_LAB_DATA", beside))
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data folder {folder} not found: work in a clone of the project (installed with "
            "`pip install -e .`), or point the environment variable RLVR_LAB_DATA at its data/ folder"
        )
    return folder
