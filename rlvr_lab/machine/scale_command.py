"""The command ``scale``: the run of ``train``, given to TRL; alone or under ``accelerate launch``."""

import argparse
from pathlib import Path
from typing import Any

from rlvr_lab.machine.field_map import table
from rlvr_lab.machine.gpu_memory import memory_table
from rlvr_lab.machine.trl_arguments import trl_plan
from rlvr_lab.machine.verl_overrides import verl_overrides
from rlvr_lab.records.runs import Run
from rlvr_lab.training.flags import add_run, configured
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

__all__ = ["add_scale"]

EPILOG = """\
on two processes of this machine:
    accelerate launch --config_file data/engines/two_cpu_processes.yaml -m rlvr_lab scale …
on several GPUs, sharded:
    accelerate launch --config_file data/engines/fsdp2.yaml -m rlvr_lab scale …
with vLLM:
    … scale --engine data/engines/vllm.yaml …

data/engines/README.md says what each buys."""


def add_scale(commands: Any) -> None:
    """Add the command ``scale`` to the command line."""
    command = commands.add_parser(
        "scale",
        help="give a run to TRL, for several processes or GPUs",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=_scale)
    add_run(command, [PolicyGradientConfig.KIND])
    command.add_argument("--out", type=Path, metavar="FOLDER", help="for the policy and run.json")
    command.add_argument("--dry-run", action="store_true", help="only print the arguments of TRL")
    what = "only print the overrides of verl that state the same run"
    command.add_argument("--verl", action="store_true", help=what)
    what = "only print each field with its names in TRL and verl"
    command.add_argument("--table", dest="show_table", action="store_true", help=what)
    what = "only print the memory that each engine needs for three model sizes"
    command.add_argument("--memory", dest="show_memory", action="store_true", help=what)
    what = "answers in one forward pass of a process; default: all of its part"
    command.add_argument("--rows-per-device", type=int, metavar="ROWS", help=what)
    what = "for --dry-run; otherwise the launcher decides"
    command.add_argument("--processes", type=int, default=1, help=what)
    what = "YAML files with more arguments of TRL's configuration"
    command.add_argument("--engine", type=Path, nargs="+", default=[], metavar="FILE", help=what)
    what = "train on the answers in this file instead of sampling"
    command.add_argument("--replay", type=Path, metavar="FILE", help=what)


def _scale(options: argparse.Namespace) -> int:
    if options.show_table:
        print(table())
        return 0
    if options.show_memory:
        print(memory_table())
        return 0
    config = configured(options)
    if options.verl:
        print(" \\\n    ".join(["python -m verl.trainer.main_ppo", *verl_overrides(config)]))
        return 0
    if options.dry_run:
        rows = options.rows_per_device
        plan = trl_plan(config, processes=options.processes, rows_per_device=rows)
        print(f"{plan.trainer}Trainer, {plan.trainer}Config(")
        print("".join(f"    {name}={value!r},\n" for name, value in plan.arguments.items()) + ")")
        return 0
    if options.out is None:
        raise ValueError("--out: name a folder for the trained policy")
    # Reading recorded answers or YAML, and TRL: only where the run is really started.
    import yaml

    from rlvr_lab.machine.replay import Replay
    from rlvr_lab.machine.scale import hand_over

    engine: dict[str, Any] = {}
    for file in options.engine:
        if not file.is_file():
            raise FileNotFoundError(f"--engine: there is no file {file}")
        engine |= yaml.safe_load(file.read_text("utf-8")) or {}
    records = hand_over(
        config,
        options.out,
        watch=_show,
        rows_per_device=options.rows_per_device,
        engine=engine,
        replay=None if options.replay is None else Replay.load(options.replay),
    )
    from accelerate import PartialState

    if PartialState().is_main_process:
        print(f"policy: {options.out}")
        print(f"run: {Run(config, records, options.command).save(options.out / 'run.json')}")
    return 0


def _show(record: dict[str, Any]) -> None:
    shown = {"reward": ".3f", "pass_rate": ".0%", "length": ".1f", "grad_norm": ".3f"}
    parts = [f"{name} {record[name]:{form}}" for name, form in shown.items() if name in record]
    print(f"step {record['step']}: {', '.join(parts)}", flush=True)
