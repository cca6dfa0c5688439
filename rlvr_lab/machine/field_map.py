"""What each field of ``PolicyGradientConfig`` is called in TRL and in verl, and what neither can express.

The table is data. ``machine.trl_arguments`` and ``machine.verl_overrides`` compute the values. A test goes through
the fields of the configuration: each has a row here, and changing it changes what is handed over or is refused.

Sources: TRL 1.16.0, ``trl/trainer/grpo_config.py`` and ``rloo_config.py``; verl's
``verl/trainer/config/_generated_ppo_trainer.yaml`` (commit 01d4d76) and ``verl/trainer/ppo/core_algos.py``
(commit 018f23b), 2026.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rlvr_lab.training.policy_gradient import PolicyGradientConfig

__all__ = ["FIELDS", "TRL_REFUSES", "VERL_REFUSES", "Counterpart", "Refusal", "refuse", "table"]


class Counterpart(NamedTuple):
    """The names of one field elsewhere; ``differs`` says what is not quite the same there."""

    trl: str
    verl: str
    differs: str = ""


ACTOR, ROLLOUT = "actor_rollout_ref.actor.", "actor_rollout_ref.rollout."

FIELDS: dict[str, Counterpart] = {
    "world": Counterpart(
        "train_dataset, reward_funcs",
        "data.train_files, reward.custom_reward_function.path",
        "verl reads prompts from Parquet files and always applies the chat template",
    ),
    "world_options": Counterpart("train_dataset, reward_funcs", "data.train_files"),
    "base": Counterpart("model, processing_class", "actor_rollout_ref.model.path"),
    "dtype": Counterpart(
        "dtype of model", ACTOR + "fsdp_config.model_dtype", "verl computes in bfloat16 by default"
    ),
    "device": Counterpart("use_cpu", "trainer.n_gpus_per_node", "the launcher assigns the GPUs"),
    "seed": Counterpart(
        "seed, train_dataset", "data.seed", "same problems, but other random answers"
    ),
    "steps": Counterpart(
        "max_steps = steps·updates·minibatches",
        "trainer.total_training_steps",
        "TRL counts optimiser steps",
    ),
    "prompts_per_step": Counterpart(
        "per_device_train_batch_size, gradient_accumulation_steps",
        "data.train_batch_size",
        "TRL counts answers, not prompts",
    ),
    "group_size": Counterpart("num_generations", ROLLOUT + "n"),
    "max_new_tokens": Counterpart("max_completion_length", "data.max_response_length"),
    "temperature": Counterpart("temperature", ROLLOUT + "temperature"),
    "top_p": Counterpart("top_p", ROLLOUT + "top_p"),
    "rewards": Counterpart(
        "reward_funcs, reward_weights", "reward.custom_reward_function.path", "verl: one function"
    ),
    "baseline": Counterpart(
        "GRPOTrainer (group) or RLOOTrainer (leave_one_out)", "algorithm.adv_estimator"
    ),
    "divide_by_std": Counterpart(
        "scale_rewards",
        "algorithm.norm_adv_by_std_in_grpo",
        "their std divides by G − 1, ours by G: their advantages are smaller by √((G−1)/G); TRL adds 1e-4 to it",
    ),
    "average": Counterpart("loss_type", ACTOR + "loss_agg_mode"),
    "constant_length": Counterpart("max_completion_length", ACTOR + "loss_scale_factor"),
    "ratio": Counterpart("importance_sampling_level, loss_type", ACTOR + "policy_loss.loss_mode"),
    "clip_low": Counterpart("epsilon", ACTOR + "clip_ratio_low"),
    "clip_high": Counterpart(
        "epsilon_high", ACTOR + "clip_ratio_high", "with ratio=cispo, TRL's is 1 + clip_high"
    ),
    "kl_coef": Counterpart(
        "beta", ACTOR + "kl_loss_coef or algorithm.kl_ctrl.kl_coef", "verl clamps k3 to ±10"
    ),
    "kl_estimator": Counterpart(
        "use_bias_correction_kl=False (k3)",
        ACTOR + "kl_loss_type",
        "TRL's default multiplies k3 by ρ",
    ),
    "kl_in": Counterpart(
        "GRPOTrainer (loss) or RLOOTrainer (reward)", "algorithm.use_kl_in_reward"
    ),
    "updates_per_batch": Counterpart("num_iterations", ACTOR + "ppo_epochs"),
    "minibatches": Counterpart(
        "steps_per_generation",
        ACTOR + "ppo_mini_batch_size",
        "TRL draws the rows of a part at random, we take whole groups in order",
    ),
    "optimizer": Counterpart("optim, adam_beta1, adam_beta2, weight_decay", ACTOR + "optim"),
    "learning_rate": Counterpart("learning_rate, lr_scheduler_type=constant", ACTOR + "optim.lr"),
    "max_grad_norm": Counterpart("max_grad_norm (0: none)", ACTOR + "optim.clip_grad"),
    "entropy_coef": Counterpart(
        "entropy_coef",
        ACTOR + "entropy_coeff",
        "several processes or parts: TRL takes the mean of their means",
    ),
    "tau": Counterpart(
        "—", "—", "read only with ratio=squared or baseline=log_z, which are refused"
    ),
}
"""Field → its counterparts."""


class Refusal(NamedTuple):
    """A value that an engine cannot express: ``why`` says so, and what would be the closest."""

    field: str
    holds: Callable[[PolicyGradientConfig], bool]
    why: str


def _once(c: PolicyGradientConfig) -> bool:
    """Whether each answer is used for one optimiser step only, so that its ratio is 1."""
    return c.updates_per_batch == c.minibatches == 1


def _loo(c: PolicyGradientConfig) -> bool:
    return c.baseline == "leave_one_out"


_NO_BASELINE = (
    Refusal(
        "baseline",
        lambda c: c.baseline == "batch",
        "there is no whitening of answers over the batch without groups; the closest is baseline='group'",
    ),
    Refusal(
        "baseline",
        lambda c: c.baseline == "none",
        "there is no policy gradient without a baseline; the closest is 'leave_one_out', whose expected "
        "gradient is the same",
    ),
    Refusal(
        "baseline",
        lambda c: c.baseline == "maxrl",
        "advantages are not divided by the group's mean; the closest is baseline='group' with "
        "divide_by_std=False, which is MaxRL without that division",
    ),
    Refusal(
        "baseline",
        lambda c: c.baseline == "log_z",
        "there is no τ·log Z; the closest is baseline='group' with divide_by_std=False, its limit for large τ",
    ),
    Refusal(
        "ratio",
        lambda c: c.ratio == "squared",
        "there is no squared loss; the closest is 'token' with kl_coef > 0",
    ),
)

TRL_REFUSES = (
    *_NO_BASELINE,
    Refusal(
        "ratio",
        lambda c: _loo(c) and c.ratio != "none",
        "RLOOTrainer clips the ratio of the whole answer; the closest is 'none'",
    ),
    Refusal(
        "ratio",
        lambda c: c.ratio == "none" and not _once(c),
        "every loss has a ratio, which is 1 only if each answer is used for one optimiser step; the closest is "
        "'token', or updates_per_batch=1 with minibatches=1",
    ),
    Refusal(
        "average",
        lambda c: _loo(c) and c.average != "constant",
        "RLOOTrainer sums over the tokens of an answer; the closest is 'constant' with constant_length=1",
    ),
    Refusal(
        "constant_length",
        lambda c: _loo(c) and c.constant_length != 1,
        "RLOOTrainer sums over the tokens of an answer; the closest is 1",
    ),
    Refusal(
        "kl_in",
        lambda c: _loo(c) and c.kl_coef > 0 and c.kl_in == "loss",
        "RLOOTrainer subtracts the KL from the reward; the closest is 'reward'",
    ),
    Refusal(
        "entropy_coef",
        lambda c: _loo(c) and c.entropy_coef > 0,
        "RLOOTrainer has no entropy bonus; the closest is 0",
    ),
    Refusal(
        "kl_in",
        lambda c: not _loo(c) and c.kl_coef > 0 and c.kl_in == "reward",
        "GRPOTrainer adds the KL to the loss; the closest is 'loss', or baseline='leave_one_out'",
    ),
    Refusal(
        "kl_estimator",
        lambda c: c.kl_coef > 0 and c.kl_in == "loss" and c.kl_estimator != "k3",
        "GRPOTrainer differentiates k3; the closest is 'k3'",
    ),
    Refusal(
        "average",
        lambda c: c.ratio == "cispo" and c.average != "token",
        "loss_type='cispo' averages over all tokens; the closest is 'token'",
    ),
    Refusal(
        "constant_length",
        lambda c: (
            c.average == "constant"
            and not _loo(c)
            and c.constant_length not in (None, c.max_new_tokens)
        ),
        "loss_type='dr_grpo' divides by max_completion_length; the closest is None",
    ),
    Refusal(
        "minibatches",
        lambda c: c.average == "token" and c.minibatches > 1,
        "each part is divided by the mean number of tokens of all parts and not by its own; the closest is 1",
    ),
    Refusal(
        "device",
        lambda c: c.device not in ("auto", "cpu", "cuda", "mps"),
        "accelerate assigns one GPU to each process; the closest is 'auto', with CUDA_VISIBLE_DEVICES",
    ),
)
"""What TRL 1.16 cannot express, in the order in which it is looked for."""

VERL_REFUSES = (
    *_NO_BASELINE,
    Refusal(
        "average",
        lambda c: c.ratio == "sequence" and c.average != "sequence",
        "loss_mode='gspo' averages per answer; the closest is 'sequence'",
    ),
    Refusal(
        "entropy_coef",
        lambda c: c.entropy_coef > 0 and c.average != "token",
        "the entropy is averaged as the loss is; the closest is average='token', or 0",
    ),
    Refusal(
        "max_grad_norm",
        lambda c: c.max_grad_norm is None,
        "the gradient is always clipped; the closest is a large number",
    ),
    Refusal(
        "device",
        lambda c: c.device not in ("auto", "cuda"),
        "verl trains on accelerators; the closest is 'auto'",
    ),
    Refusal(
        "minibatches",
        lambda c: c.prompts_per_step % c.minibatches > 0,
        "all parts have the same number of prompts; the closest is a divisor of prompts_per_step",
    ),
)
"""What verl cannot express."""


def refuse(config: PolicyGradientConfig, refusals: Iterable[Refusal], engine: str) -> None:
    """Raise ``ValueError`` for the first refusal that holds, naming the field and its value.

    >>> refuse(PolicyGradientConfig(), TRL_REFUSES, "TRL")
    """
    for field, holds, why in refusals:
        if holds(config):
            raise ValueError(f"{field}: {getattr(config, field)!r} is not in {engine}: {why}")


def table() -> str:
    """The table as text: one row per field, and under it what differs."""
    rows = [("field", "TRL 1.16", "verl"), *((f, c.trl, c.verl) for f, c in FIELDS.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = []
    for field, trl, verl in rows:
        lines.append(f"{field:{widths[0]}}  {trl:{widths[1]}}  {verl}")
        if field in FIELDS and FIELDS[field].differs:
            lines.append(" " * (widths[0] + 2) + f"({FIELDS[field].differs})")
    return "\n".join(lines)
