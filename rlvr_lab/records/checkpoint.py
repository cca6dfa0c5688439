"""Checkpoints: one file from which training continues exactly where it stopped.

The file is in the safetensors format. It holds the tensors of all networks, of the optimiser and of the
generator; its header holds everything else as JSON. It contains no pickle and is replaced atomically.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rlvr_lab.records.runs import versions, write_whole
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.state import TrainState

__all__ = ["Checkpoint", "keep_checkpoints", "load_checkpoint", "save_checkpoint"]


@dataclass
class Checkpoint:
    """The contents of a checkpoint.

    Attributes:
        config: the run, with the settings of its last step.
        state: pass both to ``train(config, state=state)`` to continue.
        records: the records of the steps so far.
    """

    config: RunConfig
    state: TrainState
    records: list[dict[str, Any]]


def save_checkpoint(
    config: RunConfig,
    state: TrainState,
    path: str | Path,
    records: list[dict[str, Any]] | None = None,
) -> Path:
    """Write everything that training needs to continue bit for bit; returns the path.

    No generator is stored if the steps take their random numbers from (seed, step). An earlier file at
    ``path`` remains until the new one replaces it.
    """
    tensors = {
        f"{name}.{key}": value
        for name, module in state.modules.items()
        for key, value in module.state_dict().items()
    }
    options: dict[str, Any] = {}
    if state.optimizer is not None:
        held = state.optimizer.state_dict()
        options["groups"] = held["param_groups"]
        options["numbers"] = {}
        for index, values in held["state"].items():
            for key, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{key}"] = value
                else:
                    options["numbers"][f"{index}.{key}"] = value
    if state.generator is not None:
        tensors["generator"] = state.generator.get_state()
    about = {
        "kind": config.KIND,
        "config": asdict(config),
        "step": state.step,
        "numbers": state.numbers,
        "optimizer": options,
        "records": records or [],
        "versions": versions(),
    }
    # Tied weights share memory, which the format does not allow: each name gets its own copy.
    flat = {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}
    return write_whole(path, save(flat, {"about": json.dumps(about)}))


def load_checkpoint(path: str | Path, state: TrainState | None = None) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: of the file.
        state: the state to fill from the file; ``config.begin()`` if not given. A run that began with
            your own policy, task or reward needs a state that began in the same way.

    Raises:
        ValueError: when there is no complete checkpoint, or it belongs to another kind of state.
    """
    try:
        with safe_open(str(path), "pt") as file:
            about = json.loads(file.metadata()["about"])
            # Copies: the tensors are views into the file, and Adam would keep them for the whole run.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        config = RunConfig.KINDS[about["kind"]](**about["config"])
        state = state or config.begin()
        for name, module in state.modules.items():
            module.load_state_dict(_part(tensors, name))
        if state.optimizer is not None:
            state.optimizer.load_state_dict(_optimizer(tensors, about["optimizer"]))
        if state.generator is not None:
            state.generator.set_state(tensors["generator"])
        state.step, state.numbers = int(about["step"]), dict(about["numbers"])
        return Checkpoint(config, state, about["records"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"path: {path} holds no whole checkpoint ({error})") from error


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{name}."): value
        for key, value in tensors.items()
        if key.startswith(f"{name}.")
    }


def _optimizer(tensors: dict[str, Tensor], options: dict[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**_part(tensors, "optimizer"), **options["numbers"]}.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    # JSON has no tuples.
    groups = [
        {key: tuple(value) if key == "betas" else value for key, value in group.items()}
        for group in options["groups"]
    ]
    return {"state": state, "param_groups": groups}


def keep_checkpoints(
    records: Iterator[dict[str, Any]],
    config: RunConfig,
    state: TrainState,
    path: str | Path,
    earlier: list[dict[str, Any]] | None = None,
    every: float = 30.0,
) -> Iterator[dict[str, Any]]:
    """Pass records on, and save checkpoints between them.

    Args:
        records: the records that ``train(config, state=state)`` yields.
        config: the run.
        state: the state that is trained.
        path: of the checkpoint.
        earlier: records of earlier steps.
        every: shortest time between two checkpoints, in seconds; the last step is always saved.
    """
    seen, saved, kept = list(earlier or []), time.monotonic(), state.step
    for record in records:
        seen.append(record)
        last = state.step >= config.steps
        if state.step > 0 and (last or time.monotonic() - saved >= every):
            save_checkpoint(config, state, path, seen)
            saved, kept = time.monotonic(), state.step
        yield record
    if state.step > kept:  # the last steps may have no record
        save_checkpoint(config, state, path, seen)
