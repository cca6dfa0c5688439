"""The vote, against every way in which n answers can fall."""

from itertools import product

import pytest

from rlvr_lab.exact.voting import best_of, majority_correct


def by_hand(n: int, p: float, others: list[float]) -> float:
    """Sum over all sequences of n answers; 0 is correct, the last one is silent."""
    probs = [p, *others, 1 - p - sum(others)]
    total = 0.0
    for answers in product(range(len(probs)), repeat=n):
        weight = 1.0
        for one in answers:
            weight *= probs[one]
        counts = [answers.count(k) for k in range(len(probs) - 1)]
        if counts[0] and counts[0] == max(counts):
            total += weight / counts.count(counts[0])
    return total


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("p", "others"),
    [(0.4, [0.3, 0.2]), (0.2, [0.5]), (0.3, [0.1, 0.1, 0.1]), (0.25, []), (0.0, [1])],
)
def test_the_vote_is_the_sum_over_all_answers(n: int, p: float, others: list[float]) -> None:
    assert majority_correct(n, p, others) == pytest.approx(by_hand(n, p, others), abs=1e-12)


def test_the_commonest_answer_wins_in_the_end() -> None:
    nine = [0.6 / 9] * 9
    curve = [majority_correct(n, 0.4, nine) for n in (1, 4, 16, 64)]
    assert curve == sorted(curve) and curve[-1] > 0.999
    fall = [majority_correct(n, 0.4, [0.6]) for n in (1, 4, 16, 64)]
    assert fall == sorted(fall, reverse=True) and fall[-1] < 0.06
    assert majority_correct(2, 0.4, [0.6]) == pytest.approx(0.4)  # two votes are no better than one
    assert best_of(64, 0.1) == pytest.approx(1 - 0.9**64)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="n: need at least 1"):
        majority_correct(0, 0.5, [])
    for p, others in ((0.6, [0.5]), (-0.1, [0.5]), (0.5, [-0.1])):
        with pytest.raises(ValueError, match="p, others: no probabilities"):
            majority_correct(2, p, others)
