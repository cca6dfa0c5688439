"""How the values of a call are shown in a message: shortened, with names and shapes, or not at all."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from rlvr_lab.checks.calls import function_name

__all__ = ["as_array", "show", "show_apart", "show_inputs", "withheld"]

PLACES = ("first", "second", "third")
NEAR = 0.01
"""A result with a smaller relative error is nearly right."""


def as_array(value: Any) -> np.ndarray:
    """Numbers as an array of doubles, text as an array of text."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value) if isinstance(value, str) else np.asarray(value, dtype=np.float64)


def show(x: Any, digits: int = 3) -> str:
    """``x`` for a message: three significant digits, at most 12 numbers per line and 4 lines.

    >>> show(np.arange(15) / 7)
    '[0, 0.143, 0.286, 0.429, 0.571, 0.714, 0.857, 1, 1.14, 1.29, 1.43, 1.57, … 15 numbers]'
    >>> show(np.eye(5, 2)).splitlines()[-2:]
    ['    [0, 0]', '    … 5 rows']
    """
    if callable(x) or isinstance(x, str):
        return f"the function {function_name(x)}" if callable(x) else repr(x)
    if isinstance(x, list) and x and isinstance(x[0], str):
        return repr(x)
    array = as_array(x)
    if array.ndim == 0:
        return f"{float(array):.{digits}g}"
    rows = [[f"{v:.{digits}g}" for v in row] for row in array.reshape(-1, array.shape[-1])[:4]]
    width = max((len(v) for row in rows for v in row), default=0) if array.ndim > 1 else 0
    lines = [
        ", ".join([v.rjust(width) for v in row[:12]] + [f"… {len(row)} numbers"] * (len(row) > 12))
        for row in rows
    ]
    if array.ndim == 1:
        return f"[{lines[0]}]"
    more = [f"… {len(array)} rows"] * (len(array) > 4)
    return "\n    ".join(["", *(f"[{line}]" for line in lines), *more])


def show_apart(a: Any, b: Any) -> tuple[str, str]:
    """Two values with as many digits as it takes to see that they differ.

    >>> show_apart(np.array([2.0, 1.11]), np.array([2.0, 1.2]))
    ('[2, 1.11]', '[2, 1.2]')
    >>> show_apart(1.1123, 1.1124)
    ('1.1123', '1.1124')
    """
    for digits in range(3, 10):
        if show(a, digits) != show(b, digits):
            return show(a, digits), show(b, digits)
    return show(a), show(b)


def show_inputs(inputs: dict[str, Any]) -> str:
    """The inputs of a call for a message: name, shape and shortened values, one input per line.

    >>> print(show_inputs({"rewards": np.array([0.0, 1.0]), "clip": 0.2}))
    rewards [2] = [0, 1]
      clip = 0.2
    """
    shapes = [f" {list(np.shape(x))}" * (np.ndim(x) > 0) for x in inputs.values()]
    lines = [
        f"{key}{shape} = {show(x)}" for (key, x), shape in zip(inputs.items(), shapes, strict=True)
    ]
    return "\n  ".join(lines).replace(" \n", "\n")


def withheld(cases: Sequence[Any], tolerance: float) -> str:
    """What is wrong with a derived formula, without the correct values; empty where nothing is.

    Args:
        cases: the calls, with ``inputs``, ``value`` and ``right``.
        tolerance: allowed error, relative or absolute.
    """
    for case in cases:
        value, right = as_array(case.value), as_array(case.right)
        bad = ~np.isclose(value, right, rtol=tolerance, atol=tolerance)
        if not bad.any():
            continue
        place = int(np.argmax(bad.ravel()))
        mine, true = value.ravel()[place], right.ravel()[place]
        which = "This" if not value.ndim else f"The number at index {place}"
        which = f"The {PLACES[place]} number" if isinstance(case.right, tuple) else which
        near = np.all(abs(value - right) <= NEAR * abs(right))
        said = (
            f" by less than {NEAR:.0%}. A closed form is asked for, and it is exact" if near else ""
        )
        return (
            f"not correct yet, and not one of the common mistakes. For\n  {show_inputs(case.inputs)}\n"
            f"it gives {show(value, 6)}\n{which} is too {'large' if mine > true else 'small'}{said}"
        )
    return ""
