"""What a run is: one frozen ``TrainConfig``, and the presets that are rows of the algorithms'
table.
"""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin

__all__ = ["FIXED_DURING_A_RUN", "PRESETS", "WORLDS", "RolloutConfig", "TrainConfig", "describe"]

FIXED_DURING_A_RUN = ("world", "base", "p_right", "steps", "optimizer", "seed", "device")


@dataclass(frozen=True)
class RolloutConfig:
    """What every algorithm needs to know to sample and grade. Frozen: change it with
    ``dataclasses.replace``.

    Attributes:
        world: ``sums`` or ``lab`` (the length laboratory).
        base: a name, folder or hub id for ``load_policy``; "" means the world's shipped base.
        steps: number of rollout-and-update steps.
        prompts_per_step: N.
        group_size: G, answers to each prompt.
        max_new_tokens: cap on a completion, in tokens.
        temperature: of sampling and of all log-probabilities.
        top_p: nucleus of the sampling; 1 samples from the whole distribution.
        format_bonus: reward for a well-formed completion, on top of 1 for a right one.
        p_right: the laboratory's coin.
        seed: of problems and sampling. Step k draws from (seed, k), so two runs that differ in one
            setting see the same problems.
        device: see ``policy.resolve_device``.

    Raises:
        ValueError: naming the field, for a value that makes no sense.
    """

    world: Literal["sums", "lab"] = "sums"
    base: str = ""
    steps: int = 60
    prompts_per_step: int = 16
    group_size: int = 16
    max_new_tokens: int = 40
    temperature: float = 1.0
    top_p: float = 1.0
    format_bonus: float = 0.1
    p_right: float = 0.5
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for field in fields(self):
            if get_origin(field.type) is Literal:
                self.require(
                    field.name,
                    getattr(self, field.name) in get_args(field.type),
                    f"one of {', '.join(get_args(field.type))}",
                )
        self.require_at_least(1, "steps", "prompts_per_step", "group_size", "max_new_tokens")
        self.require_at_least(0, "format_bonus")
        self.require("temperature", self.temperature > 0, "positive")
        self.require("top_p", 0 < self.top_p <= 1, "in (0, 1]")
        self.require("p_right", 0 < self.p_right < 1, "strictly between 0 and 1")

    def require(self, name: str, holds: bool, rule: str) -> None:
        """Refuse the field ``name`` unless ``holds``."""
        if not holds:
            raise ValueError(f"{name}: must be {rule}, got {getattr(self, name)!r}")

    def require_at_least(self, least: int, *names: str) -> None:
        """Refuse a field that is below ``least``, which is 0 or 1."""
        for name in names:
            rule = "not negative" if least == 0 else f"at least {least}"
            self.require(name, getattr(self, name) >= least, rule)

    def changes_to(self, other: "RolloutConfig") -> list[str]:
        """What differs, as ``"field: old -> new"``.

        >>> TrainConfig().changes_to(TrainConfig(average="constant"))
        ['average: sequence -> constant']
        """
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [f"{name}: {old} -> {new}" for name, old, new in pairs if old != new]


@dataclass(frozen=True)
class TrainConfig(RolloutConfig):
    """A policy-gradient run: the rollouts, and a row of the algorithms' table in ``losses``.

    Attributes:
        baseline: what a reward is compared with: the ``group`` mean, the mean of the group's others
            (``leave_one_out``), the ``batch`` mean (whitened), nothing (``none``), or the group mean with
            division by it (``maxrl``).
        divide_by_std: divide by the group's standard deviation; with ``baseline="group"`` only.
        average: ``sequence`` (1/|o|, GRPO), ``token`` (DAPO) or ``constant`` (Dr. GRPO).
        constant_length: L of the constant average, in tokens; None means ``max_new_tokens``.
        ratio: ``token`` (PPO, GRPO), ``sequence`` (GSPO), ``cispo`` (detached weight) or ``none``.
        clip_low: ε_low of the clip.
        clip_high: ε_high of the clip.
        kl_coef: β ≥ 0, weight of the KL to the reference policy.
        kl_estimator: ``k1``, ``k2`` or ``k3``: what is differentiated when the KL is in the loss.
        kl_in: ``loss`` or ``reward``.
        updates_per_batch: passes over each batch of rollouts.
        minibatches: parts of a batch, by groups; one optimiser step each.
        optimizer: ``adamw`` (β .9, .95, no decay) or ``sgd`` (plain).
        learning_rate: of the optimiser.
        max_grad_norm: gradients are clipped to this norm; None leaves them alone.

    Raises:
        ValueError: naming the field, for a value that makes no sense.
    """

    baseline: Literal["group", "leave_one_out", "batch", "none", "maxrl"] = "group"
    divide_by_std: bool = True
    average: Literal["sequence", "token", "constant"] = "sequence"
    constant_length: float | None = None
    ratio: Literal["token", "sequence", "cispo", "none"] = "token"
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coef: float = 0.0
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    kl_in: Literal["loss", "reward"] = "loss"
    updates_per_batch: int = 1
    minibatches: int = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 3e-4
    max_grad_norm: float | None = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "updates_per_batch", "minibatches")
        self.require_at_least(0, "kl_coef", "clip_high")
        self.require("learning_rate", self.learning_rate > 0, "positive")
        for name in ("constant_length", "max_grad_norm"):
            value = getattr(self, name)
            self.require(name, value is None or value > 0, "positive or None")
        self.require("clip_low", 0 <= self.clip_low <= 1, "between 0 and 1")
        self.require(
            "minibatches",
            self.minibatches <= self.prompts_per_step,
            f"at most prompts_per_step ({self.prompts_per_step})",
        )
        compares = self.baseline in ("group", "leave_one_out", "maxrl")
        self.require(
            "group_size",
            not compares or self.group_size > 1,
            f"at least 2 with baseline={self.baseline!r}: one answer has nothing to be compared with",
        )
        self.require(
            "divide_by_std",
            not self.divide_by_std or self.baseline == "group",
            f"False with baseline={self.baseline!r}: only the group baseline is divided by the std",
        )


_GRPO = TrainConfig()
PRESETS: dict[str, TrainConfig] = {
    "reinforce": replace(_GRPO, baseline="batch", divide_by_std=False, ratio="none"),
    "rloo": replace(
        _GRPO,
        baseline="leave_one_out",
        divide_by_std=False,
        ratio="none",
        average="constant",
        kl_in="reward",
        kl_estimator="k1",
    ),
    "grpo": _GRPO,
    "dr-grpo": replace(_GRPO, divide_by_std=False, average="constant"),
    "dapo": replace(_GRPO, average="token", clip_high=0.28),
}
"""One row of the algorithms' table each; every other setting is the default."""

WORLDS: dict[str, dict[str, Any]] = {
    "sums": {"world": "sums"},
    # Plain gradient steps: Adam would turn the vanishing pull of the constant average into a random
    # walk. The constant is the base's mean number of trained tokens, so that both averages step
    # alike.
    "lab": {
        "world": "lab",
        "steps": 25,
        "max_new_tokens": 32,
        "constant_length": 4.5,
        "optimizer": "sgd",
        "learning_rate": 0.03,
        "max_grad_norm": None,
        "format_bonus": 0.0,
    },
}
"""The settings that belong to a world rather than to an algorithm: ``replace(config,
**WORLDS[…])``."""


def describe(config: RolloutConfig) -> str:
    """The settings that differ from the default, in one line for a legend.

    >>> describe(TrainConfig(average="constant"))
    'average=constant'
    """
    default = asdict(type(config)())
    parts = [f"{k}={v}" for k, v in asdict(config).items() if v != default[k]]
    return ", ".join(parts) or "GRPO, defaults"
