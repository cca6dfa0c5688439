"""A check is a table: what to draw, what is right, and what the usual slips would give.

It calls the learner's function with fresh random inputs and compares what comes back with an oracle. When
the two differ, it looks for a slip that gives the same as the learner on *every* call, and names it.

The oracles are written from the definitions, in plain Python or numpy. They share nothing with the rest of
the package.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlvr_lab.checks.calls import Mistake, call, function_name, number, numbers, tensor

__all__ = ["Case", "Check", "Series", "judge", "ragged", "seen", "show", "softmax"]

Rule = Callable[..., Any]  # of the drawn inputs, in their order
ZERO = "the value is right, but the gradient is zero: a detach too many"


@dataclass(frozen=True)
class Check:
    """A check of one function.

    ``right``, the mistakes and ``instead`` take the drawn inputs in their order, as numpy arrays and
    plain values. So does the learner's function, with tensors for arrays. What ``right`` returns says
    what is expected: a number, a tensor of floats, a mask, a list or tuple of numbers, or a word.

    Attributes:
        title: printed after the ✓.
        draw: (generator, number of the call) → inputs by name.
        right: the oracle.
        mistakes: from the sentence that names a mistake to the function that makes it.
        calls: how often the learner's function is called.
        tolerance: how far it may be off, relative or absolute.
        instead: from a likely wrong shape, in terms of the inputs, to the sentence that explains it.
        through: the input that a gradient must flow to, compared with finite differences of ``right``.
        slopes: from the sentence that names a mistake of that gradient to the gradient it gives.
        data: inputs that no gradient may flow to.
        last: a look at the function, with a generator, after all is right; raises ``Mistake`` itself.
        label: what messages write behind the function's name.
    """

    title: str
    draw: Callable[[np.random.Generator, int], dict[str, Any]]
    right: Rule
    mistakes: dict[str, Rule]
    calls: int = 3
    tolerance: float = 1e-5
    instead: Callable[..., dict[tuple[int, ...], str]] = lambda *inputs: {}
    through: str | None = None
    slopes: dict[str, Rule] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    last: Callable[[Any, np.random.Generator], None] | None = None
    label: str = ""

    def __call__(self, fn: Any, seed: int | None = None) -> None:
        """Check ``fn`` with fresh inputs, or with those of ``seed``.

        Raises:
            Mistake: with a sentence that says what is wrong.
        """
        with _checking(self.title, seed) as rng:
            self.examine(fn, rng)

    def examine(self, fn: Any, rng: np.random.Generator) -> None:
        """Check ``fn`` without a word when it is right."""
        name, cases, leaves = function_name(fn) + self.label, [], []
        for turn in range(self.calls):
            inputs = self.draw(rng, turn)
            try:
                result, given = call(fn, **{k: self._tensor(k, x) for k, x in inputs.items()})
                right = self.right(*inputs.values())
                cases.append(Case(inputs, self._value(name, result, right, inputs), right))
                leaves.append(given)
            except Mistake:  # calls before it may know a better reason
                if said := _explain(cases, self.mistakes, self.tolerance):
                    raise Mistake(f"{name}: {said}") from None
                raise
        judge(name, cases, self.mistakes, self.tolerance)
        if self.through:
            slopes = [self._slope(name, *pair) for pair in zip(cases, leaves, strict=True)]
            place = list(inputs).index(self.through)
            zero = {ZERO: lambda *given: 0 * given[place]}
            what = f"the value is right, but its gradient by {self.through} is"
            judge(name, slopes, self.slopes | zero, 1e-4, what)
        if self.last:
            self.last(fn, rng)

    def _tensor(self, key: str, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return torch.tensor(value, requires_grad=key == self.through or key in self.data)

    def _value(self, name: str, result: Any, right: Any, inputs: dict[str, Any]) -> Any:
        if isinstance(right, str):
            words = {right, *(slip(*inputs.values()) for slip in self.mistakes.values())}
            if not isinstance(result, str) or result not in words:
                choice = ", ".join(map(repr, sorted(words)))
                raise Mistake(f"{name} must return one of {choice}, not {result!r}")
            return result
        if isinstance(right, list | tuple):
            return numbers(name, result, right)
        if np.ndim(right) == 0 and not self.through and not isinstance(result, Tensor):
            return number(name, result)
        boolean = np.asarray(right).dtype == bool
        return tensor(name, result, np.shape(right), self.instead(*inputs.values()), boolean)

    def _slope(self, name: str, case: "Case", given: dict[str, Any]) -> "Case":
        """The gradient of one call, and what finite differences of the oracle say."""
        if not case.value.requires_grad:
            raise Mistake(
                f"{name}: the value is right, but no gradient flows to {self.through}; something cuts it "
                "off (detach, no_grad, item, numpy)"
            )
        keys = (self.through, *self.data)
        leaves = [given[key] for key in keys]
        slope, *others = torch.autograd.grad(case.value.sum(), leaves, allow_unused=True)
        for key, other in zip(self.data, others, strict=True):
            if other is not None and bool((other != 0).any()):
                raise Mistake(
                    f"{name}: the value is right, but a detach is missing: gradient flows through "
                    f"`{key}`, which is data from before this step"
                )
        x, h = case.inputs[self.through], 1e-6
        right = np.zeros_like(x)
        for place in np.ndindex(x.shape):
            ends = []
            for step in (h, -h):
                moved = x.copy()
                moved[place] += step
                ends.append(np.sum(self.right(*(case.inputs | {self.through: moved}).values())))
            right[place] = (ends[0] - ends[1]) / (2 * h)
        return Case(case.inputs, torch.zeros_like(leaves[0]) if slope is None else slope, right)


@dataclass(frozen=True)
class Series:
    """Several checks behind one ✓.

    Attributes:
        title: printed after the ✓.
        parts: the checks, in their order.
        functions: how many are handed in: one for each part, or one for them all.
    """

    title: str
    parts: tuple[Check, ...]
    functions: int = 1

    def __call__(self, *functions: Any, seed: int | None = None) -> None:
        """Check the functions with fresh inputs, or with those of ``seed``.

        Raises:
            Mistake: with a sentence that says what is wrong.
        """
        if len(functions) != self.functions:
            raise Mistake(f"hand in {self.functions} functions, not {len(functions)}")
        with _checking(self.title, seed) as rng:
            for turn, part in enumerate(self.parts):
                part.examine(functions[turn % self.functions], rng)


def seen(view: Rule, mistakes: dict[str, Rule]) -> dict[str, Rule]:
    """Mistakes that are told in other terms: each takes what ``view`` makes of the inputs, a tuple."""
    return {
        said: lambda *inputs, slip=slip: slip(*view(*inputs)) for said, slip in mistakes.items()
    }


@contextmanager
def _checking(title: str, seed: int | None) -> Iterator[np.random.Generator]:
    """Yield a generator of fresh inputs; print ``✓ title``, or add the seed to the mistake.

    >>> with _checking("two and two", seed=0) as rng:
    ...     judge("add", [Case({"a": 2, "b": 2}, 4.0, 4.0)], {})
    ✓ two and two
    """
    used = secrets.randbelow(100_000) if seed is None else seed
    try:
        yield np.random.default_rng(used)
    except Mistake as mistake:
        raise Mistake(f"{mistake}\n  (the same inputs again: seed={used})") from None
    print(f"✓ {title}")


# ------------------------------------------------------------------------------------ the judgement


@dataclass(frozen=True)
class Case:
    """One call: its inputs by name, what the learner's function returned, what the oracle says."""

    inputs: dict[str, Any]
    value: Any
    right: Any


def judge(
    name: str,
    cases: Sequence[Case],
    mistakes: dict[str, Rule],
    tolerance: float = 1e-5,
    what: str = "it gives",
) -> None:
    """Compare every case with its oracle; name the mistake that explains all of them.

    Raises:
        Mistake: when a case differs by more than ``tolerance``. If no mistake explains it, the message
            shows the inputs, the learner's value after ``what``, and the right one.
    """
    bad = [case for case in cases if not _agree(case.value, case.right, tolerance)]
    if not bad:
        return
    if said := _explain(cases, mistakes, tolerance):
        raise Mistake(f"{name}: {said}")
    value, right = _array(bad[0].value), _array(bad[0].right)
    close = np.isclose(value, right, rtol=tolerance, atol=tolerance)
    place = np.argwhere(~close)[0].tolist()
    first = f"\n(they differ first at index {place})" if place else ""
    given = "\n  ".join(f"{key} = {show(x)}" for key, x in bad[0].inputs.items())
    said = f"For\n  {given}\n{what} {show(value)}\nand should be {show(right)}{first}"
    raise Mistake(
        f"{name}: not right yet, and not one of the usual slips. " + said.replace(" \n", "\n")
    )


def _explain(cases: Sequence[Case], mistakes: dict[str, Rule], tolerance: float) -> str | None:
    """The first sentence whose mistake gives, for every case, what the learner's function gave."""
    if all(_agree(case.value, case.right, tolerance) for case in cases):
        return None
    for said, slip in mistakes.items():
        if all(_agree(case.value, slip(*case.inputs.values()), tolerance) for case in cases):
            return said
    return None


def _array(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value) if isinstance(value, str) else np.asarray(value, dtype=np.float64)


def _agree(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, str):
        return a == b
    a, b = _array(a), _array(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance)


def show(x: Any) -> str:
    """``x`` for a message: three digits, at most 12 numbers a line and 4 lines.

    >>> show(np.arange(15) / 7)
    '[0, 0.143, 0.286, 0.429, 0.571, 0.714, 0.857, 1, 1.14, 1.29, 1.43, 1.57, … 15 numbers]'
    >>> show(np.eye(5, 2)).splitlines()[-2:]
    ['    [0, 0]', '    … 5 rows']
    """
    if callable(x) or isinstance(x, str):
        return f"the function {function_name(x)}" if callable(x) else repr(x)
    array = _array(x)
    if array.ndim == 0:
        return f"{float(array):.3g}"
    rows = [[f"{v:.3g}" for v in row] for row in array.reshape(-1, array.shape[-1])[:4]]
    width = max((len(v) for row in rows for v in row), default=0) if array.ndim > 1 else 0
    lines = [
        ", ".join([v.rjust(width) for v in row[:12]] + [f"… {len(row)} numbers"] * (len(row) > 12))
        for row in rows
    ]
    if array.ndim == 1:
        return f"[{lines[0]}]"
    more = [f"… {len(array)} rows"] * (len(array) > 4)
    return "\n    ".join(["", *(f"[{line}]" for line in lines), *more])


# --------------------------------------------------------------------------- what several checks draw


def ragged(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    """A mask [rows, width] of answers of different lengths: one is full, one has a single token."""
    lengths = rng.permutation([1, width, *rng.integers(1, width, rows - 2)])
    return np.arange(width) < lengths[:, None]


def softmax(x: np.ndarray) -> np.ndarray:
    """The chances of a vector of logits."""
    return np.exp(x) / np.exp(x).sum()
