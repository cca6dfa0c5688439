"""Tree search over answers: sampling, beam search, UCT and PUCT, for many problems in lockstep (notebook 08).

A node is a *prefix*, the tokens written so far. Search repeats four moves: walk down from the root to a prefix
that was not visited yet, add it, put a value on it, and add this value to all edges of the walk. The walk
takes the token a with the largest

    UCT    Q(a) + c·√(ln N / n(a))                      (Kocsis & Szepesvári 2006; no prior)
    PUCT   Q(a) + c·P(a)·√N / (1 + n(a))                (AlphaZero, arXiv:1712.01815; P: the policy)

with n(a) the visits of the edge, N their sum, Q(a) the mean value of its visits, scaled to [0, 1] by the smallest
and largest value of the tree (MuZero, arXiv:1911.08265, eq. 5). A token without a visit has the Q of its node
in PUCT and goes first in UCT.

The model appears as a ``Space``. Each round asks it about one prefix of each problem at once. What an answer
costs is counted in two ways: ``tokens`` counts each token that is written, ``distinct`` counts a prefix
only when it is read for the first time, as a model with a cache of prefixes would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy import ndarray

__all__ = [
    "Found",
    "Prefix",
    "Problems",
    "SearchRule",
    "Space",
    "beam_search",
    "sample_answers",
    "search",
]

Prefix = tuple[int, ...]
Problems = Sequence[int] | ndarray
"""Numbers of problems, one for each row."""


@runtime_checkable
class Space(Protocol):
    """Problems, a policy over b tokens, and a verifier.

    Attributes:
        branching: b, the number of tokens.
    """

    branching: int

    def expand(self, problems: Problems, prefixes: Sequence[Prefix]) -> tuple[ndarray, ndarray]:
        """For each (problem, unfinished prefix): P(next token) [R, b], and a value of the prefix [R]."""
        ...

    def outcome(self, problem: int, prefix: Prefix) -> float | None:
        """1 for a correct answer, 0 for an incorrect one, None while the answer is unfinished."""
        ...


class Found(NamedTuple):
    """What the first correct answer to each of K problems cost; infinite where none was found.

    Attributes:
        tokens: [K], every token counted.
        distinct: [K], only the first reading of a prefix counted.
    """

    tokens: ndarray
    distinct: ndarray

    def solved(self, budget: int, cached: bool = False) -> float:
        """Share of the problems that were solved with at most ``budget`` tokens."""
        return float(((self.distinct if cached else self.tokens) <= budget).mean())


@dataclass(frozen=True)
class SearchRule:
    """Which search.

    Attributes:
        prior: PUCT with the policy's probabilities; without, UCT.
        leaf: where the value of a new prefix comes from: ``rollout`` (an answer is sampled to its end and
            verified) or ``value`` (the space's value).
        exploration: c.

    Raises:
        ValueError: naming the field.
    """

    prior: bool = True
    leaf: str = "rollout"
    exploration: float = 1.0

    def __post_init__(self) -> None:
        if self.leaf not in ("rollout", "value"):
            raise ValueError(f"leaf: must be one of rollout, value, got {self.leaf!r}")
        if not self.exploration > 0:
            raise ValueError(f"exploration: must be positive, got {self.exploration}")

    def scores(self, q: ndarray, visits: ndarray, prior: ndarray, node_q: ndarray) -> ndarray:
        """The score of each token [R, b]; ``q``: its mean value in [0, 1] where visited; ``node_q`` [R]."""
        total = visits.sum(axis=1, keepdims=True)
        if self.prior:
            q = np.where(visits > 0, q, node_q[:, None])
            return q + self.exploration * prior * np.sqrt(np.maximum(total, 1)) / (1 + visits)
        with np.errstate(divide="ignore", invalid="ignore"):
            bonus = self.exploration * np.sqrt(np.log(np.maximum(total, 1)) / visits)
        return np.where(visits > 0, q + bonus, np.inf)


class _Ledger:
    """What each problem has cost so far, and when it was solved."""

    def __init__(self, space: Space, count: int, budget: int, cached: bool) -> None:
        if count < 1:
            raise ValueError(f"count: need at least 1 problem, got {count}")
        if budget < 1:
            raise ValueError(f"budget: need at least 1 token, got {budget}")
        self.space, self.budget, self.cached = space, budget, cached
        self.seen: list[set[Prefix]] = [set() for _ in range(count)]
        self.tokens, self.found = np.zeros(count), np.full((2, count), np.inf)
        self.exhausted = np.zeros(count, dtype=bool)

    def alive(self) -> ndarray:
        """Problems that are neither solved nor out of budget."""
        spent = np.array([len(one) for one in self.seen]) if self.cached else self.tokens
        return np.flatnonzero(np.isinf(self.found[0]) & (spent < self.budget) & ~self.exhausted)

    def write(self, problem: int, prefix: Prefix) -> float | None:
        """Count one token and judge the answer that it may end."""
        self.tokens[problem] += 1
        self.seen[problem].add(prefix)
        outcome = self.space.outcome(problem, prefix)
        if outcome == 1 and np.isinf(self.found[0, problem]):
            self.found[:, problem] = self.tokens[problem], len(self.seen[problem])
        return outcome

    def result(self) -> Found:
        """The costs of the solved problems."""
        return Found(*self.found)


def _draw(prior: ndarray, rng: np.random.Generator) -> ndarray:
    """One token per row of probabilities [R, b]."""
    edges = prior.cumsum(axis=1)
    return (edges < rng.random((len(prior), 1)) * edges[:, -1:]).sum(axis=1)


def _finish(
    ledger: _Ledger,
    problems: ndarray,
    prefixes: list[Prefix],
    prior: ndarray,
    rng: np.random.Generator,
) -> ndarray:
    """Sample each prefix to the end of its answer; the outcomes [R]."""
    outcomes, prefixes = np.zeros(len(problems)), list(prefixes)
    rows = np.arange(len(problems))
    while len(rows):
        left = []
        for row, token in zip(rows, _draw(prior, rng), strict=True):
            prefixes[row] += (int(token),)
            outcome = ledger.write(int(problems[row]), prefixes[row])
            if outcome is None:
                left.append(row)
            else:
                outcomes[row] = outcome
        rows = np.array(left, dtype=int)
        if left:
            prior = ledger.space.expand(problems[rows], [prefixes[row] for row in left])[0]
    return outcomes


def sample_answers(
    space: Space, count: int, budget: int, seed: int = 0, cached: bool = False
) -> Found:
    """Sample answers to problems 0 … ``count`` − 1, one after the other, until one is correct.

    Args:
        space: policy and verifier.
        count: K.
        budget: tokens per problem; the answer that reaches it is finished.
        seed: of the sampling.
        cached: the budget counts distinct prefixes; it then ends at 16 times as many tokens at the latest.
    """
    rng, ledger = np.random.default_rng(seed), _Ledger(space, count, budget, cached)
    roots = space.expand(range(count), [()] * count)[0]
    while len(alive := ledger.alive()):
        _finish(ledger, alive, [()] * len(alive), roots[alive], rng)
        ledger.exhausted |= ledger.tokens >= 16 * budget
    return ledger.result()


def beam_search(space: Space, count: int, width: int, longest: int) -> Found:
    """Keep the ``width`` most probable prefixes of each length; verify each answer that ends among them.

    Returns:
        The cost of the first correct answer; with beam search no prefix is written twice.
    """
    ledger = _Ledger(space, count, width * longest + 1, cached=False)
    beams: list[list[tuple[float, Prefix]]] = [[(0.0, ())] for _ in range(count)]
    for _ in range(longest):
        rows = [(p, score, prefix) for p in ledger.alive().tolist() for score, prefix in beams[p]]
        if not rows:
            break
        prior = space.expand([row[0] for row in rows], [row[2] for row in rows])[0]
        scores = np.log(np.maximum(prior, 1e-30)) + np.array([row[1] for row in rows])[:, None]
        owner = np.array([row[0] for row in rows])
        for problem in np.unique(owner).tolist():
            own = np.flatnonzero(owner == problem)
            flat, beams[problem] = scores[own].ravel(), []
            for place in np.argsort(-flat, kind="stable")[:width]:
                row, token = own[place // space.branching], int(place % space.branching)
                prefix = (*rows[row][2], token)
                if ledger.write(problem, prefix) is None:
                    beams[problem].append((float(flat[place]), prefix))
    return ledger.result()


class _Forest:
    """The trees of K problems as arrays [K, nodes, b]; node 0 is the root."""

    def __init__(self, space: Space, count: int, rule: SearchRule, rng) -> None:
        self.space, self.rule, self.rng, b = space, rule, rng, space.branching
        self.prior = np.zeros((count, 1, b), dtype=np.float32)
        self.visits, self.total = np.zeros_like(self.prior), np.zeros_like(self.prior)
        self.child = np.full((count, 1, b), -1, dtype=np.int32)
        self.closed = np.zeros((count, 1, b), dtype=bool)
        self.nodes: list[list[Prefix]] = [[()] for _ in range(count)]
        self.low, self.high = np.full(count, np.inf), np.full(count, -np.inf)
        self.prior[:, 0] = space.expand(range(count), [()] * count)[0]

    def add(self, problem: int, edge: tuple[int, int], prefix: Prefix, prior: ndarray) -> None:
        """The new node behind ``edge`` = (node, token)."""
        new = len(self.nodes[problem])
        if new == self.prior.shape[1]:
            for name in ("prior", "visits", "total", "child", "closed"):
                old = getattr(self, name)
                fill = np.full_like(old, -1) if name == "child" else np.zeros_like(old)
                setattr(self, name, np.concatenate([old, fill], axis=1))
        self.nodes[problem].append(prefix)
        self.child[problem, edge[0], edge[1]], self.prior[problem, new] = new, prior

    def walk(self, problems: ndarray) -> list[list[tuple[int, int]]]:
        """From each root to an edge without a node behind it: the edges (node, token) of the walks."""
        walks: list[list[tuple[int, int]]] = [[] for _ in problems]
        rows, node = np.arange(len(problems)), np.zeros(len(problems), dtype=int)
        node_q = np.zeros(len(problems))
        while len(rows):
            tree = problems[rows]
            visits, total = self.visits[tree, node], self.total[tree, node]
            q = self._scaled(tree, total / np.maximum(visits, 1))
            scores = self.rule.scores(q, visits, self.prior[tree, node], node_q)
            scores[self.closed[tree, node]] = -np.inf
            best = scores == scores.max(axis=1, keepdims=True)
            token = (best * (self.rng.random(best.shape) + 1e-9)).argmax(axis=1)
            for row, at, chosen in zip(rows, node, token, strict=True):
                walks[row].append((int(at), int(chosen)))
            behind, pick = self.child[tree, node, token], np.arange(len(rows))
            on = behind >= 0
            rows, node, node_q = rows[on], behind[on], q[pick, token][on]
        return walks

    def _scaled(self, tree: ndarray, q: ndarray) -> ndarray:
        low, span = self.low[tree], self.high[tree] - self.low[tree]
        wide = span > 0
        return np.where(
            wide[:, None],
            (q - np.where(wide, low, 0)[:, None]) / np.where(wide, span, 1)[:, None],
            0,
        )

    def back_up(self, problem: int, walk: list[tuple[int, int]], value: float, ended: bool) -> bool:
        """Add a value to a walk; an incorrect answer is not visited again. Whether anything is left."""
        self.low[problem] = min(self.low[problem], value)
        self.high[problem] = max(self.high[problem], value)
        for node, token in reversed(walk):
            self.visits[problem, node, token] += 1
            self.total[problem, node, token] += value
            if ended:
                self.closed[problem, node, token] = True
                ended = bool(self.closed[problem, node].all())
        return not ended


def search(
    space: Space, count: int, budget: int, rule: SearchRule, seed: int = 0, cached: bool = False
) -> Found:
    """Search the trees of problems 0 … ``count`` − 1 until an answer is correct.

    An answer that was found incorrect is not visited again, and neither is a prefix without anything else
    behind it. A visited prefix stays in the tree and costs nothing on later walks.

    Args:
        space: policy, values and verifier.
        count: K.
        budget: tokens per problem; the rollout that reaches it is finished.
        rule: which search.
        seed: of rollouts and ties.
        cached: the budget counts distinct prefixes; it then ends at 16 times as many tokens at the latest.
    """
    rng = np.random.default_rng(seed)
    ledger, forest = _Ledger(space, count, budget, cached), _Forest(space, count, rule, rng)
    while len(alive := ledger.alive()):
        walks, fresh = forest.walk(alive), []
        for problem, walk in zip(alive.tolist(), walks, strict=True):
            node, token = walk[-1]
            prefix = (*forest.nodes[problem][node], token)
            outcome = ledger.write(problem, prefix)
            if outcome is None:
                fresh.append((problem, walk, prefix))
            elif not forest.back_up(problem, walk, outcome, ended=True):
                ledger.exhausted[problem] = True
        if fresh:
            owners, prefixes = np.array([one[0] for one in fresh]), [one[2] for one in fresh]
            prior, values = space.expand(owners, prefixes)
            if rule.leaf == "rollout":
                values = _finish(ledger, owners, prefixes, prior, rng)
            for (problem, walk, prefix), p, value in zip(fresh, prior, values, strict=True):
                forest.add(problem, walk[-1], prefix, p)
                forest.back_up(problem, walk, float(value), ended=False)
        ledger.exhausted |= ledger.tokens >= 16 * budget
    return ledger.result()
