"""The command line: ``python -m rlvr_lab {train,ppo-details,reward-model,overoptimise,dpo,…} …``."""

import argparse
import shlex
import signal
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rlvr_lab import __version__
from rlvr_lab.experiments.answer_kinds import AnswerKindsConfig
from rlvr_lab.experiments.base_models import BASE_MODELS
from rlvr_lab.experiments.coverage import VARIANTS, record_coverage
from rlvr_lab.experiments.gradient_shares import GradientSharesConfig
from rlvr_lab.experiments.overoptimisation import ProxyConfig, record_proxy
from rlvr_lab.experiments.pretraining import PretrainingFailed
from rlvr_lab.experiments.studies import STUDIES, parallel_runs
from rlvr_lab.grading.classroom import add_class
from rlvr_lab.machine.scale_command import add_scale
from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.words import build_tokenizer
from rlvr_lab.records.checkpoint import keep_checkpoints, load_checkpoint
from rlvr_lab.records.doctor_command import add_doctor
from rlvr_lab.records.runs import Recording, Run, record
from rlvr_lab.tasks.evaluation import evaluate
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.worlds import WORLDS, make_task
from rlvr_lab.training.flags import add_fields, add_run, configured, given
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import NonFiniteLossError
from rlvr_lab.training.pairs import DpoConfig
from rlvr_lab.training.reward_models import fit_reward_model, preference_pairs
from rlvr_lab.training.trpo import TRPOConfig

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status (2 for a mistake in the arguments)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    options.command = "python -m rlvr_lab " + shlex.join(map(str, arguments))
    try:
        return options.run(options)
    except (ValueError, FileNotFoundError, PretrainingFailed, NonFiniteLossError) as error:
        print(f"rlvr_lab: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rlvr_lab", description="RLVR Lab")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Any, what: str, **defaults: Any) -> argparse.ArgumentParser:
        """A command, with a flag for each default."""
        command = commands.add_parser(name, help=what)
        command.set_defaults(run=run)
        for flag, default in defaults.items():
            kind = Path if isinstance(default, Path) else type(default)
            command.add_argument(f"--{flag}", type=kind, default=default, help="%(default)s")
        return command

    command = add("train", _train, "train a policy and save the run")
    add_run(command)
    command.add_argument("--out", type=Path, help="write the run (JSON) here")
    command.add_argument("--csv", type=Path, help="write its numbers as a table here")
    command.add_argument("--checkpoint", type=Path, help="keep a checkpoint in this file")
    command.add_argument("--checkpoint-every", type=float, default=30.0, metavar="SECONDS")
    command.add_argument("--resume", type=Path, help="go on from a checkpoint")

    data = data_folder()
    command = commands.add_parser("record", help="record a comparison that a notebook reads")
    command.set_defaults(run=_measure)
    known = "\n".join(f"{name:16} {study.what}" for name, study in STUDIES.items())
    command.formatter_class, command.epilog = argparse.RawDescriptionHelpFormatter, known
    command.add_argument("study", choices=list(STUDIES), metavar="STUDY", help="one of those below")
    command.add_argument("--seeds", type=int, help="how many; default: as the course records it")
    command.add_argument(
        "--first", type=int, help="the first seed; default: as the course records it"
    )
    command.add_argument("--only", nargs="+", metavar="VARIANT", help="only these variants")
    what = "seeds that run at the same time, each in a process with one thread"
    command.add_argument("--workers", type=int, default=1, help=what)
    command.add_argument("--out", type=Path, help="default: the study's file in data/runs")
    what = "which problems a model can solve at all, before and after RL"
    command = add("coverage", _coverage, what, tables=6)
    command.add_argument("variant", choices=list(VARIANTS))
    command.add_argument("--out", type=Path, help="default: data/runs/coverage_<variant>.json")
    what, out = "fit a reward model to preferences", data / "reward_model"
    add("reward-model", _reward_model, what, pairs=3000, flip=0.0, seed=0, out=out)
    for name, kind, make, what in (
        ("overoptimise", ProxyConfig, record_proxy, "optimise a reward model, watch the gold one"),
        ("dpo", DpoConfig, record, "train on preference pairs, watch the gold reward"),
        ("trpo", TRPOConfig, record, "record TRPO from several seeds, as plain curves"),
        ("answer-kinds", AnswerKindsConfig, record, "count the kinds of incorrect answers"),
        ("gradient-shares", GradientSharesConfig, record, "measure single questions' gradients"),
    ):
        command = add(name, _record, what, seeds=5)
        command.set_defaults(kind=kind, make=make)
        command.add_argument("--out", type=Path, required=True, help="write the recording here")
        add_fields(command, fields(kind))

    command = add("pretrain", _pretrain, "make a base model again", seed=0)
    command.add_argument("world", choices=list(BASE_MODELS))
    command.add_argument("--out", type=Path, help="default: data/models/<world>")
    what = "pass@1 and pass@16 on fresh problems"
    command = add("evaluate", _evaluate, what, problems=256, temperature=1.0, seed=1)
    command.add_argument("model", nargs="?", default="sums")
    command.add_argument("--world", choices=list(WORLDS), default="sums")
    command = add("exercises", _exercises, "make the exercise stubs from their solutions")
    command.add_argument("--check", action="store_true", help="only say what differs")
    what = "show what you have solved, with difficulty and minutes"
    command.add_argument("--status", action="store_true", help=what)
    what = "of the sheets for --status; default: notebooks/exercises"
    command.add_argument("--folder", type=Path, help=what)
    command = add("store", _store, "execute notebooks and store them with their outputs")
    command.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    add_class(commands)
    add_doctor(commands)
    add_scale(commands)
    return parser


def _train(options: argparse.Namespace) -> int:
    earlier: list[dict[str, Any]] = []
    if options.resume:
        found = load_checkpoint(options.resume)
        config = replace(found.config, **given(options, type(found.config)))
        state, earlier = found.state, found.records
    else:
        config = configured(options)
        state = config.begin()
    records = train(config, state=state)
    if options.checkpoint:
        every = options.checkpoint_every
        records = keep_checkpoints(records, config, state, options.checkpoint, earlier, every)
    run = Run(config, list(earlier), options.command)
    try:
        _follow(records, run, state.step)
    finally:  # whatever ended the run, its records are kept
        if options.out and run.records:
            print(f"run: {run.save(options.out)}")
        if options.csv and run.records:
            print(f"table: {run.to_csv(options.csv)}")
    return 0


def _follow(records: Any, run: Run, done: int) -> None:
    """Show progress. Ctrl-C ends the run after the step it is in, twice at once."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        with tqdm(total=run.config.steps, initial=done, unit="step") as bar:
            for one in records:
                run.records.append(one)
                bar.update(one["step"] - bar.n)
                bar.set_postfix_str(_progress(one))
                if asked:
                    break
    except KeyboardInterrupt:
        asked.append(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
        if hasattr(records, "close"):
            records.close()
    if asked:
        print("stopped; what was done is kept", file=sys.stderr)


def _progress(record: dict[str, Any]) -> str:
    shown = {"reward": ".2f", "pass_rate": ".0%", "gold": ".2f", "length": ".1f", "kl": ".2f"}
    parts = [f"{n} {record[n]:{form}}" for n, form in shown.items() if n in record]
    return ", ".join(parts).replace("pass_rate", "right")


def _measure(options: argparse.Namespace) -> int:
    """Save the recording after each of its runs, so that an interruption keeps what is done."""
    study = STUDIES[options.study]
    out = options.out or data_folder() / "runs" / f"{study.file}.json"
    seeds = study.seeds if options.seeds is None else options.seeds
    first = study.first if options.first is None else options.first
    runs: list[Run] = []
    if options.workers > 1:
        measured = parallel_runs(options.study, seeds, first, options.only, options.workers)
    else:
        measured = study.runs(seeds, first, options.only)
    for run in tqdm(measured, unit="run"):
        runs.append(run)
        Recording(runs, options.command).save(out)
    print(f"recording: {out}")
    return 0


def _coverage(options: argparse.Namespace) -> int:
    out = options.out or data_folder() / "runs" / f"coverage_{options.variant}.json"
    runs = record_coverage(options.variant, options.tables, out, options.command)
    print(f"coverage: {out}, {len(list(tqdm(runs, unit='run')))} new runs")
    return 0


def _reward_model(options: argparse.Namespace) -> int:
    policy, task = load_policy("sums"), Sums()
    pairs = preference_pairs(policy, task, options.pairs, options.flip, options.seed)
    held_out = preference_pairs(policy, task, 500, 0.0, options.seed + 1)
    model = fit_reward_model(pairs, held_out, options.seed)
    model.save(options.out)
    print(f"reward model: {options.out}, its accuracy on held-out pairs is {model.accuracy:.1%}")
    return 0


def _record(options: argparse.Namespace) -> int:
    recording = options.make(options.kind(**given(options, options.kind)), options.seeds)
    recording.command = options.command
    print(f"recording: {recording.save(options.out)}")
    return 0


def _pretrain(options: argparse.Namespace) -> int:
    folder = options.out or data_folder() / "models" / options.world
    BASE_MODELS[options.world](folder, options.seed)
    if options.out is None:
        build_tokenizer().save_pretrained(data_folder() / "tokenizer")
    print(f"model: {folder}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    measured = evaluate(
        load_policy(options.model),
        make_task(options.world),
        options.problems,
        temperature=options.temperature,
        seed=options.seed,
    )
    for name, value in measured.items():
        print(f"{name:12} {value:.3f}")
    return 0


def _exercises(options: argparse.Namespace) -> int:
    from rlvr_lab.checks import catalogue, stubs  # read notebooks, which training needs not

    if options.status:
        print(catalogue.progress(options.folder))
        return 0
    if not options.check:
        for path in stubs.generate():
            print(f"wrote {path}")
        return 0
    differing = stubs.drift()
    for path in differing:
        print(f"differs from its solution: {path}")
    return 1 if differing else 0


def _store(options: argparse.Namespace) -> int:
    from rlvr_lab.machine.store import store  # needs Jupyter's client, which training does not

    for path in tqdm(options.notebooks, unit="notebook"):
        store(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
