"""Climbing a proxy: the fit, the climbs of PPO and GRPO and best-of-n, each worked out by hand."""

import copy
import math
from dataclasses import replace
from functools import cache, partial

import pytest
import torch

from rlvr_lab.experiments import overoptimisation
from rlvr_lab.experiments.overoptimisation import ProxyConfig, best_of_n_curve, optimum_curve
from rlvr_lab.rewards.count_reward_model import ProxyReward
from rlvr_lab.tasks.letters import PreferenceWorld
from rlvr_lab.training.loop import train
from rlvr_lab.training.reward_models import fit_proxy
from tests.reference import letters
from tests.reference.adam import Adam, assert_same_record, assert_same_weights, precise
from tests.reference.plain import double

SMALL = ProxyConfig(pairs=40, steps=2, batch_size=32, learning_rate=0.03)
GRPO = replace(SMALL, optimiser="grpo", batch_size=48, seed=1)
CASES = [
    SMALL,
    replace(SMALL, kl_coef=0.5, seed=2, flip=0.0, steps=3),
    replace(SMALL, members=3, temperature=0.7, learning_rate=0.1),
    GRPO,
    replace(GRPO, kl_coef=0.5, steps=3),
    replace(GRPO, kl_coef=2.0, members=2, temperature=1.5, pairs=90, flip=0.4),
]
BEST = replace(SMALL, optimiser="best_of_n", members=2, seed=5)
OPTIMUM = replace(BEST, optimiser="optimum")
GRID = {ProxyConfig: [*CASES, BEST, OPTIMUM]}
WORLDS = {"whole": PreferenceWorld(), "stops": PreferenceWorld(length=7, stop=0.1, weight_seed=3)}
FIT_STEPS = 12  # in place of 400: the fit itself is compared below


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    precise(monkeypatch)
    with double():
        yield


# ---------------------------------------------------------------------------------------- the fit


def tally(rows: list[letters.Answer]) -> torch.Tensor:
    return torch.tensor([[float(c) for c in letters.counts(row)] for row in rows])


def logit(model: ProxyReward, counts: torch.Tensor) -> torch.Tensor:
    """Two hidden layers with rectifiers."""
    one, _, two, _, three = model.layers
    hidden = (counts @ one.weight.T + one.bias).clamp(min=0)
    hidden = (hidden @ two.weight.T + two.bias).clamp(min=0)
    return (hidden @ three.weight.T + three.bias)[:, 0]


def fitted(world, pairs, seed, steps=400, batch_size=256, rate=1e-3, decay=0.01) -> ProxyReward:
    """Bradley and Terry by AdamW; then mean 0 and standard deviation 1 over answers of the base."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ProxyReward()
    generator = torch.Generator().manual_seed(seed)
    good = tally(letters.answers(pairs.chosen, pairs.chosen_mask))
    bad = tally(letters.answers(pairs.rejected, pairs.rejected_mask))
    adam = Adam(model.parameters(), rate, decay=decay)
    for _ in range(steps):
        rows = torch.randint(len(good), (batch_size,), generator=generator)
        gap = logit(model, good[rows]) - logit(model, bad[rows])
        adam.clipped_step((1 + (-gap).exp()).log().mean(), None)
    base = tally(letters.answers(*world.base_answers(4096, generator)))
    with torch.no_grad():
        raw = logit(model, base)
        model.centre += raw.mean()
        model.scale *= ((raw - raw.mean()).square().sum() / (len(raw) - 1)).sqrt()
    return model


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize(
    ("steps", "batch_size", "rate", "decay"), [(3, 8, 0.01, 0.5), (5, 20, 1e-3, 0.0)]
)
def test_a_proxy_is_fitted_by_bradley_and_terry(world, steps, batch_size, rate, decay) -> None:
    pairs = world.pairs(30, 0.2, 11)
    theirs = fit_proxy(world, pairs, 4, steps, batch_size, rate, decay)
    mine = fitted(world, pairs, 4, steps, batch_size, rate, decay)
    assert_same_weights(mine, theirs)
    counts = tally(letters.answers(pairs.chosen, pairs.chosen_mask))
    expected = (logit(mine, counts) - mine.centre) / mine.scale
    torch.testing.assert_close(theirs(counts), expected.detach(), rtol=0, atol=1e-10)


def test_a_proxy_is_fitted_by_its_usual_settings() -> None:
    world = WORLDS["whole"]
    pairs = world.pairs(100, 0.2, 11)
    assert_same_weights(fitted(world, pairs, 4), fit_proxy(world, pairs, 4), 1e-9)


# -------------------------------------------------------------------------------------- the climb


@cache
def proxies(config: ProxyConfig, world: PreferenceWorld) -> list[ProxyReward]:
    pairs = world.pairs(config.pairs, config.flip, 1_000 + config.seed, config.temperature)
    seeds = [2_000 + config.seed + 100 * k for k in range(config.members)]
    return [fitted(world, pairs, seed, FIT_STEPS) for seed in seeds]


@torch.no_grad()
def worst(models: list[ProxyReward], rows: list[letters.Answer]) -> torch.Tensor:
    """The lowest score that any member gives."""
    scores = [(logit(m, tally(rows)) - m.centre) / m.scale for m in models]
    return torch.stack(scores).min(dim=0).values


def right(models: list[ProxyReward], world: PreferenceWorld) -> float:
    """Share of 4,096 fresh pairs without errors that the proxy orders as the gold reward does."""
    fresh = world.pairs(4096, 0.0, 10_000)
    good = worst(models, letters.answers(fresh.chosen, fresh.chosen_mask))
    return letters.ordered(
        good - worst(models, letters.answers(fresh.rejected, fresh.rejected_mask))
    )


def z_scores(rewards: torch.Tensor, size: int) -> torch.Tensor:
    """(r − mean)/(std + 1e-6) in groups of ``size``."""
    parts = [
        (r - r.mean()) / ((r - r.mean()).square().mean().sqrt() + 1e-6) for r in rewards.split(size)
    ]
    return torch.cat(parts)


def objective(config, world, model, rows, old, base, gains) -> tuple[torch.Tensor, float]:
    """PPO's clip; ÷ the longest length for ``ppo``, ÷ each answer's length with β·k3 for ``grpo``.

    Also the share of tokens whose gradient the clip takes away.
    """
    total, dead = torch.zeros(()), []
    for new, before, ref, gain in zip(letters.logprobs(model, rows), old, base, gains, strict=True):
        ratio = (new - before).exp()
        surrogate = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain)
        if config.optimiser == "ppo":
            total = total - surrogate.sum() / world.length
        else:
            k3 = (ref - new).exp() - 1 - (ref - new)
            total = total - (surrogate - config.kl_coef * k3).mean()
        dead += (ratio > 1.2).tolist() if gain > 0 else (ratio < 0.8).tolist()
    return total / len(rows), sum(dead) / len(dead)


def reference(config: ProxyConfig, world: PreferenceWorld, model) -> list[dict]:
    """The whole climb; a record is measured before its step."""
    models = proxies(replace(config, optimiser="ppo", steps=1), world)
    accuracy = right(models, world)
    generator = torch.Generator().manual_seed(config.seed)
    adam = Adam(model.parameters(), config.learning_rate)
    records = []
    for step in range(1, config.steps + 1):
        rows, entropy = letters.draw(model, config.batch_size, world.length, generator)
        old = [p.detach() for p in letters.logprobs(model, rows)]
        base = [letters.base_logprobs(world, row) for row in rows]
        apart = torch.stack([(p - q).sum() for p, q in zip(old, base, strict=True)])
        proxy, kl = worst(models, rows), float(apart.mean())
        records.append(
            {
                "step": step,
                "proxy": float(proxy.mean()),
                "gold": sum(letters.gold(world, row) for row in rows) / len(rows),
                "kl": kl,
                "distance": max(kl, 0.0) ** 0.5,
                "entropy": float(entropy.mean()),
                "length": sum(map(len, rows)) / len(rows),
                "distinct": len({tuple(row) for row in rows}) / len(rows),
                "accuracy": accuracy,
            }
        )
        if config.optimiser == "ppo":
            gains, epochs = z_scores(proxy - config.kl_coef * apart, len(rows)), 2
        else:
            gains, epochs = z_scores(proxy, 16), 1
        notes = []
        for _ in range(epochs):
            loss, dead = objective(config, world, model, rows, old, base, gains)
            notes.append((float(loss.detach()), adam.clipped_step(loss, 1.0), dead))
        means = [sum(column) / epochs for column in zip(*notes, strict=True)]
        names = ("loss", "grad_norm", "clip_fraction")
        records[-1] |= {**dict(zip(names, means, strict=True)), "changed": []}
    return records


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("config", CASES, ids=lambda c: f"{c.optimiser}-{CASES.index(c)}")
def test_a_climb_is_its_equations(config, world, monkeypatch) -> None:
    monkeypatch.setattr(overoptimisation, "fit_proxy", partial(fit_proxy, steps=FIT_STEPS))
    policy = letters.perturbed(world, config.seed)
    mine = copy.deepcopy(policy.model)
    theirs = list(train(config, state=config.begin(policy, world)))
    for a, b in zip(reference(config, world, mine), theirs, strict=True):
        assert_same_record(a, b)
    assert_same_weights(mine, policy.model)


def test_a_climb_begins_at_the_base_of_its_seed_and_in_the_usual_world(monkeypatch) -> None:
    monkeypatch.setattr(overoptimisation, "fit_proxy", partial(fit_proxy, steps=FIT_STEPS))
    world = PreferenceWorld()
    given = GRPO.begin(world.base_policy(GRPO.seed), world)
    for ours, theirs in zip(train(GRPO), train(GRPO, state=given), strict=True):
        assert_same_record({k: v for k, v in ours.items() if k != "seconds_update"}, theirs, 0.0)


# -------------------------------------------------------------------------------------- best of n


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_best_of_n_is_a_mean_over_the_pool(world, monkeypatch) -> None:
    """P(best is at or below r) is the share at or below r to the power of n."""
    monkeypatch.setattr(overoptimisation, "fit_proxy", partial(fit_proxy, steps=FIT_STEPS))
    models = proxies(replace(BEST, optimiser="ppo", steps=1), world)
    generator = torch.Generator().manual_seed(BEST.seed)
    pool = letters.answers(*world.base_answers(2**14, generator))
    score, gold = worst(models, pool).tolist(), [letters.gold(world, row) for row in pool]
    accuracy, size = right(models, world), len(pool)
    levels: dict[float, list[int]] = {}
    for i in sorted(range(size), key=score.__getitem__):
        levels.setdefault(score[i], []).append(i)
    curve = best_of_n_curve(BEST, [1, 2, 9, 100], world, pool=1000)
    for step, found in enumerate(curve, start=1):
        n, below, means = found["n"], 0, [0.0, 0.0]
        for level, members in levels.items():
            weight = ((below + len(members)) / size) ** n - (below / size) ** n
            below += len(members)
            means[0] += weight * level
            means[1] += weight * sum(gold[i] for i in members) / len(members)
        kl = math.log(n) - (n - 1) / n
        expected = {"step": step, "n": n, "proxy": means[0], "gold": means[1], "kl": kl}
        assert_same_record(expected | {"distance": kl**0.5, "accuracy": accuracy}, found)


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_the_optimum_weighs_the_pool_by_its_proxy(world, monkeypatch) -> None:
    """π*(y) = exp(proxy(y)/β) / Z on the pool; its KL is Σ π*·log(π*·size)."""
    monkeypatch.setattr(overoptimisation, "fit_proxy", partial(fit_proxy, steps=FIT_STEPS))
    models = proxies(replace(OPTIMUM, optimiser="ppo", steps=1), world)
    generator = torch.Generator().manual_seed(OPTIMUM.seed)
    pool = letters.answers(*world.base_answers(2**14, generator))
    score, gold = worst(models, pool).tolist(), [letters.gold(world, row) for row in pool]
    accuracy = right(models, world)
    curve = optimum_curve(OPTIMUM, [2.0, 0.5], world, pool=1000)
    for step, (beta, found) in enumerate(zip([2.0, 0.5], curve, strict=True), start=1):
        weights = [math.exp(r / beta) for r in score]
        total = sum(weights)
        pi = [w / total for w in weights]
        kl = sum(w * math.log(w * len(pool)) for w in pi if w > 0)
        expected = {
            "step": step,
            "beta": beta,
            "proxy": sum(w * r for w, r in zip(pi, score, strict=True)),
            "gold": sum(w * r for w, r in zip(pi, gold, strict=True)),
            "kl": kl,
            "distance": kl**0.5,
            "accuracy": accuracy,
        }
        assert_same_record(expected, found)
