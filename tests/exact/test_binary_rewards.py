"""Exact expectations against brute force: every ordered group, the real losses, and closed forms."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch

from rlvr_lab.exact import binary_rewards
from rlvr_lab.exact.binary_rewards import exact_group_advantages, length_drift, two_stage_gradient
from rlvr_lab.objectives.advantages import (
    group_advantages,
    leave_one_out_advantages,
    maxrl_advantages,
)
from rlvr_lab.objectives.averages import constant_mean, sequence_mean, token_mean
from rlvr_lab.objectives.losses import (
    cispo_loss,
    dapo_loss,
    dr_grpo_loss,
    grpo_loss,
    reinforce_loss,
    rloo_loss,
)

CENTRED = partial(exact_group_advantages, divide_by_std=False)
GRID = np.array([0.01, 0.05, 0.1, 0.25, 0.4, 0.5])
AVERAGES = {"sequence": sequence_mean, "token": token_mean, "constant": constant_mean(100)}


def binomial(p: float, n: int) -> list[float]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


# -------------------------------------------------------------------------------------- multipliers

RECORDED = {  # p: multipliers for G = 2, 4, 8, 16, 64, 256 and the limit, computed beforehand
    0.01: [1.0, 1.7275, 2.6089, 3.7330, 6.7362, 9.3112, 10.0504],
    0.05: [1.0, 1.7100, 2.4731, 3.2671, 4.3364, 4.5394, 4.5883],
    0.1: [1.0, 1.6903, 2.3277, 2.8478, 3.2548, 3.3150, 3.3333],
    0.25: [1.0, 1.6450, 2.0261, 2.1979, 2.2848, 2.3034, 2.3094],
    0.5: [1.0, 1.6160, 1.8557, 1.9341, 1.9842, 1.9961, 2.0000],
}


@pytest.mark.parametrize("p", RECORDED)
def test_recorded_multipliers(p):
    found = [float(binary_rewards.std_multiplier(p, g)) for g in (2, 4, 8, 16, 64, 256)]
    assert [*found, float(binary_rewards.std_multiplier_limit(p))] == pytest.approx(
        RECORDED[p], abs=6e-5
    )


@pytest.mark.parametrize("group_size", [2, 3, 4, 8, 16, 33, 64])
def test_enumeration_equals_closed_form(group_size):
    p = np.concatenate([np.linspace(0.01, 0.5, 50), [0.9, 0.99]])
    found = binary_rewards.std_multiplier(p, group_size)
    share = [k / group_size for k in range(group_size + 1)]
    for x, m in zip(p, found, strict=True):
        mean_std = math.fsum(
            w * math.sqrt(s * (1 - s)) for w, s in zip(binomial(x, group_size), share, strict=True)
        )
        assert m == pytest.approx(mean_std / (x * (1 - x)), abs=1e-10)
    np.testing.assert_allclose(
        found, binary_rewards.std_multiplier_closed_form(p, group_size), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("p", [0.1, 0.37, 0.5])
def test_multiplier_equals_brute_force_over_ordered_groups(p):
    theta = math.log(p / (1 - p))
    for group_size in (2, 3, 5):
        total = 0.0
        for group in itertools.product((1.0, 0.0), repeat=group_size):
            mean = sum(group) / group_size
            std = math.sqrt(sum((r - mean) ** 2 for r in group) / group_size)
            if std == 0:
                continue
            chance = math.prod(p if r else 1 - p for r in group)
            score = [1 / (1 + math.exp(theta)) if r else -1 / (1 + math.exp(-theta)) for r in group]
            total += chance * sum(
                (r - mean) / std * s / group_size for r, s in zip(group, score, strict=True)
            )
        assert float(binary_rewards.logit_gradient(p, group_size)) == pytest.approx(
            total, abs=1e-14
        )
        expected = total / (p * (1 - p))
        assert float(binary_rewards.std_multiplier(p, group_size)) == pytest.approx(
            expected, abs=1e-13
        )


@pytest.mark.parametrize("group_size", [2, 3, 8, 16])
def test_multipliers_of_the_other_advantages(group_size):
    p = GRID
    np.testing.assert_allclose(
        binary_rewards.multiplier(p, group_size, CENTRED), (group_size - 1) / group_size, atol=1e-12
    )
    np.testing.assert_allclose(
        binary_rewards.multiplier(p, group_size, leave_one_out_advantages), 1, atol=1e-12
    )
    np.testing.assert_allclose(
        binary_rewards.multiplier(p, group_size, lambda r, g: r), 1, atol=1e-12
    )
    maxrl = partial(maxrl_advantages, eps=1e-300)
    np.testing.assert_allclose(
        binary_rewards.multiplier(p, group_size, maxrl),
        (1 - (1 - p) ** (group_size - 1)) / p,
        atol=1e-11,
    )

    def uncentred(rewards, size):
        groups = rewards.view(-1, size)
        return (groups / groups.mean(dim=1, keepdim=True).clamp(min=1e-300)).flatten()

    np.testing.assert_allclose(
        binary_rewards.multiplier(p, group_size, uncentred),
        (1 - (1 - p) ** group_size) / p,
        atol=1e-11,
    )


def test_properties_of_the_std_multiplier():
    np.testing.assert_allclose(binary_rewards.std_multiplier(GRID, 2), 1, atol=1e-14)
    for group_size in (4, 16):
        m = binary_rewards.std_multiplier(GRID, group_size)
        mirrored = binary_rewards.std_multiplier(1 - GRID, group_size)
        np.testing.assert_allclose(m, mirrored, rtol=1e-12)
        assert (m[:-1] > m[1:]).all()  # rarer is heavier …
        assert (m < math.sqrt(group_size - 1)).all()  # … up to √(G − 1)
        assert (m < binary_rewards.std_multiplier_limit(GRID)).all()
        rare = float(binary_rewards.std_multiplier(1e-9, group_size))
        assert rare == pytest.approx(math.sqrt(group_size - 1), rel=1e-7)
        sample = binary_rewards.std_multiplier(GRID, group_size, ddof=1)
        np.testing.assert_allclose(sample, m * math.sqrt((group_size - 1) / group_size), rtol=1e-12)
    np.testing.assert_allclose(
        binary_rewards.std_multiplier_limit(GRID), [1 / math.sqrt(p * (1 - p)) for p in GRID]
    )


def test_the_limit_is_the_slope_of_two_arcsin_sqrt():
    for p in GRID:
        slope = (math.asin(math.sqrt(p + 1e-6)) - math.asin(math.sqrt(p - 1e-6))) / 1e-6
        assert float(binary_rewards.std_multiplier_limit(p)) == pytest.approx(slope, rel=1e-6)


def test_zero_spread_probability():
    assert float(binary_rewards.zero_spread_probability(0.1, 8)) == pytest.approx(0.4305, abs=5e-5)
    assert float(binary_rewards.zero_spread_probability(0.5, 8)) == pytest.approx(0.0078, abs=5e-5)
    assert float(binary_rewards.zero_spread_probability(0.01, 16)) == pytest.approx(
        0.8515, abs=5e-5
    )
    found = binary_rewards.zero_spread_probability(GRID, 4)
    for p, chance in zip(GRID, found, strict=True):
        same = sum(
            math.prod(p if r else 1 - p for r in group)
            for group in itertools.product((0, 1), repeat=4)
            if len(set(group)) == 1
        )
        assert chance == pytest.approx(same, abs=1e-15)
    assert binary_rewards.zero_spread_probability([0.0, 1.0], 4).tolist() == [1.0, 1.0]


def test_exact_group_advantages_are_the_trainer_s_but_for_eps():
    rewards = torch.tensor([1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(
        exact_group_advantages(rewards, 4), group_advantages(rewards, 4), rtol=1e-5, atol=0
    )
    assert exact_group_advantages(rewards[4:6].repeat(2), 4).tolist() == [0.0] * 4
    torch.testing.assert_close(
        exact_group_advantages(rewards, 4, ddof=1),
        group_advantages(rewards, 4, ddof=1),
        rtol=1e-5,
        atol=0,
    )
    assert torch.equal(CENTRED(rewards, 4), group_advantages(rewards, 4, divide_by_std=False))


# ------------------------------------------------------------------------------------ two-stage toy


@pytest.mark.parametrize(
    ("average", "group_size", "wrong", "digits"),
    [
        ("sequence", 2, 0.0054, 5e-7),
        ("sequence", 4, 0.00875, 5e-6),
        ("sequence", 6, 0.00975, 5e-6),
        ("token", 2, 0.0027, 5e-7),
        ("token", 4, 0.00153, 5e-6),
        ("token", 6, 0.000868, 5e-7),
    ],
)
def test_recorded_gradients_of_the_toy(average, group_size, wrong, digits):
    right, found = two_stage_gradient(0.4, group_size, AVERAGES[average])
    assert float(found) == pytest.approx(wrong, abs=digits)
    assert float(right) == pytest.approx(-wrong, abs=digits)


@pytest.mark.parametrize("advantage", [exact_group_advantages, CENTRED, leave_one_out_advantages])
@pytest.mark.parametrize("group_size", [2, 4, 6, 16])
def test_the_constant_average_has_no_drift(advantage, group_size):
    for chances in ((0.5, 0.5), (0.2, 0.9)):
        toy = (AVERAGES["constant"], advantage, 10, 100, *chances)
        for gradient in two_stage_gradient(GRID, group_size, *toy):
            assert np.abs(gradient).max() <= 1e-15
        assert np.abs(length_drift(GRID, group_size, *toy)).max() <= 1e-12


def brute_force(
    p: float, pi_r: float, pi_w: float, group_size: int, short: int, long: int, loss, advantage
) -> list[float]:
    """−E[∂loss/∂θ] by autograd through a real loss, over all 4^G ordered groups."""
    theta = torch.tensor(
        [math.log(pi / (1 - pi)) for pi in (pi_r, pi_w)], dtype=torch.float64, requires_grad=True
    )
    total = torch.zeros(2, dtype=torch.float64)
    for group in itertools.product(itertools.product((1, 0), (1, 0)), repeat=group_size):
        chance = 1.0
        for right, is_long in group:
            pi = pi_r if right else pi_w
            chance *= (p if right else 1 - p) * (pi if is_long else 1 - pi)
        rewards = torch.tensor([float(right) for right, _ in group], dtype=torch.float64)
        lengths = torch.tensor([long if is_long else short for _, is_long in group])
        mask = torch.arange(long) < lengths[:, None]
        choice = torch.stack(
            [
                torch.nn.functional.logsigmoid(theta[1 - right] * (1 if is_long else -1))
                for right, is_long in group
            ]
        )
        logprobs = torch.cat(
            [choice[:, None], torch.zeros(group_size, long - 1, dtype=torch.float64)], dim=1
        )
        value = loss(logprobs, advantage(rewards, group_size), mask)
        total -= chance * torch.autograd.grad(value, theta)[0]
    return total.tolist()


REAL = {  # name: (the real loss, average, advantage)
    "grpo": (lambda x, a, m: grpo_loss(x, x.detach(), a, m), sequence_mean, exact_group_advantages),
    "dapo": (lambda x, a, m: dapo_loss(x, x.detach(), a, m), token_mean, exact_group_advantages),
    "cispo": (lambda x, a, m: cispo_loss(x, x.detach(), a, m), token_mean, exact_group_advantages),
    "dr-grpo": (lambda x, a, m: dr_grpo_loss(x, x.detach(), a, m, 9), constant_mean(9), CENTRED),
    "rloo": (rloo_loss, constant_mean(1), leave_one_out_advantages),
    "rewards": (reinforce_loss, sequence_mean, lambda r, g: r),  # not centred: sums are not 0
    "one toggle": (lambda x, a, m: grpo_loss(x, x.detach(), a, m), sequence_mean, CENTRED),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("group_size", [2, 3])
def test_the_toy_equals_autograd_through_the_real_loss_over_every_group(name, group_size):
    loss, average, advantage = REAL[name]
    p, pi_r, pi_w, short, long = 0.35, 0.3, 0.8, 2, 5
    expected = brute_force(p, pi_r, pi_w, group_size, short, long, loss, advantage)
    found = two_stage_gradient(p, group_size, average, advantage, short, long, pi_r, pi_w)
    assert [float(g) for g in found] == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("group_size", [2, 5, 16])
def test_closed_form_of_both_gradients_under_the_sequence_mean(group_size):
    p, pi_r, pi_w, short, long = 0.3, 0.2, 0.7, 3, 40
    for advantage in (exact_group_advantages, CENTRED):
        m = float(binary_rewards.multiplier(p, group_size, advantage))
        push = p * (1 - p) * m * (1 / short - 1 / long)
        found = two_stage_gradient(p, group_size, sequence_mean, advantage, short, long, pi_r, pi_w)
        expected = [-push * pi_r * (1 - pi_r), push * pi_w * (1 - pi_w)]
        assert [float(g) for g in found] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("group_size", [2, 4, 6, 16])
def test_closed_form_of_the_token_mean_residue(group_size):
    # With one π for both states the other lengths S are independent of the outcomes:
    # g = ∓ π(1−π) · G · E[std] · E_S[1/(L_s + S) − 1/(L_l + S)],  S over G − 1 answers.
    p, pi, short, long = 0.4, 0.3, 10, 100
    std = sum(
        w * math.sqrt(k * (group_size - k)) / group_size
        for k, w in enumerate(binomial(p, group_size))
    )
    gap = 0.0
    for count, chance in enumerate(binomial(pi, group_size - 1)):
        others = count * long + (group_size - 1 - count) * short
        gap += chance * (1 / (short + others) - 1 / (long + others))
    expected = pi * (1 - pi) * group_size * std * gap
    right, wrong = two_stage_gradient(p, group_size, token_mean, long_right=pi, long_wrong=pi)
    assert [float(right), float(wrong)] == pytest.approx([-expected, expected], abs=1e-15)


def test_the_token_mean_residue_is_of_order_one_over_g():
    residue = [float(two_stage_gradient(0.5, g, token_mean)[1]) * g for g in (16, 32, 64)]
    # g · G → π(1−π) · √(p(1−p)) · (L_l − L_s)/mean²
    limit = 0.25 * 0.5 * 90 / 55**2
    assert abs(residue[2] - limit) < abs(residue[1] - limit) < abs(residue[0] - limit)
    assert residue[2] == pytest.approx(limit, rel=0.03)


def test_arrays_broadcast_and_equal_single_calls():
    p = np.array([0.1, 0.6])[:, None]
    pi_r, pi_w = np.array([0.2, 0.5, 0.9]), 0.4
    found = two_stage_gradient(p, 4, token_mean, long_right=pi_r, long_wrong=pi_w)
    drift = length_drift(p, 4, token_mean, long_right=pi_r, long_wrong=pi_w)
    assert found[0].shape == found[1].shape == drift.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        toy = {"long_right": pi_r[j], "long_wrong": pi_w}
        single = two_stage_gradient(p[i, 0], 4, token_mean, **toy)
        assert [found[0][i, j], found[1][i, j]] == pytest.approx([float(g) for g in single])
        alone = float(length_drift(p[i, 0], 4, token_mean, **toy))
        assert drift[i, j] == pytest.approx(alone, abs=1e-15)


# ------------------------------------------------------------------------------------ length drift


def mean_length(p: float, theta: list[float], short: int = 10, long: int = 100) -> float:
    right, wrong = (1 / (1 + math.exp(-t)) for t in theta)
    return short + (long - short) * (p * right + (1 - p) * wrong)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("shared", [False, True])
def test_drift_is_the_slope_of_the_mean_length(average, shared):
    pi_r, pi_w = (0.3, 0.3) if shared else (0.3, 0.8)
    for p in (0.1, 0.5, 0.7):
        toy = {"long_right": pi_r, "long_wrong": pi_w}
        step = [float(g) for g in two_stage_gradient(p, 5, AVERAGES[average], **toy)]
        if shared:
            step = [sum(step)] * 2
        theta = [math.log(pi / (1 - pi)) for pi in (pi_r, pi_w)]
        ends = [
            mean_length(p, [t + eta * g for t, g in zip(theta, step, strict=True)])
            for eta in (1e-4, -1e-4)
        ]
        found = float(length_drift(p, 5, AVERAGES[average], shared=shared, **toy))
        assert found == pytest.approx((ends[0] - ends[1]) / 2e-4, abs=1e-8)


@pytest.mark.parametrize("group_size", [2, 4, 16])
@pytest.mark.parametrize("pi", [0.5, 0.2])
def test_drift_follows_its_law(group_size, pi):
    p = np.linspace(0, 1, 21)
    toy = {"long_right": pi, "long_wrong": pi}
    found = length_drift(p, group_size, **toy)
    gap = 90 * (1 / 10 - 1 / 100) * (pi * (1 - pi)) ** 2
    for x, drift in zip(p, found, strict=True):
        std = sum(
            w * math.sqrt(k * (group_size - k)) / group_size
            for k, w in enumerate(binomial(x, group_size))
        )
        assert drift == pytest.approx(gap * std * (1 - 2 * x), abs=1e-10)
    np.testing.assert_allclose(
        binary_rewards.length_drift_closed_form(p, group_size, pi=pi), found, rtol=0, atol=1e-10
    )
    centred = length_drift(p, group_size, advantage=CENTRED, **toy)
    expected = gap * p * (1 - p) * (group_size - 1) / group_size * (1 - 2 * p)
    np.testing.assert_allclose(centred, expected, rtol=0, atol=1e-10)


def test_drift_in_the_limit_of_large_groups():
    p = np.linspace(0.05, 0.95, 19)
    limit = binary_rewards.length_drift_closed_form(p, None)
    expected = 90 * 0.09 / 16 * np.sqrt(p * (1 - p)) * (1 - 2 * p)
    np.testing.assert_allclose(limit, expected, atol=1e-14)
    errors = [
        np.abs(binary_rewards.length_drift_closed_form(p, g) - limit).max()
        for g in (16, 64, 256, 1000)
    ]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 3e-3 * np.abs(limit).max()


@pytest.mark.parametrize("advantage", [exact_group_advantages, CENTRED])
@pytest.mark.parametrize("average", ["sequence", "token"])
def test_sign_and_symmetry_of_the_drift(average, advantage):
    p = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    found = length_drift(p, 6, AVERAGES[average], advantage)
    assert (found[:2] > 0).all() and abs(found[2]) < 1e-15 and (found[3:] < 0).all()
    np.testing.assert_allclose(found, -found[::-1], atol=1e-15)


@pytest.mark.parametrize("average", AVERAGES)
def test_a_length_independent_of_the_outcome_does_not_drift(average):
    for pi in (0.5, 0.15):
        toy = {"long_right": pi, "long_wrong": pi, "shared": True}
        assert np.abs(length_drift(GRID, 6, AVERAGES[average], **toy)).max() < 1e-14
    # … because the advantages of a group sum to zero: raw rewards do move it.
    raw = length_drift(0.4, 6, sequence_mean, lambda r, g: r, shared=True)
    assert raw < -0.1


def test_nothing_moves_when_every_group_agrees_or_the_choice_is_settled():
    assert length_drift([0.0, 1.0], 6).tolist() == [0.0, 0.0]
    assert length_drift(0.3, 6, long_right=[0.0, 1.0], long_wrong=[1.0, 0.0]).tolist() == [0, 0]


# --------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 1.1, math.nan, [0.5, 0.0]])
def test_pass_rates_outside_the_open_interval_are_refused(p):
    for function in (binary_rewards.std_multiplier, binary_rewards.std_multiplier_closed_form):
        with pytest.raises(ValueError, match="p: expected a probability in "):
            function(p, 4)
    with pytest.raises(ValueError, match="p: expected"):
        binary_rewards.std_multiplier_limit(p)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_chances_outside_the_closed_interval_are_refused(p):
    for function in (
        binary_rewards.zero_spread_probability,
        binary_rewards.logit_gradient,
        length_drift,
    ):
        with pytest.raises(ValueError, match="p: expected"):
            function(p, 4)
    with pytest.raises(ValueError, match="p: expected"):
        binary_rewards.length_drift_closed_form(p, 4)
    for name in ("long_right", "long_wrong"):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            two_stage_gradient(0.5, 4, **{name: p})


def test_other_refusals():
    for short, long in ((10, 10), (0, 5), (7, 3)):
        with pytest.raises(ValueError, match=f"short, long: .*{short} and {long}"):
            two_stage_gradient(0.5, 4, short=short, long=long)
    with pytest.raises(ValueError, match="long_right, long_wrong: must agree"):
        length_drift(0.5, 4, long_right=0.3, long_wrong=0.4, shared=True)
    with pytest.raises(ValueError, match="group_size"):
        binary_rewards.std_multiplier(0.5, 1)
