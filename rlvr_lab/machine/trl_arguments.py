"""A policy-gradient configuration as the arguments of TRL's trainers.

Only TRL's names and values are computed here, so this module needs neither TRL nor a model. ``machine.scale`` makes
the trainer.
"""

import random
from dataclasses import dataclass
from typing import Any, Literal

from rlvr_lab.machine.field_map import TRL_REFUSES, refuse
from rlvr_lab.tasks.task import Task
from rlvr_lab.tasks.worlds import make_task
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

__all__ = ["TrlPlan", "trl_plan"]


@dataclass(frozen=True)
class TrlPlan:
    """What TRL is asked to do.

    Attributes:
        trainer: ``GRPO`` or ``RLOO``: ``GRPOTrainer(args=GRPOConfig(**arguments), …)``.
        arguments: of ``GRPOConfig`` or ``RLOOConfig``.
    """

    trainer: Literal["GRPO", "RLOO"]
    arguments: dict[str, Any]


# What the course's trainer does without a field for it, said to TRL, whose defaults differ.
FIXED: dict[str, Any] = {
    "lr_scheduler_type": "constant",  # default: linear to 0
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "disable_dropout": True,  # with dropout the ratio would not start at 1
    "mask_truncated_completions": False,  # a truncated answer is trained
    "shuffle_dataset": False,  # the problems come in the order of our steps
    "remove_unused_columns": False,  # the reward needs the number of the problem
    "top_k": 0,
    "repetition_penalty": 1.0,
    "bf16": False,  # default: True
    "activation_checkpointing": False,  # its old name is on by default in TRL
    "report_to": "none",
    "save_strategy": "no",
    "ddp_find_unused_parameters": False,  # a language model uses all of them
    "disable_tqdm": True,
}
LOSS_TYPES = {"sequence": "grpo", "token": "dapo", "constant": "dr_grpo"}
LEVELS = {"none": "token", "token": "token", "cispo": "token", "sequence": "sequence"}


def trl_plan(
    config: PolicyGradientConfig,
    *,
    processes: int = 1,
    rows_per_device: int | None = None,
    on_cpu: bool = False,
    task: Task | None = None,
) -> TrlPlan:
    """What ``config`` is in TRL 1.16.

    TRL counts answers where we count prompts: with P processes,

        prompts_per_step · group_size = P · per_device_train_batch_size · steps_per_generation,
        steps_per_generation = minibatches · gradient_accumulation_steps.

    Every field is mapped or refused; ``machine.field_map.FIELDS`` lists its counterpart and what differs.

    Args:
        config: the run.
        processes: number of processes that train together.
        rows_per_device: answers in one forward pass of a process; by default all of its part of a minibatch.
            Smaller passes need less memory, and their gradients are added up.
        on_cpu: whether the trainer may use no GPU.
        task: by default the world's.

    Raises:
        ValueError: naming the field, for what TRL cannot express, and saying what would be the closest.

    >>> plan = trl_plan(PolicyGradientConfig(), processes=2)
    >>> plan.trainer, [plan.arguments[n] for n in ("loss_type", "per_device_train_batch_size")]
    ('GRPO', ['grpo', 128])
    """
    if type(config) is not PolicyGradientConfig:
        raise ValueError(
            f"algorithm: TRL is given policy-gradient runs, and not {type(config).__name__}"
        )
    refuse(config, TRL_REFUSES, "TRL")
    task = task or make_task(config.world, config.world_options)
    if task.forced_words(1, random.Random(0)) is not None:
        raise ValueError(
            f"world: {config.world!r} is not in TRL: its environment writes the first word of each answer, and "
            "TRL's policy writes all of them; the closest is 'sums'"
        )
    on_policy = {"updates_per_batch": config.updates_per_batch, "minibatches": config.minibatches}
    rows, accumulate = _rows(config, processes, rows_per_device)
    arguments = FIXED | {
        "seed": config.seed,
        "use_cpu": on_cpu,
        "max_steps": config.steps * on_policy["updates_per_batch"] * on_policy["minibatches"],
        "logging_steps": on_policy["updates_per_batch"] * on_policy["minibatches"],
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulate,
        "steps_per_generation": accumulate * config.minibatches,
        "num_iterations": config.updates_per_batch,
        "num_generations": config.group_size,
        "max_completion_length": config.max_new_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "beta": config.kl_coef,
        "epsilon": config.clip_low,
        "epsilon_high": config.clip_high,
        "reward_weights": list(config.rewards.values()),
        "learning_rate": config.learning_rate,
        "max_grad_norm": config.max_grad_norm or 0.0,
        **_optimiser(config.optimizer),
    }
    if config.baseline == "leave_one_out":
        return TrlPlan("RLOO", arguments | {"normalize_advantages": False})
    if config.ratio == "cispo":
        # TRL's bound is on the weight itself and not on its distance from 1.
        arguments["epsilon_high"] = 1 + config.clip_high
    return TrlPlan(
        "GRPO",
        arguments
        | {
            "scale_rewards": "group" if config.divide_by_std else "none",
            "multi_objective_aggregation": "sum_then_normalize",
            "loss_type": "cispo" if config.ratio == "cispo" else LOSS_TYPES[config.average],
            "importance_sampling_level": LEVELS[config.ratio],
            "use_bias_correction_kl": False,  # default: True, which is not the k3 of the GRPO paper
            "entropy_coef": config.entropy_coef,
        },
    )


def _optimiser(name: str) -> dict[str, Any]:
    if name == "sgd":
        return {"optim": "sgd"}
    return {"optim": "adamw_torch", "adam_beta1": 0.9, "adam_beta2": 0.95, "adam_epsilon": 1e-8}


def _rows(
    config: PolicyGradientConfig, processes: int, rows_per_device: int | None
) -> tuple[int, int]:
    """Answers in one pass of one process, and passes per optimiser step."""
    if processes < 1 or config.prompts_per_step % processes:
        raise ValueError(
            f"prompts_per_step: {config.prompts_per_step} is not divisible by {processes} processes, and a "
            "group must not be split: some rewards compare its answers"
        )
    part, left = divmod(config.prompts_per_step * config.group_size, processes * config.minibatches)
    if left:
        raise ValueError(
            f"minibatches: {config.minibatches} parts of equal size are not possible with "
            f"{config.prompts_per_step} prompts, {config.group_size} answers to each and {processes} processes"
        )
    rows = part if rows_per_device is None else rows_per_device
    if rows < 1 or part % rows:
        raise ValueError(
            f"rows_per_device: must divide the {part} answers of a process and minibatch, got {rows}"
        )
    return rows, part // rows
