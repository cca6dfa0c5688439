"""Climbing a proxy reward while the gold reward is watched: best-of-n, PPO and GRPO.

A reward model is fitted on pairs of ``preference_world``; the policy is optimised against it, and at
every step the gold reward, which it never sees, is measured beside it. Notebook 02.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rlvr_lab.advantages import batch_advantages, group_advantages
from rlvr_lab.kl import k1, kl_penalty
from rlvr_lab.losses import ppo_clip_loss
from rlvr_lab.masking import constant_mean, sequence_mean
from rlvr_lab.optimal_policy import best_of_n, best_of_n_kl_bound
from rlvr_lab.policy import Policy, token_logprobs
from rlvr_lab.preference_world import PROMPT, PreferenceWorld
from rlvr_lab.proxy_rewards import Score, ensemble, fit_proxy, held_out_accuracy
from rlvr_lab.recordings import Recording
from rlvr_lab.rewards import kl_shaped_rewards
from rlvr_lab.rollouts import sample

__all__ = ["ProxyConfig", "best_of_n_curve", "climb", "fitted_proxy", "record_climbs"]

# Apart from any seed of a run, so that no run is judged on pairs or answers it was fitted on.
PAIR_SEED, MODEL_SEED = 1_000, 2_000


@dataclass(frozen=True)
class ProxyConfig:
    """One climb of a proxy.

    Attributes:
        optimiser: ``ppo`` (advantages whitened over the batch, two epochs under the clip, KL in the
            reward), ``grpo`` (z-score in groups of 16, one update, KL in the loss) or ``best_of_n``.
        pairs: N, on which each reward model is fitted.
        flip: chance that an annotator erred, whatever the pair.
        temperature: of annotators who err where a pair is close (``PreferenceWorld.pairs``).
        members: reward models in the ensemble; their worst score counts. Each is fitted on all pairs.
        kl_coef: β ≥ 0.
        steps: batches, and updates or pairs of updates.
        batch_size: answers in each.
        learning_rate: of Adam.
        seed: of pairs, reward model, policy and samples.

    Raises:
        ValueError: naming the field.
    """

    optimiser: Literal["ppo", "grpo", "best_of_n"] = "ppo"
    pairs: int = 300
    flip: float = 0.25
    temperature: float = 0.0
    members: int = 1
    kl_coef: float = 0.0
    steps: int = 100
    batch_size: int = 128
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimiser not in ("ppo", "grpo", "best_of_n"):
            raise ValueError(f"optimiser: must be ppo, grpo or best_of_n, got {self.optimiser!r}")
        for name in ("pairs", "members", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.batch_size < 32 or self.batch_size % 16:
            raise ValueError(
                f"batch_size: must be a multiple of 16 from 32 on, got {self.batch_size}"
            )
        if not self.kl_coef >= 0:
            raise ValueError(f"kl_coef: must not be negative, got {self.kl_coef}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate: must be positive, got {self.learning_rate}")


def fitted_proxy(config: ProxyConfig, world: PreferenceWorld) -> tuple[Score, float]:
    """The reward model (or ensemble) of a config, and its accuracy on fresh, error-free pairs."""
    pairs = world.pairs(config.pairs, config.flip, PAIR_SEED + config.seed, config.temperature)
    models = [
        fit_proxy(world, pairs, MODEL_SEED + config.seed + 100 * member)
        for member in range(config.members)
    ]
    score = ensemble(models, "min")
    return score, held_out_accuracy(score, world)


def climb(
    config: ProxyConfig, world: PreferenceWorld | None = None, policy: Policy | None = None
) -> Iterator[dict[str, Any]]:
    """Optimise the proxy by policy gradient; yield one record a step, measured *before* its update.

    Args:
        config: the run; ``optimiser`` is ``ppo`` or ``grpo``.
        world: a ``PreferenceWorld()`` if not given.
        policy: moved in place; the world's base if not given.

    Yields:
        ``step``; ``proxy`` and ``gold`` (means per answer); ``kl`` (to the base, nats per answer, k1)
        and ``distance`` (√KL, 0 where the estimate is negative); ``entropy`` (nats per token);
        ``length`` (tokens); ``distinct`` (share of different answers); ``accuracy`` (of the proxy on
        held-out pairs).

    Raises:
        ValueError: for ``best_of_n``, which trains nothing.
    """
    if config.optimiser == "best_of_n":
        raise ValueError("optimiser: best_of_n trains nothing, use best_of_n_curve")
    world = world or PreferenceWorld()
    score, accuracy = fitted_proxy(config, world)
    policy = policy or world.base_policy(config.seed)
    trained = [p for p in policy.model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config.learning_rate)
    generator = torch.Generator(policy.device).manual_seed(config.seed)
    for step in range(1, config.steps + 1):
        batch = sample(policy, [PROMPT], config.batch_size, world.length, generator)
        mask, old = batch.completion_mask, batch.old_logprobs
        base = world.base_logprobs(batch.completion_ids, mask)
        counts = world.counts(batch.completion_ids, mask)
        with torch.no_grad():
            proxy = score(counts)
        kl = float(torch.where(mask, k1(old, base), 0.0).sum(dim=1).double().mean())
        yield {
            "step": step,
            "proxy": float(proxy.double().mean()),
            "gold": float(world.gold(counts).double().mean()),
            "kl": kl,
            "distance": max(kl, 0.0) ** 0.5,
            "entropy": float(batch.entropy[mask].double().mean()),
            "length": float(batch.lengths.double().mean()),
            "distinct": len(set(batch.texts)) / len(batch.texts),
            "accuracy": accuracy,
        }
        if config.optimiser == "ppo":
            shaped = kl_shaped_rewards(proxy, old, base, mask, config.kl_coef)
            advantages, epochs = batch_advantages(shaped), 2
        else:
            advantages, epochs = group_advantages(proxy, group_size=16), 1
        for _ in range(epochs):
            logprobs = token_logprobs(policy.model, batch)
            loss = _loss(config, logprobs, old, advantages, base, mask, world.length)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()


def _loss(
    config: ProxyConfig,
    logprobs: Tensor,
    old: Tensor,
    a: Tensor,
    base: Tensor,
    mask: Tensor,
    length: int,
) -> Tensor:
    """PPO's clip, over all tokens alike; GRPO adds its KL term here, PPO had it in the reward."""
    average = constant_mean(length) if config.optimiser == "ppo" else sequence_mean
    loss = ppo_clip_loss(logprobs, old, a, mask, average=average)
    if config.optimiser == "grpo":
        loss = loss + kl_penalty(logprobs, base, mask, config.kl_coef, average)
    return loss


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
        One record per n with ``n``, ``proxy``, ``gold``, ``kl`` (the bound log n − (n−1)/n),
        ``distance`` and ``accuracy``.

    Raises:
        ValueError: when the pool is too small.
    """
    if not ns or pool < 8 * max(ns):
        raise ValueError(f"pool: need at least 8 times the largest n, got {pool} for {ns}")
    world = world or PreferenceWorld()
    score, accuracy = fitted_proxy(config, world)
    generator = torch.Generator().manual_seed(config.seed)
    counts = torch.cat(
        [world.counts(*world.base_answers(2**14, generator)) for _ in range(-(-pool // 2**14))]
    )
    with torch.no_grad():
        proxy = score(counts).double().numpy()
        gold = world.gold(counts).double().numpy()
    uniform = np.full(len(proxy), 1 / len(proxy))
    records = []
    for n in ns:
        weights, kl = best_of_n(uniform, proxy, n), float(best_of_n_kl_bound(n))
        records.append(
            {
                "n": n,
                "proxy": float(weights @ proxy),
                "gold": float(weights @ gold),
                "kl": kl,
                "distance": kl**0.5,
                "accuracy": accuracy,
            }
        )
    return records


def record_climbs(config: ProxyConfig, seeds: int) -> Recording:
    """The same climb from ``seeds`` seeds, from ``config.seed`` on.

    Best-of-n is recorded at n = 1, 2, 4, … 65,536.

    Raises:
        ValueError: for no seeds.
    """
    if seeds < 1:
        raise ValueError(f"seeds: need at least 1, got {seeds}")
    recording = Recording(asdict(config))
    for seed in range(config.seed, config.seed + seeds):
        one = replace(config, seed=seed)
        if config.optimiser == "best_of_n":
            recording.add(best_of_n_curve(one, [2**k for k in range(17)]))
        else:
            recording.add(climb(one))
    return recording
