"""A policy-gradient configuration as the command line of verl, for those who train there.

verl is not installed and never run here: the names are those of its configuration file, see ``machine.field_map``.
"""

from typing import Any

from rlvr_lab.machine.field_map import ACTOR, ROLLOUT, VERL_REFUSES, refuse
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

__all__ = ["verl_overrides"]

LOSS_MODES = {"token": "vanilla", "sequence": "gspo", "cispo": "cispo", "none": "gpg"}
AVERAGES = {
    "sequence": "seq-mean-token-mean",
    "token": "token-mean",
    "constant": "seq-mean-token-sum-norm",
}


def verl_overrides(config: PolicyGradientConfig) -> list[str]:
    """The overrides of ``python -m verl.trainer.main_ppo`` that state ``config``.

    The prompts (Parquet), the reward function and the model's path depend on where it runs; they are
    named with a value in angle brackets.

    Raises:
        ValueError: naming the field, for what verl cannot express, and saying what would be the closest.

    >>> [one for one in verl_overrides(PolicyGradientConfig(group_size=8)) if ".n=" in one]
    ['actor_rollout_ref.rollout.n=8']
    """
    if type(config) is not PolicyGradientConfig:
        raise ValueError(
            f"algorithm: verl is given policy-gradient runs, and not {type(config).__name__}"
        )
    refuse(config, VERL_REFUSES, "verl")
    options = ",".join(f"{k}={v}" for k, v in sorted(config.world_options.items()))
    world = config.world + (f"({options})" if options else "")
    rewards = "+".join(f"{weight:g}·{name}" for name, weight in config.rewards.items())
    values: dict[str, Any] = {
        "data.train_files": f"<{world}.parquet>",
        "reward.custom_reward_function.path": f"<{rewards}.py>",
        "actor_rollout_ref.model.path": config.base or f"<base of {config.world}>",
        "data.seed": config.seed,
        "data.shuffle": False,
        "data.train_batch_size": config.prompts_per_step,
        "data.max_response_length": config.max_new_tokens,
        "trainer.total_training_steps": config.steps,
        "trainer.n_gpus_per_node": "<GPUs>"
        if config.device == "auto"
        else f"<GPUs, {config.device}>",
        ROLLOUT + "name": "vllm",
        ROLLOUT + "n": config.group_size,
        ROLLOUT + "temperature": config.temperature,
        ROLLOUT + "top_p": config.top_p,
        ROLLOUT + "top_k": -1,
        "algorithm.adv_estimator": "rloo" if config.baseline == "leave_one_out" else "grpo",
        "algorithm.norm_adv_by_std_in_grpo": config.divide_by_std,
        ACTOR + "policy_loss.loss_mode": LOSS_MODES[config.ratio],
        ACTOR + "loss_agg_mode": AVERAGES[config.average],
        **_clip(config),
        **_kl(config),
        ACTOR + "entropy_coeff": config.entropy_coef,
        ACTOR + "ppo_epochs": config.updates_per_batch,
        ACTOR + "ppo_mini_batch_size": config.prompts_per_step // config.minibatches,
        ACTOR + "fsdp_config.model_dtype": {"float32": "fp32", "bfloat16": "bf16"}[config.dtype],
        ACTOR + "optim.lr": config.learning_rate,
        ACTOR + "optim.lr_scheduler_type": "constant",
        ACTOR + "optim.weight_decay": 0.0,
        ACTOR + "optim.clip_grad": config.max_grad_norm,
    }
    if config.optimizer == "adamw":
        values[ACTOR + "optim.betas"] = "[0.9,0.95]"
    else:
        values[ACTOR + "optim.optimizer"] = "SGD"
    if config.average == "constant":
        values[ACTOR + "loss_scale_factor"] = config.constant_length or config.max_new_tokens
    return [f"{name}={value}" for name, value in values.items()]


def _clip(config: PolicyGradientConfig) -> dict[str, Any]:
    # verl's CISPO also bounds the weight from below, by 1 − clip_ratio_low: 1 leaves it alone.
    low = 1.0 if config.ratio == "cispo" else config.clip_low
    found = {ACTOR + "clip_ratio_low": low, ACTOR + "clip_ratio_high": config.clip_high}
    if config.ratio == "token":
        # Its clip has a third bound, 3 by default, on the ratio of tokens with a negative advantage.
        found[ACTOR + "clip_ratio_c"] = 1e9
    return found


def _kl(config: PolicyGradientConfig) -> dict[str, Any]:
    if config.kl_coef == 0:
        return {ACTOR + "use_kl_loss": False, "algorithm.use_kl_in_reward": False}
    if config.kl_in == "reward":
        return {
            ACTOR + "use_kl_loss": False,
            "algorithm.use_kl_in_reward": True,
            "algorithm.kl_penalty": "k1",
            "algorithm.kl_ctrl.kl_coef": config.kl_coef,
        }
    return {
        ACTOR + "use_kl_loss": True,
        ACTOR + "kl_loss_coef": config.kl_coef,
        ACTOR + "kl_loss_type": config.kl_estimator,
        "algorithm.use_kl_in_reward": False,
    }
