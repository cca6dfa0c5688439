"""Closed forms against brute force: every policy, every draw of n samples."""

import itertools
import math

import numpy as np
import pytest

from rlvr_lab.exact import optimal_policy as opt

RNG = np.random.default_rng(0)


def problem(size: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(size)), rng.normal(size=size)


@pytest.mark.parametrize("beta", [0.05, 0.3, 1.0, 20.0])
def test_every_policy_falls_short_by_beta_times_its_divergence_from_the_optimum(
    beta: float,
) -> None:
    ref, rewards = problem()
    best, value = opt.regularised_optimum(ref, rewards, beta)
    assert opt.regularised_objective(best, ref, rewards, beta) == pytest.approx(value, abs=1e-12)
    for _ in range(200):
        policy = RNG.dirichlet(np.full(6, 0.5))
        gap = value - opt.regularised_objective(policy, ref, rewards, beta)
        assert gap == pytest.approx(beta * opt.kl_divergence(policy, best), abs=1e-10)
        assert gap >= -1e-12


def test_the_optimum_at_both_ends_of_beta() -> None:
    ref, rewards = problem(seed=3)
    greedy, _ = opt.regularised_optimum(ref, rewards, 1e-4)
    assert greedy[rewards.argmax()] == pytest.approx(1.0)
    lazy, _ = opt.regularised_optimum(ref, rewards, 1e6)
    np.testing.assert_allclose(lazy, ref, atol=1e-5)
    unreachable, _ = opt.regularised_optimum([0.5, 0.5, 0.0], [0.0, 0.0, 1e9], 0.1)
    assert unreachable.tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("rewards", [[0.3, -1.0, 2.0, 0.5], [0.0, 1.0, 1.0, 0.0]])
def test_best_of_n_is_what_all_draws_give(n: int, rewards: list[float]) -> None:
    ref = np.array([0.4, 0.3, 0.2, 0.1])
    expected = np.zeros(4)
    for draw in itertools.product(range(4), repeat=n):
        top = max(rewards[y] for y in draw)
        winners = [y for y in draw if rewards[y] == top]
        for y in winners:
            expected[y] += ref[list(draw)].prod() / len(winners)
    np.testing.assert_allclose(opt.best_of_n(ref, rewards, n), expected, atol=1e-14)


def test_the_bound_is_reached_by_many_different_answers_and_never_passed() -> None:
    for n in (2, 16, 64):
        bound = float(opt.best_of_n_kl_bound(n))
        kls = []
        for size in (10, 100, 1000, 20_000):
            ref = np.full(size, 1 / size)
            kls.append(opt.kl_divergence(opt.best_of_n(ref, np.arange(size), n), ref))
        assert kls == sorted(kls) and kls[-1] <= bound
        assert kls[-1] == pytest.approx(bound, abs=n / 20_000)


@pytest.mark.parametrize(
    ("n", "kl"), [(2, 0.1931), (16, 1.8351), (64, 3.1745), (1024, 5.9324), (60_000, 10.0021)]
)
def test_the_bound_has_the_published_values(n: int, kl: float) -> None:
    assert float(opt.best_of_n_kl_bound(n)) == pytest.approx(kl, abs=5e-5)


def test_the_bound_is_the_integral_that_it_should_be() -> None:
    # With a continuous reward the quantile of the best has density n·u^(n−1): KL = ∫ n u^(n−1) log(n u^(n−1)).
    u = (np.arange(400_000) + 0.5) / 400_000
    for n in (2, 5, 16):
        density = n * u ** (n - 1)
        assert np.mean(density * np.log(density)) == pytest.approx(
            float(opt.best_of_n_kl_bound(n)), abs=1e-8
        )


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_binary_rewards_do_not_follow_the_formula(p: float) -> None:
    for n in (1, 2, 16, 256):
        q, kl = opt.binary_best_of_n(p, n)
        assert q == pytest.approx(1 - (1 - p) ** n, abs=1e-12)
        exact = q * math.log(q / p) + ((1 - q) * math.log((1 - q) / (1 - p)) if q < 1 else 0.0)
        assert kl == pytest.approx(exact, abs=1e-10)
        assert kl <= min(-math.log(p), float(opt.best_of_n_kl_bound(n))) + 1e-12
    assert opt.binary_best_of_n(0.5, 16)[1] == pytest.approx(0.693, abs=5e-4)
    assert opt.binary_best_of_n(0.1, 16) == pytest.approx((0.8147, 1.4161), abs=5e-5)


def test_divergence_is_infinite_where_the_reference_has_no_mass() -> None:
    assert opt.kl_divergence([0.5, 0.5], [1.0, 0.0]) == math.inf
    assert opt.kl_divergence([1.0, 0.0], [1.0, 0.0]) == 0.0


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: opt.regularised_optimum([0.5, 0.6], [0, 1], 1.0), "ref"),
        (
            lambda: opt.regularised_optimum([0.5, 0.5], [0, 1], 0.0),
            "beta: must be positive, got 0.0",
        ),
        (lambda: opt.regularised_optimum([0.5, 0.5], [0, 1, 2], 1.0), "rewards"),
        (lambda: opt.best_of_n([0.5, 0.5], [0, math.nan], 2), "rewards"),
        (lambda: opt.best_of_n([0.5, 0.5], [0, 1], 0), "n: need at least 1"),
        (lambda: opt.best_of_n_kl_bound(0), "n: need at least 1"),
        (lambda: opt.binary_best_of_n(1.0, 2), "p: "),
        (lambda: opt.kl_divergence([1.5, -0.5], [0.5, 0.5]), "p: "),
    ],
)
def test_bad_input_is_named(call, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        call()
