"""The devices of a simulated RL run, and how their timeline is put together (see ``rollout_schedules``)."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from rlvr_lab.exact.rollout_timeline import Answer, Event, Timeline, Update

__all__ = ["Cluster", "Making", "at_least_one", "same"]

_SAME = 1e-9
"""Two instants closer than this share of the time since the start are the same instant."""


@dataclass(frozen=True)
class Cluster:
    """The hardware.

    Attributes:
        devices: D.
        decode_rate: tokens per second that one device writes.
        train_rate: tokens per second that one device trains.
        transfer: seconds for which new weights keep all devices busy.

    Raises:
        ValueError: naming the field.
    """

    devices: int = 8
    decode_rate: float = 60.0
    train_rate: float = 180.0
    transfer: float = 2.0

    def __post_init__(self) -> None:
        at_least_one("devices", self.devices)
        for name in ("decode_rate", "train_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: must be positive, got {getattr(self, name)}")
        if not 0 <= self.transfer < math.inf:
            raise ValueError(f"transfer: must not be negative, got {self.transfer}")


class Making:
    """A timeline while it is made: the clock, the version of the weights, and what happened so far."""

    def __init__(
        self, cluster: Cluster, lengths: Iterable[float], writers: range, trainers: range
    ) -> None:
        self.cluster, self.writers, self.trainers = cluster, writers, trainers
        self.lengths = iter(lengths)
        self.now, self.version = 0.0, 0
        self.events: list[Event] = []
        self.answers: list[Answer] = []
        self.updates: list[Update] = []

    def may_start(self, batch: int, ahead: int | None) -> bool:
        return ahead is None or len(self.answers) < (self.version + ahead + 1) * batch

    def start_answer(self) -> int:
        length = next(self.lengths, None)
        if length is None:
            raise ValueError(f"lengths: need more than {len(self.answers)} answers")
        if not 0 < length < math.inf:
            raise ValueError(f"lengths: every length must be positive, got {length}")
        self.answers.append(Answer(float(length)))
        return len(self.answers) - 1

    def seconds_left(self, answer: int) -> float:
        return self.answers[answer].remaining / self.cluster.decode_rate

    def write(self, device: int, answer: int, start: float, tokens: float) -> float:
        """Write ``tokens`` of the answer; returns when that is done."""
        one = self.answers[answer]
        last = tokens >= one.remaining
        end = start + tokens / self.cluster.decode_rate
        one.written[self.version] = one.written.get(self.version, 0.0) + tokens
        if last:
            one.finished = end
        self.events.append(Event(device, "rollout", start, end, self.version, answer, tokens))
        return end

    def train(self, answers: list[int]) -> float:
        """Begin an update now; returns when it is done."""
        tokens = sum(self.answers[i].length for i in answers) / len(self.trainers)
        end = self.now + tokens / self.cluster.train_rate
        for i in answers:
            self.answers[i].trained = self.version
        self.events += [
            Event(device, "train", self.now, end, self.version, None, tokens)
            for device in self.trainers
        ]
        self.updates.append(Update(self.version, tuple(answers), self.now, end))
        return end

    def transfer(self) -> None:
        """The weights become the next version, on all devices, from now on."""
        self.version += 1
        start, self.now = self.now, self.now + self.cluster.transfer
        if self.cluster.transfer:
            self.events += [
                Event(device, "transfer", start, self.now, self.version)
                for device in range(self.cluster.devices)
            ]

    def timeline(self) -> Timeline:
        """The finished timeline: gaps become idle events."""
        rows: dict[int, list[Event]] = defaultdict(list)
        for event in self.events:
            rows[event.device].append(event)
        whole: list[Event] = []
        for device in range(self.cluster.devices):
            clock, version = 0.0, 0
            for event in sorted(rows[device], key=lambda e: e.start):
                if event.start > clock and not same(event.start, clock):
                    whole.append(Event(device, "idle", clock, event.start, version))
                whole.append(event)
                clock, version = event.end, event.version
            if self.now > clock and not same(self.now, clock):
                whole.append(Event(device, "idle", clock, self.now, version))
        return Timeline(
            self.cluster.devices,
            self.writers,
            self.trainers,
            whole,
            self.answers,
            self.updates,
            self.now,
        )


def same(a: float, b: float) -> bool:
    """Whether two instants are the same up to rounding; never for an infinite one."""
    return math.isclose(a, b, rel_tol=_SAME, abs_tol=_SAME)


def at_least_one(name: str, value: int) -> None:
    """Refuse an argument below 1."""
    if value < 1:
        raise ValueError(f"{name}: must be at least 1, got {value}")
