"""What the room offers a notebook: every name that a module's ``__all__`` lists.

The modules are loaded with the first such name that is asked for, not with the room: together they load
half of the course, and the process that draws live runs needs only ``pictures.runs``.
"""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = []

ROOM = "rlvr_lab.pictures"
MODULES = frozenset(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


@cache
def _offered() -> dict[str, Any]:
    modules = [import_module(f"{ROOM}.{name}") for name in sorted(MODULES)]
    return {name: getattr(module, name) for module in modules for name in module.__all__}


def find_name(name: str) -> Any:
    """``__getattr__`` of the room: a module of it, or what one of them offers.

    Raises:
        AttributeError: when there is no such name.
    """
    if name in MODULES:
        return import_module(f"{ROOM}.{name}")
    if not name.startswith("__") and name in _offered():
        return _offered()[name]
    raise AttributeError(f"module {ROOM!r} has no attribute {name!r}")


def list_names() -> list[str]:
    """``__dir__`` of the room: all modules and what they offer."""
    return sorted(MODULES | _offered().keys())
