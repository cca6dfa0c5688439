"""DPO and its variants: the losses from their papers, the loop step by step, every field of a record."""

import copy
from dataclasses import replace

import pytest
import torch

from rlvr_lab.tasks.letters import PreferenceWorld
from rlvr_lab.training.loop import train
from rlvr_lab.training.pairs import DpoConfig
from tests.reference import letters
from tests.reference.adam import Adam, assert_same_record, assert_same_weights, precise
from tests.reference.plain import double

SMALL = DpoConfig(pairs=24, steps=2, batch_size=6, measure_every=1, learning_rate=0.02)
STOPS = replace(SMALL, stop=0.03, length_bias=0.5, seed=3, steps=3, measure_every=2)
CASES = [
    SMALL,
    replace(SMALL, pairs=270, beta=0.7, flip=0.0, seed=1),
    replace(SMALL, stop=0.03, likelihood=0.8, seed=2),
    STOPS,
    replace(STOPS, flip=0.5, learning_rate=0.05, batch_size=9),
    replace(STOPS, length_bias=-2.0, measure_every=3),
    replace(SMALL, loss="ln_dpo", beta=3.0, stop=0.03, seed=2),
    replace(STOPS, loss="ln_dpo", likelihood=0.3),
    replace(STOPS, loss="simpo", beta=2.0, margin=0.5),
    replace(STOPS, loss="simpo", beta=1.0, margin=0.0, likelihood=0.4),
    replace(SMALL, loss="ipo", beta=0.1),
    replace(STOPS, loss="ipo", beta=0.6),
    replace(SMALL, loss="orpo", beta=0.1, stop=0.03, seed=2),
    replace(STOPS, loss="orpo", beta=1.5, likelihood=0.2),
    replace(STOPS, reference=False, likelihood=0.1),
    replace(STOPS, reference=False, loss="ln_dpo", beta=2.0),
    replace(STOPS, reference=False, loss="ipo", beta=0.6),
    replace(STOPS, reference=False, loss="simpo", beta=2.0, margin=0.5),
    replace(STOPS, reference=False, loss="orpo", beta=0.5),
]
GRID = {DpoConfig: CASES}


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    precise(monkeypatch)
    with double():
        yield


class Pairs:
    """Chosen and rejected answers with what a loss asks of them: log π, log π_ref and length."""

    def __init__(self, world, pairs) -> None:
        self.sides = [
            letters.answers(pairs.chosen, pairs.chosen_mask),
            letters.answers(pairs.rejected, pairs.rejected_mask),
        ]
        self.base = [[letters.base_logprobs(world, y).sum() for y in side] for side in self.sides]

    def measure(self, model, rows) -> list[torch.Tensor]:
        """log π(y_w), log π(y_l), log π_ref(y_w), log π_ref(y_l), |y_w| and |y_l| of some pairs."""
        picked = [[side[i] for i in rows] for side in self.sides]
        sums = [torch.stack([p.sum() for p in letters.logprobs(model, side)]) for side in picked]
        base = [torch.stack([side[i] for i in rows]) for side in self.base]
        return [*sums, *base, *(torch.tensor([float(len(y)) for y in side]) for side in picked)]


def rewards(config: DpoConfig, w, x, ref_w, ref_x, size_w, size_x):
    """What a loss calls the reward of y_w and of y_l; for ORPO the mean log π takes its place."""
    if not config.reference:
        ref_w, ref_x = 0 * ref_w, 0 * ref_x
    own = {
        "dpo": (config.beta * (w - ref_w), config.beta * (x - ref_x)),
        "ln_dpo": (config.beta * (w - ref_w) / size_w, config.beta * (x - ref_x) / size_x),
        "simpo": (config.beta * w / size_w, config.beta * x / size_x),
        "ipo": (w - ref_w, x - ref_x),
        "orpo": (config.beta * w / size_w, config.beta * x / size_x),
    }
    return own[config.loss]


def margin(config: DpoConfig, *measured):
    """The reward of y_w less that of y_l."""
    chosen, rejected = rewards(config, *measured)
    return chosen - rejected


def pair_loss(config: DpoConfig, w, x, *rest):
    """The loss of each pair: DPO eq. 7, Tülu 3, SimPO eq. 6, IPO eq. 17, ORPO eq. 6–7."""
    h, size_w, size_x = margin(config, w, x, *rest), *rest[2:]
    likelihood = config.likelihood * w / size_w
    if config.loss == "simpo":
        h = h - config.margin
    if config.loss == "ipo":
        return (h - 1 / (2 * config.beta)) ** 2 - likelihood
    if config.loss == "orpo":
        odds = [p / (1 - p) for p in ((w / size_w).exp(), (x / size_x).exp())]
        sigmoid = odds[0] / (odds[0] + odds[1])
        return -w / size_w - config.beta * sigmoid.log() - likelihood
    return (1 + (-h).exp()).log() - likelihood


@torch.no_grad()
def record(config, world, model, data: Pairs, fresh: Pairs, step: int, generator) -> dict:
    seen = data.measure(model, range(min(256, config.pairs)))
    unseen = fresh.measure(model, range(512))
    h, held = margin(config, *seen), margin(config, *unseen)
    chosen, rejected = rewards(config, *seen)
    rows, _ = letters.draw(model, 256, world.length, generator)
    drawn = letters.logprobs(model, rows)
    kl = sum(
        float((p - letters.base_logprobs(world, y)).sum()) for p, y in zip(drawn, rows, strict=True)
    )
    return {
        "step": step,
        "loss": float(pair_loss(config, *seen).mean()),
        "chosen": float(seen[0].mean()),
        "rejected": float(seen[1].mean()),
        "reward_chosen": float(chosen.mean()),
        "reward_rejected": float(rejected.mean()),
        "margin": float(h.mean()),
        "weight": float((1 / (1 + h.exp())).mean()),
        "accuracy": letters.ordered(h),
        "held_out": letters.ordered(held),
        "gold": sum(letters.gold(world, y) for y in rows) / 256,
        "length": sum(map(len, rows)) / 256,
        "kl": kl / 256,
        "distance": max(kl / 256, 0.0) ** 0.5,
    }


def reference(config: DpoConfig, model) -> list[dict]:
    """The whole run; one generator serves the samples that are measured and the minibatches."""
    world = PreferenceWorld(stop=config.stop, length_bias=config.length_bias)
    data = Pairs(world, world.pairs(config.pairs, config.flip, 1_000 + config.seed))
    fresh = Pairs(world, world.pairs(512, 0.0, 10_000 + config.seed))
    generator = torch.Generator().manual_seed(config.seed)
    adam = Adam(model.parameters(), config.learning_rate)
    records = []
    for step in range(config.steps + 1):
        if step % config.measure_every == 0:
            records.append(record(config, world, model, data, fresh, step, generator))
        if step < config.steps:
            rows = torch.randint(config.pairs, (config.batch_size,), generator=generator)
            measured = data.measure(model, rows.tolist())
            adam.clipped_step(pair_loss(config, *measured).mean(), 1.0)
    return records


@pytest.mark.parametrize("config", CASES, ids=lambda c: f"{c.loss}-{CASES.index(c)}")
def test_a_run_on_pairs_is_the_papers_equations(config: DpoConfig) -> None:
    policy = letters.perturbed(PreferenceWorld(stop=config.stop), config.seed)
    mine = copy.deepcopy(policy.model)
    theirs = list(train(config, state=config.begin(policy)))
    ours = reference(config, mine)
    assert_same_weights(mine, policy.model)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert_same_record({**a, "changed": []}, b)


def test_a_run_begins_at_the_base_of_its_world_and_seed() -> None:
    config = replace(STOPS, steps=1, measure_every=1)
    base = PreferenceWorld(stop=config.stop).base_policy(config.seed)
    for ours, theirs in zip(train(config), train(config, state=config.begin(base)), strict=True):
        assert_same_record({k: v for k, v in ours.items() if k != "seconds_update"}, theirs, 0.0)
