"""The folder that holds the project's models, recorded runs and numbers from papers."""

import os
from pathlib import Path

__all__ = ["bases_folder", "data_folder"]


def data_folder() -> Path:
    """The project's ``data/`` folder: next to the package, or in ``$RLVR_LAB_DATA``.

    Raises:
        FileNotFoundError: when the folder does not exist.
    """
    beside = Path(__file__).parents[2] / "data"
    folder = Path(os.environ.get("RLVR_LAB_DATA", beside))
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data folder {folder} not found: work in a clone of the project (installed with "
            "`pip install -e .`), or set the environment variable RLVR_LAB_DATA to its data/ folder"
        )
    return folder


def bases_folder() -> Path:
    """Where experiments keep the base models that they make: ``bases/`` next to ``data/``, or ``$RLVR_LAB_BASES``.

    Git ignores this folder. A base model that is missing in it is made again.
    """
    return Path(os.environ.get("RLVR_LAB_BASES", data_folder().parent / "bases"))
