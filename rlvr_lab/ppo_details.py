"""What PPO's implementation details do, one switch at a time, over seeds (notebook 05).

The table is measured by ``python -m rlvr_lab ppo-details``; its rows are changes to one common
configuration, and every seed sees the same problems in every row.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from rlvr_lab.ppo import PPOConfig, train_ppo

__all__ = ["BASE", "DETAILS", "Detail", "measure_details"]

BASE = PPOConfig(steps=20, prompts_per_step=8, epochs=3)
LAST = 5  # the final figures are means over so many steps


@dataclass(frozen=True)
class Detail:
    """One switch.

    Attributes:
        name: what the table calls it.
        source: its number among the 37, or where it comes from.
        change: what it changes in ``BASE``.
        bug: whether it is a mistake on purpose.
    """

    name: str
    source: str
    change: dict[str, Any]
    bug: bool = False


DETAILS = [
    Detail("as it is", "", {}),
    Detail("no whitening of advantages", "7", {"whiten_advantages": "none"}),
    Detail("whitened over the batch", "7", {"whiten_advantages": "batch"}),
    Detail("no clip of the value loss", "9", {"value_clip": None}),
    Detail("no gradient clipping", "11", {"max_grad_norm": None}),
    Detail("Adam ε = 1e-8", "3", {"adam_eps": 1e-8}),
    Detail("learning rate falls to 0", "4", {"anneal": True}),
    Detail("λ = 1", "5", {"lam": 1.0}),
    Detail("one epoch", "6", {"epochs": 1}),
    Detail("entropy bonus 0.01", "10", {"entropy_coef": 0.01}),
    Detail("no clip of the policy", "8", {"clip": 1.0}),
    Detail("epochs stop at KL 0.02", "auxiliary 3", {"target_kl": 0.02}),
    Detail("value head starts random", "RLHF", {"zero_value_head": False}),
    Detail("no KL in the reward", "RLHF", {"kl_coef": 0.0}),
    Detail("KL clamped at 0", "AlpacaFarm", {"clamp_kl": True}),
    Detail("β steered to KL = 1", "RLHF", {"adaptive_kl": 1.0, "kl_coef": 0.1}),
    Detail("rewards whitened", "RLHF", {"whiten_rewards": True}),
    Detail("bug: values shifted by one", "", {"bug": "shifted_values"}, bug=True),
    Detail("bug: end token untrained", "", {"bug": "end_untrained"}, bug=True),
    Detail("bug: padding in the whitening", "", {"bug": "padded_whitening"}, bug=True),
]


def measure_details(
    seeds: int, base: PPOConfig = BASE, details: list[Detail] = DETAILS
) -> Iterator[dict[str, Any]]:
    """Run every detail with every seed; yield one row a run.

    Yields:
        ``name``, ``source``, ``bug``, ``change``, ``seed``, ``config``, and means over the last steps of
        ``pass_rate``, ``kl``, ``length``, ``explained_variance``; ``area``, the mean pass rate of all
        steps (how fast it learned).

    Raises:
        ValueError: when ``seeds`` < 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds: need at least 1, got {seeds}")
    for detail in details:
        for seed in range(seeds):
            config = replace(base, seed=seed, **detail.change)
            records = list(train_ppo(config))
            names = ("pass_rate", "kl", "length", "explained_variance", "clip_fraction")
            final = {name: float(np.mean([r[name] for r in records[-LAST:]])) for name in names}
            yield {
                "name": detail.name,
                "source": detail.source,
                "bug": detail.bug,
                "change": detail.change,
                "seed": seed,
                "config": asdict(config),
                **final,
                "area": float(np.mean([r["pass_rate"] for r in records])),
            }
