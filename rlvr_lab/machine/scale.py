"""The same run with TRL: on one GPU, on several, or on a cluster, as ``accelerate launch`` starts it.

The course's loop is written to be read and uses one device. This module hands its configuration, problems and
rewards over to TRL's trainer, which brings data parallelism, sharding (FSDP, DeepSpeed) and vLLM. What is distributed
is done by TRL, accelerate and transformers alone.
"""

import copy
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedTokenizerBase

from rlvr_lab.machine.replay import Replay
from rlvr_lab.machine.scale_rewards import Grader, problems_of_run, reward_functions
from rlvr_lab.machine.telemetry import without_telemetry
from rlvr_lab.machine.trl_arguments import trl_plan
from rlvr_lab.policy.loading import Policy, resolve_device
from rlvr_lab.training.policy_gradient import PolicyGradientConfig

__all__ = ["hand_over", "make_trainer", "read_record"]

NEEDED = ("trl", "accelerate", "datasets")
SINGLE = (
    "num_processes: accelerate was asked for several processes and has started one: with --cpu it leaves that to "
    "MPI. Use `accelerate launch --config_file data/engines/two_cpu_processes.yaml -m rlvr_lab scale …`, or "
    "`torchrun --nproc_per_node 2 -m rlvr_lab scale …`"
)
NAMES = {
    "reward": "reward",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "truncated",
    "frac_reward_zero_std": "zero_spread",
    "clip_ratio/region_mean": "clip_fraction",
    "cispo_clip_ratio": "clip_fraction",
    "kl": "kl_per_token",
    "entropy": "entropy",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "step_time": "seconds",
}
"""TRL's name of a metric → ours. Its KL is a mean over tokens (k3), ours a sum over an answer (k1): two names."""


def make_trainer(
    config: PolicyGradientConfig,
    out: str | Path,
    *,
    rows_per_device: int | None = None,
    engine: dict[str, Any] | None = None,
    replay: Replay | None = None,
) -> tuple[Any, Policy]:
    """TRL's trainer for ``config``, and the policy that it trains.

    Args:
        config: the run.
        out: folder for what the trainer writes; with ``kl_coef`` > 0 also the reference policy, in ``base``.
        rows_per_device: answers in one forward pass of one process; see ``trl_arguments.trl_plan``.
        engine: more arguments of ``GRPOConfig``, for instance those of vLLM (``data/engines``).
        replay: recorded answers to train on instead of sampling.

    Raises:
        ValueError: naming the field, for what TRL cannot express; and for an ``engine`` that changes what the
            configuration says; and when the extra ``scale`` is not installed.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ValueError(
            f"scale: {', '.join(missing)} is not installed: `pip install -c constraints.txt -e '.[scale]'`"
        )
    without_telemetry()
    import trl
    from accelerate import PartialState
    from datasets import Dataset

    on_cpu = resolve_device(config.device).type == "cpu"
    processes = PartialState(cpu=on_cpu)
    if processes.num_processes == 1 and "MASTER_PORT" in os.environ:
        raise ValueError(SINGLE)
    # Checked before a large model is loaded.
    plan = trl_plan(
        config, processes=processes.num_processes, rows_per_device=rows_per_device, on_cpu=on_cpu
    )
    arguments = _merged(plan.arguments, engine or {})
    # On the CPU, from where accelerate takes it.
    policy, task = config.policy_and_task(device="cpu")
    # TRL stops an answer at these tokens only.
    policy.model.generation_config.eos_token_id = policy.stop_ids
    if config.kl_coef > 0:
        _keep_reference(policy, Path(out) / "base", processes)
    problems = problems_of_run(config, task)
    rows = [{"prompt": one.prompt, "problem": row} for row, one in enumerate(problems)]
    more = {}
    if replay is not None:
        if plan.trainer != "GRPO":
            raise ValueError(f"replay: {plan.trainer}Trainer cannot read recorded answers")
        more["rollout_func"] = replay.rollout(policy, plan.arguments["logging_steps"])
    trainer = getattr(trl, f"{plan.trainer}Trainer")(
        model=policy.model,
        reward_funcs=reward_functions(config, Grader(task, problems, policy, config.group_size)),
        args=getattr(trl, f"{plan.trainer}Config")(output_dir=str(out), **arguments),
        train_dataset=Dataset.from_list(rows),
        processing_class=without_added_tokens(policy.tokenizer),
        **more,
    )
    return trainer, policy


def _merged(arguments: dict[str, Any], engine: dict[str, Any]) -> dict[str, Any]:
    free = {"bf16", "activation_checkpointing", "report_to", "save_strategy", "disable_tqdm"}
    for name, value in engine.items():
        if name in arguments and name not in free and arguments[name] != value:
            raise ValueError(
                f"engine: {name} is {arguments[name]!r} because of the configuration, and not {value!r}"
            )
    return arguments | engine


def _keep_reference(policy: Policy, folder: Path, processes: Any) -> None:
    """TRL reads its reference policy from a folder: write what was loaded, once, for all processes."""
    name = type(policy.model).__name__
    if not hasattr(transformers, name):
        raise ValueError(
            f"kl_coef: TRL reads its reference policy from a folder, and a {name} can be read by this project only; "
            "the closest is 0"
        )
    if processes.is_main_process:
        policy.save(folder)
    processes.wait_for_everyone()
    policy.model.config._name_or_path = str(folder)


def without_added_tokens(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A tokenizer that reads a prompt as the course does: without tokens that are not in the text.

    TRL reads a prompt with the tokenizer's defaults. In some models they put a beginning-of-sequence token before
    it; a prompt that a chat template has written would then have two.

    Raises:
        ValueError: when the tokenizer cannot be made to.
    """

    def adds(one: PreTrainedTokenizerBase) -> bool:
        return one("a")["input_ids"] != one("a", add_special_tokens=False)["input_ids"]

    if not adds(tokenizer):
        return tokenizer
    plain = copy.deepcopy(tokenizer)
    if getattr(plain, "backend_tokenizer", None) is not None:
        from tokenizers.processors import Sequence

        plain.backend_tokenizer.post_processor = Sequence([])
    if adds(plain):
        raise ValueError(
            f"base: its tokenizer ({type(tokenizer).__name__}) adds tokens to a prompt, which TRL would train with"
        )
    return plain


def read_record(log: dict[str, Any], steps_per_batch: int) -> dict[str, Any]:
    """One of our records from what TRL has logged; see ``NAMES``.

    Args:
        log: of ``trainer.state.log_history``.
        steps_per_batch: optimiser steps on each batch of answers: TRL counts those, we count batches.

    >>> read_record({"step": 4, "reward": 0.5, "rewards/accuracy/mean": 0.4}, steps_per_batch=2)
    {'step': 2, 'reward': 0.5, 'reward_accuracy': 0.4, 'pass_rate': 0.4}
    """
    record: dict[str, Any] = {"step": log["step"] // steps_per_batch}
    for name, value in log.items():
        if name in NAMES:
            record[NAMES[name]] = value
        elif name.startswith("rewards/") and name.endswith("/mean"):
            record["reward_" + name.split("/")[1]] = value
    if "reward_accuracy" in record:
        record["pass_rate"] = record["reward_accuracy"]
    return record


def hand_over(
    config: PolicyGradientConfig,
    out: str | Path,
    *,
    watch: Callable[[dict[str, Any]], None] | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Train with TRL and save the policy in ``out``; returns a record for each step.

    Run by ``accelerate launch``, each process calls this; all return the same records.

    Args:
        config: the run.
        out: folder for the trained policy; ``load_policy(out)`` reads it.
        watch: called in the main process with each record.
        options: as of ``make_trainer``.

    Raises:
        ValueError: as ``make_trainer``.
    """
    trainer, policy = make_trainer(config, out, **options)
    from transformers.trainer_callback import PrinterCallback, TrainerCallback

    each = config.updates_per_batch * config.minibatches
    records: list[dict[str, Any]] = []

    class Records(TrainerCallback):
        def on_log(self, args, state, control, logs, **_):
            if "reward" not in logs:  # the summary at the end
                return
            records.append(read_record(logs | {"step": state.global_step}, each))
            if watch is not None and state.is_world_process_zero:
                watch(records[-1])

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Records())
    trainer.train()
    trainer.save_model(str(out))
    if trainer.is_world_process_zero():
        policy.tokenizer.save_pretrained(out)  # and not the one without added tokens
    return records
