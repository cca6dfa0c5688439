"""The small Llama models of the course: their configuration and their creation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from rlvr_lab.policy.loading import Policy, resolve_device

__all__ = ["new_policy", "small_llama", "small_llama_config"]


def small_llama_config(
    vocabulary: int,
    hidden: int,
    layers: int,
    heads: int = 4,
    inner: int | None = None,
    positions: int = 256,
    spread: float = 0.1,
    **special: Any,
) -> LlamaConfig:
    """The configuration of a small Llama.

    Args:
        vocabulary: number of words.
        hidden: width of the residual stream.
        layers: number of blocks.
        heads: attention heads.
        inner: width inside a block's MLP; twice ``hidden`` if not given.
        positions: longest text, in tokens.
        spread: std of the initial weights. The default is five times the usual value: with such small
            matrices, attention otherwise takes much longer to learn which token to read.
        special: ids of special words, e.g. ``pad_token_id``.
    """
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner or 2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=positions,
        initializer_range=spread,
        tie_word_embeddings=False,
        **{"bos_token_id": None, "eos_token_id": None, **special},
    )


def small_llama(
    config: LlamaConfig, seed: int, kind: Callable[[LlamaConfig], nn.Module] = LlamaForCausalLM
) -> nn.Module:
    """A model with random weights from ``seed``; the global generator is not changed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(config)


def new_policy(
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    hidden: int = 96,
    layers: int = 3,
    heads: int = 4,
    device: str = "auto",
) -> Policy:
    """A small untrained policy over the course's vocabulary.

    Args:
        tokenizer: from ``words.build_tokenizer``.
        seed: of the initial weights.
        hidden: width of the residual stream.
        layers: number of blocks.
        heads: attention heads.
        device: see ``loading.resolve_device``.
    """
    config = small_llama_config(
        len(tokenizer),
        hidden,
        layers,
        heads,
        inner=int(hidden * 8 / 3) // 8 * 8,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = small_llama(config, seed)
    return Policy(model.to(resolve_device(device)), tokenizer, "untrained")
