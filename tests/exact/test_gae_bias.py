"""Bias and noise of GAE by brute force: every state, every token, every way the answer can go on."""

from collections import defaultdict

import pytest
import torch

from rlvr_lab.exact.gae_bias import bias_and_noise, exact_values, mixed_values
from rlvr_lab.exact.oracle import World


@pytest.fixture(scope="module")
def world() -> World:
    return World.tiny(seed=1)


def advantage(world: World, values, y: int, t: int, lam: float) -> float:
    """Σ λ^l·δ_{t+l} of answer y."""
    n = int(world.mask[y].sum())
    v = [*values[y, :n].tolist(), 0.0]
    delta = [v[u + 1] - v[u] + (float(world.rewards[y]) if u == n - 1 else 0) for u in range(n)]
    return sum(lam ** (u - t) * delta[u] for u in range(t, n))


def by_hand(world: World, values, lam: float) -> list[float]:
    chance = world.answer_logprobs().exp().tolist()
    states = defaultdict(lambda: defaultdict(list))
    for y, row in enumerate(world.ids.tolist()):
        for t in range(int(world.mask[y].sum())):
            one = chance[y], advantage(world, values, y, t, lam), float(world.rewards[y])
            states[tuple(row[:t])][row[t]].append(one)
    bias = error = total = 0.0
    for tokens in states.values():
        everything = [one for ones in tokens.values() for one in ones]
        here = sum(p for p, _, _ in everything)
        value = sum(p * r for p, _, r in everything) / here
        off = {}
        for token, ones in tokens.items():
            p = sum(p for p, _, _ in ones)
            truth = sum(p * r for p, _, r in ones) / p - value
            off[token] = p, sum(p * a for p, a, _ in ones) / p - truth
            error += sum(p * (a - truth) ** 2 for p, a, _ in ones)
        shared = sum(p * d for p, d in off.values()) / here
        bias += sum(p * (d - shared) ** 2 for p, d in off.values())
        total += here
    return [bias / total, (error - bias) / total]


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("error", [0.0, 0.7])
def test_it_is_what_counting_gives(world: World, lam: float, error: float) -> None:
    values = mixed_values(world, error)
    found = bias_and_noise(world, values, [lam])[0]
    torch.testing.assert_close(
        found, torch.tensor(by_hand(world, values, lam), dtype=torch.float64), atol=1e-12, rtol=1e-9
    )


def test_the_first_value_is_the_expected_reward_and_the_worst_critic_knows_only_that(world) -> None:
    values = exact_values(world)
    expected = float(world.expected_reward())
    torch.testing.assert_close(values[:, 0], torch.full_like(values[:, 0], expected))
    worst = mixed_values(world, 1.0)
    torch.testing.assert_close(worst[world.mask], torch.full_like(worst[world.mask], expected))
    assert not worst[~world.mask].any() and not torch.allclose(
        values[world.mask], worst[world.mask]
    )
