"""DPO and its variants on recorded pairs: no sampling, no reward model (notebook 01).

The pairs are those of the letters; the gold reward is measured on fresh answers of the policy, for us to
watch. What is trained never sees it.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from rlvr_lab.objectives.kl import k1
from rlvr_lab.objectives.preferences import (
    PAIR_OBJECTIVES,
    Sides,
    answer_logprobs,
    dpo_weight,
    preference_accuracy,
)
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.logprobs import before_each_token
from rlvr_lab.policy.sampling import sample
from rlvr_lab.tasks.letters import PAD, PROMPT, PreferencePairs, PreferenceWorld
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.optimise import optimiser_step, trained
from rlvr_lab.training.state import TrainState

__all__ = ["DpoConfig", "letter_logprobs", "watch_letters"]


class Pairs(NamedTuple):
    """The pairs that a run learns from, and fresh ones without errors."""

    train: PreferencePairs
    fresh: PreferencePairs


@dataclass(frozen=True)
class DpoConfig(RunConfig, kind="pairs"):
    """One run on pairs.

    Attributes:
        loss: ``dpo``, ``ln_dpo``, ``simpo``, ``ipo`` or ``orpo``; each stands in ``preferences``.
        pairs: N.
        flip: probability that an annotator erred.
        length_bias: what annotators add to the gold reward for every token.
        stop: probability that the base ends after each token; 0 fixes the length at 12.
        beta: of the loss (τ of IPO, the weight λ of ORPO).
        margin: γ of SimPO.
        reference: False leaves log π_ref out of what the loss compares. SimPO and ORPO have none to leave out;
            length-normalised DPO without it is SimPO with γ = 0.
        likelihood: weight of −log π(y_w)/|y_w| added to the loss (as in Llama 3, arXiv:2407.21783).
        steps: of the optimiser.
        batch_size: pairs in each.
        learning_rate: of Adam.
        measure_every: steps between two records.
        seed: of pairs, policy and batches.

    Records: one before the first step and one after every ``measure_every`` steps, with ``loss``;
    ``chosen`` and ``rejected`` (log π of whole answers, nats, mean over up to 256 training pairs);
    ``reward_chosen``, ``reward_rejected`` (the loss's own implicit reward of both) and ``margin``, their
    difference; ``weight`` (mean σ(r̂_l − r̂_w)); ``accuracy`` (of the
    margin on training pairs) and ``held_out`` (on fresh, error-free ones, that please by gold reward and
    length bias); of 256 fresh answers ``gold``, ``length`` (tokens), ``kl`` and ``distance``.

    Raises:
        ValueError: naming the field.
    """

    loss: Literal["dpo", "ln_dpo", "simpo", "ipo", "orpo"] = "dpo"
    pairs: int = 300
    flip: float = 0.25
    length_bias: float = 0.0
    stop: float = 0.0
    beta: float = 0.1
    margin: float = 0.5
    reference: bool = True
    likelihood: float = 0.0
    steps: int = field(default=200, kw_only=True)
    batch_size: int = 64
    learning_rate: float = 1e-3
    measure_every: int = 5

    FIXED = (*RunConfig.FIXED, "pairs", "flip", "length_bias", "stop")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "pairs", "batch_size", "measure_every")
        self.require_positive("beta", "learning_rate")
        self.require_at_least(0, "likelihood", "margin")

    @property
    def letters(self) -> PreferenceWorld:
        """The world of the pairs."""
        return PreferenceWorld(stop=self.stop, length_bias=self.length_bias)

    def begin(self, policy: Policy | None = None) -> TrainState:
        """The state before step 1, from the world's base or from a given policy."""
        world = self.letters
        policy = policy or world.base_policy(self.seed)
        return TrainState(
            policy,
            optimizer=torch.optim.Adam(trained(policy.model), lr=self.learning_rate),
            task=world,
            generator=torch.Generator().manual_seed(self.seed),
            data=Pairs(
                world.pairs(self.pairs, self.flip, 1_000 + self.seed),
                world.pairs(512, 0.0, 10_000 + self.seed),
            ),
        )

    def opening(self, state: TrainState) -> dict[str, Any]:
        """The untrained policy, measured."""
        return self._measured(state)

    def collect(self, state: TrainState) -> Tensor:
        """The rows of the next minibatch of pairs."""
        return torch.randint(self.pairs, (self.batch_size,), generator=state.generator)

    def update(self, state: TrainState, experience: Tensor) -> dict[str, Any]:
        """One step on the pairs of the given rows."""
        for group in state.optimizer.param_groups:
            group["lr"] = self.learning_rate
        loss = self.loss_of(sides(state.policy, state.task, state.data.train, experience))
        optimiser_step(state.optimizer, loss, max_norm=1.0)
        return {}

    def after(self, state: TrainState) -> dict[str, Any] | None:
        """Measured every few steps."""
        return None if state.step % self.measure_every else self._measured(state)

    def loss_of(self, seen: Sides) -> Tensor:
        """What the update minimises, of pairs that were scored."""
        objective = PAIR_OBJECTIVES[self.loss]
        return objective.total(self._seen(seen), self.beta, self.margin, self.likelihood)

    def _seen(self, all_sides: Sides) -> Sides:
        """What the loss may see: with the reference or without."""
        return all_sides if self.reference else all_sides.without_reference()

    @torch.no_grad()
    def _measured(self, state: TrainState) -> dict[str, Any]:
        world, policy = state.task, state.policy
        objective = PAIR_OBJECTIVES[self.loss]
        seen = self._seen(sides(policy, world, state.data.train, slice(0, 256)))
        chosen, rejected = objective.rewards(seen, self.beta)
        margin = objective.margin(seen, self.beta)
        fresh = self._seen(sides(policy, world, state.data.fresh, slice(None)))
        held_out = objective.margin(fresh, self.beta)
        return {
            "loss": float(self.loss_of(seen)),
            "chosen": float(seen.chosen.mean()),
            "rejected": float(seen.rejected.mean()),
            "reward_chosen": float(chosen.mean()),
            "reward_rejected": float(rejected.mean()),
            "margin": float(margin.mean()),
            "weight": float(dpo_weight(margin, torch.zeros_like(margin)).mean()),
            "accuracy": preference_accuracy(margin),
            "held_out": preference_accuracy(held_out),
            **watch_letters(world, sample(policy, [PROMPT], 256, world.length, state.generator)),
        }


def letter_logprobs(policy: Policy, ids: Tensor, mask: Tensor) -> Tensor:
    """log π [B, T] of given answers to the world's one prompt, with gradient; 0 on padding."""
    prompt = policy.tokenizer.convert_tokens_to_ids(PROMPT)
    ids = ids.to(policy.device)
    whole = torch.cat([torch.full_like(ids[:, :1], prompt), ids], dim=1)
    logits = policy.model(whole[:, :-1]).logits
    scores = before_each_token(logits, whole.shape[1], ids.shape[1]).log_softmax(-1)
    # Padding has probability 0; its −inf must not enter the gather.
    target = ids.masked_fill(ids == PAD, 0)
    return scores.gather(2, target[:, :, None]).squeeze(2).masked_fill(~mask.to(ids.device), 0.0)


def sides(policy: Policy, world: PreferenceWorld, pairs: PreferencePairs, rows: Any) -> Sides:
    """Both answers of some pairs, scored in one pass."""
    ids, mask = both_answers(pairs, rows)
    return scored(letter_logprobs(policy, ids, mask), world, ids, mask)


def both_answers(pairs: PreferencePairs, rows: Any) -> tuple[Tensor, Tensor]:
    """Ids and mask [2M, T]: the chosen answers of some pairs, then the rejected ones."""
    ids = torch.cat([pairs.chosen[rows], pairs.rejected[rows]])
    return ids, torch.cat([pairs.chosen_mask[rows], pairs.rejected_mask[rows]])


def scored(logprobs: Tensor, world: PreferenceWorld, ids: Tensor, mask: Tensor) -> Sides:
    """What a loss on pairs reads of log-probabilities [2M, T], the chosen answers first."""
    total = answer_logprobs(logprobs, mask)
    lengths = mask.sum(dim=1).to(total)
    base = world.base_logprobs(ids, mask).sum(dim=1)
    return Sides(*total.chunk(2), *base.chunk(2), *lengths.chunk(2))


def watch_letters(world: PreferenceWorld, batch: RolloutBatch) -> dict[str, float]:
    """What answers in letters are worth and how far they are from the base.

    Returns:
        ``gold`` (mean gold reward), ``length`` (tokens), ``kl`` (to the base, k1 per answer, nats) and
        ``distance`` (√KL, 0 where the estimate is negative).
    """
    mask = batch.completion_mask
    log_ratio = k1(batch.old_logprobs, world.base_logprobs(batch.completion_ids, mask))
    kl = float(torch.where(mask, log_ratio, 0.0).sum(dim=1).double().mean())
    return {
        "gold": float(world.gold(world.counts(batch.completion_ids, mask)).double().mean()),
        "length": float(batch.lengths.double().mean()),
        "kl": kl,
        "distance": max(kl, 0.0) ** 0.5,
    }
