"""What speaks against each fault of the museum: signs that read a recorded run and answer with its numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from rlvr_lab.experiments.museum import EXHIBITS, exhibit
from rlvr_lab.experiments.museum_faults import METRIC

__all__ = ["NAMES", "SIGNS", "Sign", "contradiction"]

Records = Sequence[Mapping[str, Any]]

# ------------------------------------------------------------------------------------------ signs


class Sign(NamedTuple):
    """A number of a run that would speak against a fault.

    Attributes:
        metric: of the records.
        of: which number: at the ``start``, the mean of the five ``late`` records, or the ``highest``.
        least: the number contradicts the fault if it is at least this and at most ``most``; None is no limit.
        most: see ``least``.
        words: what the fault would do, and what the number is instead.
    """

    metric: str
    of: Literal["start", "late", "highest"]
    least: float | None
    most: float | None
    words: str

    def __call__(self, run: Records) -> str | None:
        """The words with the number, if it contradicts the fault."""
        curve = _column(run, self.metric)
        value = float(_NUMBERS[self.of](curve))
        above = self.least is None or value >= self.least
        below = self.most is None or value <= self.most
        return self.words.format(f"{value:.2g}") if above and below else None


_NUMBERS: dict[str, Callable[[np.ndarray], float]] = {
    "start": lambda curve: curve[0],
    "late": lambda curve: curve[-5:].mean(),
    "highest": np.max,
}


def _column(records: Records, key: str) -> np.ndarray:
    return np.array([record[key] for record in records], dtype=float)


SIGNS: dict[str, tuple[Sign, ...]] = {
    "no gradient": (
        Sign(
            "grad_norm",
            "highest",
            1e-06,
            None,
            "the gradient norm would be 0; here it reaches {}",
        ),
        Sign(
            "zero_spread",
            "start",
            1,
            None,
            "the rewards of a group would still differ; here the share of silent groups is {}"
            " at step 1",
        ),
    ),
    "constant reward": (
        Sign(
            "zero_spread",
            "start",
            None,
            0.95,
            "with equal rewards every group is silent; at step 1 the share of silent groups "
            "is {} here",
        ),
    ),
    "answers cut off": (
        Sign(
            "truncated",
            "start",
            None,
            0.05,
            "answers would reach the limit from the first step on; the share that is cut off "
            "at step 1 is {}",
        ),
    ),
    "hidden question": (
        Sign(
            "truncated",
            "start",
            0.05,
            None,
            "the prompt would be cut and not the answers; here {} of the answers are cut off "
            "at step 1",
        ),
        Sign(
            "grad_norm",
            "highest",
            None,
            1e-06,
            "form would still be learned, so the gradient norm would not be {} at every step",
        ),
        Sign(
            "accuracy",
            "highest",
            0.3,
            None,
            "nothing but the form could be learned from such rewards; the accuracy on held-out problems"
            " rises to {}",
        ),
        Sign(
            "length",
            "start",
            5.5,
            None,
            "the policy would read other prompts, and its answers at step 1 would not be those of the"
            " healthy run; their mean length is {} tokens in both runs",
        ),
    ),
    "learned score": (
        Sign(
            "reward",
            "highest",
            None,
            1.2,
            "a score has no upper limit, but correctness and form pay at most 1.1; the "
            "largest logged reward is {}",
        ),
    ),
    "KL sign": (
        Sign(
            "kl",
            "late",
            None,
            5,
            "the policy would be driven away from the reference, without limit; the mean KL "
            "of the last five steps is {} nats",
        ),
        Sign(
            "loss",
            "late",
            -0.1,
            None,
            "the loss would fall as the KL grows, without limit; the mean of the last five "
            "losses is {}",
        ),
    ),
    "stale π_old": (
        Sign(
            "first_clip",
            "highest",
            None,
            0.01,
            "tokens would be clipped at the first inner step; here their share reaches only {}",
        ),
        Sign(
            "first_ratio",
            "start",
            0.01,
            None,
            "every copy is still fresh at step 1, so ρ would be 1 there; the mean |ρ − 1| is "
            "already {}",
        ),
    ),
    "stale sampler": (
        Sign(
            "first_ratio",
            "highest",
            None,
            0.01,
            "answers of an old policy have ρ ≠ 1 at the first inner step; the mean |ρ − 1| is"
            " at most {}",
        ),
        Sign(
            "first_ratio",
            "start",
            0.01,
            None,
            "the sampler's copy is still fresh at step 1, so ρ would be 1 there; the mean |ρ "
            "− 1| is already {}",
        ),
        Sign(
            "first_clip",
            "highest",
            0.01,
            None,
            "a loss without a ratio has no clip; here the clip affects up to {} of the tokens"
            " at the first inner step",
        ),
    ),
    "other temperature": (
        Sign(
            "first_ratio",
            "start",
            None,
            0.01,
            "the two temperatures would already disagree at step 1; there the mean |ρ − 1| is {}",
        ),
    ),
    "mixed order": (
        Sign(
            "grad_norm",
            "highest",
            None,
            1e-06,
            "most answers would still get an advantage; here the gradient norm is {} at every step",
        ),
        Sign(
            "zero_spread",
            "start",
            0.15,
            None,
            "the rewards and the silent groups of step 1 would be those of the healthy run; "
            "here {} of the groups are silent",
        ),
        Sign(
            "length",
            "start",
            None,
            5.0,
            "the answers of step 1 would be those of the healthy run; here they have {} tokens",
        ),
        Sign(
            "truncated",
            "start",
            0.05,
            None,
            "the answers of step 1 would be those of the healthy run; here {} of them are cut off",
        ),
        Sign(
            "first_ratio",
            "highest",
            0.01,
            None,
            "the log-probabilities would be correct, and ρ = 1 at the first inner step; the "
            "mean |ρ − 1| reaches {}",
        ),
        Sign(
            "reward",
            "highest",
            1.2,
            None,
            "the logged rewards would be a verifier's, at most 1.1; here they reach {}",
        ),
        Sign(
            "loss",
            "late",
            None,
            -0.1,
            "the advantages would still sum to 0 in a batch, and the loss would stay near 0; the mean of the"
            " last five losses is {}",
        ),
        Sign(
            "accuracy",
            "highest",
            0.42,
            None,
            "answers would be pushed up or down whatever their own reward, and the accuracy "
            "would not rise; here it reaches {}",
        ),
    ),
    "groups of two": (
        Sign(
            "zero_spread",
            "start",
            None,
            0.35,
            "in pairs most groups are silent at step 1, where few answers are correct; here "
            "their share is {}",
        ),
        Sign(
            "largest",
            "highest",
            None,
            0.5,
            "the pairs that are not silent would have advantages of ±1; here the largest |A| is {}",
        ),
        Sign(
            "largest",
            "highest",
            1.5,
            None,
            "in a pair the advantages are ±1 or 0; here the largest |A| is {}",
        ),
    ),
    "std of the others": (
        Sign(
            "largest",
            "highest",
            None,
            100,
            "where the others agree, their std is 0 and the advantage is enormous; here the "
            "largest |A| is {}",
        ),
    ),
}
"""Fault → reasons that could speak against it."""

NAMES = {
    "grad_norm": "the gradient norm",
    "zero_spread": "the share of silent groups",
    "truncated": "the share of answers cut off",
    "length": "the length",
    "accuracy": "the accuracy",
    "kl": "the KL to the reference",
    "first_ratio": "|ρ − 1| at the first inner step",
    "largest": "the largest |A|",
}


def contradiction(number: int, fault: str, seed: int = 1) -> str | None:
    """Why ``fault`` is not what is wrong with exhibit ``number``; None if nothing speaks against it."""
    broken, healthy = exhibit(number, seed)
    if fault == "nothing":
        if EXHIBITS[number].fault == fault:
            return None
        metric = METRIC[EXHIBITS[number].fault]
        sound = next(n for n, one in EXHIBITS.items() if one.fault == fault)
        apart, calm = _apart(metric, broken, healthy), _apart(metric, *exhibit(sound, seed))
        return (
            f"{NAMES[metric]} differs from that of the healthy run by {apart:.2g} on average, and "
            f"between two correct runs by {calm if calm > 5e-4 else 0:.2g}"
        )
    return next((said for sign in SIGNS[fault] if (said := sign(broken))), None)


def _apart(metric: str, one: Records, other: Records) -> float:
    """Mean distance of two curves."""
    return float(np.abs(_column(one, metric) - _column(other, metric)).mean())
