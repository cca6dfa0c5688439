"""One process, two processes, and our own loop on the same answers; and two processes that sample for themselves.

    python -m tests.benchmarks.two_processes [--seeds 5] --out data/benchmarks/two_processes.json

Needs the extra ``scale``. For each seed our loop trains for a few steps and writes its answers down. TRL then
trains on those answers, once in one process and once in two that exchange gradients through gloo. Compared are
the parameters at the end, by

    distance(a, b) = ‖θ_a − θ_b‖ / ‖θ_ours − θ_start‖,

the difference relative to how far the run has moved them. Our loop uses TRL's advantage here, whose std divides by
G − 1 and gets + 1e-4; the same without this is measured as well.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlvr_lab.machine.replay import Replay, recorded_answers
from rlvr_lab.machine.scale import hand_over
from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.objectives.objective import Objective
from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.records.runs import Run, versions
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig

LAUNCH = ["-m", "accelerate.commands.launch", "--main_process_port", "0"]
TWO = [*LAUNCH, "--config_file", str(data_folder() / "engines" / "two_cpu_processes.yaml")]
# Several passes per optimiser step, a KL, and the default optimiser.
CONFIG = replace(
    PRESETS["grpo"],
    steps=4,
    prompts_per_step=4,
    group_size=8,
    max_new_tokens=24,
    kl_coef=0.04,
    rewards={"accuracy": 1.0},
    device="cpu",
)
ROWS = 8
SAMPLED = ["--preset", "grpo", "--steps", "25", "--device", "cpu", "--prompts-per-step", "8"]


class TrlAdvantages(PolicyGradientConfig):
    """A run of ours with TRL's advantage."""

    def objective_on(self, experience: Any) -> Objective:
        objective = self.objective
        if self.baseline != "group":
            return objective
        theirs = partial(group_advantages, divide_by_std=self.divide_by_std, ddof=1, eps=1e-4)
        return replace(objective, advantage=theirs)

    @classmethod
    def of(cls, config: PolicyGradientConfig) -> "TrlAdvantages":
        return cls(**{field.name: getattr(config, field.name) for field in fields(config)})


def flat(model: nn.Module) -> Tensor:
    """All parameters in one row, in float64."""
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


def ours(config: PolicyGradientConfig) -> tuple[Tensor, Tensor, Replay]:
    """Parameters before and after our run, and its answers."""
    state = config.begin()
    before = flat(state.policy.model)
    answers = recorded_answers(config, state)
    return before, flat(state.policy.model), answers


def flags(config: PolicyGradientConfig) -> list[str]:
    """The command line of a configuration."""
    found = []
    for name, value in config.settings().items():
        if "." not in name and value != getattr(PolicyGradientConfig(), name):
            found += ["--" + name.replace("_", "-"), str(value)]
    pairs = [f"{name}={weight}" for name, weight in config.rewards.items()]
    return [*found, "--rewards", *pairs]


def launch_two(out: Path, *arguments: str) -> None:
    """Run the command ``scale`` in two processes; raises with its output when it fails."""
    command = [sys.executable, *TWO, "-m", "rlvr_lab", "scale", "--out", str(out), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])


def ended(folder: Path) -> Tensor:
    return flat(load_policy(folder, "cpu").model)


def compare(seed: int, folder: Path) -> dict[str, float]:
    """Distances of one seed."""
    adamw = replace(CONFIG, seed=seed)
    before, us, answers = ours(TrlAdvantages.of(adamw))
    one = trl(adamw, answers, folder)
    file = folder / "answers.safetensors"
    answers.save(file)
    more = ["--replay", str(file), "--rows-per-device", str(ROWS), *flags(adamw)]
    launch_two(folder / "two", *more)
    two, moved = ended(folder / "two"), (us - before).norm()
    found = {
        "two processes and one": float((two - one).norm() / moved),
        "one process and ours": float((one - us).norm() / moved),
    }
    found |= adamw_controls(adamw, folder)
    plain = replace(adamw, optimizer="sgd", learning_rate=0.02, max_grad_norm=None)
    for name, own in (
        ("one process and ours, plain gradient steps", TrlAdvantages.of(plain)),
        ("one process and ours, plain gradient steps, our own std", plain),
    ):
        before, us, answers = ours(own)
        distance = (trl(plain, answers, folder) - us).norm() / (us - before).norm()
        found[name] = float(distance)
    return found


@contextmanager
def damping(eps: float) -> Iterator[None]:
    """AdamW with this epsilon in our loop and in TRL's; both ask for 1e-8."""
    made = torch.optim.AdamW.__init__

    def damped(self: Any, *given: Any, **named: Any) -> None:
        made(self, *given, **named | {"eps": eps})

    torch.optim.AdamW.__init__ = damped
    try:
        yield
    finally:
        torch.optim.AdamW.__init__ = made


def adamw_controls(config: PolicyGradientConfig, folder: Path) -> dict[str, float]:
    """AdamW takes a whole step where a gradient is nothing but rounding. A larger epsilon takes this away."""
    found = {}
    for name, own, eps in (
        ("one process and ours, AdamW with epsilon 1e-5", TrlAdvantages.of(config), 1e-5),
        ("one process and ours, our own std", config, 1e-8),
    ):
        with damping(eps):
            before, us, answers = ours(own)
            them = trl(config, answers, folder)
        found[name] = float((them - us).norm() / (us - before).norm())
    return found


def trl(config: PolicyGradientConfig, answers: Replay, folder: Path) -> Tensor:
    """Parameters after TRL has trained on these answers, in this process."""
    hand_over(config, folder / "one", rows_per_device=ROWS, replay=answers)
    return ended(folder / "one")


def sampled(seed: int, folder: Path) -> dict[str, list[float]]:
    """Pass rates of a run that two processes sample, and of our own loop with the same settings."""
    launch_two(folder / "sampled", *SAMPLED, "--seed", str(seed))
    run = Run.load(folder / "sampled" / "run.json")
    own = [record["pass_rate"] for record in train(run.config)]
    return {"TRL, two processes": run.curve("pass_rate").tolist(), "our loop": own}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    distances: dict[str, list[float]] = {}
    curves: dict[str, list[list[float]]] = {}
    seeds = range(options.first, options.first + options.seeds)
    for seed in seeds:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            for name, value in compare(seed, Path(folder)).items():
                distances.setdefault(name, []).append(value)
            for name, curve in sampled(seed, Path(folder)).items():
                curves.setdefault(name, []).append(curve)
        row = ", ".join(f"{name} {values[-1]:.1e}" for name, values in distances.items())
        print(f"seed {seed}: {row} ({time.perf_counter() - started:.0f} s)", flush=True)
    result = {
        "command": "python -m tests.benchmarks.two_processes " + " ".join(sys.argv[1:]),
        "seeds": list(seeds),
        "distances": distances,
        "pass_rates": curves,
        "versions": versions() | _more_versions(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _more_versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("trl", "accelerate")}


if __name__ == "__main__":
    main()
