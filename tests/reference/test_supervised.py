"""Pretraining and the reward model: cross-entropy and Bradley–Terry, a few steps by hand."""

import copy
import math
import random
from functools import partial

import pytest
import torch

from rlvr_lab.tasks.length_lab import LengthLab
from rlvr_lab.tasks.sums import Sums, SumsMixture
from rlvr_lab.training.reward_models import fit_reward_model
from rlvr_lab.training.supervised import supervised_steps
from tests.reference.adam import Adam, assert_same_weights, precise
from tests.reference.plain import END, double, encode, random_policy
from tests.reference.ppo import score


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    precise(monkeypatch)
    with double():
        yield


# ------------------------------------------------------------------------------------ pretraining


def nats(model, prompt: str, solution: str, trained_from: int) -> list[torch.Tensor]:
    """−log π of every trained token of one worked solution and of its end."""
    head, tail = encode(prompt), [*encode(solution), END]
    table = model(torch.tensor([head + tail])).logits[0].log_softmax(-1)
    return [-table[len(head) + t - 1, tail[t]] for t in range(trained_from, len(tail))]


def pretrained(model, task, solve, steps, rate, seed, batch_size, trained_from) -> list[float]:
    rng, losses = random.Random(seed), []
    adam = Adam(model.parameters(), 0.0, betas=(0.9, 0.95))
    for step in range(steps):
        problems = task.problems(batch_size, rng)
        solved = [(p.prompt, solve(p, rng)) for p in problems]
        tokens = [x for pair in solved for x in nats(model, *pair, trained_from)]
        loss = torch.stack(tokens).mean()
        adam.rate = rate(step)
        adam.clipped_step(loss, 1.0)
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("task", "solve", "trained_from", "scale"),
    [
        (Sums(), SumsMixture().solve, 0, 0.4),
        (Sums(2, 3), SumsMixture.clean().solve, 0, 1.0),
        (LengthLab(), LengthLab().solve, 1, 0.4),
    ],
    ids=["mixture", "clean", "lab"],
)
def test_supervised_steps_are_cross_entropy_on_solutions(task, solve, trained_from, scale) -> None:
    policy = random_policy(seed=3, scale=scale)
    mine = copy.deepcopy(policy.model)
    rate = lambda step: 0.02 / (1 + step)  # noqa: E731
    optimizer = torch.optim.AdamW(policy.model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    theirs = supervised_steps(
        policy, task, solve, 3, rate, optimizer, random.Random(5), 6, trained_from
    )
    assert list(theirs) == pytest.approx(
        pretrained(mine, task, solve, 3, rate, 5, 6, trained_from), abs=1e-10
    )
    assert_same_weights(mine, policy.model)


# ----------------------------------------------------------------------------------- reward model

RIGHT = ["7+5...?=2", "1+2+3.?<think>136</think>=6", "9+9+9.?=7", "4+4...?<think>48</think>=8"]
WRONG = ["7+5...?=3", "1+2+3.?<think>13=6", "9+9+9.?=wait", "4+4...?<think>4</think>=1"]
PAIRS = list(zip(RIGHT, WRONG, strict=True))
HELD_OUT = [(a + "0", b) for a, b in PAIRS] + [(b, a) for a, b in PAIRS[:3]]


def fitted(scalar, seed: int, steps: int, batch_size: int, rate: float) -> float:
    """AdamW with its usual decay, the rate along half a cosine; the share of held-out pairs in order."""
    adam = Adam(scalar.parameters(), rate, decay=0.01)
    rng = random.Random(seed)
    for step in range(steps):
        drawn = rng.choices(PAIRS, k=batch_size)
        gaps = torch.stack([score(scalar, good) - score(scalar, bad) for good, bad in drawn])
        adam.rate = rate * (1 + math.cos(math.pi * step / steps)) / 2
        adam.clipped_step(torch.log(1 + torch.exp(-gaps)).mean(), None)
    with torch.no_grad():
        right = [float(score(scalar, good) > score(scalar, bad)) for good, bad in HELD_OUT]
    return sum(right) / len(right)


@pytest.mark.parametrize(
    ("seed", "steps", "batch_size", "rate"), [(0, 2, 4, 2e-3), (3, 4, 6, 1e-2)]
)
def test_the_reward_model_is_fitted_by_bradley_and_terry(seed, steps, batch_size, rate) -> None:
    fit = partial(fit_reward_model, PAIRS, HELD_OUT, seed, batch_size=batch_size, hidden=16)
    mine = fit(steps=0, device="cpu").model
    theirs = fit(steps=steps, learning_rate=rate, device="cpu")
    assert theirs.accuracy == fitted(mine, seed, steps, batch_size, rate)
    assert_same_weights(mine, theirs.model)
    prompts, texts = ["7+5...?", "1?"], ["=2", "<think>7</think>=2", "=3", "=1"]
    whole = [prompts[i // 2] + text for i, text in enumerate(texts)]
    expected = [score(mine, text).item() for text in whole]
    assert theirs.score(prompts, texts).tolist() == pytest.approx(expected, abs=1e-10)
