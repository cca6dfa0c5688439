"""The vote over n of S answers that were sampled, and the one that random errors would give (notebook 10)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

__all__ = ["as_if_random", "ballots", "commonest_if_random", "vote_curve"]


def ballots(given: Sequence[str | None], right: str) -> Int[np.ndarray, " S"]:
    """The answers to one problem as numbers: 0 is the correct one, −1 has no vote.

    >>> ballots(["7", None, "3", "7"], right="3").tolist()
    [1, -1, 0, 1]
    """
    names = {right: 0}
    return np.array([-1 if x is None else names.setdefault(x, len(names)) for x in given])


def vote_curve(
    votes: Int[np.ndarray, "M S"], ns: Sequence[int], orders: int = 64, seed: int = 0
) -> Float[np.ndarray, " K"]:
    """Share of problems whose commonest answer among n is the correct one, for each n; a tie of t counts 1/t.

    The n answers are drawn from the S without replacement, in ``orders`` random orders; n = 1 and n = S are exact.

    Args:
        votes: of each problem, see ``ballots``.
        ns: numbers of answers, from 1 to S.
        orders: how many.
        seed: of the orders.

    Raises:
        ValueError: for an n outside 1 … S.

    >>> vote_curve(np.array([[0, 0, 1, -1]]), [1, 4]).tolist()
    [0.5, 1.0]
    """
    size = votes.shape[1]
    if min(ns) < 1 or max(ns) > size:
        raise ValueError(f"ns: must lie between 1 and {size}, got {list(ns)}")
    rng = np.random.default_rng(seed)
    order = np.stack([rng.permutation(size) for _ in range(orders)])
    found = np.zeros((len(votes), len(ns)))
    for row, one in enumerate(votes):
        kinds = np.arange(max(one.max(), 0) + 1)
        counts = (one[order][..., None] == kinds).cumsum(axis=1)  # [orders, S, kinds]
        for column, n in enumerate(ns):
            found[row, column] = _wins(counts[:, n - 1]).mean()
        if 1 in ns:
            found[row, list(ns).index(1)] = (one == 0).mean()
    return found.mean(axis=0)


def _wins(counts: Int[np.ndarray, "R kinds"]) -> Float[np.ndarray, " R"]:
    top = counts.max(axis=1)
    tied = (counts == top[:, None]).sum(axis=1)
    return np.where((counts[:, 0] == top) & (top > 0), 1 / tied, 0.0)


def as_if_random(
    correct: Sequence[int],
    valid: Sequence[int],
    samples: int,
    wrong_answers: int,
    ns: Sequence[int],
    draws: int = 64,
    seed: int = 0,
) -> Float[np.ndarray, " K"]:
    """The vote if each incorrect answer were one of ``wrong_answers`` at random, with the same accuracy by problem.

    Monte Carlo: for each problem ``draws`` sets of answers with its own shares of correct and of valid answers.

    Args:
        correct: correct answers to each problem.
        valid: answers that have a vote.
        samples: S, of which both are counts.
        wrong_answers: number of possible incorrect answers.
        ns: numbers of answers.
        draws: for each problem.
        seed: of the draws.

    >>> as_if_random([4], [4], 4, 9, [1, 8]).tolist()
    [1.0, 1.0]
    """
    rng, size = np.random.default_rng(seed), max(ns)
    means = []
    for c, v in zip(correct, valid, strict=True):
        u = rng.random((draws, size))
        drawn = np.where(
            u < c / samples,
            0,
            np.where(u < v / samples, rng.integers(1, wrong_answers + 1, (draws, size)), -1),
        )
        kinds = [np.unique(one, return_inverse=True) for one in drawn]
        means.append([np.mean([_vote(names, index[:n]) for names, index in kinds]) for n in ns])
    return np.array(means).mean(axis=0)


def commonest_if_random(wrong: Sequence[int], wrong_answers: int, seed: int = 0) -> float:
    """Share of the incorrect votes that the commonest incorrect answer to each problem gets if errors are random.

    Args:
        wrong: incorrect votes for each problem.
        wrong_answers: number of possible incorrect answers, all equally probable.
        seed: of the draws, one for each problem.

    Raises:
        ValueError: when there is no incorrect vote.

    >>> commonest_if_random([5, 1], 1)
    1.0
    """
    if not sum(wrong):
        raise ValueError("wrong: there is no incorrect vote")
    rng, even = np.random.default_rng(seed), np.full(wrong_answers, 1 / wrong_answers)
    return float(sum(rng.multinomial(votes, even).max() for votes in wrong) / sum(wrong))


def _vote(names: np.ndarray, index: np.ndarray) -> float:
    """1/t where the answer 0 is among the t commonest of one draw, else 0."""
    counts = np.bincount(index, minlength=len(names))
    counts = np.where(names < 0, 0, counts)
    top = counts.max()
    place = np.flatnonzero(names == 0)
    if top == 0 or not len(place) or counts[place[0]] < top:
        return 0.0
    return 1.0 / float((counts == top).sum())
