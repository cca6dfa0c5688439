"""The base models of the curriculum, two from one kept first stage for each seed (notebook 09, section 4).

Both have learned flawless chains of 2 to 12 digits, and then a mixture in which additions slip: with
probability .25 (world A) or .45 (world B). A chain of 12 digits has 11 additions, so it is flawless with probability
.75¹¹ = .04 in A and .55¹¹ = .001 in B.
"""

import random
from functools import partial

import torch

from rlvr_lab.experiments.kept_bases import kept_base
from rlvr_lab.experiments.pretraining import PretrainingFailed, fit, learn_chains
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.words import build_tokenizer
from rlvr_lab.tasks.evaluation import evaluate
from rlvr_lab.tasks.long_sums import LongSums, LongSumsMixture
from rlvr_lab.training.optimise import adamw, trained

__all__ = ["GATES", "HARD", "SLIPS", "World", "long_base"]

World = str
SLIPS: dict[World, float] = {"A": 0.25, "B": 0.45}
"""World → probability of an incorrect addition in the mixture."""
GATES: dict[World, tuple[float, float]] = {"A": (0.03, 0.12), "B": (0.01, 0.06)}
"""Bounds on a base's pass@1 on the hard problems, fixed before the recorded seeds."""
HARD = LongSums(min_terms=9)
MIXTURE_STEPS = 150
REPLACEMENT, ATTEMPTS = 1000, 3


def clean_chains(seed: int, device: str = "auto") -> Policy:
    """A policy that has learned flawless chains, and nothing else; it is made once and kept.

    Raises:
        PretrainingFailed: when they are not learned in 600 steps.
    """

    def make() -> Policy:
        policy = new_policy(build_tokenizer(), seed, device=device)
        optimizer, rng = adamw(trained(policy.model), 1e-3), random.Random(f"long chains {seed}")
        solve = LongSumsMixture.clean().solve
        learn_chains(policy, LongSums(), solve, optimizer, rng, seed, log=lambda line: None)
        return policy

    return kept_base(f"long_sums_chains_{seed}", make, device)


def long_base(world: World, seed: int, device: str = "auto") -> tuple[Policy, int]:
    """The base model of one world and seed, and the seed that its pretraining used.

    A base can miss its gate. The rule, fixed before any base was made: the seed plus 1,000 takes its place, then
    plus 2,000. The other seeds of the run stay.

    Raises:
        PretrainingFailed: when all three miss the gate.
    """
    for used in range(seed, seed + ATTEMPTS * REPLACEMENT, REPLACEMENT):
        try:
            name, make = f"long_sums_{world}_{used}", partial(_mixed, world, used, device)
            return kept_base(name, make, device), used
        except PretrainingFailed:
            continue
    raise PretrainingFailed(
        f"seed {seed}: {ATTEMPTS} bases of world {world} in a row missed the gate"
    )


def _mixed(world: World, seed: int, device: str) -> Policy:
    policy = clean_chains(seed, device)
    optimizer, rng = adamw(trained(policy.model), 1e-3), random.Random(f"long sums {world} {seed}")
    mixture = LongSumsMixture(slip=SLIPS[world])
    fit(policy, LongSums(), mixture.solve, MIXTURE_STEPS, 1.5e-3, optimizer, rng)
    with torch.no_grad():
        measured = evaluate(policy, HARD, 256, 16, max_new_tokens=24)["pass@1"]
    low, high = GATES[world]
    if not low <= measured <= high:
        raise PretrainingFailed(
            f"seed {seed}: pass@1 of {world} is {measured:.3f}, outside [{low}, {high}]"
        )
    return policy
