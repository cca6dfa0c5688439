"""A recording: the same experiment from several seeds, as curves, in one small JSON file."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rlvr_lab.runs import versions

__all__ = ["Recording"]


@dataclass
class Recording:
    """Curves of an experiment.

    Attributes:
        config: what was asked for.
        runs: one dictionary a seed: name of the metric → its values.
        command: makes the recording again.
        versions: see ``runs.versions``.
    """

    config: dict[str, Any]
    runs: list[dict[str, list[float]]] = field(default_factory=list)
    command: str = ""
    versions: dict[str, str] = field(default_factory=versions)

    def add(self, records: Iterable[dict[str, float]]) -> None:
        """Append one run from its records, one a step, rounded to five significant digits."""
        rows = list(records)
        if not rows:
            raise ValueError("records: a run needs at least one")
        self.runs.append({key: [float(f"{row[key]:.5g}") for row in rows] for key in rows[0]})

    def curves(self, key: str) -> np.ndarray:
        """One metric, [runs, steps], cut to the shortest run.

        Raises:
            KeyError: names the metrics there are.

        >>> recording = Recording({})
        >>> recording.add([{"gold": 1.0}, {"gold": 2.0}])
        >>> recording.curves("gold").tolist()
        [[1.0, 2.0]]
        """
        if not self.runs or key not in self.runs[0]:
            known = ", ".join(self.runs[0]) if self.runs else "none, it is empty"
            raise KeyError(f"{key}: no such metric; there are {known}")
        shortest = min(len(run[key]) for run in self.runs)
        return np.array([run[key][:shortest] for run in self.runs])

    def save(self, path: str | Path) -> Path:
        """Write the recording as JSON, whole or not at all; returns the path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(vars(self), separators=(",", ":")) + "\n", encoding="utf-8")
        os.replace(part, path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Recording":
        """Read a recording.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when the file is no recording.
        """
        path = Path(path)
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise FileNotFoundError(f"path: there is no recording {path}") from None
        except (ValueError, TypeError) as error:
            raise ValueError(f"path: {path} is no recording ({error})") from None
