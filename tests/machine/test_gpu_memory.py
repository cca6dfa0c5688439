"""The bytes of a GPU against counts made by hand."""

import pytest
from transformers import LlamaConfig

from rlvr_lab.machine.gpu_memory import (
    MODELS,
    GpuLoad,
    gpu_memory,
    memory_table,
    parameter_count,
    peak_memory,
)

TINY = LlamaConfig(
    vocab_size=10,
    hidden_size=4,
    intermediate_size=6,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    tie_word_embeddings=True,
)
# Embedding 10·4; in each layer queries 4·4, keys and values 2·(4·2), output 4·4, MLP 3·(4·6), two norms of 4;
# and a last norm of 4.
COUNT = 40 + 2 * (16 + 16 + 16 + 72 + 8) + 4


def test_parameters_by_hand_and_as_published() -> None:
    assert parameter_count(TINY) == COUNT == 300
    # The sizes of the weights on the model hub.
    published = {"0.5B": 494_032_768, "1.5B": 1_543_714_304, "7B": 7_615_616_512}
    for size, count in published.items():
        assert parameter_count(MODELS[f"Qwen2.5-{size}"]) == count


def test_every_part_by_hand() -> None:
    load = GpuLoad(rows=2, sampled=5, prompt=3, answer=4, checkpointing=False, whole_logits=True)
    # Per token and layer 2·4·(4 + 6) bytes of bfloat16 and 4·(4·4 + 2) of float32; after the last layer 4·2·4.
    activations = 2 * (80 + 72) + 32
    assert gpu_memory(TINY, load) == {
        "weights": 1200,
        "gradients": 1200,
        "optimiser": 2400,
        "reference": 1200,
        "activations": 2 * 7 * activations,
        "logits": 2 * 4 * 10 * 4 * 2,
        "sampler": 0,
        # Keys and values of 2 layers, one head of 2 numbers, 2 bytes each.
        "KV cache": 5 * 7 * (2 * 2 * 2 * 2),
    }


def test_what_splitting_checkpointing_vllm_and_no_reference_change() -> None:
    plain = gpu_memory(TINY, GpuLoad())
    split = gpu_memory(TINY, GpuLoad(gpus=4))
    for name in ("weights", "gradients", "optimiser", "reference"):
        assert split[name] * 4 == plain[name]
    assert split["activations"] == plain["activations"] and split["KV cache"] == plain["KV cache"]
    # FSDP2 gathers a layer (128 parameters) at a time, beside the embedding and the last norm; ZeRO-3 all of them.
    assert plain["sampler"] == 0 and split["sampler"] == 2 * (40 + 4 + 128)
    assert gpu_memory(TINY, GpuLoad(gpus=4, gathered=True))["sampler"] == 2 * COUNT
    assert gpu_memory(TINY, GpuLoad(gathered=True))["sampler"] == 0
    assert gpu_memory(TINY, GpuLoad(gpus=4, vllm=True))["sampler"] == 2 * COUNT
    assert gpu_memory(TINY, GpuLoad(reference=False))["reference"] == 0
    per_token = 2 * 2 * 4 + (2 * (80 + 72) + 32) // 2
    assert plain["activations"] == 8 * (256 + 1024) * per_token


def test_sampling_and_training_take_turns() -> None:
    parts = {"weights": 10, "activations": 3, "logits": 4, "sampler": 2, "KV cache": 1}
    assert peak_memory(parts) == 17
    assert peak_memory(parts | {"KV cache": 9}) == 21


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="gpus: need at least 1, got 0"):
        GpuLoad(gpus=0)


def test_the_table_has_a_row_for_each_model_and_engine() -> None:
    head, *rows = memory_table().splitlines()
    assert len(rows) == 12 and head.split()[-1] == "peak"
    assert {len(row) for row in rows} == {len(head)}
