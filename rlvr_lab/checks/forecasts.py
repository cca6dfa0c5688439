"""What a check says of a prediction. The recorded values are never part of it.

A learner who is shown the correct value of one prediction after the other has predicted nothing. So a message
names the inputs and says too high or too low, a little or much, or that the direction is wrong.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Forecast"]

MUCH = 2.0
"""From this many tolerances on, a prediction is *much* too high or too low."""


@dataclass(frozen=True)
class Forecast:
    """How predictions are scored, beyond the named mistakes.

    Attributes:
        least: smallest value that is possible at all.
        most: largest one.
        unit: message where a prediction lies outside these two.
        orders: message → whether the predictions, in the order of the calls, are ordered as recorded.
        signed: whether the values are changes, so that their signs are directions.
    """

    least: float = -math.inf
    most: float = math.inf
    unit: str = ""
    orders: dict[str, Callable[..., bool]] = field(default_factory=dict)
    signed: bool = False

    def __call__(self, cases: Sequence[Any], tolerance: float) -> str:
        """What is wrong with the predictions; empty where nothing is.

        Args:
            cases: the calls, with ``inputs``, ``value`` and ``right``.
            tolerance: allowed error, relative plus absolute.
        """
        values = [float(case.value) for case in cases]
        if not all(self.least <= value <= self.most for value in values):
            return self.unit
        wrong = [self._judged(float(case.right), case, tolerance) for case in cases]
        if any("direction" in said for said in wrong):
            return self._listed(wrong)
        for said, ordered in self.orders.items():
            if not ordered(*values):
                return said
        return self._listed(wrong)

    def _judged(self, right: float, case: Any, tolerance: float) -> str:
        """The inputs of a call and what is wrong with its prediction; empty where it is close enough."""
        allowed = tolerance * (1 + abs(right))
        gap = float(case.value) - right
        if abs(gap) <= allowed:
            return ""
        inputs = ", ".join(f"{key} = {value!r}" for key, value in case.inputs.items())
        if self.signed and float(case.value) * right <= 0:
            return f"{inputs}: the wrong direction"
        size = "much" if abs(gap) > MUCH * allowed else "a little"
        return f"{inputs}: {size} too {'high' if gap > 0 else 'low'}"

    def _listed(self, wrong: list[str]) -> str:
        lines = "".join(f"\n  {said}" for said in wrong if said)
        return (
            lines
            and f"not correct yet, and not one of the common mistakes. Your prediction for{lines}"
        )
