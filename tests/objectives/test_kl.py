"""KL estimators on a small categorical: every expectation is a finite sum."""

import math

import numpy as np
import pytest
import torch

from rlvr_lab.objectives.averages import token_mean
from rlvr_lab.objectives.kl import (
    entropy,
    entropy_bonus,
    exact_kl,
    k1,
    k2,
    k3,
    kl_penalty,
    kl_shaped_rewards,
)

RNG = np.random.default_rng(0)
THETA = RNG.normal(size=6)
PI = np.exp(THETA) / np.exp(THETA).sum()
REF = RNG.dirichlet(np.ones(6) * 3)
BEHAVIOUR = RNG.dirichlet(np.ones(6) * 3)
FORWARD, REVERSE = (REF * np.log(REF / PI)).sum(), (PI * np.log(PI / REF)).sum()
GRAD_REVERSE = PI * (np.log(PI / REF) - REVERSE)  # ∇_θ KL(π‖ref), by hand
GRAD_FORWARD = PI - REF  # ∇_θ KL(ref‖π), by hand


def rho_k3(logprobs, ref_logprobs, sampler=None):
    """k3 times the importance ratio against the distribution that drew the tokens."""
    base = logprobs.detach() if sampler is None else sampler
    return torch.exp(logprobs - base) * k3(logprobs, ref_logprobs)


def expectation(estimator, sampler: np.ndarray = PI) -> tuple[float, np.ndarray]:
    """(E[value], E[gradient]) over the six outcomes; the weights carry no gradient."""
    theta = torch.tensor(THETA, requires_grad=True)
    values = estimator(theta.log_softmax(0), torch.tensor(np.log(REF)))
    weighted = (torch.tensor(sampler) * values).sum()
    (gradient,) = torch.autograd.grad(weighted, theta)
    return weighted.item(), gradient.numpy()


def test_the_hand_gradients_are_gradients():
    def reverse(theta):
        pi = np.exp(theta) / np.exp(theta).sum()
        return (pi * np.log(pi / REF)).sum()

    def forward(theta):
        pi = np.exp(theta) / np.exp(theta).sum()
        return (REF * np.log(REF / pi)).sum()

    step = 1e-6 * np.eye(6)
    for function, gradient in ((reverse, GRAD_REVERSE), (forward, GRAD_FORWARD)):
        numeric = [(function(THETA + h) - function(THETA - h)) / 2e-6 for h in step]
        np.testing.assert_allclose(numeric, gradient, atol=1e-9)
    assert np.abs(GRAD_REVERSE - GRAD_FORWARD).max() > 0.02  # the tests below can tell them apart


@pytest.mark.parametrize("estimator", [k1, k3, rho_k3])
def test_k1_and_k3_are_unbiased_values_of_the_reverse_kl(estimator):
    value, _ = expectation(estimator)
    assert value == pytest.approx(REVERSE, abs=1e-14)
    assert abs(value - FORWARD) > 0.005


def test_k2_is_biased():
    value, _ = expectation(k2)
    assert value == pytest.approx(0.5 * (PI * np.log(PI / REF) ** 2).sum(), abs=1e-14)
    assert abs(value - REVERSE) > 0.005


@pytest.mark.parametrize(
    ("estimator", "gradient"),
    [
        (k1, np.zeros(6)),
        (k2, GRAD_REVERSE),
        (k3, GRAD_FORWARD),
        (rho_k3, GRAD_REVERSE),
    ],
    ids=["k1: 0", "k2: reverse", "k3: forward", "ratio times k3: reverse"],
)
def test_expected_gradient_as_a_loss(estimator, gradient):
    np.testing.assert_allclose(expectation(estimator)[1], gradient, atol=1e-10)


def test_k3_off_policy_needs_the_ratio():
    log_behaviour = torch.tensor(np.log(BEHAVIOUR))
    value, gradient = expectation(lambda p, q: rho_k3(p, q, log_behaviour), sampler=BEHAVIOUR)
    assert value == pytest.approx(REVERSE, abs=1e-14)
    np.testing.assert_allclose(gradient, GRAD_REVERSE, atol=1e-10)
    plain, _ = expectation(k3, sampler=BEHAVIOUR)
    assert abs(plain - REVERSE) > 0.005


def test_k1_in_the_reward_has_the_reverse_gradient():
    score = np.eye(6) - PI  # ∇ log π of each outcome
    gradient = ((PI * np.log(PI / REF))[:, None] * score).sum(axis=0)
    np.testing.assert_allclose(gradient, GRAD_REVERSE, atol=1e-12)


@pytest.mark.parametrize("mu", [0.1, 1.0])
def test_two_unit_normals(mu):
    # Quadrature over x ~ N(0, 1) = π, reference N(mu, 1): KL = mu²/2.
    x, weight = np.polynomial.hermite_e.hermegauss(60)
    x, weight = torch.tensor(x), torch.tensor(weight / math.sqrt(2 * math.pi))
    logp, logq = -0.5 * x**2, -0.5 * (x - mu) ** 2
    kl = mu**2 / 2
    mean = {f: (weight * f(logp, logq)).sum().item() for f in (k1, k2, k3)}
    std = {
        f: math.sqrt((weight * (f(logp, logq) - mean[f]) ** 2).sum().item()) for f in (k1, k2, k3)
    }
    assert mean[k1] == pytest.approx(kl, rel=1e-10)
    assert mean[k2] == pytest.approx(kl * (1 + mu**2 / 4), rel=1e-10)
    assert mean[k3] == pytest.approx(kl, rel=1e-10)
    assert std[k1] == pytest.approx(mu, rel=1e-10)
    assert std[k3] == pytest.approx(math.sqrt(math.exp(mu**2) - 1 - mu**2), rel=1e-8)
    expected = {0.1: (20, 1.4177, 1.4166), 1.0: (2, 1.7321, 1.695)}[mu]
    assert [std[f] / kl for f in (k1, k2, k3)] == pytest.approx(expected, rel=1e-4)


def test_hand_values_and_signs():
    logp, logq = torch.tensor([-1.0, -1.0]).double(), torch.tensor([-3.0, -0.5]).double()
    assert k1(logp, logq).tolist() == [2.0, -0.5]
    assert k2(logp, logq).tolist() == [2.0, 0.125]
    expected = [math.exp(-2) + 1, math.exp(0.5) - 1.5]
    assert k3(logp, logq).tolist() == pytest.approx(expected, abs=1e-15)
    assert (k3(logp, logq) >= 0).all() and (k2(logp, logq) >= 0).all()


def test_k3_keeps_its_digits_near_zero():
    difference = torch.tensor([1e-6], dtype=torch.float64)
    assert k3(difference, torch.zeros(1).double()).item() == pytest.approx(5e-13, rel=1e-3)


@pytest.mark.parametrize("function", [k1, k2, k3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shape_are_kept(function, dtype):
    x = torch.randn(2, 3, 4).to(dtype)
    out = function(x, x + 0.1)
    assert out.dtype == dtype and out.shape == x.shape
    assert exact_kl(x, x + 0.1).dtype == dtype and exact_kl(x, x + 0.1).shape == (2, 3)


# ----------------------------------------------------------------------------------------- exact_kl


def test_exact_kl_value_gradient_and_direction():
    theta = torch.tensor(THETA, requires_grad=True)
    ref = torch.tensor(np.log(REF) + 3.0, requires_grad=True)  # logits, not log-probabilities
    value = exact_kl(theta, ref)
    value.backward()
    assert value.item() == pytest.approx(REVERSE, abs=1e-14)
    np.testing.assert_allclose(theta.grad.numpy(), GRAD_REVERSE, atol=1e-14)
    np.testing.assert_allclose(ref.grad.numpy(), REF - PI, atol=1e-14)
    assert exact_kl(ref, theta).item() == pytest.approx(FORWARD, abs=1e-14)


def test_exact_kl_equals_loop_over_the_vocabulary():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    out = exact_kl(a, b)
    for i in range(2):
        for t in range(3):
            x, y = a[i, t].tolist(), b[i, t].tolist()
            za, zb = sum(map(math.exp, x)), sum(map(math.exp, y))
            expected = sum(
                math.exp(u) / za * (u - math.log(za) - v + math.log(zb))
                for u, v in zip(x, y, strict=True)
            )
            assert out[i, t].item() == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("in_reference", [False, True])
def test_forbidden_tokens_leave_value_and_gradient_finite(in_reference):
    inf = math.inf
    logits = torch.tensor([0.3, -0.2, -inf], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor([0.1, 0.4, -inf if in_reference else 0.0], dtype=torch.float64)
    value = exact_kl(logits, ref)
    (gradient,) = torch.autograd.grad(value, logits)
    p = np.exp([0.3, -0.2]) / np.exp([0.3, -0.2]).sum()
    q = np.exp([0.1, 0.4]) / (np.exp([0.1, 0.4]).sum() + (0 if in_reference else 1))
    kl = (p * np.log(p / q)).sum()
    assert value.item() == pytest.approx(kl, abs=1e-15)
    np.testing.assert_allclose(gradient.numpy(), [*(p * (np.log(p / q) - kl)), 0], atol=1e-15)


def test_a_token_that_only_the_reference_forbids_costs_infinity():
    value = exact_kl(torch.zeros(2), torch.tensor([0.0, -math.inf]))
    assert value.item() == math.inf


# ------------------------------------------------------------- as a loss, as a reward; the entropy

LOGPROBS, REFERENCE = torch.tensor([[-1.0, -2.0, -9.0], [-0.5, -1.5, -2.5]]), torch.full((2, 3), -1)
MASK = torch.tensor([[True, True, False], [True, True, True]])


def test_the_penalty_is_beta_times_the_average_of_ratio_times_estimate():
    logprobs, reference = LOGPROBS.double(), REFERENCE.double()
    ratio = torch.tensor([[2.0, 0.5, 7.0], [1.0, 3.0, 0.25]], dtype=torch.float64)
    estimate = (reference - logprobs).exp() - 1 - (reference - logprobs)
    for weight, given in ((ratio, ratio), (torch.ones_like(ratio), None)):
        expected = 0.3 * float((weight * estimate)[MASK].mean())
        found = kl_penalty(logprobs, reference, MASK, 0.3, token_mean, k3, given)
        assert float(found) == pytest.approx(expected, abs=1e-12)


def test_each_answer_pays_for_its_own_kl():
    rewards = torch.tensor([1.0, 2.0], dtype=torch.float64)
    found = kl_shaped_rewards(rewards, LOGPROBS.double(), REFERENCE.double(), MASK, 0.5)
    assert found.tolist() == pytest.approx([1 + 0.5 * 1.0, 2 + 0.5 * 1.5], abs=1e-12)


def test_the_entropy_is_that_of_each_row_and_forbidden_tokens_add_nothing():
    logits = torch.tensor([[0.0, 0.0, -math.inf], [0.0, 0.0, 0.0], [5.0, -math.inf, -math.inf]])
    expected = torch.tensor([math.log(2), math.log(3), 0.0])
    torch.testing.assert_close(entropy(logits), expected)
    torch.testing.assert_close(entropy(logits[:, None]), expected[:, None])


def test_an_entropy_bonus_counts_trained_tokens_alike_and_no_padding():
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, False, False], [True, True, True]])
    given = logits.masked_fill(~mask[..., None], 0.0)  # padding would have the largest entropy
    p = logits.detach().softmax(-1)
    each = -(p * p.log()).sum(-1)
    value = entropy_bonus(given, mask, 0.5)
    assert float(value) == pytest.approx(0.5 * float(each[mask].mean()), abs=1e-12)
    (slope,) = torch.autograd.grad(value, logits)
    expected = -p * (p.log() + each[..., None]) * 0.5 / 4
    torch.testing.assert_close(slope, expected * mask[..., None])


def test_an_entropy_bonus_of_no_weight_reads_nothing_and_a_negative_one_is_refused():
    mask = torch.ones(1, 2).bool()
    assert float(entropy_bonus(None, mask, 0.0)) == 0
    with pytest.raises(ValueError, match=r"^entropy_coef: must not be negative"):
        entropy_bonus(torch.zeros(1, 2, 3), mask, -0.1)
    with pytest.raises(ValueError, match=r"^logits: needed"):
        entropy_bonus(None, mask, 0.1)


def test_a_reward_with_a_kl_in_it_is_a_number_and_its_weight_not_negative():
    one, mask = torch.ones(1, 2), torch.ones(1, 2).bool()
    logprobs = (-one).requires_grad_()
    shaped = kl_shaped_rewards(torch.tensor([1.0]), logprobs, -1.5 * one, mask, 0.1)
    assert not shaped.requires_grad
    with pytest.raises(ValueError, match=r"kl_coef: β must not be negative, got -0\.5"):
        kl_shaped_rewards(torch.tensor([1.0]), -one, -one, mask, -0.5)
