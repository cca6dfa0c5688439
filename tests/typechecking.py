"""The type checker that the tests hang into every function of the package."""

import inspect
from collections.abc import Callable
from typing import Any

import beartype

# An int is accepted where a float is asked for (PEP 484).
CHECK = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))


def check(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Check arguments and results; a run's configuration refuses bad values with a sentence of its own."""
    settings = {"steps", "seed"} <= set(inspect.signature(fn).parameters)
    return fn if settings and getattr(fn, "__name__", "") == "__init__" else CHECK(fn)
