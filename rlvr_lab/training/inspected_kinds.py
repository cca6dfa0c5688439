"""How a step of each kind of run is shown: policy gradient (with its own sampler or another), PPO, TRPO and pairs.

Every loss is the function that the trainer calls. Beside the run's own loss stand those of the table of
``objectives.losses``, each with its own advantage, ratio, clip and average, and with the run's β: what would it
have done with the same batch?
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.objectives.averages import masked_mean
from rlvr_lab.objectives.objective import ALGORITHMS, Objective, Rows
from rlvr_lab.objectives.preferences import PAIR_OBJECTIVES
from rlvr_lab.objectives.token_weights import (
    Weights,
    average_weights,
    factors,
    loss_weights,
    objective_weights,
)
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.tasks.letters import PROMPT, STOP
from rlvr_lab.training.inspection import (
    Boxes,
    Inspected,
    InspectedStep,
    Lens,
    inspect_step,
    token_words,
)
from rlvr_lab.training.pairs import DpoConfig, both_answers, letter_logprobs, scored
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig
from rlvr_lab.training.ppo import PPOConfig, compared, fill, policy_loss
from rlvr_lab.training.rollouts import Experience, RolloutConfig
from rlvr_lab.training.stale import StaleConfig, StaleExperience
from rlvr_lab.training.state import TrainState
from rlvr_lab.training.trpo import TRPOConfig, surrogate_gain

__all__ = ["TITLES", "Given", "algorithm_lenses", "objective_lens", "sampled_step"]

OWN = "run"
"""Name of the run's own loss among the lenses."""
TITLES = {name: name.upper() for name in ALGORITHMS} | {"dr-grpo": "Dr. GRPO", "maxrl": "MaxRL"}
_ROW = (
    *("baseline", "divide_by_std", "average", "ratio", "clip_low", "clip_high"),
    *("kl_in", "kl_estimator"),
)
"""The settings that a row of the table has."""


class Given(NamedTuple):
    """What a loss reads of a batch: rewards [B]; log π_old, log π_ref, mask and the tokens' weights [B, T]."""

    rewards: Tensor
    group_size: int
    old: Tensor
    reference: Tensor
    mask: Tensor
    weights: Tensor | None = None


# ------------------------------------------------------------------------------------- sampled answers


def objective_lens(
    title: str,
    config: PolicyGradientConfig,
    given: Given,
    objective_of: Callable[[PolicyGradientConfig], Objective],
) -> Lens:
    """The loss of a configuration; a box that is moved changes the average or the advantage of it."""
    boxes = Boxes(
        config.average == "sequence", config.divide_by_std if config.baseline == "group" else None
    )

    def weigh(logprobs: Tensor, chosen: Boxes) -> Weights:
        changes: dict[str, Any] = {}
        if chosen.by_length is not None and chosen.by_length != boxes.by_length:
            changes["average"] = "sequence" if chosen.by_length else "constant"
        if boxes.by_std is not None and chosen.by_std is not None:
            changes["divide_by_std"] = chosen.by_std
        return _weighed(objective_of(replace(config, **changes)), logprobs, given)

    return Lens(title, boxes, weigh)


def _weighed(objective: Objective, logprobs: Tensor, given: Given) -> Weights:
    rows = Rows(
        logprobs,
        given.old,
        _advantages(objective, given),
        given.mask,
        given.reference,
        weights=given.weights,
    )
    return objective_weights(objective, rows)


def _advantages(objective: Objective, given: Given) -> Tensor:
    return objective.advantages(*given[:5])


def algorithm_lenses(config: RolloutConfig, given: Given, kl_coef: float) -> dict[str, Lens]:
    """The rows of the algorithms' table on the batch of any run that samples; rows that do not fit are left out."""
    known = {one.name for one in fields(PolicyGradientConfig)}
    own = {one.name: getattr(config, one.name) for one in fields(config) if one.name in known}
    plain = {name: value for name, value in own.items() if name not in _ROW}
    found = {}
    for name, row in PRESETS.items():
        settings = {key: getattr(row, key) for key in _ROW} | {"kl_coef": kl_coef}
        try:
            chosen = PolicyGradientConfig(**{**plain, **settings})
            lens = objective_lens(TITLES[name], chosen, given, lambda c: c.objective)
            _advantages(chosen.objective, given)
        except ValueError:  # MaxRL refuses negative rewards, a group of one answer has no mean
            continue
        found[name] = lens
    return found


def sampled_step(
    config: RolloutConfig,
    state: TrainState,
    experience: Experience,
    lenses: dict[str, Lens],
    note: str = "",
    reference: bool = False,
    old: Tensor | None = None,
    before: Tensor | None = None,
) -> Inspected:
    """A step of sampled answers; unless told otherwise the policy has not moved since it wrote them: π is π_old."""
    batch, verdicts = experience.batch, experience.answers.verdicts
    step = InspectedStep(
        state.step + 1,
        [problem.prompt for problem in experience.answers.problems],
        token_words(state.policy, batch.completion_ids, batch.attention_mask),
        batch.attention_mask,
        batch.completion_mask,
        ~batch.truncated,
        experience.rewards,
        [verdict.reason.replace("_", " ") for verdict in verdicts],
        torch.tensor([verdict.correct for verdict in verdicts]),
        batch.group_size,
        batch.old_logprobs if old is None else old,
        batch.old_logprobs if before is None else before,
        lenses,
        note,
        experience.reference.logprobs if reference else None,
    )

    @torch.no_grad()
    def after() -> Tensor:
        return token_logprobs(state.policy.model, batch, config.temperature)

    return step, after


def _own_title(config: PolicyGradientConfig) -> str:
    """The run's loss, with the row of the table that it is."""
    fixed = ("baseline", "divide_by_std", "average", "ratio", "clip_low", "clip_high")
    rows = [
        n for n, row in PRESETS.items() if all(getattr(row, k) == getattr(config, k) for k in fixed)
    ]
    return f"this run: {TITLES[rows[0]]}" if rows else "this run"


def _given(experience: Experience) -> Given:
    batch, reference = experience.batch, experience.reference.logprobs
    rewards, size = experience.rewards, batch.group_size
    return Given(rewards, size, batch.old_logprobs, reference, batch.completion_mask)


@inspect_step.register
def _(config: PolicyGradientConfig, state: TrainState, experience: Experience) -> Inspected:
    given = _given(experience)
    own = objective_lens(_own_title(config), config, given, lambda c: c.objective_on(experience))
    notes = []
    if config.minibatches > 1:
        notes.append(f"The update took this batch in {config.minibatches} parts; here it is one.")
    if config.entropy_coef > 0:
        notes.append("The entropy bonus acts on every word of the vocabulary; it is left out here.")
    lenses = {OWN: own} | algorithm_lenses(config, given, config.kl_coef)
    return sampled_step(config, state, experience, lenses, " ".join(notes), config.kl_coef > 0)


@inspect_step.register
def _(config: StaleConfig, state: TrainState, experience: StaleExperience) -> Inspected:
    """With the sampler's answers log π is not log μ, and a weight may belong to each token."""
    if config.samples_itself:
        return inspect_step.dispatch(PolicyGradientConfig)(config, state, experience)
    old = config.compared_batch(experience).old_logprobs
    weights = config.weights(experience) if config.has_weights else None
    given = _given(experience)._replace(old=old, weights=weights)
    own = objective_lens(_own_title(config), config, given, lambda c: c.objective_on(experience))
    lenses = {OWN: own} | algorithm_lenses(config, given, config.kl_coef)
    note = "Another policy wrote these answers." + (
        " The ratio in the loss contains the weight of the correction."
        if config.has_weights
        else ""
    )
    trainer = experience.trainer_logprobs
    return sampled_step(config, state, experience, lenses, note, config.kl_coef > 0, old, trainer)


def _token_lens(
    title: str, loss: Callable[[Tensor], Tensor], advantages: Tensor, mask: Tensor
) -> Lens:
    """A loss that averages over the tokens of the batch, with given advantages [B, T] and no switches."""

    def weigh(logprobs: Tensor, _: Boxes) -> Weights:
        policy = loss_weights(loss, logprobs)
        average = average_weights(masked_mean, mask, logprobs)
        compared_to = torch.where(mask, advantages, torch.nan)
        clipped = mask & (advantages != 0) & (policy == 0)
        factor = factors(policy, compared_to, average)
        return Weights(policy, torch.zeros_like(policy), compared_to, factor, average, clipped)

    return Lens(title, Boxes(), weigh)


@inspect_step.register
def _(config: PPOConfig, state: TrainState, experience: Experience) -> Inspected:
    if config.adaptive_kl is None:  # as the update does
        state.numbers["kl_coef"] = config.kl_coef
    buffer, _ = fill(config, state, experience)

    def lens(title: str, chosen: PPOConfig) -> Lens:
        return _token_lens(
            title, lambda lp: policy_loss(chosen, lp, buffer), compared(chosen, buffer), buffer.mask
        )

    bare = "none" if config.whiten_advantages == "minibatch" else "minibatch"
    bare_title = "advantages not whitened" if bare == "none" else "advantages whitened"
    lenses = {
        OWN: lens("this run: PPO", config),
        "other whitening": lens(f"PPO, {bare_title}", replace(config, whiten_advantages=bare)),
    }
    beta = state.numbers["kl_coef"]
    lenses |= algorithm_lenses(config, _given(experience), beta)
    note = (
        "PPO whitens its advantages over a minibatch and takes several; here the batch is one. "
        "The value loss is not shown."
    )
    return sampled_step(config, state, experience, lenses, note, beta > 0)


@inspect_step.register
def _(config: TRPOConfig, state: TrainState, experience: Experience) -> Inspected:
    batch, mask = experience.batch, experience.batch.completion_mask
    advantages = group_advantages(experience.rewards, config.group_size, divide_by_std=False)

    def loss(logprobs: Tensor) -> Tensor:
        log_ratio = torch.where(mask, logprobs - batch.old_logprobs, 0.0)
        return -surrogate_gain(log_ratio, advantages[:, None], mask)

    wide = advantages[:, None].expand(mask.shape)
    lenses = {OWN: _token_lens("this run: TRPO", loss, wide, mask)}
    lenses |= algorithm_lenses(config, _given(experience), 0.0)
    note = "These are the weights of the surrogate; TRPO multiplies its gradient by the inverse Fisher matrix."
    return sampled_step(config, state, experience, lenses, note)


# ----------------------------------------------------------------------------------------------- pairs


@inspect_step.register
def _(config: DpoConfig, state: TrainState, experience: Tensor) -> Inspected:
    world, pairs = state.task, state.data.train
    ids, mask = both_answers(pairs, experience)
    count = len(experience)
    # A pair is a group of two: its chosen answer, then its rejected one.
    order = torch.stack([torch.arange(count), torch.arange(count) + count], dim=1).flatten()
    back = order.argsort()

    @torch.no_grad()
    def score() -> Tensor:
        return letter_logprobs(state.policy, ids, mask)[order]

    def lens(name: str, title: str) -> Lens:
        boxes = Boxes({"dpo": False, "ln_dpo": True}.get(name))

        def weigh(logprobs: Tensor, chosen: Boxes) -> Weights:
            kind = name
            if boxes.by_length is not None:
                kind = "ln_dpo" if chosen.by_length else "dpo"
            loss = replace(config, loss=kind).loss_of
            shown = loss_weights(lambda lp: loss(scored(lp[back], world, ids, mask)), logprobs)
            nothing, none = torch.zeros_like(shown), torch.full_like(shown, torch.nan)
            return Weights(shown, nothing, none, none, none, nothing.bool())

        return Lens(title, boxes, weigh)

    titles = {name: name.replace("_", "-").upper() for name in PAIR_OBJECTIVES}
    lenses = {OWN: lens(config.loss, f"this run: {titles[config.loss]}")}
    lenses |= {name: lens(name, title) for name, title in titles.items()}
    before = score()
    good = torch.tensor([True, False]).repeat(count)
    step = InspectedStep(
        state.step + 1,
        [PROMPT] * count,
        token_words(state.policy, ids[order], mask[order]),
        mask[order],
        mask[order],
        (ids[order] == STOP).any(dim=1),
        good.to(before),
        ["chosen", "rejected"] * count,
        good,
        2,
        before,
        before,
        lenses,
        "Every loss has the β and the margin of this run.",
    )
    return step, score
