"""Advantages against the statistics module, and their expected gradients by full enumeration."""

import inspect
import itertools
import math
import statistics

import numpy as np
import pytest
import torch

from rlvr_lab.objectives.advantages import (
    batch_advantages,
    group_advantages,
    leave_one_out_advantages,
    log_partition_advantages,
    maxrl_advantages,
    zero_spread_share,
)


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random_rewards(seed: int, groups: int = 3, group_size: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(groups * group_size, generator=generator, dtype=torch.float64)


def loop(name: str, rewards: list[float], group_size: int, eps: float) -> list[float]:
    """Advantages in plain Python, group by group."""
    out = []
    for start in range(0, len(rewards), group_size):
        group = rewards[start : start + group_size]
        mean = statistics.fmean(group)
        for i, r in enumerate(group):
            others = group[:i] + group[i + 1 :]
            out.append(
                {
                    "population": (r - mean) / (statistics.pstdev(group) + eps),
                    "sample": (r - mean) / (statistics.stdev(group) + eps),
                    "centred": r - mean,
                    "leave-one-out": r - sum(others) / len(others),
                    "maxrl": (r - mean) / (mean + eps),
                    "log Z": r - 0.3 * math.log(statistics.fmean(math.exp(x / 0.3) for x in group)),
                }[name]
            )
    return out


def compute(name: str, rewards: torch.Tensor, group_size: int, eps: float) -> torch.Tensor:
    return {
        "population": lambda: group_advantages(rewards, group_size, eps=eps),
        "sample": lambda: group_advantages(rewards, group_size, ddof=1, eps=eps),
        "centred": lambda: group_advantages(rewards, group_size, divide_by_std=False, eps=eps),
        "leave-one-out": lambda: leave_one_out_advantages(rewards, group_size),
        "maxrl": lambda: maxrl_advantages(rewards, group_size, eps=eps),
        "log Z": lambda: log_partition_advantages(rewards, group_size, 0.3),
    }[name]()


NAMES = ["population", "sample", "centred", "leave-one-out", "maxrl", "log Z"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # one right answer of four: mean 1/4, population std √3/4, sample std 1/2
        ("population", [math.sqrt(3), -1 / math.sqrt(3), -1 / math.sqrt(3), -1 / math.sqrt(3)]),
        ("sample", [1.5, -0.5, -0.5, -0.5]),
        ("centred", [0.75, -0.25, -0.25, -0.25]),
        ("leave-one-out", [1.0, -1 / 3, -1 / 3, -1 / 3]),
        ("maxrl", [3.0, -1.0, -1.0, -1.0]),
    ],
)
def test_hand_checkable_group(name, expected):
    advantages = compute(name, tensor([1.0, 0.0, 0.0, 0.0]), 4, eps=0.0)
    assert advantages.tolist() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("eps", [0.0, 1e-6, 1e-4])  # 1e-4 with the sample std is TRL's formula
def test_advantages_equal_loop(name, eps):
    rewards = random_rewards(0).abs()
    expected = loop(name, rewards.tolist(), 5, eps)
    assert compute(name, rewards, 5, eps).tolist() == pytest.approx(expected, rel=1e-12)


def test_defaults_are_population_std_and_a_small_eps():
    rewards = random_rewards(1)
    expected = loop("population", rewards.tolist(), 5, 1e-6)
    assert group_advantages(rewards, 5).tolist() == pytest.approx(expected, rel=1e-12)


def test_batch_advantages_ignore_groups():
    rewards = random_rewards(2)
    expected = loop("population", rewards.tolist(), len(rewards), 1e-6)
    assert batch_advantages(rewards).tolist() == pytest.approx(expected, rel=1e-12)
    hard_and_easy = tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    whole = batch_advantages(hard_and_easy)
    assert whole[:4].sum() < -1 and whole[4:].sum() > 1  # the prompt is not in the baseline


@pytest.mark.parametrize("name", [name for name in NAMES if name != "log Z"])
def test_advantages_sum_to_zero_in_every_group(name):
    sums = compute(name, random_rewards(3).abs(), 5, 1e-6).view(3, 5).sum(dim=1)
    assert sums.abs().max() < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_groups_are_contiguous_and_apart(name):
    rewards = random_rewards(4).abs()
    whole = compute(name, rewards, 5, 1e-6)
    alone = torch.cat([compute(name, rewards[i : i + 5], 5, 1e-6) for i in (0, 5, 10)])
    torch.testing.assert_close(whole, alone, rtol=1e-14, atol=1e-14)


def test_std_division_forgets_the_scale_and_centring_keeps_it():
    rewards = random_rewards(5)
    scaled = 7 * rewards + 3
    torch.testing.assert_close(
        group_advantages(scaled, 5, eps=0.0), group_advantages(rewards, 5, eps=0.0)
    )
    torch.testing.assert_close(
        group_advantages(scaled, 5, divide_by_std=False),
        7 * group_advantages(rewards, 5, divide_by_std=False),
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 1.1])
def test_zero_spread_teaches_exactly_nothing(name, dtype, value):
    rewards = torch.full((32,), value, dtype=dtype)
    for group_size in (3, 8, 16):
        rewards = torch.full((2 * group_size,), value, dtype=dtype)
        advantages = compute(name, rewards, group_size, 1e-6)
        tolerance = 1e-6 if name == "leave-one-out" else 0.0  # nothing amplifies its rounding
        assert advantages.abs().max() <= tolerance, (group_size, advantages)
    assert batch_advantages(rewards).abs().max() == 0


def test_a_group_without_spread_leaves_the_next_one_alone():
    rewards = torch.tensor([0.1] * 8 + [1.0] + [0.0] * 7)
    advantages = group_advantages(rewards, 8)
    assert (advantages[:8] == 0).all()
    assert advantages[8].item() == pytest.approx(math.sqrt(7), rel=1e-4)


@pytest.mark.parametrize("group_size", [2, 8, 16, 64])
def test_largest_advantage(group_size):
    rewards = tensor([1.0] + [0.0] * (group_size - 1))
    population = group_advantages(rewards, group_size, eps=0.0)
    sample = group_advantages(rewards, group_size, ddof=1, eps=0.0)
    assert population.max().item() == pytest.approx(math.sqrt(group_size - 1), rel=1e-12)
    assert sample.max().item() == pytest.approx((group_size - 1) / math.sqrt(group_size), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rewards_stay_raw_and_dtype_is_kept(dtype):
    rewards = random_rewards(6).abs().to(dtype)
    before = rewards.clone()
    for name in NAMES:
        assert compute(name, rewards, 5, 1e-6).dtype == dtype
    assert batch_advantages(rewards).dtype == dtype
    assert torch.equal(rewards, before)


def test_strided_rewards_are_accepted():
    rewards = random_rewards(7).view(5, 3).t()[1]
    assert not rewards.is_contiguous()
    expected = loop("centred", rewards.tolist(), 5, 0.0)
    assert compute("centred", rewards, 5, 0.0).tolist() == pytest.approx(expected)


# ------------------------------------------------ expectations over every group of G answers

POLICY = np.array([0.5, 0.2, 0.3])


def expected_gradient(advantage, rewards: np.ndarray, group_size: int) -> np.ndarray:
    """E[1/G Σ A_i ∇log π(y_i)] on the three logits, over all 3^G ordered groups."""
    total = np.zeros(3)
    for group in itertools.product(range(3), repeat=group_size):
        advantages = advantage(tensor(rewards[list(group)].tolist()), group_size).tolist()
        chance = math.prod(POLICY[y] for y in group)
        for y, a in zip(group, advantages, strict=True):
            total += chance * a / group_size * (np.eye(3)[y] - POLICY)
    return total


@pytest.mark.parametrize("group_size", [2, 3, 5])
@pytest.mark.parametrize("rewards", [[1.0, 0.0, 0.0], [0.3, -2.0, 1.5]])
def test_expected_gradient_of_group_mean_and_leave_one_out(group_size, rewards):
    rewards = np.array(rewards)
    true = POLICY * (rewards - POLICY @ rewards)  # ∇ E[r] of a softmax
    centred = expected_gradient(
        lambda r, g: group_advantages(r, g, divide_by_std=False), rewards, group_size
    )
    loo = expected_gradient(leave_one_out_advantages, rewards, group_size)
    np.testing.assert_allclose(centred, (group_size - 1) / group_size * true, atol=1e-12)
    np.testing.assert_allclose(loo, true, atol=1e-12)


@pytest.mark.parametrize("group_size", [2, 3, 5])
@pytest.mark.parametrize("right", [0, 1, 2])
def test_expected_gradient_of_maxrl(group_size, right):
    rewards, p = np.eye(3)[right], POLICY[right]
    true = POLICY * (rewards - p)

    # eps = 1e-300 keeps the group without a right answer at 0 and leaves the others exact
    def centred(r, g):
        return maxrl_advantages(r, g, eps=1e-300)

    # Centring drops the group without a right answer from its baseline too: order G − 1, not G.
    actual = expected_gradient(centred, rewards, group_size)
    np.testing.assert_allclose(actual, (1 - (1 - p) ** (group_size - 1)) / p * true, atol=1e-12)
    plain = expected_gradient(lambda r, g: centred(r, g) + float(r.sum() > 0), rewards, group_size)
    np.testing.assert_allclose(plain, (1 - (1 - p) ** group_size) / p * true, atol=1e-12)


def test_zero_spread_share_and_its_expectation():
    assert zero_spread_share(tensor([1, 1, 0, 1, 0, 0]), 2) == pytest.approx(2 / 3)
    p, share = 0.3, 0.0
    for group in itertools.product((0.0, 1.0), repeat=4):
        chance = math.prod(p if r else 1 - p for r in group)
        share += chance * zero_spread_share(tensor(group), 4)
    assert share == pytest.approx(p**4 + (1 - p) ** 4, abs=1e-15)


# ----------------------------------------------------------------------------------------- refusals

WITH_GROUPS = [group_advantages, leave_one_out_advantages, maxrl_advantages]


@pytest.mark.parametrize("function", [*WITH_GROUPS, zero_spread_share])
@pytest.mark.parametrize("group_size", [4, 0, -1, 7])
def test_group_size_that_does_not_divide_is_refused(function, group_size):
    with pytest.raises(ValueError, match="group_size"):
        function(torch.zeros(6), group_size)


@pytest.mark.parametrize("function", WITH_GROUPS)
def test_group_size_one_is_refused(function):
    with pytest.raises(ValueError, match="group_size"):
        function(torch.zeros(6), 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_rewards_that_are_not_finite_are_refused(bad):
    rewards = torch.tensor([0.0, bad])
    for function in (*WITH_GROUPS, zero_spread_share):
        with pytest.raises(ValueError, match="rewards"):
            function(rewards, 2)
    with pytest.raises(ValueError, match="rewards"):
        batch_advantages(rewards)


def test_other_refusals():
    with pytest.raises(ValueError, match="rewards: expected one reward per row"):
        # unwrapped, since the checker of annotations would be faster than the function itself
        inspect.unwrap(zero_spread_share)(torch.zeros(2, 2), 2)
    with pytest.raises(ValueError, match="group_size"):
        group_advantages(torch.zeros(0), 2)
    with pytest.raises(ValueError, match="at least 2"):
        batch_advantages(torch.zeros(1))
    with pytest.raises(ValueError, match=r"rewards >= 0, got -1"):
        maxrl_advantages(torch.tensor([-1.0, 1.0]), 2)


@pytest.mark.parametrize("size", [3, 8, 16])
@pytest.mark.parametrize("reward", [0.1, 1.1])
def test_leave_one_out_is_exactly_zero_without_spread(size: int, reward: float) -> None:
    """Rounding would leave 1e-8, which is all that Adam needs for a whole step."""
    assert not leave_one_out_advantages(torch.full((size,), reward), size).any()


def test_two_rewards_are_enough_to_whiten_a_batch():
    assert batch_advantages(torch.tensor([1.0, 3.0]), eps=0.0).tolist() == [-1.0, 1.0]


def test_log_z_lies_between_the_mean_and_the_largest_reward() -> None:
    rewards = tensor([1.0, 0.0, 0.0, 0.0])
    for tau, level in ((1e-3, 1.0), (1e4, 0.25)):
        found = log_partition_advantages(rewards, 4, tau)
        assert torch.allclose(found, rewards - level, atol=2e-3)
    # Binary rewards, pass rate p: τ·log(1 − p + p·e^(1/τ)).
    level = 0.5 * math.log(0.75 + 0.25 * math.exp(2.0))
    assert torch.allclose(log_partition_advantages(rewards, 4, 0.5), rewards - level, atol=1e-14)
    assert log_partition_advantages(rewards, 4, 0.5).sum() < 0
    assert torch.isfinite(log_partition_advantages(1e3 * rewards, 4, 1e-3)).all()
    for tau in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"^tau: must be positive"):
            log_partition_advantages(rewards, 4, tau)
