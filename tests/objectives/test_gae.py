"""GAE's identities to 1e-12, token rewards and value loss by hand, masks that have holes."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from rlvr_lab.objectives.gae import gae, token_rewards, whiten
from rlvr_lab.objectives.value_loss import explained_variance, value_loss

B, T = 5, 7
GENERATOR = torch.Generator().manual_seed(0)
REWARDS, VALUES = torch.randn(2, B, T, generator=GENERATOR, dtype=torch.float64)
LENGTHS = torch.tensor([7, 1, 4, 6, 2])
MASK = torch.arange(T) < LENGTHS[:, None]


def by_sum(rewards, values, gamma: float, lam: float) -> list[float]:
    """One answer, from the definition: Σ_l (γλ)^l·δ_{t+l}."""
    after = [*values[1:], 0.0]
    delta = [r + gamma * n - v for r, n, v in zip(rewards, after, values, strict=True)]
    return [
        sum((gamma * lam) ** k * d for k, d in enumerate(delta[t:])) for t in range(len(rewards))
    ]


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
def test_the_recursion_is_the_sum(gamma: float, lam: float) -> None:
    found = gae(REWARDS, VALUES, MASK, gamma, lam)
    for row, size in enumerate(LENGTHS.tolist()):
        r, v = REWARDS[row, :size].tolist(), VALUES[row, :size].tolist()
        expected = torch.tensor(by_sum(r, v, gamma, lam), dtype=torch.float64)
        torch.testing.assert_close(found[row, :size], expected, rtol=0, atol=1e-12)
        assert not found[row, size:].any()


def test_lambda_1_is_the_return_less_the_value_and_lambda_0_the_td_error() -> None:
    whole = torch.ones(B, T, dtype=torch.bool)
    powers = 0.9 ** torch.arange(T, dtype=torch.float64)
    returns = torch.stack([(REWARDS[:, t:] * powers[: T - t]).sum(1) for t in range(T)], dim=1)
    torch.testing.assert_close(
        gae(REWARDS, VALUES, whole, 0.9, 1.0), returns - VALUES, rtol=0, atol=1e-12
    )
    after = torch.cat([VALUES[:, 1:], torch.zeros(B, 1, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(
        gae(REWARDS, VALUES, whole, 0.9, 0.0), REWARDS + 0.9 * after - VALUES, rtol=0, atol=1e-12
    )


def test_gae_mixes_n_step_advantages() -> None:
    whole, gamma, lam = torch.ones(1, T, dtype=torch.bool), 0.9, 0.7
    r, v = REWARDS[:1], VALUES[:1]
    padded = torch.cat([v[0], torch.zeros(1, dtype=torch.float64)])
    for t in range(T):
        steps = []
        for n in range(1, T - t + 1):
            gained = sum(gamma**k * r[0, t + k] for k in range(n))
            steps.append(gained + gamma**n * padded[t + n] - v[0, t])
        mixed = sum((1 - lam) * lam ** (n - 1) * a for n, a in enumerate(steps[:-1], start=1))
        mixed = mixed + lam ** (len(steps) - 1) * steps[-1]
        assert float(gae(r, v, whole, gamma, lam)[0, t]) == pytest.approx(float(mixed), abs=1e-12)


def test_one_reward_at_the_end_without_discount_is_reward_less_value() -> None:
    rewards = torch.zeros(B, T, dtype=torch.float64)
    task = torch.randn(B, generator=GENERATOR, dtype=torch.float64)
    rewards[torch.arange(B), LENGTHS - 1] = task
    expected = torch.where(MASK, task[:, None] - VALUES, 0.0)
    torch.testing.assert_close(gae(rewards, VALUES, MASK, 1.0, 1.0), expected, rtol=0, atol=1e-12)


def test_tokens_of_the_environment_are_passed_over() -> None:
    """A forced first token, or one in the middle, is no action: its neighbours see each other."""
    holes = torch.tensor([[False, True, True, False, True]])
    r, v = REWARDS[:1, :5], VALUES[:1, :5]
    found = gae(r, v, holes, 0.9, 0.8)
    close = gae(r[:, [1, 2, 4]], v[:, [1, 2, 4]], torch.ones(1, 3, dtype=torch.bool), 0.9, 0.8)
    torch.testing.assert_close(found[:, [1, 2, 4]], close, rtol=0, atol=1e-14)
    assert not found[:, [0, 3]].any()


def test_padding_never_matters() -> None:
    poisoned = torch.where(MASK, VALUES, math.nan), torch.where(MASK, REWARDS, math.inf)
    torch.testing.assert_close(
        gae(poisoned[1], poisoned[0], MASK), gae(REWARDS, VALUES, MASK), rtol=0, atol=0
    )


def test_token_rewards_add_up_to_the_shaped_reward_and_the_task_comes_last() -> None:
    logprobs, ref = torch.randn(2, B, T, generator=GENERATOR)
    task = torch.arange(1.0, B + 1)
    found = token_rewards(task, logprobs, ref, MASK, kl_coef=0.3)
    plain = -0.3 * (logprobs - ref)
    for row, size in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(found[row, : size - 1], plain[row, : size - 1])
        assert float(found[row, size - 1]) == pytest.approx(float(plain[row, size - 1] + task[row]))
        assert not found[row, size:].any()
    clamped = token_rewards(task, logprobs, ref, MASK, kl_coef=0.3, clamp=True)
    assert bool((clamped <= found + 1e-6).all()) and bool((clamped < found - 1e-3).any())


@pytest.mark.parametrize("mu", [0.1, 1.0])
def test_clamping_overestimates_the_kl_by_this_much(mu: float) -> None:
    """E[max(Z, 0)] = s·φ(m/s) + m·Φ(m/s), as in the cell of notebook 05."""
    kl, unit = mu**2 / 2, NormalDist()
    ratios = torch.from_numpy(np.random.default_rng(0).normal(kl, mu, (1000, 1000))).float()
    mask = torch.ones_like(ratios).bool()
    shaped = token_rewards(torch.zeros(1000), ratios, 0 * ratios, mask, 1.0, clamp=True)
    exact = mu * unit.pdf(mu / 2) + kl * unit.cdf(mu / 2)
    assert -float(shaped.mean()) == pytest.approx(exact, rel=3e-3)
    assert exact > kl


def test_whitening_ignores_padding_and_keeps_the_mean_when_asked() -> None:
    poisoned = torch.where(MASK, REWARDS, 1e6)
    found = whiten(poisoned, MASK)
    assert float(found[MASK].mean()) == pytest.approx(0, abs=1e-12)
    assert float(found[MASK].var(correction=0)) == pytest.approx(1, abs=1e-6)
    kept = whiten(REWARDS, MASK, shift_mean=False)
    assert float(kept[MASK].mean()) == pytest.approx(float(REWARDS[MASK].mean()), abs=1e-12)
    assert not found[~MASK].any() and not kept[~MASK].any()


def test_the_value_loss_takes_the_larger_error_and_stops_the_gradient_outside() -> None:
    one = torch.ones(1, 1, dtype=torch.bool)
    for value, old, target, loss, slope in (
        (0.5, 0.0, 2.0, 0.5 * 1.8**2, 0.0),  # moved too far in the right direction: no more pull
        (0.1, 0.0, 2.0, 0.5 * 1.9**2, -1.9),  # inside the clip: the plain error
        (-0.5, 0.0, 2.0, 0.5 * 2.5**2, -2.5),  # too far in the wrong direction: pulled back
    ):
        v = torch.tensor([[value]], requires_grad=True)
        found = value_loss(v, torch.tensor([[old]]), torch.tensor([[target]]), one, clip=0.2)
        (gradient,) = torch.autograd.grad(found, v)
        assert (found.item(), gradient.item()) == pytest.approx((loss, slope), abs=1e-6)
    plain = value_loss(VALUES, REWARDS, REWARDS, MASK, clip=None)
    assert float(plain) == pytest.approx(float(0.5 * (VALUES - REWARDS)[MASK].square().mean()))


def test_explained_variance() -> None:
    assert explained_variance(REWARDS, REWARDS, MASK) == 1.0
    assert explained_variance(torch.zeros_like(REWARDS), REWARDS, MASK) == pytest.approx(0.0)
    assert explained_variance(-REWARDS, REWARDS, MASK) < 0
    assert math.isnan(explained_variance(VALUES, torch.ones_like(REWARDS), MASK))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: gae(REWARDS, VALUES, MASK, gamma=1.1), "gamma: must lie in"),
        (lambda: gae(REWARDS, VALUES, MASK, lam=-0.1), "lam: must lie in"),
        (lambda: token_rewards(REWARDS[:, 0], VALUES, VALUES, MASK, -1.0), "kl_coef"),
        (lambda: token_rewards(REWARDS[:, 0], VALUES, VALUES, MASK & False, 1.0), "mask"),
        (lambda: value_loss(VALUES, VALUES, VALUES, MASK, clip=0.0), "clip"),
    ],
)
def test_bad_input_is_named(call, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        call()


# ------------------------------------------------------------------------- what no example above asks


def test_advantages_carry_no_gradient_to_policy_or_values():
    mask = torch.tensor([[True, True, True], [True, False, True]])
    leaf = torch.rand(2, 3, requires_grad=True)
    rewards = token_rewards(torch.ones(2), leaf, -leaf, mask, kl_coef=0.5)
    assert not rewards.requires_grad
    assert not gae(rewards, leaf, mask, gamma=0.9, lam=0.8).requires_grad


def test_a_clamped_penalty_is_the_log_ratio_where_it_is_positive_and_0_elsewhere():
    mask = torch.ones(1, 4).bool()
    ratio = torch.tensor([[0.5, -0.5, 2.0, -2.0]])
    zero = torch.zeros(1, 4)
    found = token_rewards(torch.tensor([3.0]), ratio, zero, mask, kl_coef=0.1, clamp=True)
    torch.testing.assert_close(found, torch.tensor([[-0.05, 0.0, -0.2, 3.0]]))


def test_one_row_without_a_token_is_refused_and_a_column_without_one_is_not():
    zero = torch.zeros(2, 2)
    with pytest.raises(ValueError, match="mask: every row"):
        token_rewards(torch.ones(2), zero, zero, torch.tensor([[True, True], [False, False]]), 0.1)
    column = torch.tensor([[True, False], [True, False]])
    assert token_rewards(torch.ones(2), zero, zero, column, 0.1).tolist() == [[1.0, 0.0]] * 2
