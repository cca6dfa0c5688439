"""Logs of other trainers, read into this course's metrics: TRL's ``trainer_state.json`` and tables (CSV).

TRL's names are those of ``GRPOTrainer`` 1.16. A table is what ``Run.to_csv`` writes, or an export of Weights & Biases
(``run.history()``, or the CSV of a chart), whose columns are TRL's names under ``train/``.
"""

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rlvr_lab.records.runs import Recording

__all__ = ["TRL_NAMES", "Log", "from_trl", "read_logs"]

TRL_NAMES = {
    "reward": "reward",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "entropy": "entropy",
    "kl": "kl_token",  # TRL: mean over tokens; this course's ``kl`` is per answer
    "completions/mean_length": "length",
    "completions/clipped_ratio": "truncated",
    "frac_reward_zero_std": "zero_spread",
    "clip_ratio/region_mean": "clip_fraction",
    "sampling/sampling_logp_difference/mean": "first_ratio",  # mean |log ρ|, which is |ρ − 1| to first order
    "step": "step",
}
"""TRL's name → this course's name. ``rewards/<function>/mean`` becomes ``reward_<function>``."""
ONLY_TRL = ("completions/mean_length", "frac_reward_zero_std", "completions/clipped_ratio")
_PART = re.compile(r"rewards/(?P<name>.+)/mean")
_STEPS = ("step", "global_step", "_step", "Step")


class Log(NamedTuple):
    """One run that was read from a file.

    Attributes:
        name: of the run within its file; "" if it is the only one.
        records: one mapping per step.
        settings: of the run; None if the file has none.
    """

    name: str
    records: list[dict[str, Any]]
    settings: dict[str, Any] | None


def from_trl(history: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """TRL's ``log_history`` in this course's metrics; entries of evaluations and the summary are left out.

    >>> from_trl([{"step": 1, "reward": 0.2, "kl": 0.1}, {"step": 1, "train_runtime": 5.0}])
    [{'step': 1, 'reward': 0.2, 'kl_token': 0.1}]
    """
    return [_translated(entry) for entry in history if "reward" in entry and "step" in entry]


def _translated(entry: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in entry.items():
        if name in TRL_NAMES:
            found[TRL_NAMES[name]] = value
        elif part := _PART.fullmatch(name):
            found[f"reward_{part['name']}"] = value
    return found


def read_logs(path: str | Path) -> list[Log]:
    """Every run in a file: a run or recording of this course, TRL's ``trainer_state.json``, or a CSV table.

    A folder stands for the ``trainer_state.json`` in it.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is none of these, or has no run in it.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "trainer_state.json"
    if not path.exists():
        raise FileNotFoundError(f"path: there is no file {path}")
    logs = _table(path) if path.suffix == ".csv" else _json(path)
    if not any(log.records for log in logs):
        raise ValueError(f"path: {path} has no record of a training step")
    return logs


def _json(path: Path) -> list[Log]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"path: {path} is no JSON ({error})") from None
    if isinstance(content, dict) and isinstance(content.get("log_history"), list):
        return [Log("", from_trl(content["log_history"]), None)]
    runs = Recording.load(path).runs
    kinds = [f"{run.config.KIND}, seed {run.config.seed}" for run in runs]
    return [
        Log("" if len(runs) == 1 else f"run {i} ({kind})", run.records, run.config.settings())
        for i, (run, kind) in enumerate(zip(runs, kinds, strict=True), start=1)
    ]


def _table(path: Path) -> list[Log]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise ValueError(f"path: {path} is no table ({error})") from None
    names = {column: _plain(column) for column in (rows[0] if rows else []) if column}
    step = next((s for s in _STEPS if s in names.values()), None)
    if step is None:
        raise ValueError(f"path: {path} has no column of steps ({', '.join(_STEPS)})")
    records = []
    for row in rows:
        values = {name: _number(row[column]) for column, name in names.items() if name}
        if values[step] is not None:
            records.append({**values, "step": int(values[step])})
    if any(name in ONLY_TRL for name in names.values()):
        records = from_trl(records)
    return [Log("", records, None)]


def _plain(column: str) -> str:
    """The metric of a column; "" for the bounds that a chart's export adds.

    ``train/loss``, ``my run - train/loss`` → ``loss``
    """
    name = column.rpartition(" - ")[2].removeprefix("train/")
    return "" if name.endswith(("__MIN", "__MAX")) else name


def _number(text: str | None) -> float | None:
    """A number, also NaN and infinity; None for an empty cell or a word."""
    try:
        return float(text) if text else None
    except ValueError:
        return None
