"""The command ``doctor``: reads the log of a run, prints what is wrong with it; exit status 1 if anything is."""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr_lab.records.doctor import RULES, diagnose, illnesses
from rlvr_lab.records.doctor_log import RunLog
from rlvr_lab.records.doctor_rule import Finding
from rlvr_lab.records.foreign_logs import Log, read_logs

__all__ = ["add_doctor", "report"]

WIDTH = 100  # characters


def add_doctor(commands: Any) -> None:
    """Add the command ``doctor`` to the command line."""
    what = "read the log of a run and name what is wrong, with evidence and remedy"
    command = commands.add_parser("doctor", help=what, description=what)
    command.set_defaults(run=_run)
    what = "a run or recording of this course, TRL's trainer_state.json (or its folder), or a CSV table"
    command.add_argument("log", type=Path, metavar="RUN", help=what)
    what = "settings that the log lacks, e.g. group_size=8 kl_coef=0.04 updates_per_batch=1"
    command.add_argument("--set", nargs="+", type=_setting, metavar="NAME=VALUE", help=what)


def _setting(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no setting; write kl_coef=0.04") from None


def report(findings: Sequence[Finding], records: int) -> str:
    """Findings as text to print: for each its evidence, a remedy and where the trap is described.

    >>> print(report([], 40))
    The doctor finds nothing in 40 records.
    """
    lines = []
    for one in findings:
        sign = "✗" if one.severity == "illness" else "·"
        parts = (f"{one.evidence}.", f"Remedy: {one.remedy}", f"See: {one.source}")
        lines += [f"{sign} {one.rule}" + (" (note)" if one.severity == "note" else "")]
        for part in parts:
            lines += textwrap.wrap(part, WIDTH, initial_indent="    ", subsequent_indent="    ")
    if not illnesses(findings):
        lines.insert(0, f"The doctor finds nothing in {records} records.")
    return "\n".join(lines)


def _run(options: argparse.Namespace) -> int:
    """Print a report of every run; 1 if any is ill, otherwise 0."""
    logs, ill = read_logs(options.log), 0
    for log in logs:
        findings = diagnose(log.records, {**(log.settings or {}), **dict(options.set or [])})
        ill += bool(illnesses(findings))
        if log.name:
            print(f"{log.name}:")
        print(report(findings, len(log.records)))
        if silent := _unread(log):
            print(f"Rules that this log does not feed: {', '.join(silent)}.")
        print()
    if len(logs) > 1:
        print(f"{ill} of {len(logs)} runs are ill.")
    return int(ill > 0)


def _unread(log: Log) -> list[str]:
    """Rules for which the log lacks a metric."""
    read = RunLog(log.records, log.settings)
    return [rule.name for rule in RULES if not all(map(read.has, rule.reads))]
