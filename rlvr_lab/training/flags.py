"""The fields of a configuration as flags of a command line: ``--group-size 8`` sets ``group_size``."""

import argparse
from collections.abc import Iterable
from dataclasses import Field, fields, replace
from typing import Any, Literal, get_args, get_origin

from rlvr_lab.tasks.worlds import WORLDS
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig
from rlvr_lab.training.ready import READY

__all__ = ["add_fields", "add_run", "configured", "given"]


def add_run(command: argparse.ArgumentParser, kinds: Iterable[str] | None = None) -> None:
    """The flags that describe a run: preset, algorithm, each field of each kind, each world's options.

    Args:
        command: gets the flags.
        kinds: the algorithms to choose from; all if not given.
    """
    kinds = list(kinds or RunConfig.KINDS)
    command.add_argument("--preset", type=str, default="grpo", help="%(default)s")
    command.add_argument("--algorithm", choices=kinds, default="policy-gradient")
    every = {f.name: f for kind in kinds for f in fields(RunConfig.KINDS[kind])}
    options = {f.name: f for world in WORLDS.values() for f in fields(world.task)}
    add_fields(command, {**options, **every}.values())


def add_fields(command: argparse.ArgumentParser, of: Iterable[Field]) -> None:
    """One flag for each field; a flag that is not given is absent from the result.

    >>> parser = argparse.ArgumentParser()
    >>> add_fields(parser, fields(PolicyGradientConfig))
    >>> parser.parse_args(["--group-size", "4", "--max-grad-norm", "none"])
    Namespace(group_size=4, max_grad_norm=None)
    """
    for field in of:
        _add_field(command, field)


def _add_field(command: argparse.ArgumentParser, field: Field) -> None:
    if field.name == "world_options":  # each world's options have flags of their own
        return
    flag, absent = "--" + field.name.replace("_", "-"), argparse.SUPPRESS
    if field.name == "world":
        command.add_argument(flag, choices=list(WORLDS), default=absent)
    elif get_origin(field.type) is dict:
        command.add_argument(flag, nargs="+", type=_weight, metavar="NAME=WEIGHT", default=absent)
    elif get_origin(field.type) is Literal:
        # What a field of several kinds may be; each kind refuses what it does not know.
        alike = (f for kind in RunConfig.KINDS.values() for f in fields(kind))
        known = {c for f in alike if f.name == field.name for c in get_args(f.type)}
        command.add_argument(flag, choices=sorted(known), default=absent)
    elif field.type is bool:
        command.add_argument(flag, action=argparse.BooleanOptionalAction, default=absent)
    elif type(None) in get_args(field.type):
        command.add_argument(flag, type=_number_or_none, metavar="NUMBER|none", default=absent)
    else:
        command.add_argument(flag, type=field.type, default=absent)


def _number_or_none(text: str) -> float | None:
    return None if text == "none" else float(text)


def _weight(text: str) -> tuple[str, float]:
    name, _, weight = text.partition("=")
    return name, float(weight or 1.0)


def given(options: argparse.Namespace, kind: type[RunConfig]) -> dict[str, Any]:
    """The fields of ``kind`` that the command line names.

    Raises:
        ValueError: naming a flag that belongs to another kind or another world.
    """
    own = {f.name for f in fields(kind)}
    every = {f.name for other in RunConfig.KINDS.values() for f in fields(other)}
    found = {name: getattr(options, name) for name in every if hasattr(options, name)}
    if "rewards" in found:
        found["rewards"] = dict(found["rewards"])
    if "world" in own:
        world = WORLDS[found.get("world", "sums")]
        names = {f.name for f in fields(world.task)} - own
        chosen = {name: getattr(options, name) for name in names if hasattr(options, name)}
        if chosen:
            found["world_options"] = chosen
        every |= {f.name for other in WORLDS.values() for f in fields(other.task)}
        own |= names
    for name in sorted(every - own):
        if hasattr(options, name):
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag}: not a setting of --algorithm {kind.KIND} in this world")
    return {name: value for name, value in found.items() if name in {f.name for f in fields(kind)}}


def configured(options: argparse.Namespace) -> RunConfig:
    """The configuration that the flags of ``add_run`` describe.

    What is given on the command line comes before the settings of the world, and these before the preset.

    Raises:
        ValueError: for an unknown preset, and naming a flag or a field that does not fit.
    """
    presets = PRESETS | READY
    if options.preset not in presets:
        raise ValueError(f"--preset: {options.preset!r} is none of {', '.join(presets)}")
    kind = RunConfig.KINDS[options.algorithm]
    chosen = given(options, kind)
    settings = WORLDS[chosen["world"]].settings if "world" in chosen else {}
    suited = {k: v for k, v in settings.items() if k in {f.name for f in fields(kind)}}
    base = presets[options.preset] if kind is PolicyGradientConfig else kind()
    return replace(base, **{**suited, **chosen})
