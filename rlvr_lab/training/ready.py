"""Ready configurations for pretrained models on a GPU: values to start from, under names for ``--preset``.

The learning rate and the shape of a batch follow published runs of this size (verl's quickstart trains Qwen2.5-0.5B
on GSM8K with 1e-6). None of the three has been trained in this course, which has no GPU: what is tested is that they
are accepted, what they need is computed by ``experiments.pretrained``, and their speed is not measured.

The weights are float32. In bfloat16 a step of 1e-6 would be lost to rounding (see ``RolloutConfig.dtype``).
"""

from dataclasses import replace

from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig

__all__ = ["READY"]

_COMMON = replace(
    PRESETS["grpo"],
    world="gym",
    rewards={"accuracy": 1.0},
    prompts_per_step=16,
    group_size=8,
    max_new_tokens=256,
    learning_rate=1e-6,
    steps=200,
)

READY: dict[str, PolicyGradientConfig] = {
    "qwen2.5-0.5b": replace(_COMMON, base="Qwen/Qwen2.5-0.5B-Instruct"),
    # It thinks before it answers: a lower limit would cut most answers off.
    "qwen3-0.6b": replace(_COMMON, base="Qwen/Qwen3-0.6B", prompts_per_step=8, max_new_tokens=1024),
    "smollm2-1.7b": replace(_COMMON, base="HuggingFaceTB/SmolLM2-1.7B-Instruct"),
}
"""Name → configuration; ``python -m rlvr_lab train --preset <name>``."""
