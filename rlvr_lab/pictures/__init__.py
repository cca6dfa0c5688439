"""Pictures: metrics in, one figure out, ``plot_x(data, ax=None) -> Axes``.

A notebook may take every name that a module's ``__all__`` lists from here. The modules are loaded with
the first such name, not with the package: together they load half of the course, and the process that
draws live runs needs only ``pictures.runs``.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

_MODULES = frozenset(module.name for module in iter_modules(__path__))


def _load() -> None:
    for module in sorted(_MODULES):
        loaded = import_module(f"{__name__}.{module}")
        globals().update({name: getattr(loaded, name) for name in loaded.__all__})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if not name.startswith("__"):
        _load()
    try:
        return globals()[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    _load()
    return sorted(globals())
