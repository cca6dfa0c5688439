"""What a run is: a frozen configuration that says how to begin, collect and update.

The loop in ``training.loop`` calls the hooks of ``RunConfig`` and knows no algorithm. A new algorithm is a
subclass in a file of its own.
"""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args, get_origin

from rlvr_lab.training.state import TrainState

__all__ = ["RunConfig"]


@dataclass(frozen=True)
class RunConfig:
    """What the loop needs of a configuration. Frozen: change it with ``dataclasses.replace``.

    A subclass names itself, ``class PPOConfig(RolloutConfig, kind="ppo")``: under that name its runs are
    stored and found again.

    Attributes:
        steps: number of steps.
        seed: of everything random.

    Raises:
        ValueError: naming the field, for a value that makes no sense.
    """

    steps: int = field(default=60, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    KINDS: ClassVar[dict[str, type["RunConfig"]]] = {}
    KIND: ClassVar[str] = ""
    FIXED: ClassVar[tuple[str, ...]] = ("steps", "seed")

    def __init_subclass__(cls, kind: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        if kind:
            cls.KIND = kind
            RunConfig.KINDS[kind] = cls

    # ---- what an algorithm supplies

    def begin(self, *given: Any, **named: Any) -> TrainState:
        """The state before step 1."""
        raise NotImplementedError

    def opening(self, state: TrainState) -> dict[str, Any] | None:
        """Prepare the state once, before step 1; returns a record of it, or None."""
        return None

    def collect(self, state: TrainState) -> Any:
        """What the next step learns from."""
        raise NotImplementedError

    def measure(self, state: TrainState, experience: Any) -> dict[str, Any]:
        """The part of the record that is known before the update."""
        return {}

    def update(self, state: TrainState, experience: Any) -> dict[str, Any]:
        """Update ``state``; returns what the update measured."""
        raise NotImplementedError

    def after(self, state: TrainState) -> dict[str, Any] | None:
        """The part of the record that is measured after the update; None leaves out this step's record."""
        return {}

    # ---- what every configuration can do

    def __post_init__(self) -> None:
        for one in fields(self):
            if get_origin(one.type) is Literal:
                known = get_args(one.type)
                self.require(
                    one.name, getattr(self, one.name) in known, f"one of {', '.join(known)}"
                )
        self.require_at_least(1, "steps")

    def require(self, name: str, holds: bool, rule: str) -> None:
        """Refuse the field ``name`` unless ``holds``."""
        if not holds:
            raise ValueError(f"{name}: must be {rule}, got {getattr(self, name)!r}")

    def require_at_least(self, least: int, *names: str) -> None:
        """Refuse a field that is below ``least``, which is 0 or 1."""
        for name in names:
            rule = "not negative" if least == 0 else f"at least {least}"
            self.require(name, getattr(self, name) >= least, rule)

    def require_positive(self, *names: str) -> None:
        """Refuse a field that is not positive; where None is allowed, None passes."""
        for one in fields(self):
            if one.name in names:
                optional = type(None) in get_args(one.type)
                value = getattr(self, one.name)
                fine = (optional and value is None) or (value is not None and value > 0)
                self.require(one.name, fine, "positive or None" if optional else "positive")

    def settings(self) -> dict[str, Any]:
        """Every field by name; an entry of a dictionary as ``field.entry``."""
        found: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, dict):
                found |= {f"{one.name}.{key}": entry for key, entry in value.items()}
            else:
                found[one.name] = value
        return found

    def changes_to(self, other: "RunConfig") -> list[str]:
        """What differs, as ``"field: old -> new"``.

        >>> RunConfig(steps=3).changes_to(RunConfig(steps=4))
        ['steps: 3 -> 4']
        """
        old, new = self.settings(), other.settings()
        names = [name for name in old | new if old.get(name) != new.get(name)]
        return [f"{name}: {old.get(name)} -> {new.get(name)}" for name in names]
