"""Call the learner's function and look at what it returns.

The mistakes found here have nothing to do with the idea of the exercise: the function is missing or
not written yet, it stops with an error, it overwrites an input, or its result has the wrong type or
shape. Each case has its own message.
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

try:
    import resource
except ImportError:  # Windows: time is limited there, memory is not
    resource = None

__all__ = [
    *("Mistake", "call", "function_name", "is_remote", "limited", "number", "numbers", "tensor"),
    "within",
]


class Mistake(AssertionError):
    """What a check has found. A notebook shows the message and no traceback.

    Attributes:
        inputs: the inputs of the call, by name, for a check that is asked to show them; empty when
            the message already shows them or when they do not matter.
    """

    inputs: dict[str, Any] | None = None

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [f"✗ {self}"]


def function_name(fn: Any) -> str:
    """The name of the learner's function, for messages."""
    name = getattr(fn, "__name__", "")
    return name if name.isidentifier() else "your function"


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return value.copy() if isinstance(value, np.ndarray | list) else value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return not isinstance(a, list) or a == b


def _describe(key: str, value: Any) -> str:
    """An input by its name and its shape, or its value if it is a plain number.

    >>> _describe("rewards", torch.zeros(3, 4)), _describe("clip", 0.2)
    ('rewards [3, 4]', 'clip = 0.2')
    """
    if isinstance(value, Tensor | np.ndarray | list):
        return f"{key} {list(np.shape(value))}"
    return f"{key}, a function" if callable(value) else f"{key} = {value!r}"


def _line(error: Exception, name: str) -> str:
    """The line of function ``name`` at which it stopped, or else the last line of all.

    An error that comes from another process, where a class is marked, brings its lines along.
    """
    place = [(frame.name, frame.line or "") for frame in traceback.extract_tb(error.__traceback__)]
    place += [tuple(frame) for frame in getattr(error, "frames_below", [])]
    return ([line for where, line in place if where == name] or [place[-1][1]])[-1]


def is_remote(fn: Any) -> bool:
    """Whether a call of ``fn`` runs in another process, as when a class is marked."""
    return getattr(fn, "is_remote", False) is True


def within(fn: Any, memory: int) -> Any:
    """A remote function whose call may take so many bytes of memory; more raises an error there."""

    def limited(*args: Any) -> Any:
        return fn.within(memory, *args)

    limited.__name__ = function_name(fn)
    return limited


def limited(fn: Any, seconds: float, memory: int) -> Any:
    """``fn`` whose call may take so long and so many bytes of memory; more raises an error.

    A remote call keeps the time limit of its own. Here, time is looked at before each line of Python.
    """
    if is_remote(fn):
        return within(fn, memory)

    def hurried(*args: Any) -> Any:
        end = time.monotonic() + seconds

        def watch(*_: Any) -> Callable[..., Any]:
            if time.monotonic() > end:
                raise TimeoutError(f"it takes longer than {seconds:g} seconds")
            return watch

        before = sys.gettrace()
        with _memory(memory):
            sys.settrace(watch)
            try:
                return fn(*args)
            finally:
                sys.settrace(before)

    hurried.__name__ = function_name(fn)
    return hurried


@contextmanager
def _memory(more: int) -> Iterator[None]:
    """Let the process take so many bytes more at most, where the system can be told so."""
    sizes = Path("/proc/self/statm")
    if resource is None or not sizes.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(sizes.read_text().split()[0]) * resource.getpagesize()
    if soft != resource.RLIM_INFINITY and soft < used + more:
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (used + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def call(fn: Any, **inputs: Any) -> tuple[Any, dict[str, Any]]:
    """Call ``fn`` with copies of ``inputs``, in their order; return its result and the copies.

    The names are used only in messages: learners may rename their arguments.

    Raises:
        Mistake: when ``fn`` is not a function, is not written yet, stops with an error, returns
            nothing, or overwrites an input.
    """
    if not callable(fn):
        raise Mistake(
            f"pass the function itself to the check, without calling it; this is a {type(fn).__name__}"
        )
    name, given = function_name(fn), {key: _copy(value) for key, value in inputs.items()}
    try:
        result = fn(*given.values())
    except NotImplementedError:
        raise Mistake(
            f"{name} is not written yet: put your code where it says NotImplementedError"
        ) from None
    except Exception as error:
        line = _line(error, name)
        where = f", at its line `{line}`" if line else ""
        first = (str(error).splitlines() or [""])[0]
        shapes = ", ".join(_describe(key, x) for key, x in inputs.items())
        raise Mistake(
            f"{name} stopped with {type(error).__name__}: {first}{where} (inputs: {shapes})"
        ) from error
    if result is None:
        raise Mistake(f"{name} is not written yet, or its last line does not return anything")
    for key, before in inputs.items():
        if not _same(before, given[key]):
            raise Mistake(
                f"{name} overwrites its input `{key}`, which the caller still needs. "
                "Make a new tensor instead of changing this one in place"
            )
    return result, given


def tensor(
    name: str,
    value: Any,
    shape: Sequence[int],
    instead: dict[tuple[int, ...], str] | None = None,
    boolean: bool = False,
) -> Tensor:
    """``value``, which ``name`` returned, as a finite float tensor (or a mask) of the expected shape.

    Raises:
        Mistake: when it is not one; ``instead`` explains likely wrong shapes.
    """
    if not isinstance(value, Tensor):
        raise Mistake(f"{name} must return a torch.Tensor, not a {type(value).__name__}")
    found = tuple(value.shape)
    if found != tuple(shape):
        why = (instead or {}).get(found, "look at what each step does to the shape")
        wanted = "a single number (shape [])" if not shape else f"shape {list(shape)}"
        raise Mistake(f"{name} returns the wrong shape: {list(found)} and not {wanted}; {why}")
    if boolean and value.dtype != torch.bool:
        why = "a mask is bool, so that x[mask] selects"
        raise Mistake(f"{name} returns the wrong dtype, {value.dtype}: {why}")
    if not boolean and not value.dtype.is_floating_point:
        raise Mistake(f"{name} returns the wrong dtype, {value.dtype}: it should be a float")
    if bool(torch.isnan(value).any()):
        raise Mistake(f"{name} returns nan: look for 0/0, ∞ − ∞ or 0·∞")
    if not bool(torch.isfinite(value).all()):
        raise Mistake(f"{name} returns an infinite number: look for a division by (almost) zero")
    return value


def number(name: str, value: Any) -> float:
    """``value`` as a finite float.

    Raises:
        Mistake: when it is not a single number.
    """
    plain = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    try:
        if isinstance(plain, bool | str | complex) or np.size(plain) != 1:
            raise TypeError
        result = float(np.ravel(plain)[0])
    except (TypeError, ValueError):
        what = f"a {type(value).__name__}"
        if isinstance(value, Tensor | np.ndarray):
            what = f"a {type(value).__name__} of shape {list(value.shape)}"
        raise Mistake(f"{name} must return one number, not {what}") from None
    if not np.isfinite(result):
        raise Mistake(f"{name} returns {result}: look for a division by zero or an overflow")
    return result


def numbers(name: str, value: Any, like: list[float] | tuple[float, ...]) -> list[float]:
    """``value`` as a list of finite floats, as long as ``like``.

    Raises:
        Mistake: when it is not a list of numbers or has another length.
    """
    several = isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1
    if isinstance(like, tuple) and not (several and len(value) == len(like)):
        raise Mistake(f"{name} must return {len(like)} numbers, as its last line says")
    if not several:
        raise Mistake(f"{name} must return a list, not a {type(value).__name__}")
    if len(value) != len(like):
        wanted = f"{len(like)}, one for each answer"
        raise Mistake(f"{name} returns the wrong shape: {len(value)} numbers instead of {wanted}")
    return [number(name, part) for part in value]
