"""Recorded runs on disk: one JSON format for a single run and for an experiment over many seeds.

A file holds the command that makes it, the software versions, and one or more runs. A run holds the kind
and the fields of its configuration, and its records column by column.
"""

import csv
import glob
import json
import os
import platform
import secrets
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlvr_lab import __version__
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.loop import train

__all__ = ["Recording", "Run", "curves", "record", "runs_of", "versions", "write_whole"]

STALE = 3600.0  # seconds after which an unfinished file is removed


def versions() -> dict[str, str]:
    """The software versions and the machine that a result may depend on."""
    import transformers

    return {
        "rlvr_lab": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": str(torch.get_num_threads()),
    }


def write_whole(path: str | Path, content: bytes) -> Path:
    """Write a file completely or not at all; returns the path.

    The content is written to a temporary file next to the old one and then moved into its place, so an
    interruption leaves either the old file or the new one. A process that is killed while writing leaves its
    temporary file behind; old temporary files of the same file are removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{glob.escape(path.name)}.????????.part"):
        with suppress(OSError):  # another process may have removed it
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path


@dataclass
class Run:
    """A finished or interrupted run.

    Attributes:
        config: the configuration.
        records: the records that ``train`` yielded.
        command: a shell command that repeats the run, if there is one.
        versions: see ``versions``.
    """

    config: RunConfig
    records: list[dict[str, Any]]
    command: str = ""
    versions: dict[str, str] = field(default_factory=versions)

    def save(self, path: str | Path) -> Path:
        """Write a file with only this run, completely or not at all; returns the path."""
        return Recording([self], self.command, self.versions).save(path)

    @classmethod
    def load(cls, path: str | Path) -> "Run":
        """Read a file with one run.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when the file is damaged, or does not hold exactly one run; it is not changed.
        """
        recording = Recording.load(path)
        if len(recording.runs) != 1:
            raise ValueError(f"path: {path} holds {len(recording.runs)} runs: use Recording.load")
        return recording.runs[0]

    def curve(self, key: str) -> np.ndarray:
        """One metric over the records; NaN where it had no value.

        Raises:
            KeyError: names the metrics there are.
        """
        if self.records and key not in self.records[0]:
            raise KeyError(f"{key}: no such metric; there are {', '.join(self.records[0])}")
        return np.array([np.nan if r[key] is None else r[key] for r in self.records], dtype=float)

    def to_csv(self, path: str | Path) -> Path:
        """Write the numeric metrics as CSV, one row per record; returns the path."""
        first = self.records[0] if self.records else {}
        columns = [key for key, value in first.items() if not isinstance(value, list | str)]
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.records)
        return Path(path)


@dataclass
class Recording:
    """Runs that belong together, usually one experiment with several seeds.

    Attributes:
        runs: in the order of their seeds.
        command: the shell command that makes the recording.
        versions: see ``versions``.
    """

    runs: list[Run]
    command: str = ""
    versions: dict[str, str] = field(default_factory=versions)

    def curves(self, key: str) -> np.ndarray:
        """One metric of all runs, [runs, records], cut to the shortest."""
        return curves(self.runs, key)

    def save(self, path: str | Path) -> Path:
        """Write all runs as JSON, completely or not at all; returns the path.

        Raises:
            ValueError: when a record has no ``step``: the file could not be read again.
        """
        if not all("step" in record for run in self.runs for record in run.records):
            raise ValueError("runs: each record needs a step")
        runs = [
            {"kind": run.config.KIND, "config": asdict(run.config), "records": _columns(run)}
            for run in self.runs
        ]
        content = {"command": self.command, "versions": self.versions, "runs": runs}
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        return write_whole(path, (text + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> "Recording":
        """Read a recording.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when the file is damaged or is not a recording; it is not changed.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            command, made_with = content["command"], content["versions"]
            runs = [
                Run(_config(run["kind"], run["config"]), _rows(run["records"]), command, made_with)
                for run in content["runs"]
            ]
            return cls(runs, command, made_with)
        except FileNotFoundError:
            raise FileNotFoundError(f"path: there is no recording {path}") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"path: {path} is damaged, it is not complete JSON ({error})"
            ) from None
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"path: {path} is no recording ({error})") from None


def _columns(run: Run) -> dict[str, list[Any]]:
    keys = dict.fromkeys(key for record in run.records for key in record)
    return {key: [record.get(key) for record in run.records] for key in keys}


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    if "step" not in columns and columns:
        raise TypeError("records without steps")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _config(kind: str, fields: dict[str, Any]) -> RunConfig:
    if kind not in RunConfig.KINDS:
        raise ValueError(
            f"kind: {kind!r} is none of {', '.join(RunConfig.KINDS)}; import the module that defines it"
        )
    return RunConfig.KINDS[kind](**fields)


def curves(runs: Iterable[Run], key: str) -> np.ndarray:
    """One metric of several runs, [runs, records], cut to the shortest.

    Raises:
        ValueError: when there are no runs.
        KeyError: names the metrics there are.
    """
    rows = [run.curve(key) for run in runs]
    if not rows:
        raise ValueError("runs: need at least one run to compare")
    return np.stack([row[: min(map(len, rows))] for row in rows])


def record(config: RunConfig, seeds: int, digits: int = 5) -> Recording:
    """The runs of ``runs_of`` as one recording."""
    return Recording(list(runs_of(config, seeds, digits)))


def runs_of(
    config: RunConfig, seeds: int, digits: int = 5, keep: Collection[str] | None = None
) -> Iterator[Run]:
    """The same run with ``seeds`` seeds, starting with ``config.seed``, as numeric curves, one by one.

    Args:
        config: the run.
        seeds: number of seeds.
        digits: significant digits to keep; seconds and texts are left out.
        keep: only these metrics; None keeps all.

    Raises:
        ValueError: for no seeds.
    """
    if seeds < 1:
        raise ValueError(f"seeds: need at least 1, got {seeds}")
    for seed in range(config.seed, config.seed + seeds):
        one = replace(config, seed=seed)
        yield Run(one, [_numbers(r, digits, keep) for r in train(one)])


def _numbers(
    record: dict[str, Any], digits: int, keep: Collection[str] | None = None
) -> dict[str, Any]:
    return {
        key: None if value is None else float(f"{value:.{digits}g}")
        for key, value in record.items()
        if not isinstance(value, list | str)
        and not key.startswith("seconds_")
        and (keep is None or key in keep)
    }
