"""Optimising a proxy reward while the gold reward is watched: best-of-n, PPO, GRPO and the exact optimum.

A reward model is fitted on pairs of the letters; the policy is optimised against it, and at every step the
gold reward, which it never sees, is measured beside it. Notebook 02.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlvr_lab.exact.optimal_policy import (
    best_of_n,
    best_of_n_kl_bound,
    kl_divergence,
    regularised_optimum,
)
from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.objectives.objective import Objective, Rows, objective_from
from rlvr_lab.objectives.token_weights import Weights, objective_weights
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Recording, Run, record
from rlvr_lab.rewards.count_reward_model import Score, ensemble, held_out_accuracy
from rlvr_lab.tasks.letters import PROMPT, PreferenceWorld
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.inspected_kinds import Given, algorithm_lenses
from rlvr_lab.training.inspection import (
    Boxes,
    Inspected,
    InspectedStep,
    Lens,
    inspect_step,
    token_words,
)
from rlvr_lab.training.optimise import trained
from rlvr_lab.training.pairs import watch_letters
from rlvr_lab.training.policy_gradient import PolicyGradientConfig, improve
from rlvr_lab.training.reward_models import fit_proxy
from rlvr_lab.training.state import TrainState

__all__ = ["ProxyConfig", "best_of_n_curve", "fitted_proxy", "optimum_curve", "record_proxy"]

# Apart from any seed of a run, so that no run is judged on pairs or answers it was fitted on.
PAIR_SEED, MODEL_SEED = 1_000, 2_000


class Climb(NamedTuple):
    """One step's answers and what the proxy thinks of them."""

    batch: RolloutBatch
    proxy: Tensor
    base_logprobs: Tensor


@dataclass(frozen=True)
class ProxyConfig(RunConfig, kind="overoptimise"):
    """One climb of a proxy.

    Attributes:
        optimiser: ``ppo`` (advantages whitened over the batch, two epochs under the clip, KL in the
            reward), ``grpo`` (z-score in groups of 16, one update, KL in the loss), ``best_of_n``, or
            ``optimum`` (π* ∝ π_base·exp(proxy/β), which no network has to represent).
        pairs: N, on which each reward model is fitted.
        flip: probability that the label of a pair is flipped, independently of the pair.
        temperature: of annotators who err where a pair is close (``PreferenceWorld.pairs``).
        members: reward models in the ensemble; their worst score counts. Each is fitted on all pairs.
        kl_coef: β ≥ 0.
        steps: batches, and updates or pairs of updates.
        batch_size: answers in each.
        learning_rate: of Adam.
        seed: of pairs, reward model, policy and samples.

    Records, one per step and measured *before* its update: ``proxy`` and ``gold`` (means per answer);
    ``kl`` (to the base, nats per answer, k1) and ``distance`` (√KL, 0 where the estimate is negative);
    ``entropy`` (nats per token); ``length`` (tokens); ``distinct`` (share of different answers);
    ``accuracy`` (of the proxy on held-out pairs); and what ``training.policy_gradient.improve`` returns.

    Raises:
        ValueError: naming the field.
    """

    optimiser: Literal["ppo", "grpo", "best_of_n", "optimum"] = "ppo"
    pairs: int = 300
    flip: float = 0.25
    temperature: float = 0.0
    members: int = 1
    kl_coef: float = 0.0
    steps: int = field(default=100, kw_only=True)
    batch_size: int = 128
    learning_rate: float = 1e-3

    FIXED = (*RunConfig.FIXED, "optimiser", "pairs", "flip", "temperature", "members")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "pairs", "members")
        fits = self.batch_size >= 32 and self.batch_size % 16 == 0
        self.require("batch_size", fits, "a multiple of 16 from 32 on")
        self.require_at_least(0, "kl_coef")
        self.require_positive("learning_rate")

    def objective(self, length: int) -> Objective:
        """PPO's clip with whitened rewards and the KL in them, or GRPO with the KL in its loss.

        Args:
            length: of the longest answer, in tokens, by which PPO's sums are divided.
        """
        ppo = self.optimiser == "ppo"
        found = objective_from(
            "batch" if ppo else "group",
            divide_by_std=not ppo,
            average="constant" if ppo else "sequence",
            length=length,
            ratio="token",
            clip_low=0.2,
            clip_high=0.2,
            kl_coef=self.kl_coef,
            kl_in_reward=ppo,
        )
        if ppo:
            return found
        # All answers share one prompt; they are compared in groups of 16.
        return replace(found, advantage=lambda rewards, _: group_advantages(rewards, 16))

    def begin(
        self, policy: Policy | None = None, task: PreferenceWorld | None = None
    ) -> TrainState:
        """The state before step 1: the proxy is fitted, and the policy is the base or the given one."""
        if self.optimiser in ("best_of_n", "optimum"):
            curve = f"{self.optimiser}_curve"
            raise ValueError(f"optimiser: {self.optimiser} trains nothing, use {curve}")
        world = task or PreferenceWorld()
        score, accuracy = fitted_proxy(self, world)
        policy = policy or world.base_policy(self.seed)
        return TrainState(
            policy,
            optimizer=torch.optim.Adam(trained(policy.model), lr=self.learning_rate),
            task=world,
            rewards={
                "proxy": lambda b: score(world.counts(b.completion_ids, b.completion_mask)),
            },
            generator=torch.Generator(policy.device).manual_seed(self.seed),
            numbers={"accuracy": accuracy},
        )

    @torch.no_grad()
    def collect(self, state: TrainState) -> Climb:
        """Fresh answers and their proxy rewards."""
        world = state.task
        batch = sample(state.policy, [PROMPT], self.batch_size, world.length, state.generator)
        base = world.base_logprobs(batch.completion_ids, batch.completion_mask)
        return Climb(batch, state.rewards["proxy"](batch), base)

    def measure(self, state: TrainState, experience: Climb) -> dict[str, Any]:
        """Proxy and gold reward of the answers, and how far the policy has gone."""
        batch, proxy, _ = experience
        return {
            "proxy": float(proxy.double().mean()),
            **watch_letters(state.task, batch),
            "entropy": float(batch.entropy[batch.completion_mask].double().mean()),
            "distinct": len(set(batch.texts)) / len(batch.texts),
            "accuracy": state.numbers["accuracy"],
        }

    def update(self, state: TrainState, experience: Climb) -> dict[str, Any]:
        """PPO takes two updates on a batch, GRPO one."""
        for group in state.optimizer.param_groups:
            group["lr"] = self.learning_rate
        updates = 2 if self.optimiser == "ppo" else 1
        objective = self.objective(state.task.length)
        return improve(state, objective, *experience, updates=updates)


@inspect_step.register
def _(config: ProxyConfig, state: TrainState, experience: Climb) -> Inspected:
    batch, proxy, base = experience
    own, mask, old = config.objective(state.task.length), batch.completion_mask, batch.old_logprobs
    advantages = own.advantages(proxy, batch.group_size, old, base, mask)

    def weigh(logprobs: Tensor, _: Boxes) -> Weights:
        return objective_weights(own, Rows(logprobs, old, advantages, mask, base))

    rows = PolicyGradientConfig(
        world="letters", group_size=16, prompts_per_step=len(proxy) // 16, max_new_tokens=12
    )
    lenses = {"run": Lens(f"this run: {config.optimiser.upper()}", Boxes(), weigh)}
    lenses |= algorithm_lenses(rows, Given(proxy, 16, old, base, mask), config.kl_coef)
    step = InspectedStep(
        state.step + 1,
        [PROMPT] * (len(proxy) // 16),
        token_words(state.policy, batch.completion_ids, batch.attention_mask),
        batch.attention_mask,
        mask,
        ~batch.truncated,
        proxy,
        ["better" if a > 0 else "worse" for a in advantages],
        advantages > 0,
        16,
        old,
        old,
        lenses,
        "The reward is the proxy; better and worse are said by the sign of the run's own advantage.",
        base,
    )
    return step, lambda: token_logprobs(state.policy.model, batch).detach()


def fitted_proxy(config: ProxyConfig, world: PreferenceWorld) -> tuple[Score, float]:
    """The reward model (or ensemble) of a config, and its accuracy on fresh, error-free pairs."""
    pairs = world.pairs(config.pairs, config.flip, PAIR_SEED + config.seed, config.temperature)
    models = [
        fit_proxy(world, pairs, MODEL_SEED + config.seed + 100 * member)
        for member in range(config.members)
    ]
    score = ensemble(models, "min")
    return score, held_out_accuracy(score, world)


def best_of_n_curve(
    config: ProxyConfig, ns: list[int], world: PreferenceWorld | None = None, pool: int = 2**19
) -> list[dict[str, Any]]:
    """Proxy and gold reward of the best of n base answers, for each n, from one large pool.

    The pool stands for the base: best-of-n of it is an exact weighted mean over its answers
    (``optimal_policy.best_of_n``), so that one pool serves every n without more noise at large ones.

    Args:
        config: which proxy; ``optimiser``, ``kl_coef`` and ``steps`` play no part.
        ns: numbers of draws.
        world: a ``PreferenceWorld()`` if not given.
        pool: base answers; at least eight times the largest n, so that the top of the pool is more
            than a handful of answers.

    Returns:
        One record per n with ``step`` (its place in ``ns``), ``n``, ``proxy``, ``gold``, ``kl`` (the bound
        log n − (n−1)/n), ``distance`` and ``accuracy``.

    Raises:
        ValueError: when the pool is too small.
    """
    if not ns or pool < 8 * max(ns):
        raise ValueError(f"pool: need at least 8 times the largest n, got {pool} for {ns}")
    proxy, gold, accuracy = _base_pool(config, world or PreferenceWorld(), pool)
    uniform = np.full(len(proxy), 1 / len(proxy))
    records = []
    for step, n in enumerate(ns, start=1):
        weights, kl = best_of_n(uniform, proxy, n), float(best_of_n_kl_bound(n))
        found = {"proxy": float(weights @ proxy), "gold": float(weights @ gold), "kl": kl}
        records.append({"step": step, "n": n, **found, "distance": kl**0.5, "accuracy": accuracy})
    return records


def optimum_curve(
    config: ProxyConfig,
    betas: list[float],
    world: PreferenceWorld | None = None,
    pool: int = 2**19,
) -> list[dict[str, Any]]:
    """Proxy and gold reward of the optimum π* ∝ π_base·exp(proxy/β), for each β, over a pool of base answers.

    No other policy has a higher mean proxy at the same KL; no network and no gradient are involved.

    Args:
        config: which proxy; ``optimiser``, ``kl_coef`` and ``steps`` play no part.
        betas: β > 0, from large to small.
        world: a ``PreferenceWorld()`` if not given.
        pool: base answers; the KL found is that on the pool, so keep it well below log(pool).

    Returns:
        One record per β with ``step`` (its place in ``betas``), ``beta``, ``proxy``, ``gold``, ``kl``,
        ``distance`` and ``accuracy``.
    """
    proxy, gold, accuracy = _base_pool(config, world or PreferenceWorld(), pool)
    uniform = np.full(len(proxy), 1 / len(proxy))
    records = []
    for step, beta in enumerate(betas, start=1):
        weights, _ = regularised_optimum(uniform, proxy, beta)
        kl = kl_divergence(weights, uniform)
        found = {"proxy": float(weights @ proxy), "gold": float(weights @ gold), "kl": kl}
        records.append(
            {"step": step, "beta": beta, **found, "distance": kl**0.5, "accuracy": accuracy}
        )
    return records


def _base_pool(
    config: ProxyConfig, world: PreferenceWorld, pool: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Proxy and gold reward of ``pool`` base answers, and the proxy's accuracy on fresh pairs."""
    score, accuracy = fitted_proxy(config, world)
    generator = torch.Generator().manual_seed(config.seed)
    counts = torch.cat(
        [world.counts(*world.base_answers(2**14, generator)) for _ in range(-(-pool // 2**14))]
    )
    with torch.no_grad():
        return score(counts).double().numpy(), world.gold(counts).double().numpy(), accuracy


def record_proxy(config: ProxyConfig, seeds: int) -> Recording:
    """``records.runs.record``; what trains nothing is recorded at n = 1, 2, 4, … 65,536 or β = 20 … 0.2.

    Raises:
        ValueError: for no seeds.
    """
    if config.optimiser not in ("best_of_n", "optimum"):
        return record(config, seeds)
    if seeds < 1:
        raise ValueError(f"seeds: need at least 1, got {seeds}")
    each = [replace(config, seed=config.seed + k) for k in range(seeds)]
    if config.optimiser == "best_of_n":
        return Recording(
            [Run(one, best_of_n_curve(one, [2**k for k in range(17)])) for one in each]
        )
    betas = [float(f"{20 * 0.01 ** (k / 16):.4g}") for k in range(17)]
    return Recording([Run(one, optimum_curve(one, betas)) for one in each])
