"""Checks of the exercises on over-optimisation, mode collapse and calibration (notebook 02)."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, Rule, seen

# -------------------------------------------------------------------------------------- best-of-n


def _best_of_n(probs: Any, n: int) -> np.ndarray:
    """By listing all tuples of draws; the answers are ordered from worst to best."""
    out = np.zeros(len(probs))
    for drawn in itertools.product(range(len(probs)), repeat=n):
        out[max(drawn)] += math.prod(probs[y] for y in drawn)
    return out


check_best_of_n = Check(
    "best_of_n: agrees with every tuple of n draws",
    draw=lambda rng, turn: {
        "probs": rng.dirichlet(3 * np.ones(4 - turn % 2)),
        "n": (3, 4, 2)[turn],
    },
    right=_best_of_n,
    mistakes={
        "this is the probability that the best is *at most* this good; take differences": lambda p, n: (
            np.cumsum(p) ** n
        ),
        "each probability is raised to the power n: that is "
        "the probability that all n draws are this answer": lambda p, n: p**n,
        "these are probabilities to the power n, normalised; "
        "the best of n is a different distribution": lambda p, n: p**n / (p**n).sum(),
        "this is the probability that the answer is *among* the n draws": lambda p, n: (
            1 - (1 - p) ** n
        ),
        "this is the worst of n, not the best": lambda p, n: _best_of_n(p[::-1], n)[::-1],
        "n is one too small": lambda p, n: np.diff(np.cumsum(p) ** (n - 1), prepend=0.0),
        "n is one too large": lambda p, n: np.diff(np.cumsum(p) ** (n + 1), prepend=0.0),
        "the probability is multiplied by n": lambda p, n: n * p,
        "n·p·P(one draw is at most this good)^(n−1) holds "
        "for continuous scores; here answers repeat": lambda p, n: n * p * np.cumsum(p) ** (n - 1),
    },
)


# ------------------------------------------------------------------------- KL of a binary best-of-n


def _two(q: float, p: float) -> float:
    return q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))


def _binary_kl(p: float, n: int) -> float:
    """KL between the outcomes of the best of n and of one draw, from the list of all draws."""
    wrong = sum(
        math.prod(p if x else 1 - p for x in drawn)
        for drawn in itertools.product((0, 1), repeat=n)
        if not any(drawn)
    )
    return _two(1 - wrong, p)


check_binary_kl = Check(
    "binary_kl: exact, and below −log p",
    draw=lambda rng, turn: {"p": float(rng.uniform(0.1, 0.4)), "n": (2, 5, 9)[turn]},
    right=_binary_kl,
    tolerance=1e-7,
    mistakes={
        "this is the formula for scores without ties, log n − (n−1)/n": lambda p, n: (
            math.log(n) - (n - 1) / n
        ),
        "this is the limit n → ∞": lambda p, n: -math.log(p),
        "the direction is reversed: KL(base‖best)": lambda p, n: _two(p, 1 - (1 - p) ** n),
        "incorrect answers are left out: they have a term too": lambda p, n: (
            (1 - (1 - p) ** n) * math.log((1 - (1 - p) ** n) / p)
        ),
        "the success rate is taken as n·p": lambda p, n: _two(min(n * p, 0.999999), p),
        "the success rate is taken as p^n: that is the "
        "probability that *all* draws are correct": lambda p, n: _two(p**n, p),
        "this is the success rate, not the KL": lambda p, n: 1 - (1 - p) ** n,
        "the two terms are weighted by the base; in KL(best‖base) the weights are those of "
        "best-of-n": lambda p, n: (
            p * math.log((1 - (1 - p) ** n) / p) + (1 - p) * math.log((1 - p) ** (n - 1))
        ),
        "the logarithm is to base 2: bits, not nats": lambda p, n: _binary_kl(p, n) / math.log(2),
    },
)


# ------------------------------------------------------------------------------------ Gao's form


def _gold_peak(alpha: float, beta: float) -> tuple[float, float]:
    """By search on a grid that becomes finer."""
    low, high = 1e-9, math.exp(alpha / beta)
    for _ in range(60):
        grid = np.linspace(low, high, 41)
        at = int(np.argmax(grid * (alpha - beta * np.log(grid))))
        low, high = grid[max(at - 1, 0)], grid[min(at + 1, 40)]
    d = (low + high) / 2
    return float(d), float(d * (alpha - beta * math.log(d)))


PEAK_MISTAKES = {  # of α, β and the correct place d
    "this is the form of best-of-n, d(α − βd); here it is RL's, d(α − β·log d)": (
        lambda a, b, d: (a / (2 * b), a**2 / (4 * b))
    ),
    "this is where the reward is 0 again, not where it is highest": lambda a, b, d: (
        d * math.e,
        0.0,
    ),
    "the product rule is incomplete: the derivative of d·log d is log d *+ 1*": (
        lambda a, b, d: (d * math.e, b * d * math.e)
    ),
    "the sign of the 1 is wrong in the exponent": (
        lambda a, b, d: (d * math.e**2, -b * d * math.e**2)
    ),
    "the place is correct, but the height is not: insert d* into the form": lambda a, b, d: (
        d,
        a * d,
    ),
    "the first number is the KL; d is its square root": lambda a, b, d: (d**2, b * d),
    "the two numbers are exchanged": lambda a, b, d: (b * d, d),
    "α and β are exchanged": lambda a, b, d: (math.exp(b / a - 1), a * math.exp(b / a - 1)),
}

check_gold_peak = Check(
    "gold_peak: where the gold reward is highest, and how high",
    draw=lambda rng, turn: {
        "alpha": float(rng.uniform(0.6, 1.5)),
        "beta": float(rng.uniform(0.4, 0.9)),
    },
    right=_gold_peak,
    mistakes=seen(lambda a, b: (a, b, math.exp(a / b - 1)), PEAK_MISTAKES),
)


# -------------------------------------------------------------------------------------- pass@k


def _pass_at_k(n: int, c: int, k: int) -> float:
    """Share of all k-subsets of n answers, of which the first c are correct, with a correct answer."""
    subsets = list(itertools.combinations(range(n), k))
    return sum(min(chosen) < c for chosen in subsets) / len(subsets)


check_pass_at_k = Check(
    "pass_at_k: agrees with every subset of k answers",
    draw=lambda rng, turn: {
        "n": 8,
        "c": (2, 6, 0, 1)[turn],
        "k": (int(rng.integers(2, 4)), 4, 2, 8)[turn],
    },
    right=_pass_at_k,
    calls=4,
    tolerance=1e-7,
    mistakes={
        "this draws *with* replacement, 1 − (1 − c/n)^k. "
        "With n given answers it is biased": lambda n, c, k: 1 - (1 - c / n) ** k,
        "this is pass@1": lambda n, c, k: c / n,
        "this is the probability that none is correct; subtract it from 1": lambda n, c, k: (
            1 - _pass_at_k(n, c, k)
        ),
        "this is the probability that all k are correct": lambda n, c, k: (
            math.comb(c, k) / math.comb(n, k)
        ),
        "k answers with probability c/n each are added up; the events overlap": lambda n, c, k: min(
            1.0, k * c / n
        ),
        "this says whether any of the n is correct: pass@n": lambda n, c, k: float(c > 0),
        "the two binomials are exchanged or upside down: choose from the n "
        "− c incorrect answers": lambda n, c, k: 1 - math.comb(c, k) / math.comb(n, k),
        "with fewer than k incorrect answers a correct one is certain, so the result "
        "should be 1": lambda n, c, k: 0.0 if n - c < k else _pass_at_k(n, c, k),
    },
)


# --------------------------------------------------------------------------------- calibration


def _bins(confidence: Any, correct: Any, bins: int, place: Any = None) -> np.ndarray:
    """Share, mean confidence, share of correct answers and middle of each bin that is not empty."""
    if place is None:
        place = np.array([min(int(c * bins), bins - 1) for c in confidence])
    rows = [
        (here.mean(), confidence[here].mean(), correct[here].mean(), (b + 0.5) / bins)
        for b in range(bins + 1)
        if (here := place == b).any()
    ]
    return np.array(rows).T


def _placed(place: Callable[[Any, int], Any], last: int = 0) -> Rule:
    """The error with answers put into bins by another rule; only the first ``bins + last`` bins count."""

    def error(confidence: Any, correct: Any, bins: int) -> float:
        rows = _bins(confidence, correct, bins, place(confidence, bins)).T
        kept = [row for row in rows if row[3] < 1 or last]
        return float(sum(n * abs(c - r) for n, c, r, _ in kept))

    return error


def _ece(confidence: Any, correct: Any, bins: int) -> float:
    return sum(n * abs(c - r) for n, c, r, _ in _bins(confidence, correct, bins).T)


def _draw_calibration(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Random answers, and a few that stand where a mistake in the bins shows.

    A misplaced answer changes the error only if two bins err in opposite directions. So certain
    answers are incorrect and the others in the last bin correct, and with four bins the answers on the
    edge at 0.5 are incorrect and those just below it correct (a quarter is exact in floating point).
    """
    bins = (5, 4, 10)[turn]
    confidence = rng.uniform(0.1, 1.0, 40) ** 0.7
    certain, edges = [1.0, 1.0, 1.0, 0.97], [0.25, 0.3, 0.4, 0.5, 0.5, 0.75] * (turn == 1)
    confidence[rng.permutation(40)[: len(certain + edges)]] = certain + edges
    correct = (rng.uniform(size=40) < confidence**2).astype(float)
    correct[confidence >= 1 - 1 / bins] = 1.0
    correct[confidence == 1] = 0.0
    if turn == 1:
        correct[(confidence >= 0.25) & (confidence < 0.5)] = 1.0
        correct[(confidence >= 0.5) & (confidence < 0.75)] = 0.0
    return {"confidence": confidence, "correct": correct, "bins": bins}


BIN_MISTAKES = {  # of the bins' shares, mean confidences, shares of right answers and middles
    "all bins count the same; weigh each with its number of answers": lambda n, c, r, middle: (
        np.abs(c - r).mean()
    ),
    "the gaps are squared": lambda n, c, r, middle: n @ (c - r) ** 2,
    "this is the largest gap, the maximum calibration error": lambda n, c, r, middle: np.abs(
        c - r
    ).max(),
    "the middle of each bin stands for its mean confidence": lambda n, c, r, middle: (
        n @ np.abs(middle - r)
    ),
}

check_calibration_error = Check(
    "calibration_error: the weighted gaps of the reliability diagram",
    draw=_draw_calibration,
    right=_ece,
    mistakes=seen(_bins, BIN_MISTAKES)
    | {
        "the gaps keep their signs, so over- and under-confidence cancel": lambda c, r, bins: (
            c.mean() - r.mean()
        ),
        "this is the Brier score, the mean square": lambda c, r, bins: ((c - r) ** 2).mean(),
        "the gap is taken answer by answer, before averaging in the bins": lambda c, r, bins: (
            np.abs(c - r).mean()
        ),
        "this is the accuracy": lambda c, r, bins: r.mean(),
        "the number of bins is fixed at 15; use the argument": lambda c, r, bins: _ece(c, r, 15),
        "answers with a confidence of exactly 1 are in no bin; they belong to the last": _placed(
            lambda c, bins: (c * bins).astype(int)
        ),
        "answers with a confidence of exactly 1 have a bin of their own; they belong to the last": (
            _placed(lambda c, bins: (c * bins).astype(int), last=1)
        ),
        "the bins are closed on the right: a confidence on an edge, such as 0.5 with four bins, belongs "
        "to the bin above it": _placed(lambda c, bins: np.ceil(c * bins).astype(int) - 1),
        "the bins are open on both sides: a confidence on an edge is in no bin": _placed(
            lambda c, bins: np.where(c * bins % 1 == 0, bins, (c * bins).astype(int))
        ),
    },
)
