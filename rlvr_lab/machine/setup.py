"""Is this machine ready for the course? One line per requirement; if it is not met, how to fix it."""

import importlib.metadata
import os
import sys

import torch

from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.loading import resolve_device
from rlvr_lab.tasks.worlds import WORLDS

__all__ = ["check_setup", "setup_report"]

NEEDED = {"torch": (2, 6), "transformers": (5, 0), "ipykernel": (7, 4), "ipywidgets": (8, 1)}
MEND = "close JupyterLab and run `make lab` in the project's folder"


def setup_report() -> list[tuple[bool, str]]:
    """``(fine, line)`` for Python, packages, models and device."""
    version = ".".join(map(str, sys.version_info[:3]))
    lines = [(sys.version_info >= (3, 11), f"Python {version} (3.11 or newer is needed)")]
    for name, least in NEEDED.items():
        wanted = ".".join(map(str, least))
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            lines.append((False, f"{name} is not installed: {MEND}"))
            continue
        fine = tuple(int(part) for part in found.split("+")[0].split(".")[:2]) >= least
        lines.append((fine, f"{name} {found}" + ("" if fine else f", {wanted} is needed: {MEND}")))
    try:
        models = data_folder() / "models"
        shipped = [name for name, world in WORLDS.items() if world.base is None]
        missing = [name for name in shipped if not (models / name).is_dir()]
        line = f"base models: {', '.join(shipped)}"
        if missing:
            line = f"base models missing: {missing}; get a complete clone of the project"
        lines.append((not missing, line))
    except FileNotFoundError as error:
        lines.append((False, str(error)))
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    return [*lines, (True, f"device: {resolve_device()}, {threads}")]


def check_setup() -> None:
    """Print the report; the last line says whether everything is ready."""
    lines = setup_report()
    for fine, line in lines:
        print("✓" if fine else "✗", line)
    fine = all(fine for fine, _ in lines)
    print("Ready." if fine else "Fix the lines marked ✗, then run this again.")
