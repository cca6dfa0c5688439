"""Models of a published shape with random weights, and batches of a chosen size: nothing is downloaded."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlvr_lab.policy.batch import RolloutBatch

SMOLLM2_135M = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rope_theta": 100_000.0,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""https://huggingface.co/HuggingFaceTB/SmolLM2-135M, config.json."""
SMOKE = {**SMOLLM2_135M, "vocab_size": 199, "hidden_size": 48, "intermediate_size": 128}
SMOKE |= {"num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2}
"""The same architecture in a few thousand weights, to test a benchmark with."""


def random_llama(shape: dict, dtype: torch.dtype, device: str = "cpu") -> LlamaForCausalLM:
    """A Llama with weights drawn from seed 0."""
    torch.manual_seed(0)
    with torch.device(device):
        model = LlamaForCausalLM(LlamaConfig(**shape)).to(dtype)
    return model.eval()


def random_batch(
    vocabulary: int, prompts: int, group_size: int, prompt: int, answer: int, seed: int = 0
) -> RolloutBatch:
    """Answers of exactly ``answer`` tokens to prompts of ``prompt`` tokens, no two alike."""
    draw = torch.Generator().manual_seed(seed)
    rows = prompts * group_size
    ids = torch.randint(3, vocabulary, (rows, answer), generator=draw)
    real = torch.ones(rows, answer, dtype=torch.bool)
    likely = torch.full((rows, answer), -torch.tensor(float(vocabulary)).log())
    return RolloutBatch(
        prompt_ids=torch.randint(3, vocabulary, (prompts, prompt), generator=draw),
        prompt_mask=torch.ones(prompts, prompt, dtype=torch.bool),
        completion_ids=ids,
        completion_mask=real,
        attention_mask=real,
        old_logprobs=likely,
        entropy=-likely,
        truncated=torch.zeros(rows, dtype=torch.bool),
        texts=[""] * rows,
        group_size=group_size,
    )
