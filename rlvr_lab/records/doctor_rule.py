"""What a rule of the run doctor is, and what it finds; the rules stand in ``doctor_rules_*`` (notebook 11)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rlvr_lab.records.doctor_log import RunLog

__all__ = ["Finding", "Rule"]

Severity = Literal["illness", "note"]


@dataclass(frozen=True)
class Finding:
    """What a rule found in one run.

    Attributes:
        rule: its name.
        severity: an ``illness`` needs a remedy; a ``note`` explains a number that looks wrong and is not.
        evidence: a sentence with numbers and steps of this run.
        remedy: what to do.
        source: where the trap is described.
    """

    rule: str
    severity: Severity
    evidence: str
    remedy: str
    source: str


@dataclass(frozen=True)
class Rule:
    """One trap, and how it shows in a record.

    Attributes:
        name: of the illness.
        reads: metrics that it needs; without one of them it is silent.
        test: log → evidence, or None when the run does not show it.
        remedy: what to do.
        source: where the trap is described.
        why: the reason for its thresholds.
        least: records that it needs; a few steps of a run say little.
        severity: see ``Finding``.
        explained_by: rules that name a cause of what this one sees; if one of them finds it, this one is silent.
    """

    name: str
    reads: tuple[str, ...]
    test: Callable[[RunLog], str | None]
    remedy: str
    source: str
    why: str
    least: int = 10
    severity: Severity = "illness"
    explained_by: tuple[str, ...] = ()

    def __call__(self, log: RunLog) -> Finding | None:
        """What it finds in the run, or None."""
        if len(log) < self.least or not all(map(log.has, self.reads)):
            return None
        evidence = self.test(log)
        if evidence is None:
            return None
        return Finding(self.name, self.severity, evidence, self.remedy, self.source)
