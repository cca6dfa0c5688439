"""Policy gradient whose answers come from another policy than the one that is trained.

The sampler μ is the policy as it was some steps ago, or the policy in other arithmetic, or both. What the update
does about it is the field ``correction``. (Notebook 11)
"""

import random
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.objectives.importance import CORRECTIONS, effective_share, mismatch_kl
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.perturbed import noisy, rounded
from rlvr_lab.training.policy_gradient import PolicyGradientConfig, improve
from rlvr_lab.training.rollouts import Experience, collect
from rlvr_lab.training.state import TrainState

__all__ = ["StaleConfig", "StaleExperience"]


@dataclass(frozen=True)
class StaleExperience(Experience):
    """One step's answers, and what the trainer's policy thinks of them.

    Attributes:
        trainer_logprobs: [B, T], log π_old: the trained policy before the update. ``batch.old_logprobs`` is log μ,
            that of the sampler.
    """

    trainer_logprobs: Tensor


@dataclass(frozen=True)
class StaleConfig(PolicyGradientConfig, kind="stale"):
    """A policy-gradient run with a sampler of its own; with the defaults it is ``PolicyGradientConfig``, bit for bit.

    Attributes:
        lag: k ≥ 0: in step n the sampler is the policy after max(0, n − 1 − k) steps; 0 is on-policy. If a live
            change makes k larger, the sampler stays as it is until it is k steps old.
        noise: standard deviation of Gaussian noise on each logit of the sampler, in nats; drawn from (seed, step).
        rounding: of the sampler's weights: ``none``, ``bf16``, ``fp8`` or ``int4`` (``policy.perturbed``).
        correction: ``none``: the mismatch is ignored. ``clip``: log μ takes the place of log π_old, so that the
            ratio is π/μ and its clip acts on the mismatch too. ``tis``, ``icepop``, ``sequence``: a weight for each
            token, w(π_old/μ) (``objectives.importance``); the ratio stays π/π_old.
        cap: c of ``tis`` and ``sequence``, β of ``icepop``.
        floor: α of ``icepop``.

    Raises:
        ValueError: naming the field, for a value that makes no sense.
    """

    lag: int = 0
    noise: float = 0.0
    rounding: Literal["none", "bf16", "fp8", "int4"] = "none"
    correction: Literal["none", "clip", "tis", "icepop", "sequence"] = "none"
    cap: float = 2.0
    floor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(0, "lag", "noise", "floor")
        self.require_positive("cap")
        self.require("floor", self.floor <= self.cap, f"at most cap ({self.cap})")
        blind = self.correction == "clip" and self.ratio == "none"
        self.require("correction", not blind, "not 'clip' with ratio='none', which reads no π_old")

    @property
    def samples_itself(self) -> bool:
        """Whether the sampler is the trained policy."""
        return self.lag == 0 and self.noise == 0 and self.rounding == "none"

    # ---- the loop's hooks

    def begin(self, *given: Any, **named: Any) -> TrainState:
        """The state before step 1; arguments as of ``RolloutConfig.begin``."""
        state = super().begin(*given, **named)
        self._keep_earlier(state)
        return state

    def collect(self, state: TrainState) -> StaleExperience:
        """Answers of the sampler, with log-probabilities of both policies."""
        self._keep_earlier(state)  # the lag may have changed
        found = collect(self, replace(state, policy=self.sampler(state)))
        trainer = found.batch.old_logprobs
        if not self.samples_itself:
            with torch.no_grad():
                trainer = token_logprobs(state.policy.model, found.batch, self.temperature)
                trainer = trainer.masked_fill(~found.batch.completion_mask, 0.0)
        return StaleExperience(**vars(found), trainer_logprobs=trainer)

    def measure(self, state: TrainState, experience: StaleExperience) -> dict[str, Any]:
        """What there is to say of the answers, all of the sampler's, and of the mismatch.

        Returns:
            What ``describe_step`` says (``kl`` is that of the sampler); ``mismatch_kl`` (KL(μ‖π_old), nats per
            token); ``effective_share`` (of the answers, see ``importance``); of the weights ``weight_mean``,
            ``weight_max`` and ``masked_share`` (share of tokens with weight 0).
        """
        mask = experience.batch.completion_mask
        given = (experience.trainer_logprobs, experience.batch.old_logprobs, mask)
        weights = self.weights(experience)[mask].double()
        return {
            **super().measure(state, experience),
            "mismatch_kl": mismatch_kl(*given),
            "effective_share": effective_share(*given),
            "weight_mean": float(weights.mean()),
            "weight_max": float(weights.max()),
            "masked_share": float((weights == 0).double().mean()),
        }

    def update(self, state: TrainState, experience: StaleExperience) -> dict[str, float]:
        """All optimiser steps on one batch; returns what ``improve`` does."""
        for group in state.optimizer.param_groups:
            group["lr"] = self.learning_rate
        before = state.policy.frozen_copy() if self.lag else None
        found = improve(
            state,
            self.objective_on(experience),
            self.compared_batch(experience),
            experience.rewards,
            experience.reference.logprobs,
            temperature=self.temperature,
            updates=self.updates_per_batch,
            minibatches=self.minibatches,
            max_norm=self.max_grad_norm,
            weights=self.weights(experience) if self.has_weights else None,
        )
        if before is not None:
            state.earlier = [before, *state.earlier[: self.lag - 1]]
        return found

    # ---- the sampler, and what is done about it

    def sampler(self, state: TrainState) -> Policy:
        """μ: the policy that writes the next batch."""
        policy = state.earlier[-1] if self.lag else state.policy
        if self.rounding != "none":
            policy = rounded(policy, self.rounding)
        if self.noise > 0:
            seed = random.Random(f"{self.seed} {state.step + 1} noise").getrandbits(62)
            policy = noisy(policy, self.noise, torch.Generator(policy.device).manual_seed(seed))
        return policy

    @property
    def has_weights(self) -> bool:
        """Whether the correction is a weight for each token."""
        return self.correction in CORRECTIONS and self.correction != "none"

    def weights(self, experience: StaleExperience) -> Float[Tensor, "B T"]:
        """The weight of each token's loss; 1 for a correction without weights, 0 on padding."""
        mask, name = experience.batch.completion_mask, self.correction
        given = (experience.trainer_logprobs, experience.batch.old_logprobs, mask)
        return CORRECTIONS[name if self.has_weights else "none"](*given, self.cap, self.floor)

    def compared_batch(self, experience: StaleExperience) -> RolloutBatch:
        """The rollouts with the log-probabilities that the ratio compares with: μ's for ``clip``, else π_old's."""
        if self.correction == "clip":
            return experience.batch
        return replace(experience.batch, old_logprobs=experience.trainer_logprobs)

    def _keep_earlier(self, state: TrainState) -> None:
        """Exactly ``lag`` earlier policies: too old ones go, missing ones are copies of the oldest."""
        state.earlier = state.earlier[: self.lag]
        while len(state.earlier) < self.lag:
            oldest = state.earlier[-1] if state.earlier else state.policy
            state.earlier.append(oldest.frozen_copy())
