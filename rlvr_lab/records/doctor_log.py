"""The records of a run as the doctor reads them: columns of numbers, their beginning and their end."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

__all__ = ["LEVELS", "RunLog"]

FIRST = 3
"""Records that count as the very beginning: the policy has hardly moved, and the mean of three is less noisy."""
LEVELS = ("pass_rate", "accuracy")
"""Metrics whose best value is known: 1."""
GOALS = ("reward", "proxy", *LEVELS)
"""Metrics that training should raise."""


class RunLog:
    """Columns of a run's records.

    Args:
        records: one mapping per step, each with a ``step``; a value that is missing or None is unknown.
        settings: of the run; None if unknown.

    Besides the metrics of the records there is ``kl_token``, the KL to the reference in nats per token, where the
    records have ``kl`` (per answer) and ``length``.

    Raises:
        ValueError: when a record has no step, or one that is no number.

    >>> log = RunLog([{"step": 1, "kl": 1.0, "length": 4}, {"step": 2, "kl": 4.0, "length": 8}])
    >>> log.column("kl_token").tolist(), log.has("loss"), log.settings
    ([0.25, 0.5], False, {})
    """

    def __init__(
        self, records: Sequence[Mapping[str, Any]], settings: Mapping[str, Any] | None = None
    ) -> None:
        if not all(math.isfinite(_number(record.get("step"))) for record in records):
            raise ValueError("records: each record needs a step, a number")
        self.records = records
        self.settings = dict(settings or {})
        self.steps = [int(record["step"]) for record in records]
        self._columns: dict[str, ndarray] = {}

    def __len__(self) -> int:
        return len(self.records)

    # ---- columns

    def column(self, name: str) -> ndarray:
        """One metric, [records]; NaN where it is unknown."""
        if name not in self._columns:
            self._columns[name] = self._read(name)
        return self._columns[name]

    def _read(self, name: str) -> ndarray:
        if name == "kl_token" and not any("kl_token" in record for record in self.records):
            with np.errstate(divide="ignore", invalid="ignore"):
                return self.column("kl") / self.column("length")
        return np.array([_number(record.get(name)) for record in self.records])

    def has(self, name: str) -> bool:
        """Whether the metric is known in at least half of the records, also at the beginning and at the end."""
        known = np.isfinite(self.column(name))
        # A comparison with NaN is False, so a rule would take an unknown end for a bad one.
        ends = known[:FIRST].any() and known[-self.window :].any()
        return bool(ends) and 2 * int(known.sum()) >= len(self)

    @property
    def level(self) -> str | None:
        """The metric that says how well the task is solved, from 0 to 1, if there is one."""
        return next(filter(self.has, LEVELS), None)

    @property
    def goals(self) -> list[str]:
        """The metrics that training should raise."""
        return [name for name in GOALS if self.has(name)]

    # ---- the beginning and the end

    @property
    def window(self) -> int:
        """Records that count as the beginning or the end: a fifth of the run, between 3 and 10."""
        return min(10, max(FIRST, len(self) // 5))

    def first(self, name: str) -> float:
        """Mean of the first three records."""
        return _mean(self.column(name)[:FIRST])

    def early(self, name: str) -> float:
        """Mean of the beginning."""
        return _mean(self.column(name)[: self.window])

    def late(self, name: str) -> float:
        """Mean of the end."""
        return _mean(self.column(name)[-self.window :])

    def best(self, name: str) -> float:
        """The highest mean of as many records in a row as a ``window`` has."""
        column, w = self.column(name), self.window
        means = [_mean(column[i : i + w]) for i in range(len(column) - w + 1)]
        return max((m for m in means if math.isfinite(m)), default=math.nan)

    def noise(self, name: str) -> float:
        """The standard deviation of one record around its neighbours: rms of differences / √2."""
        column = self.column(name)
        known = column[np.isfinite(column)]
        return float(np.sqrt(np.mean(np.diff(known) ** 2) / 2)) if len(known) > 1 else math.nan

    def rise(self, name: str) -> float:
        """The rise from the first third to the last third, in standard errors: (b − a) / (noise · √(2/n)).

        The noise is that of batches only. A run that wanders has a larger error, so what follows from this number
        needs a margin: a rise counts from 4 on.
        """
        column = self.column(name)
        third = max(2, len(column) // 3)
        difference = _mean(column[-third:]) - _mean(column[:third])
        error = self.noise(name) * math.sqrt(2 / third)
        if not math.isfinite(difference) or not math.isfinite(error):
            return math.nan
        if error > 0:
            return difference / error
        return math.copysign(math.inf, difference) if difference else 0.0

    @property
    def learned(self) -> bool:
        """Whether any of the ``goals`` has risen by at least 4 standard errors."""
        return any(self.rise(name) >= 4 for name in self.goals)

    # ---- words

    def span(self, start: bool) -> str:
        """The steps of the beginning or of the end, in words."""
        steps = self.steps[: self.window] if start else self.steps[-self.window :]
        return f"steps {steps[0]} to {steps[-1]}"

    def change(self, name: str) -> str:
        """From what to what a metric went: ``0.31 (steps 1 to 5) → 0.9 (steps 20 to 24)``."""
        a, b = self.early(name), self.late(name)
        return f"{a:.3g} ({self.span(True)}) → {b:.3g} ({self.span(False)})"


def _number(value: Any) -> float:
    """A number, or NaN for what is none."""
    return float(value) if isinstance(value, int | float) else math.nan


def _mean(values: ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan
