"""The run doctor under a dashboard's controls, next to the curves: what is wrong with the run so far."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr_lab.pictures.style import COLOURS
from rlvr_lab.records.doctor import diagnose, illnesses
from rlvr_lab.records.doctor_rule import Finding, Rule
from rlvr_lab.training.config import RunConfig

__all__ = ["diagnosis_html", "findings_html"]

Record = Mapping[str, Any]

LEAST = 3
"""Records before the doctor speaks."""
QUIET = "The doctor finds nothing."
EARLY = f"The doctor finds nothing yet. Most of its rules need {Rule.least} records."


def diagnosis_html(records: Sequence[Record], config: RunConfig) -> str:
    """What the doctor says of a run that may still be going on; nothing before the third record.

    A rule that fails is said in a sentence: a diagnosis never ends a run.
    """
    if len(records) < LEAST:
        return ""
    try:
        quiet = QUIET if len(records) >= Rule.least else EARLY
        return findings_html(diagnose(records, config), quiet)
    except Exception as error:  # a metric of a learner's own algorithm may hold anything
        return _headline(f"The doctor could not read this run ({error}).")


def findings_html(findings: Sequence[Finding], quiet: str = QUIET) -> str:
    """Findings as a list: illnesses with evidence and remedy, or ``quiet``; notes folded away.

    The headline is a live region, so a screen reader hears a new illness, and not each change of a number.
    """
    ill = illnesses(findings)
    names = ", ".join(one.rule for one in ill)
    told = _headline(f"The doctor finds: {names}." if ill else quiet)
    if ill:
        told += _list(ill)
    if notes := [one for one in findings if one.severity == "note"]:
        count = f"{len(notes)} note" + ("s" if len(notes) > 1 else "")
        told += f"<details><summary>{count}</summary>{_list(notes)}</details>"
    return f'<section aria-label="Run doctor" style="max-width:880px;line-height:1.35">{told}</section>'


def _headline(text: str) -> str:
    return f'<div role="status" style="font-weight:600">{html.escape(text)}</div>'


def _list(findings: Sequence[Finding]) -> str:
    """What a metric is called comes from a record, so everything is escaped."""
    items = []
    for one in findings:
        colour = COLOURS["wrong"] if one.severity == "illness" else "inherit"
        parts = map(html.escape, (one.rule, one.evidence, one.remedy, one.source))
        rule, evidence, remedy, source = parts
        items.append(
            f'<li style="border-left:3px solid {colour};padding-left:6px;margin:3px 0;list-style:none">'
            f"<strong>{rule}</strong>: {evidence}. <em>Remedy:</em> {remedy} "
            f'<span style="opacity:.7">({source})</span></li>'
        )
    return f'<ul style="margin:0;padding:0">{"".join(items)}</ul>'
