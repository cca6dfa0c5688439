"""Is this machine ready for the course? One line for each thing, and one line to mend it."""

import importlib.metadata
import os
import sys

import torch

from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.loading import resolve_device

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
        folder = data_folder()
        missing = [m for m in ("sums", "lab") if not (folder / "models" / m).is_dir()]
        lines.append(
            (not missing, f"base models missing: {missing}; get a whole clone of the project")
            if missing
            else (True, "base models: sums, lab")
        )
    except FileNotFoundError as error:
        lines.append((False, str(error)))
    lines.append(
        (
            True,
            f"device: {resolve_device()}, {torch.get_num_threads()} threads of "
            f"{os.cpu_count()} cores",
        )
    )
    return lines


def check_setup() -> None:
    """Print the report; the last line says whether all is well."""
    lines = setup_report()
    for fine, line in lines:
        print("✓" if fine else "✗", line)
    print(
        "Ready."
        if all(fine for fine, _ in lines)
        else "Mend the lines marked ✗, then run this again."
    )
