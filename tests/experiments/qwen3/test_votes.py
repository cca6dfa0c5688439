"""The vote over some of the answers: against all subsets, and against the exact probability."""

from itertools import combinations

import numpy as np
import pytest

from rlvr_lab.exact.voting import majority_correct
from rlvr_lab.experiments.qwen3.votes import (
    as_if_random,
    ballots,
    commonest_if_random,
    vote_curve,
)


def over_all_subsets(votes: list[int], n: int) -> float:
    found = []
    for part in combinations(votes, n):
        counts = {k: part.count(k) for k in set(part) if k >= 0}
        top = max(counts.values(), default=0)
        tied = [k for k, count in counts.items() if count == top]
        found.append(1 / len(tied) if 0 in tied else 0.0)
    return float(np.mean(found))


def test_ballots_name_the_correct_answer_zero() -> None:
    assert ballots(["4", "9", None, "4", "7", "9"], "9").tolist() == [1, 0, -1, 1, 2, 0]


def test_the_curve_is_the_mean_over_subsets() -> None:
    votes = np.array([[0, 0, 1, -1, 2, 1], [1, 1, 1, 0, 0, -1], [-1] * 6, [2, 2, 0, -1, -1, -1]])
    ns = [1, 2, 3, 5, 6]
    expected = [np.mean([over_all_subsets(list(one), n) for one in votes.tolist()]) for n in ns]
    found = vote_curve(votes, ns, orders=4000, seed=1)
    assert found[0] == pytest.approx(expected[0], abs=1e-12)
    assert found[-1] == pytest.approx(expected[-1], abs=1e-12)
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert expected[2] != pytest.approx(expected[0], abs=0.03)
    assert np.array_equal(vote_curve(votes, ns, 7, 3), vote_curve(votes, ns, 7, 3))
    assert not np.array_equal(vote_curve(votes, ns, 7, 3), vote_curve(votes, ns, 7, 4))
    with pytest.raises(ValueError, match=r"ns: must lie between 1 and 6, got \[7\]"):
        vote_curve(votes, [7])
    with pytest.raises(ValueError, match="ns: must lie"):
        vote_curve(votes, [0, 1])


def test_an_order_is_a_permutation_and_the_curve_the_mean_over_orders() -> None:
    votes = np.array([[0, 0, 1, -1, 2, 1], [1, 1, 1, 0, 0, -1], [2, 2, 0, 0, 1, -1]])
    rng, ns = np.random.default_rng(3), [2, 3, 5]
    orders = [rng.permutation(6) for _ in range(3)]
    by_order = [
        [np.mean([over_all_subsets(list(one[order][:n]), n) for one in votes]) for n in ns]
        for order in orders
    ]
    for count in (1, 2, 3):
        found = vote_curve(votes, ns, count, 3)
        np.testing.assert_allclose(found, np.mean(by_order[:count], axis=0))
    assert len({tuple(one) for one in by_order}) > 1
    # Each n stands in its own place, also where 1 is not the first.
    assert vote_curve(votes, [6, 1], 2).tolist() == vote_curve(votes, [1, 6], 2)[::-1].tolist()
    assert np.array_equal(vote_curve(votes, ns), vote_curve(votes, ns, 64, 0))


def test_random_errors_give_the_exact_vote() -> None:
    ns = [1, 2, 4, 8]
    found = as_if_random([24, 12], [48, 64], 64, 4, ns, draws=4000)
    exact = [
        np.mean([majority_correct(n, 24 / 64, [24 / 64 / 4] * 4),
                 majority_correct(n, 12 / 64, [52 / 64 / 4] * 4)])
        for n in ns
    ]  # fmt: skip
    np.testing.assert_allclose(found, exact, atol=0.015)
    assert as_if_random([0], [0], 4, 9, [3]).tolist() == [0.0]
    # 64 draws by default; the seed is that of the draws.
    default = as_if_random([3], [6], 8, 4, [3])
    assert np.array_equal(default, as_if_random([3], [6], 8, 4, [3], 64, 0))
    assert not np.array_equal(default, as_if_random([3], [6], 8, 4, [3], 64, 1))


def test_the_commonest_of_random_errors_is_that_of_all_cases() -> None:
    # Two votes for one of three answers: equal with probability 1/3, so (2/3 · 1 + 1/3 · 2) of 2 votes.
    assert commonest_if_random([2] * 20_000, 3) == pytest.approx(2 / 3, abs=0.01)
    # A problem with one vote counts with its one vote.
    assert commonest_if_random([1] * 20_000 + [2] * 20_000, 3) == pytest.approx(7 / 9, abs=0.01)
    assert commonest_if_random([9] * 5, 4) == commonest_if_random([9] * 5, 4, 0)
    assert commonest_if_random([9] * 5, 4) != commonest_if_random([9] * 5, 4, 1)
    with pytest.raises(ValueError, match="wrong: there is no"):
        commonest_if_random([0, 0], 3)
