"""pass@k against every subset, entropy against loops, the bootstrap band against repetition."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch

from rlvr_lab.objectives.kl import entropy
from rlvr_lab.records.statistics import area_under_roc, bootstrap_band
from rlvr_lab.tasks.evaluation import pass_at_k

# ------------------------------------------------------------------------------------------ pass@k


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_pass_at_k_equals_the_share_of_subsets_with_a_right_answer(n):
    for c in range(n + 1):
        answers = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            subsets = list(itertools.combinations(answers, k))
            share = sum(map(any, subsets)) / len(subsets)
            assert pass_at_k(n, c, k) == pytest.approx(share, abs=1e-15), (n, c, k)


@pytest.mark.parametrize("p", [0.05, 0.4])
def test_pass_at_k_is_unbiased_and_the_plug_in_is_low(p):
    n, k = 8, 4
    chances = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    estimate = sum(w * pass_at_k(n, c, k) for c, w in enumerate(chances))
    plug_in = sum(w * (1 - (1 - c / n) ** k) for c, w in enumerate(chances))
    truth = 1 - (1 - p) ** k
    assert estimate == pytest.approx(truth, abs=1e-14)
    assert plug_in < truth - 0.005


def test_pass_at_k_of_many_samples_does_not_overflow():
    assert pass_at_k(10_000, 1, 5_000) == pytest.approx(0.5)
    assert pass_at_k(10_000, 0, 10_000) == 0.0 and pass_at_k(10_000, 10_000, 1) == 1.0


@pytest.mark.parametrize(
    ("n", "c", "k", "name"),
    [(4, 5, 1, "c"), (4, -1, 1, "c"), (4, 1, 0, "k"), (4, 1, 5, "k"), (0, 0, 1, "k")],
)
def test_pass_at_k_refusals(n, c, k, name):
    with pytest.raises(ValueError, match=f"^{name}: need"):
        pass_at_k(n, c, k)


# ----------------------------------------------------------------------------------------- entropy


def test_entropy_equals_loop():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64) * 3
    out = entropy(logits)
    assert out.shape == (2, 3) and out.dtype == torch.float64
    for i in range(2):
        for t in range(3):
            x = [math.exp(v) for v in logits[i, t].tolist()]
            p = [v / sum(x) for v in x]
            assert out[i, t].item() == pytest.approx(-sum(v * math.log(v) for v in p), abs=1e-13)


def test_entropy_bounds_and_shift():
    assert entropy(torch.zeros(7)).item() == pytest.approx(math.log(7))
    assert entropy(torch.tensor([0.0, 1000.0])).item() == pytest.approx(0, abs=1e-12)
    logits = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    assert entropy(logits + 50).item() == pytest.approx(entropy(logits).item(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_entropy_with_forbidden_tokens_keeps_value_gradient_and_dtype(dtype):
    logits = torch.tensor([0.0, 0.0, -math.inf], dtype=dtype, requires_grad=True)
    value = entropy(logits)
    value.backward()
    assert value.dtype == dtype
    assert value.item() == pytest.approx(math.log(2), rel=1e-2)
    assert torch.isfinite(logits.grad).all()


def test_entropy_gradient_by_hand():
    logits = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    entropy(logits).backward()
    p = np.exp([0.3, -1.0, 2.0]) / np.exp([0.3, -1.0, 2.0]).sum()
    h = -(p * np.log(p)).sum()
    np.testing.assert_allclose(logits.grad.numpy(), -p * (np.log(p) + h), atol=1e-15)


# ---------------------------------------------------------------------------------- bootstrap_band


def test_mean_is_over_seeds_and_the_band_surrounds_it():
    curves = np.random.default_rng(0).normal(size=(6, 9))
    mean, low, high = bootstrap_band(curves)
    np.testing.assert_allclose(mean, [sum(column) / 6 for column in curves.T], atol=1e-15)
    assert mean.shape == low.shape == high.shape == (9,)
    assert (low < mean).all() and (mean < high).all()


def test_one_seed_has_no_width():
    mean, low, high = bootstrap_band(np.array([[1.0, 5.0]]))
    assert mean.tolist() == low.tolist() == high.tolist() == [1.0, 5.0]


def test_two_seeds_by_enumeration():
    # Resampling 0 and 1 gives means 0, ½, 1 with chances ¼, ½, ¼.
    curves = np.array([[0.0], [1.0]])
    _, low, high = bootstrap_band(curves, level=0.95)
    assert (low[0], high[0]) == (0.0, 1.0)
    _, low, high = bootstrap_band(curves, level=0.4)
    assert (low[0], high[0]) == (0.5, 0.5)


def test_a_higher_level_is_wider():
    curves = np.random.default_rng(1).normal(size=(12, 4))
    _, low_50, high_50 = bootstrap_band(curves, level=0.5)
    _, low_95, high_95 = bootstrap_band(curves, level=0.95)
    assert (low_95 < low_50).all() and (high_95 > high_50).all()


def test_same_seed_same_band():
    curves = np.random.default_rng(2).normal(size=(5, 4))
    first, again, other = (bootstrap_band(curves, seed=s)[1] for s in (0, 0, 1))
    assert first.tolist() == again.tolist() and first.tolist() != other.tolist()


def test_coverage_of_the_mean_is_about_its_level():
    # 20 "seeds" a column, true mean 0: each column is one repetition. The percentile bootstrap is a
    # little narrow (√(19/20), and normal instead of t), about 0.93 here.
    curves = np.random.default_rng(3).normal(size=(20, 800))
    _, low, high = bootstrap_band(curves, level=0.95)
    covered = ((low < 0) & (high > 0)).mean()
    assert 0.90 < covered < 0.96
    # Its width is that of a mean of 20, 2 · 1.96 · σ/√20 · √(19/20), and not that of one seed.
    assert (high - low).mean() == pytest.approx(
        2 * 1.96 / math.sqrt(20) * math.sqrt(0.95), rel=0.05
    )


def test_nans_are_left_out_column_by_column():
    nan = math.nan
    curves = np.array([[1.0, nan, nan, 4.0], [3.0, 2.0, nan, nan], [5.0, nan, nan, 8.0]])
    before = curves.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, low, high = bootstrap_band(curves)
    np.testing.assert_array_equal(mean, [3.0, 2.0, nan, 6.0])
    np.testing.assert_array_equal(low[1:3], [2.0, nan])
    np.testing.assert_array_equal(high[1:3], [2.0, nan])
    assert 1.0 <= low[0] < 3.0 < high[0] <= 5.0 and 4.0 <= low[3] < 6.0 < high[3] <= 8.0
    np.testing.assert_array_equal(curves, before)


@pytest.mark.parametrize("shape", [(3,), (0, 4), (2, 2, 2)])
def test_curves_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="curves"):
        bootstrap_band(np.zeros(shape))


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, 95.0, math.nan])
def test_a_level_that_is_none_is_refused(level):
    with pytest.raises(ValueError, match="level"):
        bootstrap_band(np.zeros((2, 2)), level=level)


# --------------------------------------------------------------------------------------------- AUC


def test_auc_counts_every_pair() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 5, 40) / 4, rng.random(40) < 0.4  # with ties
    pairs = [(a > b) + (a == b) / 2 for a in scores[labels] for b in scores[~labels]]
    assert area_under_roc(scores, labels) == pytest.approx(np.mean(pairs))
    assert area_under_roc(-scores, labels) == pytest.approx(1 - np.mean(pairs))


def test_auc_refuses_what_it_cannot_compare() -> None:
    for labels in ([1, 1], [0, 0]):
        with pytest.raises(ValueError, match="labels: need both classes"):
            area_under_roc([0.1, 0.2], labels)
    with pytest.raises(ValueError, match="scores, labels: expected two lists"):
        area_under_roc([0.1, 0.2], [1])
