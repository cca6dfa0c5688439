"""What PPO's implementation details do, one switch at a time, over seeds (notebook 05).

The table is measured by ``python -m rlvr_lab record ppo-details``; its rows are changes to one common
configuration, and every seed sees the same problems in every row. Some rows are mistakes on purpose, each
a variant of ``PPOConfig`` with one method done wrong. Others take a detail or a mistake apart, to see which
part of it has the effect.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives.gae import mean_and_std, whiten
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.records.runs import Run
from rlvr_lab.training.loop import train
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.training.state import TrainState

__all__ = ["BASE", "DETAILS", "Detail", "measure_details"]

BASE = PPOConfig(steps=10, prompts_per_step=8, epochs=3, critic_warmup=3)
LAST = 3  # the final figures are means over so many steps


@dataclass(frozen=True)
class ShiftedValues(PPOConfig, kind="ppo-values-shifted"):
    """The mistake: V(s_{t+1}) in place of V(s_t)."""

    def values(self, state: TrainState, batch: RolloutBatch) -> Float[Tensor, "B T"]:
        """Each token gets the value of the next state."""
        values = super().values(state, batch)
        return torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)


@dataclass(frozen=True)
class EndUntrained(PPOConfig, kind="ppo-end-untrained"):
    """The mistake: the end token is masked out as if it were padding."""

    def trained_tokens(self, batch: RolloutBatch) -> Bool[Tensor, "B T"]:
        """All tokens but the last of an answer that stopped by itself."""
        mask = batch.completion_mask
        position = torch.arange(mask.shape[1], device=mask.device)
        last = torch.where(mask, position, -1).amax(dim=1, keepdim=True)
        spared = batch.truncated[:, None] | (mask.sum(dim=1, keepdim=True) == 1)
        return mask & ((position != last) | spared)


@dataclass(frozen=True)
class PaddedWhitening(PPOConfig, kind="ppo-padded-whitening"):
    """The mistake: padding counts in the mean and the standard deviation of a minibatch."""

    def whitened(
        self, advantages: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """Whitened over the whole rectangle."""
        return whiten(advantages, torch.ones_like(mask))


def _standardised(x: Tensor, mask: Tensor, mean_over: Tensor, std_over: Tensor) -> Tensor:
    """(x − mean)/std on ``mask``, with the mean and the std of other parts of the rectangle."""
    mean, std = mean_and_std(x, mean_over)[0], mean_and_std(x, std_over)[1]
    return torch.where(mask, (x - mean) / (std + 1e-8), 0.0)


@dataclass(frozen=True)
class PaddedMean(PPOConfig, kind="ppo-padded-mean"):
    """Half of the mistake: padding counts in the mean alone."""

    def whitened(
        self, advantages: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """(A − mean over the rectangle) / std over the trained tokens."""
        return _standardised(advantages, mask, torch.ones_like(mask), mask)


@dataclass(frozen=True)
class PaddedScale(PPOConfig, kind="ppo-padded-scale"):
    """The other half: padding counts in the standard deviation alone."""

    def whitened(
        self, advantages: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """(A − mean over the trained tokens) / std over the rectangle."""
        return _standardised(advantages, mask, mask, torch.ones_like(mask))


@dataclass(frozen=True)
class ScaledRewards(PPOConfig, kind="ppo-scaled-rewards"):
    """Half of whitening the rewards: divided by the std, without the constant per token."""

    def shaped(
        self, rewards: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """r/std."""
        return rewards / (mean_and_std(rewards, mask)[1] + 1e-8)


@dataclass(frozen=True)
class TaxedRewards(PPOConfig, kind="ppo-taxed-rewards"):
    """The other half: the constant per token, without the division."""

    def shaped(
        self, rewards: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        """r + mean·(1 − 1/std): in units of what an answer earns after whitening, times the std."""
        mean, std = mean_and_std(rewards, mask)
        return torch.where(mask, rewards + std * mean * (1 - 1 / (std + 1e-8)), 0.0)


@dataclass(frozen=True)
class Detail:
    """One switch.

    Attributes:
        name: what the table calls it.
        source: its number among the 37, or where it comes from.
        change: what it changes in ``BASE``.
        kind: the configuration, or a variant of it with one method changed.
    """

    name: str
    source: str
    change: dict[str, Any] = field(default_factory=dict)
    kind: type[PPOConfig] = PPOConfig

    @property
    def bug(self) -> bool:
        """Whether it is a mistake on purpose."""
        return self.name.startswith("bug")

    def config(self, base: PPOConfig, seed: int) -> PPOConfig:
        """``base`` with this switch."""
        return self.kind(**{**asdict(base), "seed": seed, **self.change})


DETAILS = [
    Detail("as it is", ""),
    Detail("no whitening of advantages", "7", {"whiten_advantages": "none"}),
    Detail("one epoch", "6", {"epochs": 1}),
    Detail("rewards whitened", "RLHF", {"whiten_rewards": True}),
    Detail("rewards: only divided by std", "", kind=ScaledRewards),
    Detail("rewards: only the length tax", "", kind=TaxedRewards),
    Detail("bug: values shifted by one", "", kind=ShiftedValues),
    Detail("bug: end token untrained", "", kind=EndUntrained),
    Detail("bug: padding in the whitening", "", kind=PaddedWhitening),
    Detail("bug: padding in the mean", "", kind=PaddedMean),
    Detail("bug: padding in the std", "", kind=PaddedScale),
    Detail("linear critic, no warm-up", "", {"critic": "linear", "critic_warmup": 0}),
    Detail("value head starts random", "RLHF", {"zero_value_head": False}),
    Detail("KL clamped at 0", "AlpacaFarm", {"clamp_kl": True}),
    Detail("learning rate falls to 0", "4", {"anneal": True}),
    Detail("no clip of the policy", "8", {"clip": 1.0}),
    Detail("no clip of the value loss", "9", {"value_clip": None}),
    Detail("no gradient clipping", "11", {"max_grad_norm": None}),
    Detail("λ = 1", "5", {"lam": 1.0}),
    Detail("no KL in the reward", "RLHF", {"kl_coef": 0.0}),
    Detail("entropy bonus 0.01", "10", {"entropy_coef": 0.01}),
    Detail("epochs stop at KL 0.02", "auxiliary 3", {"target_kl": 0.02}),
    Detail("whitened over the batch", "7", {"whiten_advantages": "batch"}),
    Detail("Adam ε = 1e-8", "3", {"adam_eps": 1e-8}),
    Detail("β steered to KL = 1", "RLHF", {"adaptive_kl": 1.0, "kl_coef": 0.1}),
]


def measure_details(
    seeds: int, base: PPOConfig = BASE, details: list[Detail] = DETAILS, first: int = 0
) -> Iterator[Run]:
    """Run every detail with the seeds from ``first`` on; yield one summary each.

    Yields:
        A run with a single record: ``step`` (the last), ``name``, ``source``, ``bug``, ``seed``; means
        over the last steps of ``pass_rate``, ``kl``, ``length``, ``explained_variance``; ``area``, the mean
        pass rate of all steps (how fast it learned); ``ev_area``, the explained variance's mean over all
        steps.

    Raises:
        ValueError: when ``seeds`` < 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds: need at least 1, got {seeds}")
    for detail in details:
        for seed in range(first, first + seeds):
            config = detail.config(base, seed)
            records = list(train(config))
            names = ("pass_rate", "kl", "length", "explained_variance")
            final = {name: float(np.mean([r[name] for r in records[-LAST:]])) for name in names}
            summary = {
                "step": records[-1]["step"],
                "name": detail.name,
                "source": detail.source,
                "bug": detail.bug,
                "seed": seed,
                **final,
                "area": float(np.mean([r["pass_rate"] for r in records])),
                "ev_area": float(np.mean([r["explained_variance"] for r in records])),
                "curve": [round(r["pass_rate"], 4) for r in records],
            }
            yield Run(config, [summary])
