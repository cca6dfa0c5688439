"""One run of a dashboard, and what is said of it: status, name, sampled answers, changed settings."""

import html
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr_lab.pictures.runs import name_setting, read_changes
from rlvr_lab.pictures.style import COLOURS
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

__all__ = ["HIDDEN", "LiveRun", "ending", "log_html", "name_runs", "progress", "samples_html"]

Record = dict[str, Any]


@dataclass
class LiveRun:
    """One run of a dashboard, going on or ended."""

    number: int
    preset: str
    config: PolicyGradientConfig
    records: list[Record] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    going: bool = True


def progress(run: LiveRun, times: list[float]) -> str:
    """The status line of a run; its first step also loads the model, so it is left out."""
    recent = times[1:][-8:]
    pace = (recent[-1] - recent[0]) / (len(recent) - 1) if len(recent) > 1 else None
    parts = [f"Step {len(run.records)} of {run.config.steps}", _pass_rate(run.records[-1])]
    if pace is not None:
        left = pace * (run.config.steps - len(run.records))
        parts += [f"{pace:.2f} s a step", f"about {left:.0f} s left"]
    return " · ".join(parts)


def ending(run: LiveRun, times: list[float]) -> str:
    done, total = len(run.records), run.config.steps
    if not done:
        return "Stopped before the first step."
    start = "Finished" if done >= total else "Stopped"
    seconds = times[-1] - times[0]
    return f"{start} after {done} of {total} steps, {seconds:.0f} s · {_pass_rate(run.records[-1])}"


def _pass_rate(record: Record) -> str:
    rate = record.get("pass_rate")
    return "pass rate unknown" if rate is None else f"pass rate {rate:.2f}"


def name_runs(runs: Sequence[LiveRun]) -> list[str]:
    """Each run's algorithm, the two switches, and whatever else they differ in."""
    settings = [run.config.settings() for run in runs]
    every = {key for one in settings for key in one}
    differ = {key for key in every if any(s.get(key) != settings[0].get(key) for s in settings)}
    names = []
    for run, values in zip(runs, settings, strict=True):
        fields = ["average", "divide_by_std", *sorted(differ - {"average", "divide_by_std"})]
        said = ", ".join(name_setting(key, values.get(key)) for key in fields)
        later = " (then changed)" if any(r.get("changed") for r in run.records) else ""
        names.append(f"run {run.number}: {run.preset}, {said}{later}")
    return names


HIDDEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"
_CUT = "white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
_TITLE = '<div style="font-weight:600;line-height:1.6">{}</div>'


def samples_html(samples: Iterable[Mapping[str, Any]]) -> str:
    """Four answers with their verdicts. What a model wrote is escaped: it is never markup."""
    rows = []
    for sample in list(samples)[:4]:
        right = sample["reason"] == "right"
        colour, sign = (COLOURS["right"], "✓") if right else (COLOURS["wrong"], "✗")
        prompt, answer = html.escape(sample["prompt"]), html.escape(sample["completion"][:400])
        verdict = html.escape(sample["reason"].replace("_", " "))
        rows.append(
            f'<div style="border-left:3px solid {colour};padding-left:6px;margin:3px 0;'
            f'line-height:1.35"><span style="color:{colour};font-weight:600">{sign} {verdict}'
            f"</span> · reward {sample['reward']:g} · <code>{prompt}</code>"
            f'<div style="{_CUT}" title="{answer}"><code>{answer}</code></div></div>'
        )
    nothing = '<div style="opacity:.7">Four answers of the latest step appear here.</div>'
    return _TITLE.format("Sampled answers") + ("".join(rows) or nothing)


def log_html(records: Iterable[Record]) -> str:
    """What was changed during the run, latest first."""
    lines = [
        f"<li>step {r['step']}: {html.escape(read_changes(r['changed']))}</li>"
        for r in records
        if r.get("changed")
    ]
    if not lines:
        return ""
    items = "".join(reversed(lines))
    look = "margin:0;padding-left:1.2em;line-height:1.35;max-height:5em;overflow-y:auto"
    return _TITLE.format("Changed during the run") + f'<ul style="{look}">{items}</ul>'
