"""The searches against trees that were worked out by hand, and against exhaustive search."""

import itertools

import numpy as np
import pytest

from rlvr_lab.exact.answer_trees import (
    AnswerTree,
    extension_ceiling,
    noise_for,
    sampling_solves,
)
from rlvr_lab.exact.search import Found, SearchRule, beam_search, sample_answers, search


class Table:
    """One problem over given tables: prefix → prior, prefix → value; two steps unless said otherwise."""

    def __init__(self, prior, value, correct, steps=2, branching=3) -> None:
        self.prior, self.value, self.correct = prior, value, correct
        self.steps, self.branching = steps, branching
        self.read: list[tuple] = []

    def expand(self, problems, prefixes):
        self.read += prefixes
        uniform = [1 / self.branching] * self.branching
        prior = np.array([self.prior.get(x, uniform) for x in prefixes])
        return prior, np.array([self.value.get(x, 0.0) for x in prefixes])

    def outcome(self, problem, prefix):
        return float(prefix in self.correct) if len(prefix) == self.steps else None


def test_the_scores_of_both_rules() -> None:
    q, visits = np.array([[0.5, 0.2, 0.0]]), np.array([[3.0, 1.0, 0.0]])
    prior, node_q = np.array([[0.2, 0.5, 0.3]]), np.array([0.4])
    puct = SearchRule(exploration=2.0).scores(q, visits, prior, node_q)
    # N = 4: .5 + 2·.2·2/4, .2 + 2·.5·2/2, .4 (of the node) + 2·.3·2/1.
    np.testing.assert_allclose(puct, [[0.7, 1.2, 1.6]])
    uct = SearchRule(prior=False, exploration=2.0).scores(q, visits, prior, node_q)
    expected = [0.5 + 2 * np.sqrt(np.log(4) / 3), 0.2 + 2 * np.sqrt(np.log(4) / 1), np.inf]
    np.testing.assert_allclose(uct, [expected])


def test_puct_with_values_follows_the_walk_worked_out_by_hand() -> None:
    """Priors .6, .3, .1 at the root; values .1 behind token 0 and .9 behind token 1."""
    prior = {(): [0.6, 0.3, 0.1], (1,): [0.2, 0.7, 0.1]}
    table = Table(prior, {(0,): 0.1, (1,): 0.9}, {(1, 0)})
    found = search(table, 1, 100, SearchRule(leaf="value"))
    # 1: token 0 (prior). All values of the tree are equal so far, so every Q is 0.
    # 2: U(0) = .6·1/2 = .30, U(1) = .3·1/1 = .30: a tie.
    # Then Q(0) = 0 and Q(1) = 1 after scaling: token 1 and below it the prior: 1, then 0.
    assert table.read[:2] == [(), (0,)] and (1,) in table.read
    assert found.tokens[0] <= 6 and found.distinct[0] == found.tokens[0]


def test_the_value_overrules_the_prior() -> None:
    """The correct token is the least probable one at each of 4 steps."""
    correct, steps = (2, 2, 2, 2), 4
    prefixes = [x for n in range(steps) for x in itertools.product(range(3), repeat=n)]
    prior = {x: [0.4, 0.4, 0.2] for x in prefixes}
    value = {correct[:n]: 1.0 for n in range(1, steps)}
    exact = search(Table(prior, value, {correct}, steps), 1, 200, SearchRule(leaf="value"))
    without = search(Table(prior, {}, {correct}, steps), 1, 200, SearchRule(leaf="value"))
    assert exact.tokens[0] < 60 and without.tokens[0] > 80, (exact, without)


@pytest.mark.parametrize("rule", [SearchRule(leaf="value"), SearchRule(prior=False, leaf="value")])
def test_no_answer_is_tried_twice_so_search_becomes_exhaustive(rule: SearchRule) -> None:
    """In a tree with 3 + 9 prefixes the last answer is found with at most 12 tokens, whichever it is."""
    costs = []
    for correct in itertools.product(range(3), repeat=2):
        found = search(Table({}, {}, {correct}), 1, 1000, rule)
        costs.append(found.tokens[0])
    assert max(costs) <= 12 and min(costs) >= 2
    none = search(Table({}, {}, set()), 1, 1000, rule)  # it ends, although nothing is correct
    assert np.isinf(none.tokens).all()


def test_what_sampling_costs() -> None:
    """One of nine answers is correct; a cache reads each of the 12 prefixes once."""
    table = Table({}, {}, {(1, 1)})
    many = sample_answers(Repeated(table), 4000, 1000)
    assert np.isfinite(many.tokens).all() and (many.tokens % 2 == 0).all()
    assert abs(many.tokens.mean() / 2 - 9) < 0.5  # geometric: 9 answers of 2 tokens on average
    assert many.distinct.max() <= 12 and (many.distinct <= many.tokens).all()
    none = sample_answers(Table({}, {}, set()), 1, 5)
    assert np.isinf(none.tokens[0])


class Repeated:
    """The same problem, many times."""

    def __init__(self, table: Table) -> None:
        self.table, self.branching = table, table.branching

    def expand(self, problems, prefixes):
        return self.table.expand(problems, prefixes)

    def outcome(self, problem, prefix):
        return self.table.outcome(problem, prefix)


def test_a_rollout_counts_every_token_of_its_answer() -> None:
    """Nothing is correct: after one round of three steps the tree has cost 1 token and the rollout 2."""
    table = Table({}, {}, set(), steps=3)
    search(table, 1, 1, SearchRule())
    assert len(table.read) == 3  # root, the new prefix, and one more token of the rollout
    certain = Table({(): [0, 1, 0], (1,): [0, 0, 1], (1, 2): [1, 0, 0]}, {}, {(1, 2, 0)}, 3)
    found = search(certain, 1, 100, SearchRule())
    assert found.tokens[0] == 3 and found.distinct[0] == 3


def test_beam_search_keeps_the_most_probable_prefixes() -> None:
    prior = {(): [0.5, 0.4, 0.1], (0,): [0.4, 0.3, 0.3], (1,): [0.9, 0.05, 0.05]}
    # Greedy: (0, 0) with .2. Two beams: (0), (1); then (1, 0) with .36 and (0, 0) with .2.
    assert np.isinf(beam_search(Table(prior, {}, {(1, 0)}), 1, 1, 2).tokens[0])
    assert beam_search(Table(prior, {}, {(1, 0)}), 1, 2, 2).tokens[0] == 3
    assert beam_search(Table(prior, {}, {(0, 0)}), 1, 2, 2).tokens[0] == 4
    assert np.isinf(beam_search(Table(prior, {}, {(2, 0)}), 1, 2, 2).tokens[0])


def test_the_same_seed_is_the_same_search_and_budgets_are_kept() -> None:
    def costs(seed: int, budget: int = 150) -> Found:
        return search(AnswerTree(20, 4, steps=4, spread="rival"), 20, budget, SearchRule(), seed)

    np.testing.assert_array_equal(costs(0), costs(0))
    assert not np.array_equal(costs(0), costs(1))
    short = costs(0, 20)
    finite = np.isfinite(short.tokens)
    assert short.tokens[finite].max() <= 20 + 4  # the rollout that reaches the budget is finished
    assert short.solved(20) <= short.solved(24) < costs(0).solved(150)
    assert costs(0).solved(100, cached=True) >= costs(0).solved(100)


def test_sampling_agrees_with_the_exact_formula() -> None:
    for spread, rival in (("even", None), ("rival", 0.45)):
        trees = AnswerTree(3000, 5, steps=3, spread=spread)
        found = sample_answers(trees, 3000, 9)
        assert abs(found.solved(9) - sampling_solves(3, 3, rival=rival)) < 0.03


def test_the_trees_have_the_stated_policy() -> None:
    even, rival = AnswerTree(200, 6), AnswerTree(200, 6, spread="rival")
    for trees in (even, rival):
        prior, value = trees.expand(range(200), [()] * 200)
        np.testing.assert_allclose(prior.sum(axis=1), 1)
        assert (value == 1).all()
    on_correct = np.take_along_axis(rival.prior, rival.correct[..., None], 2)
    np.testing.assert_allclose(np.unique(on_correct.round(6)), [0.45, 0.5])
    assert 0.45 < (on_correct == 0.5).mean() < 0.55
    np.testing.assert_allclose(np.sort(even.prior[0, 0])[::-1], [0.5, *[0.1] * 5])
    path = tuple(rival.correct[3].tolist())
    wrong = (path[0], (path[1] + 1) % 6)
    assert rival.outcome(3, path) == 1 and rival.outcome(3, (*wrong, *path[2:])) == 0
    assert rival.outcome(3, path[:8]) is None
    assert rival.expand([3, 3], [path[:2], wrong])[1].tolist() == [1.0, 0.0]


def test_the_noise_gives_the_auc_that_was_asked_for() -> None:
    trees = AnswerTree(4000, 4, noise=noise_for(0.8))
    good = trees.expand(range(4000), [()] * 4000)[1]
    bad = trees.expand(range(4000), [(-1,)] * 4000)[1]
    assert abs((good > bad).mean() - 0.8) < 0.03


def test_the_ceiling_of_a_limit_on_extensions() -> None:
    rng = np.random.default_rng(0)
    drawn = (rng.random((20000, 3, 2)) < 0.5).any(axis=2).all(axis=1).mean()
    assert abs(drawn - extension_ceiling(2, 3)) < 0.01


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda: AnswerTree(1, 1), "branching"),
        (lambda: AnswerTree(1, 2, p=1.0), "p"),
        (lambda: AnswerTree(1, 2, spread="odd"), "spread"),
        (lambda: noise_for(0.4), "auc"),
        (lambda: SearchRule(leaf="hope"), "leaf"),
        (lambda: SearchRule(exploration=0), "exploration"),
        (lambda: search(Table({}, {}, set()), 0, 9, SearchRule()), "count"),
        (lambda: sample_answers(Table({}, {}, set()), 1, 0), "budget"),
    ],
)
def test_bad_input_is_named(wrong, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        wrong()
