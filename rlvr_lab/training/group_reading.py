"""What the numbers of one group say about length, in sentences computed from them.

Whether an answer becomes longer is decided where it could have stopped. In one context c (the same words so far)
with p = π(end | c), stopping with weight w_s and going on with weight w_g change the logit of stopping by

    E[Δ] ∝ p (1 − p) (w_s − w_g)                       (∂ log π / ∂ logits, averaged over both choices)

so equal weights cancel, and only a difference pulls. Nothing of this holds for means over several places.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from rlvr_lab.training.group_weights import AnswerWeights, GroupWeights, signed
from rlvr_lab.training.inspection import InspectedStep

__all__ = ["Choice", "choices", "places", "read_group", "teaching_group"]

SAME = 0.05
"""Two weights that differ by less than this share are called equal."""
LOW, HIGH = 0.005, 0.98
"""Between these probabilities of the end token, stopping is a choice.

Going on is chosen again at every token, so a small chance still ends many answers: 0.5 % a token ends one in seven
within 30 tokens.
"""
FORMAT = (
    f"Here no loss can pull at the end token: where answers stop, its probability is above {HIGH:.0%}. The length "
    "is chosen by an earlier token (on the sums by the first, = or <think>), and there it also counts which choice "
    "is correct more often. The length laboratory (notebook 07) shows the pull of 1/|o| alone."
)


@dataclass(frozen=True)
class Choice:
    """One context in which answers of equal reward did both: stop, and go on.

    Attributes:
        place: of the token, counted from 1 over the trained ones.
        stops, goes: weights of the tokens that stop, and of those that go on.
        before, after: log π(⟨end⟩) here, before and after the update; nan where it was not kept.
    """

    place: int
    stops: list[float]
    goes: list[float]
    before: float
    after: float = math.nan

    @property
    def stop(self) -> float:
        """Mean weight of stopping."""
        return sum(self.stops) / len(self.stops)

    @property
    def go(self) -> float:
        """Mean weight of going on."""
        return sum(self.goes) / len(self.goes)

    @property
    def is_free(self) -> bool:
        """Whether both had a real chance."""
        return LOW <= math.exp(self.before) <= HIGH


def choices(answers: Sequence[AnswerWeights]) -> list[Choice]:
    """The contexts in which answers of equal reward did both and could choose; those of most answers first."""
    found = defaultdict(lambda: ([], []))
    for answer in answers:
        for t, trained in enumerate(answer.trained):
            if trained:
                context = (answer.good, answer.reward, *answer.words[:t])
                found[context][not answer.ends[t]].append((answer, t))
    both = []
    for stops, goes in found.values():
        if not stops or not goes:
            continue
        first, t = stops[0]
        both.append(
            Choice(
                sum(first.trained[: t + 1]),
                [one.weights[i] for one, i in stops],
                [one.weights[i] for one, i in goes],
                first.before[t],
                first.after[t] if first.after else math.nan,
            )
        )
    free = [one for one in both if one.is_free]
    return sorted(free, key=lambda one: (-len(one.stops) - len(one.goes), one.place))


def places(answers: Sequence[AnswerWeights]) -> list[tuple[list[float], list[float]]]:
    """For each place of a trained token: the weights of the answers that stop there, and of those that go on."""
    found = [([], []) for _ in range(max((a.length for a in answers), default=0))]
    for answer in answers:
        flags = zip(answer.weights, answer.trained, answer.ends, strict=True)
        of_trained = [(weight, ends) for weight, trained, ends in flags if trained]
        for place, (weight, ends) in enumerate(of_trained):
            found[place][not ends].append(weight)
    return found


def teaching_group(step: InspectedStep) -> int:
    """The group that shows most: rewards differ, both kinds are there, lengths spread widely within equal rewards."""

    def shows(group: int) -> tuple[bool, bool, int]:
        rows = torch.tensor(step.rows(group))
        rewards, good, lengths = step.rewards[rows], step.good[rows], step.lengths[rows]
        kinds = [lengths[(rewards == r) & (good == g)] for r in rewards.unique() for g in (0, 1)]
        spread = max(int(kind.max() - kind.min()) for kind in kinds if len(kind))
        return len(rewards.unique()) > 1, len(good.unique()) > 1, spread

    return max(range(step.groups), key=shows)


# ------------------------------------------------------------------------------------------ sentences


def read_group(group: GroupWeights) -> list[str]:
    """What the numbers say; about length only before the update, where the policy could choose."""
    right, count = sum(a.good for a in group.answers), len(group.answers)
    found = [f"{right} of {count} answers {'is' if right == 1 else 'are'} {group.good}."]
    if group.silent:
        equal = len({a.reward for a in group.answers}) == 1
        why = "All rewards are equal, so every weight is 0." if equal else "Every weight is 0."
        return [f"{found[0]} {why}"]
    if group.at == "after":
        return [_one_more_pass(group), *found]
    several = [[a for a in group.answers if a.good is good] for good in (False, True)]
    several = [kind for kind in several if len(kind) > 1]
    for kind in several:
        noun = group.named(kind[0].good)
        if len({a.length for a in kind}) == 1:
            found.append(
                f"All {len(kind)} {noun} answers have {_tokens(kind[0].length)}: no length to compare."
            )
        found += [*_per_token(kind, noun, group.largest), *_choice(kind, noun, group)]
    if several and not any(choices(kind) for kind in several):
        found += _no_choice([a for kind in several for a in kind])
    return found


def _one_more_pass(group: GroupWeights) -> str:
    said = "These are the weights of one more pass over this batch, which this run does not make."
    flags = [pair for a in group.answers for pair in zip(a.weights, a.clipped, strict=True)]
    count = sum(clipped and weight == 0 for weight, clipped in flags)
    if count:
        are = "token is clipped: its" if count == 1 else "tokens are clipped: their"
        said += f" {count} {are} weight is 0."
    return said


def _per_token(kind: list[AnswerWeights], noun: str, largest: float) -> list[str]:
    """A short answer against a long one of the same reward: of the rewards, the one with the widest spread."""
    key = lambda a: (a.reward, a.length)  # noqa: E731
    equal = [list(same) for _, same in groupby(sorted(kind, key=key), lambda a: a.reward)]
    same = max(equal, key=lambda one: one[-1].length - one[0].length)
    short, long = same[0], same[-1]
    a, b = short.per_token, long.per_token
    if short.length == long.length or a * b <= 0:
        return []
    said = f"{noun} answer" + (f" with reward {short.reward:g}" if len(equal) > 1 else "")
    if abs(b) > abs(a) * (1 + SAME):
        short, long, a, b = long, short, b, a
    each = "each" if all(map(_even, (short, long))) else "on average a"
    size = "just as hard as" if a / b - 1 <= SAME else f"{a / b:.2g} times as hard as"
    return [
        f"{each[0].upper()}{each[1:]} token of {_long(short)} {said} is pushed {'up' if a > 0 else 'down'} {size} "
        f"{each.removeprefix('on average ')} token of {_long(long)} one "
        f"({signed(a, largest)} against {signed(b, largest)})."
    ]


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"


def _long(answer: AnswerWeights) -> str:
    article = "an" if str(answer.length).startswith("8") or answer.length in (11, 18) else "a"
    return f"{article} {answer.length}-token"


def _even(answer: AnswerWeights) -> bool:
    trained = [w for w, there in zip(answer.weights, answer.trained, strict=True) if there]
    return max(trained) - min(trained) <= 1e-3 * max(map(abs, trained))


def _choice(kind: list[AnswerWeights], noun: str, group: GroupWeights) -> list[str]:
    """Stop or go on, at the one place where most answers chose."""
    found = choices(kind)
    if not found:
        return []
    one, largest = found[0], group.largest
    stop, go = one.stop, one.go
    counted = "1 {} answer" if len(one.stops) == 1 else f"{len(one.stops)} {{}} answers"
    said = (
        f"Token {one.place}: {counted.format(noun)} stopped ({_mean(one.stops, largest)}), "
        f"{len(one.goes)} went on ({_mean(one.goes, largest)}). {_pushes(stop, go)}"
    )
    if abs(stop - go) <= SAME * max(abs(stop), abs(go)):
        said += " Equal weights cancel on average over many samples: apart from chance, nothing pulls at the length."
    else:
        wins, way = ("going on", "longer") if stop < go else ("stopping", "shorter")
        said += " Equal weights would cancel on average, however often each is sampled. The difference remains: "
        said += f"{wins} gains, and {noun} answers become {way}."
    if group.own and not math.isnan(one.after):
        before, after = (f"{100 * math.exp(v):.3g} %" for v in (one.before, one.after))
        said += f" Measured here after the whole update: π(⟨end⟩) {before} → {after}."
    return [said]


def _pushes(stop: float, go: float) -> str:
    if stop * go <= 0:
        way = {True: "up", False: "down"}
        both = ((word, w) for word, w in (("stopping", stop), ("going on", go)) if w)
        said = ", ".join(f"{word} is pushed {way[w > 0]}" for word, w in both)
        return f"{said[:1].upper()}{said[1:]}." if said else "Neither is pushed."
    harder, times = ("stopping", stop / go) if abs(stop) >= abs(go) else ("going on", go / stop)
    size = "just as hard" if times - 1 <= SAME else f"{harder} {times:.2g} times as hard"
    return f"Both are pushed {'up' if stop > 0 else 'down'}, {size}."


def _mean(weights: list[float], largest: float) -> str:
    number = signed(sum(weights) / len(weights), largest)
    if len(weights) == 1:
        return number
    even = max(weights) - min(weights) <= 1e-3 * max(map(abs, weights))
    return f"{number} {'each' if even else 'on average'}"


def _no_choice(answers: list[AnswerWeights]) -> list[str]:
    stopping = [math.exp(a.before[-1]) for a in answers if a.ends[-1]]
    chance = sum(stopping) / max(1, len(stopping))
    if not stopping:
        return ["No answer stopped before the limit: these weights say nothing about length."]
    if chance > HIGH:
        return [FORMAT]
    return [
        "In no context did answers of equal reward both stop and go on with a real chance of either "
        f"(at least {LOW:.1%}): these weights say nothing about length."
    ]
