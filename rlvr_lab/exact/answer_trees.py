"""An answer of several steps as a tree whose policy, size and value are known exactly (notebook 08).

One token of b is correct at each of D steps. The policy gives it the probability p. How the remaining mass is
spread over the b − 1 incorrect tokens decides what a search meets:

    even     each incorrect token gets (1 − p)/(b − 1). For b > 2 the correct token is the most probable one,
             so greedy decoding solves every problem.
    rival    two tokens get almost all mass, p and (1 − p)·0.9; a coin decides which of them is the correct one.
             The other b − 2 tokens share the rest.
"""

from collections.abc import Sequence
from math import comb, inf, isinf
from typing import Literal

import numpy as np
from numpy import ndarray
from scipy.stats import norm

from rlvr_lab.exact.search import Prefix, Problems

__all__ = ["AnswerTree", "extension_ceiling", "noise_for", "sampling_solves"]

RIVAL = 0.9  # share of the rest that the second token gets


class AnswerTree:
    """K problems of D steps; what was written before does not change the policy at a step.

    Args:
        count: K.
        branching: b.
        steps: D.
        p: probability of the first token; of the correct one in ``even``.
        spread: of the remaining mass.
        noise: std of the normal noise on the value; the value without noise is 1 while a prefix is correct
            and 0 afterwards; with infinite noise it is the same for each prefix.
        seed: of the problems and the noise.

    Raises:
        ValueError: naming the argument.
    """

    def __init__(
        self,
        count: int,
        branching: int,
        steps: int = 9,
        p: float = 0.5,
        spread: Literal["even", "rival"] = "even",
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        if branching < 2:
            raise ValueError(f"branching: need at least 2, got {branching}")
        if not 0 < p < 1:
            raise ValueError(f"p: must lie strictly between 0 and 1, got {p}")
        if spread not in ("even", "rival"):
            raise ValueError(f"spread: must be one of even, rival, got {spread!r}")
        self.branching, self.steps, self.noise = branching, steps, noise
        self.rng = np.random.default_rng(seed)
        order = self.rng.random((count, steps, branching)).argsort(axis=2)
        first, second = order[..., 0], order[..., 1]
        self.correct = first.copy()
        mass = 1 - p
        others = mass / (branching - 1)
        if spread == "rival" and branching > 2:
            others, mass = mass * (1 - RIVAL) / (branching - 2), mass * RIVAL
        if spread == "rival":
            self.correct = np.where(self.rng.random((count, steps)) < 0.5, first, second)
        self.prior = np.full((count, steps, branching), others)
        np.put_along_axis(self.prior, first[..., None], p, axis=2)
        if spread == "rival":
            np.put_along_axis(self.prior, second[..., None], mass, axis=2)

    def expand(self, problems: Problems, prefixes: Sequence[Prefix]) -> tuple[ndarray, ndarray]:
        """As ``search.Space.expand``."""
        depth = [len(prefix) for prefix in prefixes]
        correct = [self._correct(int(p), x) for p, x in zip(problems, prefixes, strict=True)]
        value = np.array(correct, dtype=float)
        if isinf(self.noise):
            value = np.zeros(len(prefixes))
        elif self.noise:
            value = value + self.noise * self.rng.standard_normal(len(value))
        return self.prior[np.asarray(problems), depth], value

    def outcome(self, problem: int, prefix: Prefix) -> float | None:
        """As ``search.Space.outcome``."""
        if len(prefix) < self.steps:
            return None
        return float(self._correct(problem, prefix))

    def _correct(self, problem: int, prefix: Prefix) -> bool:
        return prefix == tuple(self.correct[problem, : len(prefix)].tolist())


def sampling_solves(
    answers: float, steps: int = 9, p: float = 0.5, rival: float | None = None
) -> float:
    """Probability that at least one of ``answers`` samples is correct, averaged over the problems.

    1 − (1 − p^D)^n; with a rival the correct token has at each step the probability p or ``rival``, each in
    half of the cases, and the mean is taken over the number k of steps with p.

    >>> round(sampling_solves(111), 3)
    0.195
    """
    if rival is None:
        return 1 - (1 - p**steps) ** answers
    return sum(
        comb(steps, k) / 2**steps * (1 - (1 - p**k * rival ** (steps - k)) ** answers)
        for k in range(steps + 1)
    )


def extension_ceiling(extensions: int, steps: int = 9, p: float = 0.5) -> float:
    """Largest share that *any* search can solve when each node only has ``extensions`` sampled children.

    The correct token is among m tokens drawn from the policy with probability 1 − (1 − p)^m, and it has to be
    there at each of D steps: (1 − (1 − p)^m)^D.

    >>> [round(extension_ceiling(m), 2) for m in (1, 2, 4, 8)]
    [0.0, 0.08, 0.56, 0.97]
    """
    return (1 - (1 - p) ** extensions) ** steps


def noise_for(auc: float) -> float:
    """The noise with which the value of a correct prefix beats that of an incorrect one with probability ``auc``.

    AUC = Φ(1 / (√2·σ)), so σ = 1 / (√2·Φ⁻¹(AUC)).

    It is 0 for an AUC of 1 and infinite for 0.5.

    Raises:
        ValueError: unless 0.5 ≤ ``auc`` ≤ 1.

    >>> round(noise_for(0.76), 2)
    1.0
    """
    if not 0.5 <= auc <= 1:
        raise ValueError(f"auc: must lie between 0.5 and 1, got {auc}")
    return float(1 / (2**0.5 * norm.ppf(auc))) if auc > 0.5 else inf
