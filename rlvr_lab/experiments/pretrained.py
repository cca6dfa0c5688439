"""What the ready configurations need: parameters, memory and tokens, computed from the shapes of the models.

Nothing is downloaded and nothing is timed. The speed depends on the GPU and is left as "not measured". Also the
reason why their weights are float32, on a model that a CPU can train.
"""

from typing import NamedTuple

import torch
from transformers import LlamaConfig, PretrainedConfig, Qwen3Config

from rlvr_lab.machine.gpu_memory import MODELS, parameter_count
from rlvr_lab.policy.memory_plan import stored_bytes
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.ready import READY

__all__ = ["PROMPT", "SHAPES", "Needs", "needs", "needs_table", "share_moved"]

PROMPT = 256
"""Tokens of a prompt: two solved examples and a question."""

SHAPES: dict[str, PretrainedConfig] = {
    "qwen2.5-0.5b": MODELS["Qwen2.5-0.5B"],
    "qwen3-0.6b": Qwen3Config(
        vocab_size=151936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    ),
    "smollm2-1.7b": LlamaConfig(
        vocab_size=49152,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=24,
        num_attention_heads=32,
        num_key_value_heads=32,
        tie_word_embeddings=True,
    ),
}
"""Name of a ready configuration → the shapes of its model, from its config.json."""


class Needs(NamedTuple):
    """What a run needs, in bytes unless said otherwise.

    Attributes:
        parameters: how many.
        states: weights, gradients, AdamW's two averages and the reference.
        cache: keys and values of all answers, while they are sampled.
        group: stored for the backward pass over one group; the loop stores more groups at once where they fit.
        tokens: most tokens that one step samples.
    """

    parameters: int
    states: int
    cache: int
    group: int
    tokens: int

    @property
    def least(self) -> int:
        """The states and the larger of the two parts that take turns. What libraries add is not counted."""
        return self.states + max(self.cache, self.group)


def needs(model: PretrainedConfig, config: PolicyGradientConfig) -> Needs:
    """What ``config`` needs with a model of these shapes.

    With P parameters and s bytes per number: states = 5·s·P (weights, gradients, two averages, reference).

    >>> round(needs(SHAPES["qwen2.5-0.5b"], READY["qwen2.5-0.5b"]).states / 2**30, 1)
    9.2
    """
    dtype = getattr(torch, config.dtype)
    count, stored = parameter_count(model), stored_bytes(model, dtype)
    rows = config.prompts_per_step * config.group_size
    return Needs(
        parameters=count,
        states=5 * dtype.itemsize * count,
        cache=rows * (PROMPT + config.max_new_tokens) * stored.cache,
        group=stored.part(1, PROMPT, config.group_size, config.max_new_tokens),
        tokens=rows * config.max_new_tokens,
    )


def needs_table() -> str:
    """The needs of all ready configurations, one line each."""
    head = ("preset", "parameters", "states", "cache", "one group", "at least", "tokens/step")
    lines = ["{:14}{:>12}{:>10}{:>10}{:>11}{:>11}{:>13}   tokens/s".format(*head)]
    for name, config in READY.items():
        need = needs(SHAPES[name], config)
        sizes = (need.states, need.cache, need.group, need.least)
        wide = "".join(
            f"{size / 2**30:{width - 4}.1f} GiB"
            for size, width in zip(sizes, (10, 10, 11, 11), strict=True)
        )
        lines.append(
            f"{name:14}{need.parameters / 1e6:10.0f} M{wide}{need.tokens:13,}   not measured"
        )
    return "\n".join(lines)


def share_moved(dtype: str, learning_rate: float, seed: int = 0) -> float:
    """Share of the weights that one step of GRPO on the sums changes.

    AdamW's first step moves every weight with a gradient by about the learning rate. bfloat16 keeps 8 significant
    bits, so a weight w stays where it is if the step is below about |w| / 512.

    Args:
        dtype: of the weights.
        learning_rate: of AdamW.
        seed: of the run.
    """
    config = PolicyGradientConfig(
        device="cpu",
        dtype=dtype,
        learning_rate=learning_rate,
        seed=seed,
        prompts_per_step=4,
        group_size=8,
        max_new_tokens=12,
    )
    state = config.begin()
    weights = list(state.policy.model.parameters())
    before = [weight.detach().clone() for weight in weights]
    config.update(state, config.collect(state))
    moved = sum(int((a != b).sum()) for a, b in zip(before, weights, strict=True))
    return moved / sum(weight.numel() for weight in weights)
