"""What the devices of an RL run did, event by event, and what follows from it (notebook 09, section 5).

A timeline is made by ``exact.rollout_schedules``. Here it is only read: busy shares, throughput, staleness,
and which lengths are trained when. Times are in seconds, lengths in tokens.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

__all__ = ["KINDS", "Answer", "Event", "Timeline", "Update"]

KINDS = ("rollout", "train", "transfer", "idle")


@dataclass(frozen=True)
class Event:
    """What one device does from ``start`` to ``end``.

    Attributes:
        device: 0 … D−1.
        kind: one of ``KINDS``.
        start: in seconds.
        end: in seconds.
        version: rollout: of the weights that write; train: of the weights that are updated; transfer: of the
            weights that arrive; idle: of the weights that the device holds.
        answer: the answer that is written; None for every other kind.
        tokens: that are written, or this device's share of those that are trained; else 0.
    """

    device: int
    kind: str
    start: float
    end: float
    version: int
    answer: int | None = None
    tokens: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end - self.start


@dataclass
class Answer:
    """One answer: its length, who wrote which part of it, and when it was trained.

    Attributes:
        length: in tokens.
        written: weights version → tokens that it wrote.
        finished: when the last token was written; None while it is in flight.
        trained: the version of the weights that were updated with it; None if it was not trained.
    """

    length: float
    written: dict[int, float] = field(default_factory=dict)
    finished: float | None = None
    trained: int | None = None

    @property
    def remaining(self) -> float:
        """Tokens that are not written yet."""
        return self.length - sum(self.written.values())


@dataclass(frozen=True)
class Update:
    """One training step: the version that is updated, its answers in the order taken, its times."""

    version: int
    answers: tuple[int, ...]
    start: float
    end: float


@dataclass(frozen=True)
class Timeline:
    """Everything that happened.

    Attributes:
        devices: D.
        rollout_devices: the devices that write answers; all of them where the hardware is shared.
        train_devices: the devices that train.
        events: of all devices; those of one device follow each other without a gap from 0 to ``end``.
        answers: in the order in which they were started.
        updates: in order.
        end: when the last weights have arrived.
    """

    devices: int
    rollout_devices: range
    train_devices: range
    events: list[Event]
    answers: list[Answer]
    updates: list[Update]
    end: float

    def share(self, kind: str, devices: Iterable[int] | None = None) -> float:
        """Share of the time that the devices (all, if not given) spend on ``kind``.

        Raises:
            ValueError: for a kind that does not exist, or no devices.
        """
        if kind not in KINDS:
            raise ValueError(f"kind: {kind!r} is none of {', '.join(KINDS)}")
        chosen = set(range(self.devices) if devices is None else devices)
        if not chosen:
            raise ValueError("devices: need at least one")
        busy = sum(e.seconds for e in self.events if e.kind == kind and e.device in chosen)
        return busy / (len(chosen) * self.end)

    @property
    def utilisation(self) -> float:
        """Share of all device time in which a token is written or trained."""
        return self.share("rollout") + self.share("train")

    @property
    def trained_tokens(self) -> float:
        """Tokens of all answers that were trained."""
        return sum(a.length for a in self.answers if a.trained is not None)

    @property
    def throughput(self) -> float:
        """Trained tokens per second."""
        return self.trained_tokens / self.end

    def staleness(self) -> dict[int, float]:
        """How old the trained tokens are: versions behind → share of the trained tokens, in order.

        A token that version v wrote and that is used to update version u is u − v versions old.
        """
        tokens: Counter[int] = Counter()
        for answer in self.answers:
            if answer.trained is not None:
                for version, written in answer.written.items():
                    tokens[answer.trained - version] += written
        whole = sum(tokens.values())
        return {age: tokens[age] / whole for age in sorted(tokens)}

    @property
    def mean_staleness(self) -> float:
        """Mean of ``staleness`` over the trained tokens, in versions."""
        return sum(age * share for age, share in self.staleness().items())

    @property
    def max_staleness(self) -> int:
        """The age of the oldest trained token, in versions."""
        return max(self.staleness())

    def versions_per_answer(self) -> Float[np.ndarray, " A"]:
        """Number of weight versions that wrote a part of each trained answer."""
        return np.array([len(a.written) for a in self.answers if a.trained is not None], float)

    def trained_lengths(self) -> list[Float[np.ndarray, " B"]]:
        """The lengths of each update's answers."""
        return [np.array([self.answers[i].length for i in u.answers]) for u in self.updates]

    def waiting_lengths(self) -> Float[np.ndarray, " A"]:
        """The lengths of the answers that were started but not trained when the run ended."""
        return np.array([a.length for a in self.answers if a.trained is None], float)
