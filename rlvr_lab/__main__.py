"""The command line: ``python -m rlvr_lab {train,ppo-details,reward-model,overoptimise,dpo,…} …``."""

import argparse
import json
import sys
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Literal, get_args, get_origin

from tqdm import tqdm

from rlvr_lab import __version__
from rlvr_lab.dpo_training import DpoConfig, record_on_pairs
from rlvr_lab.overoptimisation import ProxyConfig, record_climbs
from rlvr_lab.policy import build_tokenizer, data_folder, load_policy
from rlvr_lab.ppo import PPOConfig, PPOState, train_ppo
from rlvr_lab.ppo_details import DETAILS, measure_details
from rlvr_lab.pretraining import PretrainingFailed, evaluate_sums, pretrain_lab, pretrain_sums
from rlvr_lab.reward_model import fit_reward_model, preference_pairs
from rlvr_lab.runs import ALGORITHMS, Run, load_checkpoint, save_checkpoint, versions
from rlvr_lab.tasks import Sums
from rlvr_lab.training import PRESETS, WORLDS, NonFiniteLossError, TrainConfig, TrainState, train
from rlvr_lab.trpo import TRPOConfig, train_trpo

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status (2 for a mistake in the arguments)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    try:
        return options.run(options, arguments)
    except (ValueError, FileNotFoundError, PretrainingFailed, NonFiniteLossError) as error:
        print(f"rlvr_lab: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rlvr_lab", description="RLVR Lab")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("train", help="train a policy and save the run")
    command.set_defaults(run=_train)
    command.add_argument("--algorithm", choices=list(ALGORITHMS), default="policy-gradient")
    command.add_argument("--preset", default="grpo", help=f"one of {', '.join(PRESETS)}")
    command.add_argument("--out", type=Path, help="write the run (JSON) here")
    command.add_argument("--checkpoint", type=Path, help="write a checkpoint folder at the end")
    command.add_argument("--resume", type=Path, help="go on from a checkpoint folder")
    every = {field.name: field for config in ALGORITHMS.values() for field in fields(config)}
    for field in every.values():
        _add_field(command, field)

    command = commands.add_parser("ppo-details", help="measure PPO's implementation details")
    command.set_defaults(run=_ppo_details)
    command.add_argument("--seeds", type=int, default=5)
    command.add_argument("--out", type=Path, default=data_folder() / "runs" / "ppo_details.json")

    command = commands.add_parser("reward-model", help="fit a reward model to preferences")
    command.set_defaults(run=_reward_model)
    command.add_argument("--pairs", type=int, default=3000)
    command.add_argument("--flip", type=float, default=0.0, help="chance that a label is wrong")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, default=data_folder() / "reward_model")

    for name, config_kind, record, what in (
        ("overoptimise", ProxyConfig, record_climbs, "climb a reward model, watch the gold reward"),
        ("dpo", DpoConfig, record_on_pairs, "train on preference pairs, watch the gold reward"),
    ):
        command = commands.add_parser(name, help=what)
        command.set_defaults(run=_record, config_kind=config_kind, record=record)
        command.add_argument("--seeds", type=int, default=5, help="runs, from --seed on")
        command.add_argument("--out", type=Path, required=True, help="write the recording here")
        for field in fields(config_kind):
            _add_field(command, field)

    command = commands.add_parser("pretrain", help="make a base model again")
    command.set_defaults(run=_pretrain)
    command.add_argument("world", choices=["sums", "lab"])
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, help="default: data/models/<world>")

    command = commands.add_parser("evaluate", help="pass@1 and pass@16 on the sums")
    command.set_defaults(run=_evaluate)
    command.add_argument("model", nargs="?", default="sums")
    command.add_argument("--problems", type=int, default=256)
    command.add_argument("--temperature", type=float, default=1.0)
    command.add_argument("--seed", type=int, default=1)

    command = commands.add_parser("exercises", help="make the exercise stubs from their solutions")
    command.set_defaults(run=_exercises)
    command.add_argument("--check", action="store_true", help="only say what differs")
    return parser


def _add_field(command: argparse.ArgumentParser, field: Field) -> None:
    """One flag for one field of the config; absent from the result unless it is given."""
    flag, absent = "--" + field.name.replace("_", "-"), argparse.SUPPRESS
    if get_origin(field.type) is Literal:
        command.add_argument(flag, choices=get_args(field.type), default=absent)
    elif field.type is bool:
        command.add_argument(flag, action=argparse.BooleanOptionalAction, default=absent)
    elif type(None) in get_args(field.type):
        command.add_argument(flag, type=_number_or_none, metavar="NUMBER|none", default=absent)
    else:
        command.add_argument(flag, type=field.type, default=absent)


def _number_or_none(text: str) -> float | None:
    return None if text == "none" else float(text)


def _train(options: argparse.Namespace, arguments: list[str]) -> int:
    if options.preset not in PRESETS:
        raise ValueError(f"--preset: {options.preset!r} is none of {', '.join(PRESETS)}")
    kind = ALGORITHMS[options.algorithm]
    every = {field.name for config in ALGORITHMS.values() for field in fields(config)}
    given = {name: getattr(options, name) for name in every if hasattr(options, name)}
    for name in given:
        if name not in {field.name for field in fields(kind)}:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag}: not a setting of --algorithm {options.algorithm}")
    if kind is not TrainConfig and (options.resume or options.checkpoint):
        raise ValueError("--resume, --checkpoint: only with --algorithm policy-gradient")
    if options.resume:
        config, state = load_checkpoint(options.resume, given.get("device", "auto"))
        config = replace(config, **given)
    elif kind is TrainConfig:
        world = WORLDS[given.get("world", "sums")]
        config = replace(PRESETS[options.preset], **{**world, **given})
        state = TrainState.begin(config)
    else:
        config = kind(**given)
        state = (PPOState if kind is PPOConfig else TrainState).begin(config)
    steps = {TrainConfig: train, PPOConfig: train_ppo, TRPOConfig: train_trpo}[kind]
    run = Run(config, [], "python -m rlvr_lab " + " ".join(map(str, arguments)))
    try:
        with tqdm(total=config.steps, initial=state.step, unit="step") as bar:
            for record in steps(config, state=state):
                run.records.append(record)
                bar.update()
                bar.set_postfix_str(
                    f"reward {record['reward']:.2f}, right {record['pass_rate']:.0%}, "
                    f"length {record['length']:.1f}, KL {record['kl']:.2f}"
                )
    except KeyboardInterrupt:
        print(f"stopped after step {state.step}; what was done is kept", file=sys.stderr)
    finally:  # whatever ended the run, its records and its last good state are kept
        if options.out and run.records:
            print(f"run: {run.save(options.out)}")
        if options.checkpoint:
            print(f"checkpoint: {save_checkpoint(config, state, options.checkpoint)}")
    return 0


def _ppo_details(options: argparse.Namespace, arguments: list[str]) -> int:
    rows = []
    for row in tqdm(measure_details(options.seeds), total=options.seeds * len(DETAILS), unit="run"):
        rows.append(row)
        content = {
            "command": "python -m rlvr_lab " + " ".join(arguments),
            "versions": versions(),
            "rows": rows,
        }
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"details: {options.out}")
    return 0


def _reward_model(options: argparse.Namespace, arguments: list[str]) -> int:
    policy, task = load_policy("sums"), Sums()
    pairs = preference_pairs(policy, task, options.pairs, options.flip, options.seed)
    held_out = preference_pairs(policy, task, 500, 0.0, options.seed + 1)
    model = fit_reward_model(pairs, held_out, options.seed)
    model.save(options.out)
    print(f"reward model: {options.out}, orders {model.accuracy:.1%} of held-out pairs rightly")
    return 0


def _record(options: argparse.Namespace, arguments: list[str]) -> int:
    names = [field.name for field in fields(options.config_kind)]
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    recording = options.record(options.config_kind(**given), options.seeds)
    recording.command = "python -m rlvr_lab " + " ".join(map(str, arguments))
    print(f"recording: {recording.save(options.out)}")
    return 0


def _pretrain(options: argparse.Namespace, arguments: list[str]) -> int:
    folder = options.out or data_folder() / "models" / options.world
    make = pretrain_sums if options.world == "sums" else pretrain_lab
    make(folder, options.seed)
    if options.out is None:
        build_tokenizer().save_pretrained(data_folder() / "tokenizer")
    print(f"model: {folder}")
    return 0


def _evaluate(options: argparse.Namespace, arguments: list[str]) -> int:
    policy = load_policy(options.model)
    measured = evaluate_sums(
        policy, options.problems, temperature=options.temperature, seed=options.seed
    )
    for name, value in measured.items():
        print(f"{name:8} {value:.3f}")
    return 0


def _exercises(options: argparse.Namespace, arguments: list[str]) -> int:
    from rlvr_lab.checks import stubs  # reads notebooks, which training needs not

    if not options.check:
        for path in stubs.generate():
            print(f"wrote {path}")
        return 0
    differing = stubs.drift()
    for path in differing:
        print(f"differs from its solution: {path}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
