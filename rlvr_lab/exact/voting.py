r"""How often a majority vote over n answers is correct, computed exactly (notebook 10).

Each of n independent answers is correct with probability p, gives incorrect answer j with probability q_j, and has no
vote with the rest. The answer with most votes wins; among t answers with equally many each wins with probability
1/t. With the votes C for the correct answer and N_j for the others,

    P(correct) = Σ_{c ≥ 1} Σ_t P(C = c, no N_j > c, exactly t of the N_j = c) / (t + 1).

As n → ∞ it goes to 1 if p is larger than each q_j, and to 0 if some q_j is larger than p: voting amplifies the
commonest answer, correct or not. Without votes there is no winner.
"""

from collections.abc import Sequence
from math import lgamma

import numpy as np

__all__ = ["best_of", "majority_correct"]


def best_of(n: int, p: float) -> float:
    """1 − (1 − p)^n: at least one of n answers is correct, which a verifier will find.

    >>> best_of(2, 0.5)
    0.75
    """
    return 1 - (1 - p) ** n


def majority_correct(n: int, p: float, others: Sequence[float]) -> float:
    """Probability that the vote over n answers is correct.

    Args:
        n: answers, at least 1.
        p: probability of the correct answer.
        others: q_j, probability of each incorrect answer; what is missing to 1 has no vote.

    Raises:
        ValueError: when ``n`` is below 1, or the probabilities are negative or add up to more than 1.

    >>> round(majority_correct(3, 0.5, [0.5]), 9), majority_correct(1, 0.3, [0.2])
    (0.5, 0.3)
    """
    silent = 1 - p - sum(others)
    if n < 1:
        raise ValueError(f"n: need at least 1 answer, got {n}")
    if min(p, *others, 0) < 0 or silent < -1e-9:
        raise ValueError(f"p, others: no probabilities of one whole, {p} and {list(others)}")
    logs = np.array([lgamma(k + 1) for k in range(n + 1)])
    terms = [_weights(x, n, logs) for x in (p, max(silent, 0.0))]
    rivals = [_weights(q, n, logs) for q in others]
    total = 0.0
    for c in range(1, n + 1):
        # by[t][k]: weight of k votes for the rivals so far, t of which have exactly c.
        by = {0: terms[1][: n - c + 1]}
        for weights in rivals:
            below = weights[:c]
            grown: dict[int, np.ndarray] = {}
            for t, row in by.items():
                _add(grown, t, np.convolve(row, below)[: n - c + 1])
                if n - c >= c:
                    _add(grown, t + 1, weights[c] * np.pad(row, (c, 0))[: n - c + 1])
            by = grown
        total += terms[0][c] * sum(_at(row, n - c) / (t + 1) for t, row in by.items())
    return float(total * np.exp(logs[n]))


def _weights(q: float, n: int, logs: np.ndarray) -> np.ndarray:
    """q^k / k! for k = 0 … n."""
    return q ** np.arange(n + 1) / np.exp(logs)


def _add(rows: dict[int, np.ndarray], t: int, row: np.ndarray) -> None:
    if t not in rows:
        rows[t] = row
    else:
        long, short = sorted((rows[t], row), key=len, reverse=True)
        rows[t] = long + np.pad(short, (0, len(long) - len(short)))


def _at(row: np.ndarray, index: int) -> float:
    return float(row[index]) if index < len(row) else 0.0
