"""What every check of an exercise has in common: call the learner's function, name the mistake.

A check draws fresh random inputs, calls the learner's function on copies of them and compares what
it returns with an oracle of its own. When they differ, it works out what the known mistakes would
have returned on the same inputs; the one that agrees with *every* call is the one it names.
"""

import secrets
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = [
    "Case",
    "Check",
    "Mistake",
    "call",
    "checking",
    "function_name",
    "judge",
    "number",
    "ragged",
    "tensor",
]


class Mistake(AssertionError):
    """What a check has found. A notebook shows its sentence and no traceback."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [f"✗ {self}"]


@dataclass(frozen=True)
class Case:
    """One call of the learner's function.

    Attributes:
        given: the inputs in words, shown when no known mistake explains the difference.
        value: what the learner's function returned.
        right: what the oracle says.
        mistakes: from the sentence that names a mistake to what that mistake would have returned.
    """

    given: str
    value: ArrayLike
    right: ArrayLike
    mistakes: dict[str, ArrayLike] = field(default_factory=dict)


@contextmanager
def checking(title: str, seed: int | None) -> Iterator[np.random.Generator]:
    """Yield a generator of fresh inputs; print ``✓ title`` at the end, or add the seed to the
    mistake.

    >>> with checking("two and two", seed=0) as rng:
    ...     judge("add", [Case("2, 2", 4.0, 4.0)])
    ✓ two and two
    """
    used = secrets.randbelow(100_000) if seed is None else seed
    try:
        yield np.random.default_rng(used)
    except Mistake as mistake:
        raise Mistake(f"{mistake}\n  (the same inputs again: seed={used})") from None
    print(f"✓ {title}")


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


def call(fn: Any, **inputs: Any) -> tuple[Any, dict[str, Any]]:
    """Call ``fn`` with copies of ``inputs``, in their order; return its result and the copies.

    The names are for messages only: learners may rename their arguments.

    Raises:
        Mistake: when ``fn`` is no function, not written yet, stops with an error of its own,
            returns nothing, or writes over an input.
    """
    if not callable(fn):
        raise Mistake(
            f"hand the function itself to the check, without calling it; this is a {type(fn).__name__}"
        )
    name, given = function_name(fn), {key: _copy(value) for key, value in inputs.items()}
    try:
        result = fn(*given.values())
    except NotImplementedError:
        raise Mistake(
            f"{name} is not written yet: put your code where it says NotImplementedError"
        ) from None
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)
        inside = [frame for frame in place if frame.name == name] or place[-1:]
        where = f", at its line `{inside[-1].line}`" if inside[-1].line else ""
        first = (str(error).splitlines() or [""])[0]
        raise Mistake(f"{name} stopped with {type(error).__name__}: {first}{where}") from error
    if result is None:
        raise Mistake(f"{name} is not written yet, or its last line does not return anything")
    for key, before in inputs.items():
        if not _same(before, given[key]):
            raise Mistake(
                f"{name} writes its result over `{key}`: whoever called it still needs the raw {key}. "
                "Make a new tensor instead of changing this one in place"
            )
    return result, given


def tensor(
    name: str, value: Any, shape: Sequence[int], instead: dict[tuple[int, ...], str] | None = None
) -> Tensor:
    """``value`` after checking that it is a finite float tensor of the expected shape.

    Args:
        name: of the learner's function.
        value: what it returned.
        shape: what is expected.
        instead: likely other shapes, with the sentence that explains each.

    Raises:
        Mistake: when it is not.
    """
    if not isinstance(value, Tensor):
        raise Mistake(f"{name} must return a torch.Tensor, not a {type(value).__name__}")
    found = tuple(value.shape)
    if found != tuple(shape):
        why = (instead or {}).get(found, "look at what each step does to the shape")
        wanted = "a single number (shape [])" if not shape else f"shape {list(shape)}"
        raise Mistake(f"{name} returns the wrong shape: {list(found)} and not {wanted}; {why}")
    if not value.dtype.is_floating_point:
        raise Mistake(f"{name} returns the wrong dtype, {value.dtype}: it should be a float")
    if bool(torch.isnan(value).any()):
        raise Mistake(f"{name} returns nan: something is divided by zero, or ∞ meets 0 or ∞")
    if not bool(torch.isfinite(value).all()):
        raise Mistake(f"{name} returns an infinite number: look for a division by (almost) zero")
    return value


def number(name: str, value: Any) -> float:
    """``value`` as a finite float.

    Raises:
        Mistake: when it is not one number.
    """
    plain = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    try:
        if isinstance(plain, bool | str | complex) or np.size(plain) != 1:
            raise TypeError
        result = float(np.ravel(plain)[0])
    except (TypeError, ValueError):
        raise Mistake(f"{name} must return one number, not a {type(value).__name__}") from None
    if not np.isfinite(result):
        raise Mistake(f"{name} returns {result}: look for a division by zero")
    return result


def _array(value: ArrayLike) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


def _agree(a: ArrayLike, b: ArrayLike, tolerance: float) -> bool:
    a, b = _array(a), _array(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance)


def judge(name: str, cases: Sequence[Case], tolerance: float = 1e-5) -> None:
    """Compare every case with its oracle; name the mistake that explains all of them.

    Raises:
        Mistake: when one differs by more than ``tolerance``, relative or absolute.
    """
    bad = [case for case in cases if not _agree(case.value, case.right, tolerance)]
    if not bad:
        return
    for sentence in bad[0].mistakes:
        if all(
            sentence in case.mistakes and _agree(case.value, case.mistakes[sentence], tolerance)
            for case in cases
        ):
            raise Mistake(f"{name}: {sentence}")
    case = bad[0]
    value, right = np.broadcast_arrays(_array(case.value), _array(case.right))
    close = np.isclose(value, right, rtol=tolerance, atol=tolerance)
    place = tuple(int(i) for i in np.argwhere(~close)[0])
    at = f" at index {list(place)}" if place else ""
    raise Mistake(
        f"{name}: not right yet, and not one of the usual slips. For {case.given} it gives "
        f"{value[place]:.4f}{at}, expected {right[place]:.4f}"
    )


# ------------------------------------------------------------------------ checks told by a table


def ragged(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    """A mask [rows, width] of answers of different lengths: one is full, one has a single token."""
    lengths = rng.permutation([1, width, *rng.integers(1, width, rows - 2)])
    return np.arange(width) < lengths[:, None]


@dataclass(frozen=True)
class Check:
    """A check of one function, told by what to draw, what is right and what the usual slips give.

    ``right`` and ``mistakes`` take the drawn inputs by name, as numpy arrays and plain numbers; the
    learner's function gets them in the same order, arrays as float64 tensors.

    Attributes:
        title: printed after the ✓.
        draw: (generator, number of the call) → inputs.
        right: the oracle.
        mistakes: from the sentence that names a mistake to the function that makes it.
        calls: how often the learner's function is called.
        instead: from a likely wrong shape, in terms of the inputs, to the sentence that explains it.
        through: the input that a gradient must flow to, compared with finite differences of ``right``.
        data: inputs that no gradient may flow to.
        tolerance: of ``judge``.
    """

    title: str
    draw: Callable[[np.random.Generator, int], dict[str, Any]]
    right: Callable[..., Any]
    mistakes: dict[str, Callable[..., Any]]
    calls: int = 3
    instead: Callable[..., dict[tuple[int, ...], str]] = lambda **inputs: {}
    through: str | None = None
    data: tuple[str, ...] = ()
    tolerance: float = 1e-5

    def __call__(self, fn: Any, seed: int | None = None) -> None:
        """Check ``fn`` with fresh inputs, or with those of ``seed``.

        Raises:
            Mistake: with a sentence that says what is wrong.
        """
        with checking(self.title, seed) as rng:
            name, cases, slopes = function_name(fn), [], []
            for turn in range(self.calls):
                inputs = self.draw(rng, turn)
                result, given = call(fn, **{k: self._tensor(k, x) for k, x in inputs.items()})
                right = self.right(**inputs)
                value = self._value(name, result, right, inputs)
                named = {said: _flat(slip(**inputs)) for said, slip in self.mistakes.items()}
                words = ", ".join(f"{k} = {_short(x)}" for k, x in inputs.items())
                cases.append(Case(words, value, _flat(right), named))
                slopes.append((result, given, inputs))
            judge(name, cases, self.tolerance)
            if self.through:
                for result, given, inputs in slopes:
                    self._check_gradient(name, result, given, inputs)

    def _tensor(self, key: str, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return torch.tensor(value, requires_grad=key == self.through or key in self.data)

    def _value(self, name: str, result: Any, right: Any, inputs: dict[str, Any]) -> Any:
        if isinstance(right, tuple):
            if not isinstance(result, tuple | list) or len(result) != len(right):
                raise Mistake(f"{name} must return {len(right)} numbers, as its last line says")
            return np.array([number(name, part) for part in result])
        if np.ndim(right) == 0 and not self.through and not isinstance(result, Tensor):
            return number(name, result)
        return tensor(name, result, np.shape(right), self.instead(**inputs))

    def _check_gradient(
        self, name: str, value: Tensor, given: dict[str, Any], inputs: dict[str, Any]
    ) -> None:
        if not value.requires_grad:
            raise Mistake(
                f"{name}: the value is right, but no gradient flows to {self.through}; something cuts it "
                "off (detach, no_grad, item, numpy)"
            )
        keys = (self.through, *self.data)
        slope, *others = torch.autograd.grad(value, [given[key] for key in keys], allow_unused=True)
        for key, other in zip(self.data, others, strict=True):
            if other is not None and bool((other != 0).any()):
                raise Mistake(
                    f"{name}: the value is right, but a detach is missing: gradient flows through "
                    f"`{key}`, which is data"
                )
        x, h = inputs[self.through], 1e-6
        right = np.zeros_like(x)
        for place in np.ndindex(x.shape):
            ends = [
                self.right(**{**inputs, self.through: x + sign * h * _place(x, place)})
                for sign in (1, -1)
            ]
            right[place] = (ends[0] - ends[1]) / (2 * h)
        slope = torch.zeros_like(given[self.through]) if slope is None else slope
        judge(name, [Case(f"the gradient by {self.through}", slope, right)], 1e-4)


def _place(x: np.ndarray, place: tuple[int, ...]) -> np.ndarray:
    one = np.zeros_like(x)
    one[place] = 1
    return one


def _flat(result: Any) -> Any:
    return np.hstack(result) if isinstance(result, tuple) else result


def _short(x: Any) -> str:
    if isinstance(x, np.ndarray) and x.size > 6:
        return f"an array {list(x.shape)}"
    if isinstance(x, np.ndarray):
        return str(x.round(3).tolist())
    return f"{x:.3g}" if isinstance(x, float) else "…" if callable(x) else str(x)
