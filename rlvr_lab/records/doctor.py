"""The run doctor: reads the records of a run and names what is wrong, with the evidence and a remedy.

A rule is a pure function of the records. It says which metrics it reads and how many records it needs, and is
silent without them, so a log of another trainer is read as far as it goes. The rules and the reasons for their
thresholds stand in ``doctor_rules_updates``, ``doctor_rules_rewards`` and ``doctor_rules_answers``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlvr_lab.records.doctor_log import RunLog
from rlvr_lab.records.doctor_rule import Finding, Rule
from rlvr_lab.records.doctor_rules_answers import ANSWER_RULES
from rlvr_lab.records.doctor_rules_rewards import REWARD_RULES
from rlvr_lab.records.doctor_rules_updates import UPDATE_RULES
from rlvr_lab.records.runs import Run
from rlvr_lab.training.config import RunConfig

__all__ = ["RULES", "diagnose", "illnesses"]

RULES: tuple[Rule, ...] = (*UPDATE_RULES, *REWARD_RULES, *ANSWER_RULES)
"""All rules; a finding's place in a diagnosis is its rule's place here, illnesses before notes."""


def diagnose(
    run: Run | Sequence[Mapping[str, Any]],
    config: RunConfig | Mapping[str, Any] | None = None,
    rules: Iterable[Rule] = RULES,
) -> list[Finding]:
    """What is wrong with a run  (notebook 11).

    Args:
        run: a run, or its records: one mapping per step, each with a ``step``.
        config: the settings, as a configuration or by name; None takes the run's own, or none.
        rules: to apply.

    Returns:
        Illnesses first, then notes. A finding that another finding explains is left out. An empty list means
        that no rule found anything, not that nothing is wrong.

    Raises:
        ValueError: when a record has no step.

    >>> log = [{"step": k, "reward": 1.0, "zero_spread": 1.0} for k in range(1, 9)]
    >>> [finding.rule for finding in diagnose(log)]
    ['constant reward']
    """
    if isinstance(run, Run):
        run, config = run.records, config or run.config
    settings = config.settings() if isinstance(config, RunConfig) else config
    log = RunLog(run, settings)
    table = {rule.name: rule for rule in rules}
    found = {name: finding for name, rule in table.items() if (finding := rule(log))}
    kept = [f for name, f in found.items() if not found.keys() & set(table[name].explained_by)]
    return sorted(kept, key=lambda finding: finding.severity != "illness")


def illnesses(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that are no mere notes."""
    return [finding for finding in findings if finding.severity == "illness"]
