"""One group of a kept step as one loss sees it: a line of numbers for each answer.

All weights here are multiplied by B, the number of answers of the step, so that their size does not depend on it.
"""

import math
from dataclasses import dataclass, field, replace

import torch

from rlvr_lab.objectives.token_weights import Weights
from rlvr_lab.training.inspection import InspectedStep

__all__ = [
    "AnswerWeights",
    "GroupWeights",
    "equal_total",
    "group_weights",
    "nouns",
    "signed",
]

NOUNS = {
    "right": ("correct", "incorrect"),
    "chosen": ("chosen", "rejected"),
    "better": ("better", "worse"),
}
"""Verdict → how good answers and the others are called."""


@dataclass(frozen=True)
class AnswerWeights:
    """One answer: its tokens and what each adds to the gradient.

    Attributes:
        row: of the step.
        words: of the answer, padding left out.
        weights: one for each word; 0 where the environment wrote it.
        trained, ends, clipped: flags, one for each word.
        good: whether it is correct.
        verdict, reward: of the verifier and of the run.
        advantage: mean over the trained tokens; nan where the loss has none.
        before, after: log π of each word before and after the update; empty where it was not kept.
    """

    row: int
    words: list[str]
    weights: list[float]
    trained: list[bool]
    ends: list[bool]
    clipped: list[bool]
    good: bool
    verdict: str
    reward: float
    advantage: float
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Trained tokens."""
        return sum(self.trained)

    @property
    def whole(self) -> float:
        """The sum over the answer."""
        return sum(self.weights)

    @property
    def per_token(self) -> float:
        """The mean over its trained tokens."""
        return self.whole / max(1, self.length)


@dataclass(frozen=True)
class GroupWeights:
    """One group: incorrect answers first, short ones first.

    Attributes:
        title: name of the loss.
        prompt: the question.
        answers: of the group.
        good, bad: what a good answer and another one are called.
        at: the moment of the weights, ``before`` the update or ``after`` it.
        own: whether they are those of the run's own update, so that its effect can be told beside them.
    """

    title: str
    prompt: str
    answers: list[AnswerWeights]
    good: str = "correct"
    bad: str = "incorrect"
    at: str = "before"
    own: bool = False

    @property
    def silent(self) -> bool:
        """Whether every weight is 0."""
        return not any(w for a in self.answers for w in a.weights)

    @property
    def largest(self) -> float:
        """Largest |weight|; 1 for a silent group."""
        return max((abs(w) for a in self.answers for w in a.weights), default=0.0) or 1.0

    def named(self, good: bool) -> str:
        """What such an answer is called."""
        return self.good if good else self.bad

    def some(self, most: int) -> "GroupWeights":
        """At most so many answers: of each kind the shortest, the longest and some in between."""
        if len(self.answers) <= most:
            return self
        kinds = [[a for a in self.answers if a.good is good] for good in (False, True)]
        room = [min(len(kinds[0]), most - min(len(kinds[1]), most // 2))]
        room.append(most - room[0])
        chosen = []
        for kind, count in zip(kinds, room, strict=True):
            count = min(count, len(kind))
            places = [round(i * (len(kind) - 1) / max(1, count - 1)) for i in range(count)]
            chosen += [kind[i] for i in sorted(set(places))]
        return replace(self, answers=chosen)

    def same_as(self, other: "GroupWeights") -> bool:
        """Whether the weights are equal, up to rounding."""
        close = 1e-5 * max(self.largest, other.largest)
        pairs = zip(self.answers, other.answers, strict=True)
        return all(
            abs(x - y) <= close for a, b in pairs for x, y in zip(a.weights, b.weights, strict=True)
        )

    def minus(self, other: "GroupWeights") -> "GroupWeights":
        """The same answers with the difference of the weights."""
        answers = [
            replace(a, weights=[x - y for x, y in zip(a.weights, b.weights, strict=True)])
            for a, b in zip(self.answers, other.answers, strict=True)
        ]
        return replace(self, title=f"{self.title} − {other.title}", answers=answers)

    def times(self, factor: float) -> "GroupWeights":
        """All weights multiplied."""
        answers = [replace(a, weights=[factor * w for w in a.weights]) for a in self.answers]
        return replace(self, answers=answers)


def nouns(step: InspectedStep) -> tuple[str, str]:
    """What a good answer of this step is called, and another one."""
    return next((NOUNS[v] for v in step.verdicts if v in NOUNS), NOUNS["right"])


def group_weights(
    step: InspectedStep, weights: Weights, group: int, title: str, at: str = "before"
) -> GroupWeights:
    """The answers of one group under one loss.

    Raises:
        IndexError: when there is no such group.
    """
    if not 0 <= group < step.groups:
        raise IndexError(f"group: the step has {step.groups}, got {group}")
    count, ends, total = len(step.words), step.is_end, weights.total
    answers = []
    for row in step.rows(group):
        real, mask = step.shown[row], step.mask[row]
        of_mask = weights.advantages[row][mask]
        answers.append(
            AnswerWeights(
                row,
                [w for w, r in zip(step.words[row], real.tolist(), strict=True) if r],
                (count * total[row][real]).tolist(),
                mask[real].tolist(),
                ends[row][real].tolist(),
                weights.clipped[row][real].tolist(),
                bool(step.good[row]),
                step.verdicts[row],
                float(step.rewards[row]),
                float(of_mask.mean()) if len(of_mask) else math.nan,
                step.before[row][real].tolist(),
                [] if step.after is None else step.after[row][real].tolist(),
            )
        )
    answers.sort(key=lambda a: (a.good, a.length))
    run = step.weigh(next(iter(step.lenses))).total
    own = at == "before" and torch.allclose(total, run, rtol=1e-4, atol=0.0)
    return GroupWeights(title, step.prompts[group], answers, *nouns(step), at, own)


def signed(value: float, scale: float = 1.0) -> str:
    """A number with its sign; two significant digits at ``scale``.

    >>> signed(-0.25), signed(0.0), signed(0.0123, scale=0.05)
    ('−0.25', '0', '+0.012')
    """
    if value == 0 or math.isnan(value):
        return "0" if value == 0 else "–"
    digits = min(7, max(0, 1 - math.floor(math.log10(max(abs(scale), 1e-9))) + (abs(scale) >= 1)))
    text = f"{value:+.{digits}f}"
    return (text if float(text) else "0").replace("-", "−")


def equal_total(weights: Weights, other: Weights) -> float:
    """What ``other`` has to be multiplied with to have the same Σ|w| over the step."""
    size = float(other.total.abs().sum())
    return float(weights.total.abs().sum()) / size if size > 0 else 1.0
