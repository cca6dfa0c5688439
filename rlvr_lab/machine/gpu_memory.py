"""What a GPU has to hold, in bytes, computed before anybody rents it.

Training with AdamW keeps 4 bytes of weights, 4 of gradients and 8 of optimiser states for each parameter, all in
float32: 16 bytes, as in ZeRO (arXiv:1910.02054, section 3.1), which counts float16 copies as well. FSDP2 and ZeRO-3
split these evenly over the GPUs. Activations and KV cache belong to the answers of each GPU and are not split.
"""

import copy
from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, Qwen2Config

from rlvr_lab.policy.memory_plan import stored_bytes

__all__ = ["MODELS", "GpuLoad", "gpu_memory", "memory_table", "parameter_count", "peak_memory"]

_QWEN = {"num_hidden_layers": 28, "vocab_size": 151936, "tie_word_embeddings": True}
MODELS: dict[str, PretrainedConfig] = {
    "Qwen2.5-0.5B": Qwen2Config(
        **_QWEN | {"num_hidden_layers": 24},
        hidden_size=896,
        intermediate_size=4864,
        num_attention_heads=14,
        num_key_value_heads=2,
    ),
    "Qwen2.5-1.5B": Qwen2Config(
        **_QWEN,
        hidden_size=1536,
        intermediate_size=8960,
        num_attention_heads=12,
        num_key_value_heads=2,
    ),
    "Qwen2.5-7B": Qwen2Config(
        **_QWEN | {"vocab_size": 152064, "tie_word_embeddings": False},
        hidden_size=3584,
        intermediate_size=18944,
        num_attention_heads=28,
        num_key_value_heads=4,
    ),
}
"""Name → the shapes of the model, from its config.json."""


@dataclass(frozen=True)
class GpuLoad:
    """What one GPU works on.

    Attributes:
        gpus: that the weights, gradients and optimiser states are split over; 1 keeps them whole.
        rows: answers in one forward and backward pass.
        sampled: answers that are sampled at the same time.
        prompt: tokens of a prompt.
        answer: tokens of an answer.
        reference: whether a reference policy is kept (β > 0).
        checkpointing: store the input of each layer only, and one layer whole at a time.
        whole_logits: store the logits of all answer tokens and their gradient; TRL computes them in tiles.
        gathered: whether the model is put together on each GPU to sample (TRL with ZeRO-3) and not layer by layer
            (FSDP2).
        vllm: whether vLLM samples, with bfloat16 weights of its own, and not the model that is trained.
    """

    gpus: int = 1
    rows: int = 8
    sampled: int = 64
    prompt: int = 256
    answer: int = 1024
    reference: bool = True
    checkpointing: bool = True
    whole_logits: bool = False
    gathered: bool = False
    vllm: bool = False

    def __post_init__(self) -> None:
        for name in ("gpus", "rows", "sampled", "prompt", "answer"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: need at least 1, got {getattr(self, name)}")


def parameter_count(model: PretrainedConfig) -> int:
    """Parameters of a model with this configuration; no memory is allocated.

    >>> parameter_count(MODELS["Qwen2.5-0.5B"])
    494032768
    """
    with torch.device("meta"):
        return sum(p.numel() for p in AutoModelForCausalLM.from_config(model).parameters())


def gpu_memory(model: PretrainedConfig, load: GpuLoad) -> dict[str, int]:
    """Bytes that one GPU holds, by what they are for, in bfloat16 mixed precision with AdamW.

    With P parameters, L layers of width d, and a bytes of activations per token (``memory_plan.stored_bytes``):

        weights, gradients: 4P/gpus each            optimiser: 8P/gpus         reference: 4P/gpus
        activations:   rows · tokens · a            checkpointing: rows · tokens · (2·L·d + a/L)
        logits:        rows · answer · V · 4 · 2    only where they are stored whole
        sampler:       2P for vLLM's copy, or where split weights are gathered whole, in bfloat16, to sample;
                       otherwise, where they are split, 2 · (parameters outside the layers + one layer)
        KV cache:      sampled · tokens · 4 · L · d_kv

    ``tokens`` is prompt + answer, d_kv the width of the keys of one layer. Left out: the libraries' own
    memory, and free memory in pieces that are too small: a real run needs more.

    Raises:
        ValueError: when a count is below 1.
    """
    count, tokens = parameter_count(model), load.prompt + load.answer
    stored = stored_bytes(model, torch.bfloat16)
    layers, width = model.num_hidden_layers, model.hidden_size
    whole = load.vllm or (load.gathered and load.gpus > 1)
    part = _outside_and_one_layer(model) if load.gpus > 1 else 0
    per_token = stored.activations
    if load.checkpointing:
        per_token = 2 * layers * width + stored.activations // layers
    return {
        "weights": 4 * count // load.gpus,
        "gradients": 4 * count // load.gpus,
        "optimiser": 8 * count // load.gpus,
        "reference": 4 * count // load.gpus if load.reference else 0,
        "activations": load.rows * tokens * per_token,
        "logits": 2 * load.rows * load.answer * stored.logits if load.whole_logits else 0,
        "sampler": 2 * (count if whole else part),
        "KV cache": load.sampled * tokens * stored.cache,
    }


def _outside_and_one_layer(model: PretrainedConfig) -> int:
    """Parameters of the embedding, the last norm and the head, and of one layer."""
    one = copy.deepcopy(model)
    one.num_hidden_layers = 1
    if getattr(one, "layer_types", None):
        one.layer_types = one.layer_types[:1]
    return parameter_count(one)


def peak_memory(parts: dict[str, int]) -> int:
    """Bytes at the worst moment: sampling and training take turns, so only one of their parts exists at a time.

    >>> peak_memory({"weights": 5, "activations": 2, "logits": 0, "sampler": 1, "KV cache": 3})
    9
    """
    training = parts["activations"] + parts["logits"]
    sampling = parts["sampler"] + parts["KV cache"]
    return sum(parts.values()) - min(training, sampling)


def memory_table() -> str:
    """GiB per GPU of the models in ``MODELS``, by engine, with the lengths and counts of ``GpuLoad``."""
    engines = {
        "1 GPU": GpuLoad(),
        "8 GPUs, FSDP2": GpuLoad(gpus=8),
        "8 GPUs, ZeRO-3": GpuLoad(gpus=8, gathered=True),
        "8 GPUs, FSDP2 and vLLM": GpuLoad(gpus=8, vllm=True),
    }
    lines = []
    for name, model in MODELS.items():
        for engine, load in engines.items():
            parts = gpu_memory(model, load)
            if not lines:
                lines.append(f"{'GiB per GPU':38}" + "".join(f"{p:>12}" for p in [*parts, "peak"]))
            cells = [*parts.values(), peak_memory(parts)]
            numbers = "".join(f"{cell / 2**30:12.1f}" for cell in cells)
            lines.append(f"{name + ', ' + engine:38}{numbers}")
    return "\n".join(lines)
