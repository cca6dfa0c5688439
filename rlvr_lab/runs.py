"""Runs and checkpoints on disk.

A *run* is one JSON file: configuration, versions, the command that makes it again, and one record a
step. A *checkpoint* is a folder from which training goes on as if it had never stopped.
"""

import csv
import json
import os
import platform
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlvr_lab import __version__
from rlvr_lab.config import RolloutConfig, TrainConfig
from rlvr_lab.experience import TrainState
from rlvr_lab.policy import load_policy
from rlvr_lab.ppo import PPOConfig
from rlvr_lab.trpo import TRPOConfig

__all__ = ["ALGORITHMS", "Run", "curves", "load_checkpoint", "save_checkpoint", "versions"]


ALGORITHMS: dict[str, type[RolloutConfig]] = {
    "policy-gradient": TrainConfig,
    "trpo": TRPOConfig,
    "ppo": PPOConfig,
}
"""What a run file calls each kind of configuration."""


def versions() -> dict[str, str]:
    """Versions of what a result depends on, and the processor it was made on."""
    import transformers

    return {
        "rlvr_lab": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": str(torch.get_num_threads()),
    }


@dataclass
class Run:
    """A finished or interrupted run.

    Attributes:
        config: what was asked for.
        records: what ``train`` yielded.
        command: a shell command that makes the run again, if there is one.
        versions: see ``versions``.
    """

    config: RolloutConfig
    records: list[dict[str, Any]]
    command: str = ""
    versions: dict[str, str] = field(default_factory=versions)

    def save(self, path: str | Path) -> Path:
        """Write the run as JSON, whole or not at all; returns the path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "command": self.command,
            "algorithm": next(k for k, v in ALGORITHMS.items() if type(self.config) is v),
            "config": asdict(self.config),
            "versions": self.versions,
            "records": self.records,
        }
        # Written beside and moved into place: an interruption leaves the earlier file as it was.
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, separators=(",", ":"))
                file.write("\n")
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Run":
        """Read a run.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when the file is damaged or is no run; the file is left alone.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            config = ALGORITHMS[content.get("algorithm", "policy-gradient")](**content["config"])
            records = content["records"]
            if not isinstance(records, list) or not all("step" in r for r in records):
                raise TypeError("records without steps")
            return cls(config, records, content["command"], content["versions"])
        except FileNotFoundError:
            raise FileNotFoundError(f"path: there is no run file {path}") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"path: {path} is damaged, it is not complete JSON ({error})"
            ) from None
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"path: {path} is no saved run ({error})") from None

    def curve(self, key: str) -> np.ndarray:
        """One metric over the steps, [steps]; NaN where it had no value.

        Raises:
            KeyError: names the metrics there are.
        """
        if self.records and key not in self.records[0]:
            raise KeyError(f"{key}: no such metric; there are {', '.join(self.records[0])}")
        return np.array([np.nan if r[key] is None else r[key] for r in self.records], dtype=float)

    def to_csv(self, path: str | Path) -> Path:
        """Write the numeric metrics as CSV, one row a step; returns the path."""
        path = Path(path)
        columns = [
            key
            for key in (self.records[0] if self.records else {})
            if not isinstance(self.records[0][key], list)
        ]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.records)
        return path


def curves(runs: list[Run], key: str) -> np.ndarray:
    """One metric of several runs, [runs, steps], cut to the shortest.

    Raises:
        ValueError: when ``runs`` is empty.
    """
    if not runs:
        raise ValueError("runs: need at least one run to compare")
    rows = [run.curve(key) for run in runs]
    return np.stack([row[: min(map(len, rows))] for row in rows])


def save_checkpoint(config: TrainConfig, state: TrainState, folder: str | Path) -> Path:
    """Write everything that training needs to go on bit for bit; returns the folder.

    The step's problems and samples are drawn from (seed, step), so no generator state is needed. An
    earlier checkpoint in ``folder`` is replaced only once the new one is complete.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=folder.name, suffix=".part"))
    state.policy.save(part / "policy")
    state.reference.save(part / "reference")
    torch.save(state.optimizer.state_dict(), part / "optimizer.pt")
    about = {"step": state.step, "config": asdict(config), "versions": versions()}
    (part / "checkpoint.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    return folder


def load_checkpoint(folder: str | Path, device: str = "auto") -> tuple[TrainConfig, TrainState]:
    """Read a checkpoint: pass both to ``train(config, state=state)`` to go on.

    Raises:
        ValueError: when the folder holds no whole checkpoint.
    """
    folder = Path(folder)
    try:
        about = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        config = TrainConfig(**about["config"])
        state = TrainState.begin(config, load_policy(folder / "policy", device))
        state.reference = load_policy(folder / "reference", device)
        state.reference.model.requires_grad_(False)
        state.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True))
        state.step = int(about["step"])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"folder: {folder} holds no whole checkpoint ({error})") from error
    return config, state
