"""An algorithm as a value: its advantage, loss, average, KL term and entropy bonus.

The trainer and the exact laboratory (``exact.estimators``) use the same values, so an exact result about
an objective applies to the objective that is trained. The names in the table of ``losses`` are defined
only here; ``training.policy_gradient.PolicyGradientConfig`` documents them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from rlvr_lab.objectives import advantages as adv
from rlvr_lab.objectives.averages import (
    Average,
    constant_mean,
    masked_mean,
    sequence_mean,
    token_mean,
)
from rlvr_lab.objectives.importance import weighted
from rlvr_lab.objectives.kl import (
    KlEstimator,
    entropy_bonus,
    k1,
    k2,
    k3,
    kl_penalty,
    kl_shaped_rewards,
)
from rlvr_lab.objectives.losses import (
    cispo_loss,
    gspo_loss,
    ppo_clip_loss,
    reinforce_loss,
)
from rlvr_lab.objectives.ratios import clip_fraction, sequence_ratio, token_ratio
from rlvr_lab.objectives.squared_loss import kimi_loss

__all__ = ["ALGORITHMS", "AVERAGES", "ESTIMATORS", "Objective", "Rows", "objective_from"]


class Rows(NamedTuple):
    """The inputs of a loss: B = N·G sampled answers, groups contiguous.

    ``logits`` [B, T, V] are those from which the tokens were sampled; only an entropy bonus reads them.
    ``entropies`` [B, T] take their place where the logits would not fit into memory.
    ``weights`` [B, T] multiply the loss of each token, not the KL and not the bonus (``importance``); None means 1.
    """

    logprobs: Tensor
    old_logprobs: Tensor
    advantages: Tensor
    mask: Tensor
    ref_logprobs: Tensor | None = None
    logits: Tensor | None = None
    weights: Tensor | None = None
    entropies: Tensor | None = None


Advantage = Callable[[Tensor, int], Tensor]
"""(rewards [B], group_size) → advantages [B]."""
Loss = Callable[[Rows, Average], Tensor]
"""(rows, average) → a scalar to minimise. The loss takes its mean only with ``average``."""


def raw_rewards(rewards: Tensor, group_size: int) -> Tensor:
    """No baseline: the reward itself is the advantage."""
    return rewards


def plain(
    rows: Rows, average: Average, low: float = 0.0, high: float = 0.0, tau: float = 0.0
) -> Tensor:
    """REINFORCE on the rows, without a ratio and without a clip."""
    return reinforce_loss(rows.logprobs, rows.advantages, rows.mask, average)


sum_over_tokens = constant_mean(1)


def nothing_clipped(rows: Rows, low: float = 0.0, high: float = 0.0) -> float:
    """The share of clipped tokens for a loss without a clip."""
    return 0.0


@dataclass(frozen=True)
class Objective:
    """An algorithm, as in the table of ``losses``. The default is REINFORCE, summed over tokens.

    Attributes:
        advantage: computes advantages from rewards.
        loss: applies the ratio and the clip.
        average: averages over tokens and answers.
        clipped: share of the trained tokens whose gradient the clip changes (a metric).
        kl_coef: β ≥ 0.
        kl_in_reward: whether the KL is subtracted from the rewards; otherwise it is added to the loss.
        kl_estimator: the estimator that is differentiated when the KL is in the loss.
        pulls_back: whether the loss has a gradient where the advantage is 0, once π has left π_old.
        entropy_coef: c ≥ 0, the weight of the entropy of each trained token, which is subtracted from the loss.
    """

    advantage: Advantage = raw_rewards
    loss: Loss = plain
    average: Average = sum_over_tokens
    clipped: Callable[[Rows], float] = nothing_clipped
    kl_coef: float = 0.0
    kl_in_reward: bool = False
    kl_estimator: KlEstimator = k3
    pulls_back: bool = False
    entropy_coef: float = 0.0

    @property
    def trains_every_row(self) -> bool:
        """Whether an answer with advantage 0 may have a gradient."""
        return self.kl_in_loss or self.pulls_back or self.reads_logits

    @property
    def kl_in_loss(self) -> bool:
        """Whether the loss has a KL term, whose gradient flows through every answer."""
        return self.kl_coef > 0 and not self.kl_in_reward

    @property
    def reads_logits(self) -> bool:
        """Whether the loss needs ``Rows.logits``: the probabilities of the whole vocabulary."""
        return self.entropy_coef > 0

    def advantages(
        self,
        rewards: Float[Tensor, " B"],
        group_size: int,
        logprobs: Float[Tensor, "B T"],
        ref_logprobs: Float[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
    ) -> Float[Tensor, " B"]:
        """Advantages of raw rewards; a KL in the reward is subtracted first."""
        if self.kl_coef > 0 and self.kl_in_reward:
            rewards = kl_shaped_rewards(rewards, logprobs, ref_logprobs, mask, self.kl_coef)
        return self.advantage(rewards, group_size)

    def policy_loss(self, rows: Rows, average: Average | None = None) -> Float[Tensor, ""]:
        """The loss without its KL term and bonus, with the tokens weighted by ``rows.weights``."""
        average = average or self.average
        if rows.weights is not None:
            average = weighted(average, rows.weights)
        return self.loss(rows, average)

    def total(self, rows: Rows, average: Average | None = None) -> Float[Tensor, ""]:
        """The loss, with its KL term and minus its entropy bonus, where it has them.

        Gradient flows through ``rows.logprobs``, ``rows.logits`` and ``rows.entropies``.

        Args:
            rows: the answers.
            average: replaces the objective's own average (``exact.estimators`` uses one per group).
        """
        average = average or self.average
        loss = self.policy_loss(rows, average)
        if self.kl_in_loss:
            loss = loss + kl_penalty(
                rows.logprobs,
                rows.ref_logprobs,
                rows.mask,
                self.kl_coef,
                average,
                self.kl_estimator,
            )
        if self.reads_logits and rows.entropies is not None:
            loss = loss - self.entropy_coef * masked_mean(rows.entropies, rows.mask)
        elif self.reads_logits:
            loss = loss - entropy_bonus(rows.logits, rows.mask, self.entropy_coef)
        return loss


# ------------------------------------------------------------------ names, for JSON and for controls

ESTIMATORS: dict[str, KlEstimator] = {"k1": k1, "k2": k2, "k3": k3}
AVERAGES: dict[str, Callable[[float], Average]] = {
    "sequence": lambda length: sequence_mean,
    "token": lambda length: token_mean,
    "constant": constant_mean,
}
ADVANTAGES: dict[str, Callable[[bool, float], Advantage]] = {
    "group": lambda by_std, tau: partial(adv.group_advantages, divide_by_std=by_std),
    "leave_one_out": lambda by_std, tau: adv.leave_one_out_advantages,
    "batch": lambda by_std, tau: lambda rewards, group_size: adv.batch_advantages(rewards),
    "none": lambda by_std, tau: raw_rewards,
    "maxrl": lambda by_std, tau: adv.maxrl_advantages,
    "log_z": lambda by_std, tau: partial(adv.log_partition_advantages, tau=tau),
}


def _share(rows: Rows, low: float, high: float, of: Callable[..., Tensor]) -> float:
    ratio = of(rows.logprobs.detach(), rows.old_logprobs, rows.mask)
    return clip_fraction(ratio, rows.advantages, rows.mask, low, high)


def _share_capped(rows: Rows, low: float, high: float) -> float:
    """CISPO's clip limits a weight and does not remove the gradient of any token."""
    ratio = token_ratio(rows.logprobs.detach(), rows.old_logprobs, rows.mask)
    return float((ratio > 1 + high)[rows.mask].double().mean())


RATIOS: dict[str, tuple[Callable[..., Tensor], Callable[..., float]]] = {
    "token": (
        lambda rows, average, low, high, tau: ppo_clip_loss(*rows[:4], low, high, average),
        partial(_share, of=token_ratio),
    ),
    "sequence": (
        lambda rows, average, low, high, tau: gspo_loss(*rows[:4], low, high, average),
        partial(_share, of=sequence_ratio),
    ),
    "cispo": (
        lambda rows, average, low, high, tau: cispo_loss(*rows[:4], high, average),
        _share_capped,
    ),
    "none": (plain, nothing_clipped),
    "squared": (
        lambda rows, average, low, high, tau: kimi_loss(*rows[:4], tau, average),
        nothing_clipped,
    ),
}
"""Ratio → the loss (rows, average, ε_low, ε_high, τ), and the share of tokens that its clip affects."""


def objective_from(
    baseline: str,
    divide_by_std: bool,
    average: str,
    length: float,
    ratio: str,
    clip_low: float,
    clip_high: float,
    kl_coef: float = 0.0,
    kl_in_reward: bool = False,
    kl_estimator: str = "k3",
    tau: float = 0.1,
    entropy_coef: float = 0.0,
) -> Objective:
    """The objective with these names; ``length`` is the L of the constant average, in tokens.

    ``tau`` is the τ of the ``squared`` ratio (``kimi_loss``) and of the ``log_z`` baseline.

    >>> import torch
    >>> objective = objective_from("leave_one_out", False, "constant", 1, "none", 0.2, 0.2)
    >>> objective.advantage(torch.tensor([1.0, 0.0]), 2)
    tensor([ 1., -1.])
    """
    loss, share = RATIOS[ratio]
    return Objective(
        advantage=ADVANTAGES[baseline](divide_by_std, tau),
        loss=partial(loss, low=clip_low, high=clip_high, tau=tau),
        average=AVERAGES[average](length),
        clipped=partial(share, low=clip_low, high=clip_high),
        kl_coef=kl_coef,
        kl_in_reward=kl_in_reward,
        kl_estimator=ESTIMATORS[kl_estimator],
        pulls_back=ratio == "squared",
        entropy_coef=entropy_coef,
    )


ALGORITHMS: dict[str, dict[str, Any]] = {
    "reinforce": {"baseline": "batch", "divide_by_std": False, "ratio": "none"},
    "rloo": {
        "baseline": "leave_one_out",
        "divide_by_std": False,
        "ratio": "none",
        "average": "constant",
        "kl_in": "reward",
        "kl_estimator": "k1",
    },
    "grpo": {},
    "dr-grpo": {"divide_by_std": False, "average": "constant"},
    "dapo": {"average": "token", "clip_high": 0.28},
    "gspo": {"ratio": "sequence", "clip_low": 3e-4, "clip_high": 4e-4},
    "cispo": {"ratio": "cispo", "clip_high": 0.28, "average": "token"},
    "maxrl": {"baseline": "maxrl", "divide_by_std": False, "average": "constant"},
}
"""The eight rows of the table; each entry lists the settings that differ from GRPO."""
