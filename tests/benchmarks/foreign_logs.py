"""Logs of TRL's GRPO trainer, one sound run and three sick ones, for the run doctor.

    python -m tests.benchmarks.foreign_logs [--steps 30] [--out data/foreign]

Needs the extra ``scale``. TRL trains the course's own base on the sums and writes its ``trainer_state.json``; the
runs differ in one setting or in the reward function. The sound run's history is also written as CSV with the
columns of a Weights & Biases export (``run.history()``), which cannot be made without its server.
"""

import argparse
import csv
import json
import os
import random
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when TRL is imported

from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.tasks.sums import Sums

PROMPTS, GROUP = 8, 8
RUNS: dict[str, tuple[dict[str, Any], str]] = {
    "trl_sound": ({}, "sums"),
    "trl_cut_off": ({"max_completion_length": 8}, "sums"),
    "trl_constant": ({}, "constant"),
    "trl_infinite": ({}, "infinite"),
}
"""Name → (changed settings, the reward function)."""


def reward_of(task: Sums, problems: dict[str, Any], kind: str) -> Callable[..., list[float]]:
    """Correctness plus a tenth of form; or always 1; or 1 over the distance from the correct digit, even from 0."""

    def reward(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        pairs = list(zip(prompts, completions, strict=True))
        right = [float(task.verify(problems[p], c, False).correct) for p, c in pairs]
        if kind == "constant":
            return [1.0 for _ in pairs]
        if kind == "infinite":
            return [float("inf") if r else 0.1 for r in right]
        return [r + 0.1 * task.well_formed(c) for r, (_, c) in zip(right, pairs, strict=True)]

    return reward


def log_of(name: str, steps: int) -> dict[str, Any]:
    """What TRL writes into ``trainer_state.json``."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    change, kind = RUNS[name]
    task, policy = Sums(), load_policy("sums", "cpu")
    drawn = task.problems(PROMPTS * steps, random.Random(f"foreign {name}"))
    rows = Dataset.from_list([{"prompt": problem.prompt} for problem in drawn])
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "output_dir": folder,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "per_device_train_batch_size": PROMPTS * GROUP,
            "num_generations": GROUP,
            "max_completion_length": 40,
            "temperature": 1.0,
            "learning_rate": 3e-4,
            "lr_scheduler_type": "constant",
            "beta": 0.001,
            "loss_type": "grpo",
            "max_steps": steps,
            "logging_steps": 1,
            "seed": 0,
            "report_to": [],
            "save_strategy": "no",
            "disable_tqdm": True,
        }
        trainer = GRPOTrainer(
            policy.model,
            reward_of(task, {p.prompt: p for p in drawn}, kind),
            GRPOConfig(**settings | change),
            train_dataset=rows,
            processing_class=policy.tokenizer,
        )
        try:
            trainer.train()
        except (RuntimeError, ValueError) as error:  # a probability that is NaN ends the run
            print(f"{name}: ended at step {trainer.state.global_step}: {error}")
        trainer.state.save_to_json(f"{folder}/trainer_state.json")
        return json.loads(Path(f"{folder}/trainer_state.json").read_text("utf-8"))


def write_history(log: list[dict[str, Any]], path: Path) -> None:
    """The history as a table, each metric under ``train/``."""
    rows = [one for one in log if "reward" in one]
    names = [name for name in rows[0] if name not in ("step", "epoch")]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["_step", "train/global_step", "train/epoch", *(f"train/{n}" for n in names)]
        )
        for i, one in enumerate(rows):
            values = (one.get(name) for name in names)
            writer.writerow([i, one["step"], one["epoch"], *values])


def main(arguments: list[str] | None = None) -> int:
    """Train, and write the logs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--out", type=Path, default=data_folder() / "foreign")
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS))
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    for name in options.only:
        state = log_of(name, options.steps)
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "trainer_state.json").write_text(json.dumps(state, indent=1) + "\n", "utf-8")
        if name == "trl_sound":
            write_history(state["log_history"], options.out / "wandb_export.csv")
        print(f"{folder}: {len(state['log_history'])} entries")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
