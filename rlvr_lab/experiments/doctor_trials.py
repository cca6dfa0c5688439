"""How often the run doctor names a sick run, and a healthy one, on seeds that set no threshold (notebook 11)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from rlvr_lab.experiments.museum import EXHIBITS
from rlvr_lab.experiments.museum import VARIANTS as MUSEUM
from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.experiments.sick_runs import (
    CASES,
    MUSEUM_CASES,
    MUSEUM_THRESHOLDS,
    TESTED,
    VARIANTS,
)
from rlvr_lab.records.doctor import diagnose, illnesses
from rlvr_lab.records.runs import Run

__all__ = ["Trial", "sensitivity", "trials"]


class Trial(NamedTuple):
    """One recorded run that the doctor has read.

    Attributes:
        run: the run.
        variant: its name in ``sick_runs.VARIANTS``, or its fault in the museum.
        rule: the rule that has to find it; None if the run is healthy.
        named: the illnesses that the doctor named, in its order.
    """

    run: Run
    variant: str
    rule: str | None
    named: list[str]


def trials() -> list[Trial]:
    """Every recorded sick run and healthy neighbour whose seed set no threshold, each once.

    Raises:
        FileNotFoundError: when a recording is missing.
    """
    found = []
    for run in recorded("sick").runs:
        if run.config.seed in TESTED:
            name = _variant(run, VARIANTS)
            rule = CASES[name].rule if name in CASES else None
            found.append(Trial(run, name, rule, _named(run)))
    known = {(one.variant, one.run.config.seed) for one in found}
    exhibits = {f"exhibit {number}": number for number in EXHIBITS}
    for file in ("museum", "sick_museum"):
        for run in recorded(file).runs:
            if run.config.seed not in MUSEUM_THRESHOLDS:
                name = _variant(run, MUSEUM)
                number = exhibits.get(name, 0)
                fault = EXHIBITS[number].fault if number else name
                if (fault, run.config.seed) in known:
                    continue  # the museum's healthy run is the one of ``sick``, tested on other problems
                found.append(Trial(run, fault, MUSEUM_CASES.get(number), _named(run)))
    return found


def sensitivity(tried: Iterable[Trial]) -> str:
    """One line per sick run: its rule, with how many seeds it is named, and what else is; as text to print."""
    rows = [f"{'what is wrong':<30}{'rule':<25}{'named':>6}  also named"]
    groups: dict[tuple[str, str], list[Trial]] = {}
    for one in tried:
        if one.rule is not None:
            groups.setdefault((one.variant, one.rule), []).append(one)
    for (variant, rule), several in groups.items():
        hit = sum(rule in one.named for one in several)
        also = Counter(name for one in several for name in one.named if name != rule)
        said = ", ".join(f"{name} ({count})" for name, count in also.items())
        rows.append(f"{variant:<30}{rule:<25}{f'{hit}/{len(several)}':>6}  {said}".rstrip())
    return "\n".join(rows)


def _variant(run: Run, variants: Mapping[str, Any]) -> str:
    return next(n for n, c in variants.items() if replace(run.config, seed=c.seed) == c)


def _named(run: Run) -> list[str]:
    return [finding.rule for finding in illnesses(diagnose(run))]
