"""A check is a table: how to draw inputs, the correct result, and what common mistakes would give.

A check calls the learner's function with fresh random inputs and compares the results with an oracle, a
separate correct solution. When they differ, it looks for a common mistake that gives the learner's
result on *every* call, and names it.

The oracles are written from the definitions, in plain Python or numpy. They share no code with the rest
of the package.
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
from rlvr_lab.checks.shown import as_array, show, show_apart, show_inputs

__all__ = ["Case", "Check", "Series", "drawing", "judge", "ragged", "seen", "show", "softmax"]

Rule = Callable[..., Any]  # of the drawn inputs, in their order
ZERO = "the value is correct, but the gradient is zero: there is one detach too many"


@dataclass(frozen=True)
class Check:
    """A check of one function.

    ``right``, the mistakes and ``instead`` take the drawn inputs in their order, as numpy arrays and
    plain values. The learner's function gets the same inputs, with tensors instead of arrays. The type
    that ``right`` returns is the expected type: a number, a tensor of floats, a mask, a list or tuple of
    numbers, or a word.

    Attributes:
        title: printed after the ✓.
        draw: (generator, number of the call) → inputs by name.
        right: the oracle.
        mistakes: message that names a mistake → function that makes the mistake.
        calls: how often the learner's function is called.
        tolerance: allowed relative or absolute error.
        near: how close the learner's result has to be to a mistake's; None means ``tolerance``.
        instead: likely wrong shape, given the inputs → message that explains it.
        through: input that a gradient must flow to; compared with finite differences of ``right``.
        slopes: message that names a mistake in that gradient → the gradient it gives.
        data: inputs that no gradient may flow to.
        words: what a function that returns a word may return; empty where any text may be returned.
        last: a further test, (function, generator), after everything else is correct; raises ``Mistake``.
        label: text that messages write after the function's name.
        secret: for a prediction: (all calls, tolerance) → what is wrong with it, without the correct values,
            or ""; see ``checks.forecasts``. By default a message shows the correct value of one call.
    """

    title: str
    draw: Callable[[np.random.Generator, int], dict[str, Any]]
    right: Rule
    mistakes: dict[str, Rule]
    calls: int = 3
    tolerance: float = 1e-5
    near: float | None = None
    instead: Callable[..., dict[tuple[int, ...], str]] = lambda *inputs: {}
    through: str | None = None
    slopes: dict[str, Rule] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    last: Callable[[Any, np.random.Generator], None] | None = None
    label: str = ""
    secret: "Callable[[Sequence[Case], float], str] | None" = None

    def __call__(self, fn: Any, seed: int | None = None) -> None:
        """Check ``fn`` with fresh inputs, or with those of ``seed``.

        Raises:
            Mistake: with a sentence that says what is wrong.
        """
        with _checking(self.title, seed) as rng:
            self.examine(fn, rng)

    def examine(self, fn: Any, rng: np.random.Generator) -> None:
        """Check ``fn``; print nothing when it is correct."""
        inputs: dict[str, Any] = {}
        try:
            name, cases, leaves = function_name(fn) + self.label, [], []
            for turn in range(self.calls):
                inputs = self.draw(rng, turn)
                self._call(fn, name, inputs, cases, leaves)
            inputs = cases[0].inputs
            self._compare(name, cases, leaves)
        except Mistake as mistake:
            mistake.inputs = inputs if mistake.inputs is None else mistake.inputs
            raise
        if self.last:
            self.last(fn, rng)

    def _call(
        self, fn: Any, name: str, inputs: dict[str, Any], cases: list["Case"], leaves: list[Any]
    ) -> None:
        """Call ``fn`` once; append to ``cases`` what it returned and to ``leaves`` what it was given."""
        try:
            result, given = call(fn, **{k: self._tensor(k, x) for k, x in inputs.items()})
            right = self.right(*inputs.values())
            cases.append(Case(inputs, self._value(name, result, right, inputs), right))
            leaves.append(given)
        except Mistake:  # the calls before this one may give a better reason
            if said := _explain(cases, self.mistakes, self.tolerance, self.near):
                raise Mistake(f"{name}: {said}") from None
            raise

    def _compare(self, name: str, cases: list["Case"], leaves: list[Any]) -> None:
        """Compare values and gradients with the oracle."""
        judge(name, cases, self.mistakes, self.tolerance, near=self.near, secret=self.secret)
        if self.through:
            slopes = [self._slope(name, *pair) for pair in zip(cases, leaves, strict=True)]
            place = list(cases[0].inputs).index(self.through)
            zero = {ZERO: lambda *given: np.zeros_like(given[place])}
            what = f"the value is correct, but its gradient with respect to {self.through} is"
            judge(name, slopes, self.slopes | zero, 1e-4, what)

    def _tensor(self, key: str, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return torch.tensor(value, requires_grad=key == self.through or key in self.data)

    def _value(self, name: str, result: Any, right: Any, inputs: dict[str, Any]) -> Any:
        if isinstance(right, str):
            if not isinstance(result, str) or (self.words and result not in self.words):
                choice = f"one of {', '.join(map(repr, self.words))}" if self.words else "a string"
                raise Mistake(f"{name} must return {choice}, not {result!r}")
            return result
        if isinstance(right, list | tuple):
            return numbers(name, result, right)
        if np.ndim(right) == 0 and not self.through and not isinstance(result, Tensor):
            return number(name, result)
        boolean = np.asarray(right).dtype == bool
        return tensor(name, result, np.shape(right), self.instead(*inputs.values()), boolean)

    def _slope(self, name: str, case: "Case", given: dict[str, Any]) -> "Case":
        """The gradient in one call, and the finite differences of the oracle."""
        if not case.value.requires_grad:
            raise Mistake(
                f"{name}: the value is correct, but no gradient flows to {self.through}; something cuts "
                "it off (detach, no_grad, item, numpy)"
            )
        keys = (self.through, *self.data)
        leaves = [given[key] for key in keys]
        slope, *others = torch.autograd.grad(case.value.sum(), leaves, allow_unused=True)
        for key, other in zip(self.data, others, strict=True):
            if other is not None and bool((other != 0).any()):
                raise Mistake(
                    f"{name}: the value is correct, but a detach is missing: gradient flows through "
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
        functions: how many functions the learner passes: one for each part, or one for all parts.
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
            raise Mistake(f"pass {self.functions} functions to the check, not {len(functions)}")
        with _checking(self.title, seed) as rng:
            for turn, part in enumerate(self.parts):
                part.examine(functions[turn % self.functions], rng)


def seen(view: Rule, mistakes: dict[str, Rule]) -> dict[str, Rule]:
    """Mistakes written in other terms: each takes the tuple that ``view`` makes from the inputs."""
    return {
        said: lambda *inputs, slip=slip: slip(*view(*inputs)) for said, slip in mistakes.items()
    }


@contextmanager
def drawing(seed: int | None) -> Iterator[np.random.Generator]:
    """Yield a generator; add its seed, and with a given seed the inputs of the call, to the message of a mistake."""
    used = secrets.randbelow(100_000) if seed is None else seed
    try:
        yield np.random.default_rng(used)
    except Mistake as mistake:
        said = str(mistake)
        if seed is not None and mistake.inputs:
            said += f"\nInputs of the call:\n  {show_inputs(mistake.inputs)}"
        more = "" if seed is not None else ", and to see them"
        raise Mistake(f"{said}\n  (to get the same inputs again{more}: seed={used})") from None


@contextmanager
def _checking(title: str, seed: int | None) -> Iterator[np.random.Generator]:
    """As ``drawing``; at the end print ``✓ title``.

    >>> with _checking("two and two", seed=0) as rng:
    ...     judge("add", [Case({"a": 2, "b": 2}, 4.0, 4.0)], {})
    ✓ two and two
    """
    with drawing(seed) as rng:
        yield rng
    print(f"✓ {title}")


# ------------------------------------------------------------------------------------ the comparison


@dataclass(frozen=True)
class Case:
    """One call: its inputs by name, the learner's result, and the oracle's."""

    inputs: dict[str, Any]
    value: Any
    right: Any


def judge(
    name: str,
    cases: Sequence[Case],
    mistakes: dict[str, Rule],
    tolerance: float = 1e-5,
    what: str = "it gives",
    near: float | None = None,
    secret: Callable[[Sequence[Case], float], str] | None = None,
) -> None:
    """Compare every case with its oracle; name the mistake that explains all of them.

    Raises:
        Mistake: when a case differs by more than ``tolerance``. If no known mistake explains it, the
            message shows the inputs, the learner's value after ``what``, and the correct value, or it is what
            ``secret`` says of the cases.
    """
    if said := _explain(cases, mistakes, tolerance, near):
        raise Mistake(f"{name}: {said}")
    if secret:
        if said := secret(cases, tolerance):
            mistake = Mistake(f"{name}: {said}")
            mistake.inputs = {}  # the message names them
            raise mistake
        return
    bad = [case for case in cases if not _agree(case.value, case.right, tolerance)]
    if not bad:
        return
    value, right, place = bad[0].value, bad[0].right, []
    if not isinstance(right, str):
        value, right = as_array(value), as_array(right)
        close = np.isclose(value, right, rtol=tolerance, atol=tolerance)
        place = np.argwhere(~close)[0].tolist()
    first = f"\n(they differ first at index {place})" if place else ""
    mine, other = show_apart(value, right)
    said = f"For\n  {show_inputs(bad[0].inputs)}\n{what} {mine}\nand should be {other}{first}"
    mistake = Mistake(
        f"{name}: not correct yet, and not one of the common mistakes. " + said.replace(" \n", "\n")
    )
    mistake.inputs = {}  # the message shows them already
    raise mistake


def _explain(
    cases: Sequence[Case], mistakes: dict[str, Rule], tolerance: float, near: float | None = None
) -> str | None:
    """The message of the first mistake that gives the learner's result in every case."""
    if all(_agree(case.value, case.right, tolerance) for case in cases):
        return None
    for said, slip in mistakes.items():
        gives = (slip(*case.inputs.values()) for case in cases)
        if all(_agree(c.value, x, near or tolerance) for c, x in zip(cases, gives, strict=True)):
            return said
    return None


def _agree(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, str):
        return a == b
    a, b = as_array(a), as_array(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance)


# --------------------------------------------------------------------------- what several checks draw


def ragged(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    """A mask [rows, width] for answers of different lengths: one is full, one has a single token."""
    lengths = rng.permutation([1, width, *rng.integers(1, width, rows - 2)])
    return np.arange(width) < lengths[:, None]


def softmax(x: np.ndarray) -> np.ndarray:
    """The probabilities for a vector of logits."""
    return np.exp(x) / np.exp(x).sum()
