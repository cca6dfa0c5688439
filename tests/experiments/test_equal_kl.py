"""Runs are compared where they have gone equally far, seed by seed."""

import numpy as np
import pytest

from rlvr_lab.experiments.equal_kl import (
    at_equal,
    fall_between,
    paired,
    seeds_in_common,
    where_gold_peaks,
)
from rlvr_lab.experiments.overoptimisation import ProxyConfig
from rlvr_lab.records.runs import Recording, Run

D = np.arange(9) / 2  # √KL 0, .5 … 4


def run(seed: int, gold: np.ndarray, distance: np.ndarray = D, optimiser: str = "best_of_n") -> Run:
    rows = zip(distance, gold, 2 * distance, strict=True)
    records = [
        {"step": k, "distance": d, "gold": g, "proxy": p} for k, (d, g, p) in enumerate(rows)
    ]
    return Run(ProxyConfig(optimiser, seed=seed), records)  # type: ignore[arg-type]


def test_a_curve_is_read_between_its_records_along_any_metric():
    one = Recording([run(0, D**2)])
    np.testing.assert_allclose(at_equal(one, "gold", [0.0, 0.5, 0.75, 4.0]), [[0, 0.25, 0.625, 16]])
    np.testing.assert_allclose(at_equal(one, "gold", 1.5, along="proxy"), [[0.625]])
    assert np.isnan(at_equal(one, "gold", 4.1)).all()


def test_the_first_arrival_counts_when_a_run_turns_back():
    back = np.array([0.0, 1.0, 2.0, 1.0, 2.5])
    one = Recording([run(0, np.arange(5.0), back)])
    np.testing.assert_allclose(at_equal(one, "gold", [1.5, 2.0]), [[1.5, 2.0]])


def test_sampled_curves_are_averaged_over_three_records_and_exact_ones_are_not():
    bumpy = np.where(D == 2.0, 3.0, 0.0)
    for optimiser, peak in (("ppo", 1.0), ("best_of_n", 3.0)):
        assert at_equal(Recording([run(0, bumpy, D, optimiser)]), "gold", 2.0) == peak


def test_differences_are_taken_seed_by_seed():
    a = Recording([run(3, D), run(1, D + 10)])
    b = Recording([run(1, D), run(2, D), run(3, D - 1)])
    np.testing.assert_allclose(paired(a, b, "gold", [1.0, 2.0]), [[10, 10], [1, 1]])
    assert [r.config.seed for r in seeds_in_common(a, b)[1].runs] == [1, 3]
    with pytest.raises(ValueError, match="no seed in common"):
        paired(a, Recording([run(2, D)]), "gold", 1.0)


def test_peaks_and_falls_are_those_of_each_seed():
    two = Recording([run(0, -((D - 2) ** 2)), run(1, D)])
    at, best = where_gold_peaks(two, D)
    np.testing.assert_allclose(at, [2.0, 4.0])
    np.testing.assert_allclose(best, [0.0, 4.0])
    np.testing.assert_allclose(fall_between(two, 2.0, 3.0), [1.0, -1.0])
