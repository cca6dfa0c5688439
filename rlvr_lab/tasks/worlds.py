"""The worlds of the course. To add one, write a file next to this one and add a line here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.tasks.codes import Codes
from rlvr_lab.tasks.few_shot_words import FewShotWords
from rlvr_lab.tasks.gym import Gym
from rlvr_lab.tasks.length_lab import LengthLab
from rlvr_lab.tasks.letters import PreferenceWorld
from rlvr_lab.tasks.long_sums import LongSums
from rlvr_lab.tasks.question_file import QuestionFile
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Task
from rlvr_lab.tasks.two_modes import TwoModes

__all__ = ["WORLDS", "KnownWorld", "base_policy", "make_task"]


@dataclass(frozen=True)
class KnownWorld:
    """A task, the base policy that RL starts from, and suitable settings.

    Attributes:
        title: name shown to the reader.
        task: the class of its tasks; its fields are the world's options.
        base: (task, seed, device) → policy; None means the shipped model of the same name.
        settings: settings of the world, independent of the algorithm: ``replace(config, **settings)``.
        ready: whether it has a base that RL can start from at once. Dashboards offer only such worlds.
    """

    title: str
    task: type[Task]
    base: Callable[[Task, int, str], Policy] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    ready: bool = True


def _no_base(task: Task, seed: int, device: str) -> Policy:
    raise ValueError("base: no base of long_sums is shipped; name a folder that holds one")


# A pretrained model is large: few answers a step, a small learning rate, and only the accuracy as the reward.
PRETRAINED: dict[str, Any] = {
    "steps": 15,
    "prompts_per_step": 6,
    "group_size": 8,
    "learning_rate": 2e-5,
    "rewards": {"accuracy": 1.0},
}


def _smollm2(task: Task, seed: int, device: str) -> Policy:
    return load_policy("smollm2", device)


WORLDS: dict[str, KnownWorld] = {
    "sums": KnownWorld("sums (R1-Zero)", Sums),
    # Plain gradient steps: with the constant average the gradient vanishes, and Adam would rescale its
    # noise to a random walk. The constant is the base's mean number of trained tokens, so that the steps
    # of both averages have similar sizes.
    "lab": KnownWorld(
        "length laboratory",
        LengthLab,
        settings={
            "steps": 25,
            "max_new_tokens": 32,
            "constant_length": 4.5,
            "optimizer": "sgd",
            "learning_rate": 0.03,
            "max_grad_norm": None,
            "rewards": {"accuracy": 1.0},
        },
    ),
    "codes": KnownWorld("codes (two languages)", Codes, settings={"max_new_tokens": 24}),
    "letters": KnownWorld(
        "letters with a gold reward",
        PreferenceWorld,
        base=lambda task, seed, device: task.base_policy(seed, device=device),
        settings={"max_new_tokens": 12, "rewards": {"accuracy": 1.0}},
    ),
    "long_sums": KnownWorld(
        "long sums", LongSums, base=_no_base, settings={"max_new_tokens": 24}, ready=False
    ),
    # Its shipped model can think or answer at once, so RL starts from both modes.
    "two_modes": KnownWorld(
        "two tasks, two modes (Qwen3)",
        TwoModes,
        settings={"max_new_tokens": 20, "world_options": {"flag": "mixed"}},
    ),
    "words": KnownWorld(
        "few-shot words (pretrained model)",
        FewShotWords,
        base=_smollm2,
        settings=PRETRAINED | {"max_new_tokens": 8},
        ready=False,
    ),
    "questions": KnownWorld(
        "questions from a file (pretrained model)",
        QuestionFile,
        base=_smollm2,
        settings=PRETRAINED | {"max_new_tokens": 128},
        ready=False,
    ),
    "gym": KnownWorld(
        "reasoning-gym (pretrained model)",
        Gym,
        base=_smollm2,
        settings=PRETRAINED | {"max_new_tokens": 128},
        ready=False,
    ),
}


def make_task(world: str, options: dict[str, Any] | None = None) -> Task:
    """The task of a world, with its options.

    Raises:
        ValueError: for an unknown world or option, or an invalid value of an option.

    >>> make_task("lab", {"p_right": 0.2})
    LengthLab(p_right=0.2, stop=0.22)
    """
    if world not in WORLDS:
        raise ValueError(f"world: must be one of {', '.join(WORLDS)}, got {world!r}")
    kind, options = WORLDS[world].task, options or {}
    known = kind.__dataclass_fields__
    for name in options:
        if name not in known:
            raise ValueError(f"world_options: {world} has no {name!r}, only {', '.join(known)}")
    return kind(**options)


def base_policy(world: str, task: Task, seed: int, device: str) -> Policy:
    """The policy that RL starts from in a world."""
    base = WORLDS[world].base
    return load_policy(world, device) if base is None else base(task, seed, device)
