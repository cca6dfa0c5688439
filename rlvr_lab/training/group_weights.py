"""One group of a kept step as one loss sees it: a line of numbers for each answer, and what they say in words.

All weights here are multiplied by B, the number of answers of the step, so that their size does not depend on it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlvr_lab.objectives.token_weights import Weights
from rlvr_lab.training.inspection import InspectedStep

__all__ = [
    "AnswerWeights",
    "GroupWeights",
    "equal_total",
    "group_weights",
    "places",
    "pulls_on_length",
    "read_group",
    "signed",
]

SAME = 0.05
"""Two weights that differ by less than this share are called equal."""
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
    """

    title: str
    prompt: str
    answers: list[AnswerWeights]
    good: str = "correct"
    bad: str = "incorrect"

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


def group_weights(step: InspectedStep, weights: Weights, group: int, title: str) -> GroupWeights:
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
            )
        )
    answers.sort(key=lambda a: (a.good, a.length))
    said = next((NOUNS[v] for v in step.verdicts if v in NOUNS), NOUNS["right"])
    return GroupWeights(title, step.prompts[group], answers, *said)


def pulls_on_length(answers: Sequence[AnswerWeights]) -> tuple[float, float] | None:
    """Mean weight of the tokens that end an answer, and of those that go on; None if one of them is missing.

    If a token that ends an answer loses more than one that goes on, the policy stops later.
    """
    both = ([], [])
    for answer in answers:
        for weight, trained, ends in zip(answer.weights, answer.trained, answer.ends, strict=True):
            if trained:
                both[not ends].append(weight)
    if not both[0] or not both[1]:
        return None
    return sum(both[0]) / len(both[0]), sum(both[1]) / len(both[1])


def places(answers: Sequence[AnswerWeights]) -> list[tuple[list[float], list[float]]]:
    """For each place of a trained token: the weights of the answers that stop there, and of those that go on."""
    found = [([], []) for _ in range(max((a.length for a in answers), default=0))]
    for answer in answers:
        flags = zip(answer.weights, answer.trained, answer.ends, strict=True)
        of_trained = [(weight, ends) for weight, trained, ends in flags if trained]
        for place, (weight, ends) in enumerate(of_trained):
            found[place][not ends].append(weight)
    return found


def read_group(group: GroupWeights) -> list[str]:
    """What the numbers say, in sentences computed from them."""
    found = [_counted(group)]
    for good in (False, True):
        kind = [a for a in group.answers if a.good is good and abs(a.per_token) > 1e-12]
        if len(kind) > 1 and len({a.per_token > 0 for a in kind}) == 1:
            found += [*_per_token(kind, group.named(good)), *_lengths(kind, group.named(good))]
    return found


def _counted(group: GroupWeights) -> str:
    right, count = sum(a.good for a in group.answers), len(group.answers)
    said = f"{right} of {count} answers {'is' if right == 1 else 'are'} {group.good}."
    if all(w == 0 for a in group.answers for w in a.weights):
        said += " Every weight is 0: this group is silent."
    return said


def _per_token(kind: list[AnswerWeights], noun: str) -> list[str]:
    short, long = min(kind, key=lambda a: a.length), max(kind, key=lambda a: a.length)
    if short.length == long.length:
        return []
    way = "up" if short.per_token > 0 else "down"
    times = short.per_token / long.per_token
    size = "as hard as" if abs(times - 1) <= SAME else f"{times:.2g} × as hard as"
    return [
        f"A token of the {short.length}-token {noun} answer is pushed {way} {size} a token of the "
        f"{long.length}-token one ({_exact(short.per_token)} and {_exact(long.per_token)})."
    ]


def _lengths(kind: list[AnswerWeights], noun: str) -> list[str]:
    found = pulls_on_length(kind)
    if found is None or len({a.length for a in kind}) == 1:
        return []
    stop, go = found
    way = "longer" if stop < go else "shorter"
    start, end = f"{noun.capitalize()} answers: ", f"This pulls towards {way} {noun} answers."
    largest = max(abs(stop), abs(go))
    numbers = f"{signed(stop, largest)} and {signed(go, largest)}"
    if abs(stop - go) <= SAME * largest:
        return [
            f"{start}stopping and going on get about the same ({numbers} on average). The length is not pulled."
        ]
    if stop * go <= 0:
        return [f"{start}stopping and going on get {numbers} on average. {end}"]
    push = "up" if stop > 0 else "down"
    return [
        f"{start}stopping is pushed {push} {stop / go:.2g} × as hard as going on ({numbers} on average). {end}"
    ]


def _exact(value: float) -> str:
    return signed(value, value)


def _tokens(answer: AnswerWeights) -> str:
    return "1 token" if answer.length == 1 else f"{answer.length} tokens"


def signed(value: float, scale: float = 1.0) -> str:
    """A number with its sign; two significant digits at ``scale``.

    >>> signed(-0.25), signed(0.0), signed(0.0123, scale=0.05)
    ('−0.25', '0', '+0.012')
    """
    if value == 0 or math.isnan(value):
        return "0" if value == 0 else "–"
    digits = min(7, max(0, 1 - math.floor(math.log10(max(abs(scale), 1e-9))) + (abs(scale) >= 1)))
    text = f"{value:+.{digits}f}"
    return (text if float(text) else text[0] + "0").replace("-", "−")


def equal_total(weights: Weights, other: Weights) -> float:
    """What ``other`` has to be multiplied with to have the same Σ|w| over the step."""
    size = float(other.total.abs().sum())
    return float(weights.total.abs().sum()) / size if size > 0 else 1.0
