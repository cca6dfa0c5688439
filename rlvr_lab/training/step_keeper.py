"""Steps of a run that goes on, kept so that they can be looked at from inside."""

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from rlvr_lab.training import inspected_kinds  # noqa: F401  (it registers the kinds of runs)
from rlvr_lab.training.inspection import InspectedStep, can_inspect, inspect_step
from rlvr_lab.training.state import TrainState

__all__ = ["StepKeeper"]


class StepKeeper:
    """A ``watch`` of ``train``: keeps the first step, some in between, and the latest.

    The log-probabilities after an update need one forward pass. Only kept steps pay for it at once; for the latest
    step it is computed when somebody asks, if the policy has not moved on by then.

    Attributes:
        eager: compute it for every step; set it while somebody is looking.

    Args:
        most: steps to keep besides the latest, spread evenly over the run.

    >>> StepKeeper().steps
    []
    """

    def __init__(self, most: int = 8) -> None:
        self.eager = False
        self._most = most
        self._kept: dict[int, InspectedStep] = {}
        self._latest: InspectedStep | None = None
        self._measure: Callable[[], Tensor] | None = None
        self._lock = threading.RLock()

    def __call__(
        self, config: Any, state: TrainState, experience: Any
    ) -> Callable[[], None] | None:
        """Look at a step before its update; the result looks at it once more after the update."""
        with self._lock:
            self._measure = None  # the update is about to move the policy
            found = inspect_step(config, state, experience) if can_inspect(config) else None
        if found is None:
            return None
        step, measure = found

        def after() -> None:
            with self._lock:
                self._latest, self._measure = step, measure
                if self.eager:
                    self._finished()
                if (step.step - 1) % math.ceil(config.steps / self._most) == 0:
                    self._kept[step.step] = self._finished()

        return after

    @property
    def steps(self) -> list[InspectedStep]:
        """What was kept, in order, the latest step included."""
        with self._lock:
            latest = self._finished()
            kept = self._kept | ({} if latest is None else {latest.step: latest})
            return [kept[number] for number in sorted(kept)]

    def _finished(self) -> InspectedStep | None:
        """The latest step, with its log-probabilities after the update if they can still be computed."""
        if self._latest is not None and self._measure is not None:
            self._latest = replace(self._latest, after=self._measure())
            self._measure = None
        return self._latest
