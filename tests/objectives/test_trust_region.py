"""Fisher products against explicit matrices, CG against a direct solve, line searches by hand."""

import inspect
import math

import pytest
import torch

from rlvr_lab.exact.oracle import World
from rlvr_lab.objectives.trust_region import (
    LineSearch,
    conjugate_gradient,
    fisher_product,
    flatten,
    line_search,
    move,
    trust_region_step,
)

D = 6


def softmax_policy(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    theta = torch.randn(D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return theta.requires_grad_(), theta.softmax(0).detach()


def kl_to(old: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    return (old * (old.log() - theta.log_softmax(0))).sum()


def test_the_product_is_the_fisher_matrix_of_a_softmax() -> None:
    theta, old = softmax_policy()
    explicit = old.diag() - old[:, None] * old
    product = fisher_product(kl_to(old, theta), [theta])
    found = torch.stack([product(e) for e in torch.eye(D, dtype=torch.float64)])
    torch.testing.assert_close(found, explicit, rtol=0, atol=1e-14)
    damped = fisher_product(kl_to(old, theta), [theta], damping=0.5)
    v = torch.arange(D, dtype=torch.float64)
    torch.testing.assert_close(damped(v), explicit @ v + 0.5 * v, rtol=0, atol=1e-13)


def test_the_hessian_of_the_kl_is_the_covariance_of_the_scores_of_a_language_model() -> None:
    world = World.tiny(0)
    old = world.answer_logprobs().detach()
    kl = (old.exp() * (old - world.answer_logprobs())).sum()
    scores = world.jacobian.sum(dim=1)  # ∇log π(y)
    fisher = (scores.T * old.exp()) @ scores
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        kl = (old.exp() * (old - world.answer_logprobs())).sum()
    product = fisher_product(kl, world.parameters)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        v = torch.randn(len(fisher), generator=generator, dtype=torch.float64)
        torch.testing.assert_close(product(v), fisher @ v, rtol=0, atol=1e-9)


def test_conjugate_gradient_solves_and_converges() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    matrix = root @ root.T + torch.eye(30, dtype=torch.float64)
    b = torch.randn(30, generator=generator, dtype=torch.float64)
    exact = torch.linalg.solve(matrix, b)
    errors = []
    for iterations in (1, 5, 15, 60):
        x = conjugate_gradient(lambda v: matrix @ v, b, iterations, tolerance=0.0)
        gap = x - exact
        errors.append(float(gap @ matrix @ gap))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-18
    asked = []
    conjugate_gradient(lambda v: asked.append(1) or matrix @ v, b, 60, tolerance=1e-3)
    assert len(asked) < 25


def test_the_natural_gradient_of_a_softmax_does_not_know_the_policy() -> None:
    rewards = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0, 1.5], dtype=torch.float64)
    for seed in range(3):
        theta, old = softmax_policy(seed)
        gradient = old * (rewards - old @ rewards)
        natural = conjugate_gradient(
            fisher_product(kl_to(old, theta), [theta]), gradient, 30, 1e-30
        )
        torch.testing.assert_close(
            natural - natural.mean(), rewards - rewards.mean(), rtol=0, atol=1e-8
        )


def test_a_step_reaches_its_kl_and_the_surrogate_grows() -> None:
    rewards = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0, 1.5], dtype=torch.float64)
    for max_kl in (1e-4, 1e-3):
        theta, old = softmax_policy(1)
        before = float((old @ rewards).detach())
        found = trust_region_step(
            [theta],
            lambda theta=theta: theta.softmax(0) @ rewards,
            lambda theta=theta, old=old: kl_to(old, theta),
            max_kl,
            damping=1e-6,
            iterations=D,
        )
        assert found.fraction in (1.0, 0.5) and 0.2 * max_kl < found.kl <= max_kl
        assert found.kl == pytest.approx(float(kl_to(old, theta).detach()), abs=1e-15)
        gain = float((theta.softmax(0) @ rewards).detach()) - before
        assert found.gain == pytest.approx(gain) and gain > 0


def test_a_rejected_step_leaves_the_parameters_bit_for_bit() -> None:
    theta, old = softmax_policy(2)
    start = theta.detach().clone()
    liar = iter([0.0, *[-1.0] * 20])  # promises a gradient, then gets worse everywhere
    found = trust_region_step(
        [theta], lambda: theta.softmax(0)[0] * 1e-3 + next(liar), lambda: kl_to(old, theta), 0.1
    )
    assert found == LineSearch(0.0, 0.0, 0.0)
    assert torch.equal(theta.detach(), start)


def test_without_a_gradient_there_is_no_step() -> None:
    theta, old = softmax_policy(3)
    found = trust_region_step([theta], lambda: 0 * theta.sum(), lambda: kl_to(old, theta), 0.1)
    assert found == LineSearch(0.0, 0.0, 0.0)
    assert found.fraction == 0.0


def test_a_line_search_takes_the_first_fraction_that_is_good() -> None:
    tried = []

    def evaluate(fraction: float) -> tuple[float, float]:
        tried.append(fraction)
        return (1.0 if fraction < 0.3 else -1.0), fraction

    assert line_search(evaluate, max_kl=0.2, shrink=0.5, tries=5) == LineSearch(0.125, 1.0, 0.125)
    assert tried == [1.0, 0.5, 0.25, 0.125], "0.25 improves but goes too far"
    assert line_search(lambda f: (math.nan, 0.0), 1.0).fraction == 0.0
    assert line_search(lambda f: (1.0, math.nan), 1.0).fraction == 0.0
    assert line_search(lambda f: (0.0, 0.0), 1.0).fraction == 0.0, (
        "standing still is no improvement"
    )


def test_flatten_and_move_agree_on_the_order() -> None:
    parameters = [torch.zeros(2, 3), torch.zeros(4)]
    move(parameters, torch.arange(10.0))
    assert torch.equal(flatten(parameters), torch.arange(10.0))
    with pytest.raises(ValueError, match="step: expected 10 entries, got 9"):
        move(parameters, torch.zeros(9))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: conjugate_gradient(lambda v: v, torch.ones(2), 0), "iterations"),
        (lambda: conjugate_gradient(lambda v: -v, torch.ones(2)), "product: not positive definite"),
        (lambda: line_search(lambda f: (1.0, 0.0), 0.0), "max_kl"),
        (lambda: line_search(lambda f: (1.0, 0.0), 0.1, shrink=1.0), "shrink"),
        (lambda: line_search(lambda f: (1.0, 0.0), 0.1, tries=0), "tries"),
        (lambda: fisher_product(torch.ones(()), [], -1.0), "damping"),
    ],
)
def test_bad_input_is_named(call, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        call()


def test_ten_steps_solve_ten_directions() -> None:
    curvature = torch.arange(1.0, 11.0).double()
    found = conjugate_gradient(lambda v: curvature * v, torch.ones(10).double(), tolerance=0.0)
    torch.testing.assert_close(found, 1 / curvature, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("tries", "power", "fraction"), [(10, 9, 0.5**9), (10, 10, 0.0), (1, 0, 1.0)]
)
def test_so_many_fractions_are_tried_and_no_more(tries: int, power: int, fraction: float) -> None:
    near_enough = 0.5**power
    found = line_search(lambda f: (1.0, 0.0 if f <= near_enough else 9.0), max_kl=1.0, tries=tries)
    assert found.fraction == fraction


def test_a_step_ends_at_the_fraction_that_was_found() -> None:
    """The surrogate rises only near the start, so that several fractions are tried."""
    theta = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    start = theta.detach().clone()
    found = trust_region_step(
        [theta],
        lambda: (theta - 30 * theta.square()).sum(),
        lambda: 0.5 * theta.square().sum(),
        max_kl=0.5,
        damping=0.0,
    )
    full = 1.0  # √(2δ/(gᵀF⁻¹g))·F⁻¹g with g = F = 1
    assert 0 < found.fraction < 0.1
    torch.testing.assert_close(theta.detach(), start + found.fraction * full)


def test_the_usual_settings_of_a_step() -> None:
    """Ten products and ten fractions, each half the one before (TRPO, appendix C)."""
    usual = {name: p.default for name, p in inspect.signature(trust_region_step).parameters.items()}
    assert usual["iterations"] == usual["tries"] == 10
    assert usual["damping"] == 0.1 and usual["shrink"] == 0.5
