"""How far the bars of the exercises that train lie from runs of their solutions and of the defaults.

python -m tests.benchmarks.bars --runs 24 --first 9100000
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch

from rlvr_lab import checks
from rlvr_lab.checks.trained import TrainCheck
from tests.sheets import functions_of


def measured(check: TrainCheck, fn: Callable[[], dict[str, Any]], first: int, runs: int) -> str:
    """The range and the mean of what is judged, over single runs with the seeds from ``first`` on."""
    config = check.configuration(fn)
    trials = [check.run(config, seed) for seed in range(first, first + runs)]
    parts = []
    for bar in check.bars:
        values = sorted(trial.numbers[bar.name] for trial in trials)
        met = sum(bar.met([trial]) for trial in trials)
        ends = f"{values[0]:.3f} to {values[-1]:.3f}, mean {sum(values) / runs:.3f}"
        parts.append(f"{bar}: {ends}; {met} of {runs} alone")
    return "; ".join(parts)


def main() -> None:
    trains = [name for name in checks.__all__ if isinstance(getattr(checks, name), TrainCheck)]
    parser = argparse.ArgumentParser("python -m tests.benchmarks.bars", description=__doc__)
    parser.add_argument("--checks", nargs="+", choices=trains, default=trains)
    parser.add_argument("--runs", type=int, default=10, help="%(default)s, of the solution")
    parser.add_argument("--defaults", type=int, default=5, help="%(default)s runs of the defaults")
    parser.add_argument("--first", type=int, default=9_100_000, help="the first seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    solutions, _ = functions_of("solutions")
    for name in options.checks:
        check = getattr(checks, name)
        for what, fn, runs in (
            ("solution", solutions[name][0], options.runs),
            ("defaults", dict, options.defaults),
        ):
            print(f"{name}, {what}: {measured(check, fn, options.first, runs)}", flush=True)


if __name__ == "__main__":
    main()
