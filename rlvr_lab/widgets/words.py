"""One run of a dashboard, and what is said of it: status, name, sampled answers, changed settings."""

import html
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr_lab.pictures.panels import metric_words, panels_of
from rlvr_lab.pictures.settings import name_setting, read_changes
from rlvr_lab.pictures.style import COLOURS
from rlvr_lab.training.config import RunConfig

__all__ = ["HIDDEN", "LiveRun", "ending", "log_html", "name_runs", "progress", "samples_html"]

Record = dict[str, Any]


@dataclass
class LiveRun:
    """One run of a dashboard, going on or ended.

    Attributes:
        number: the first run is 1.
        preset: name of its row in the drop-down, or "".
        config: what it started with.
        records: one a step.
        times: when it began and when each record came, in seconds of ``time.perf_counter``.
        stop: set to end it after the step that it is in.
        news: set by every record, and by the end.
        going: whether it has still to end.
    """

    number: int
    preset: str
    config: RunConfig
    records: list[Record] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    news: threading.Event = field(default_factory=threading.Event)
    going: bool = True


def progress(run: LiveRun) -> str:
    """The status line of a run; its first record also loads the model, so it is left out."""
    steps = [_step(record) for record in run.records]
    recent = run.times[1:][-8:]
    done = steps[-1] - steps[-len(recent)]
    parts = [f"Step {steps[-1]} of {run.config.steps}", _news(run)]
    if done:
        pace = (recent[-1] - recent[0]) / done
        left = pace * (run.config.steps - steps[-1])
        parts += [f"{pace:.2f} s a step", f"about {left:.0f} s left"]
    return " · ".join(parts)


def ending(run: LiveRun) -> str:
    if not run.records:
        return "Stopped before the first step."
    done, total = _step(run.records[-1]), run.config.steps
    start = "Finished" if done >= total else "Stopped"
    seconds = run.times[-1] - run.times[0]
    return f"{start} after {done} of {total} steps, {seconds:.0f} s · {_news(run)}"


def _step(record: Record) -> int:
    return record.get("step", 0)


def _news(run: LiveRun) -> str:
    """What the first panel shows, in numbers; of the sampled answers only their pass rate."""
    curves = panels_of(run.config)[0].curves
    metrics = ["pass_rate"] if "pass_rate" in curves else list(curves)
    values = {metric: run.records[-1].get(metric) for metric in metrics}
    return ", ".join(
        f"{metric_words(metric)} " + ("unknown" if value is None else f"{value:.2f}")
        for metric, value in values.items()
    )


def name_runs(runs: Sequence[LiveRun]) -> list[str]:
    """What the runs differ in; where there is a choice of algorithms, first its name and the two switches."""
    settings = [run.config.settings() for run in runs]
    every = {key for one in settings for key in one}
    differ = {key for key in every if any(s.get(key) != settings[0].get(key) for s in settings)}
    names = []
    for run, values in zip(runs, settings, strict=True):
        switches = [key for key in ("average", "divide_by_std") if run.preset and key in values]
        fields = [*switches, *sorted(differ - set(switches))]
        said = [run.preset] if run.preset else []
        said += [name_setting(key, values.get(key)) for key in fields]
        said = said or ["these settings"]
        later = " (then changed)" if any(r.get("changed") for r in run.records) else ""
        names.append(f"run {run.number}: {', '.join(said)}{later}")
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
