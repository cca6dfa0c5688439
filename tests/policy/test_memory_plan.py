"""The arithmetic of memory against what autograd stores."""

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM

from rlvr_lab.policy.memory_plan import Limits, StoredBytes, limits_on, split_rows, stored_bytes
from tests.policy.stored import saved_storages


def llama(dtype=torch.float32, **options):
    shape = {
        "vocab_size": 50,
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
    }
    return LlamaForCausalLM(LlamaConfig(**{**shape, **options})).to(dtype).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_hidden_layers": 1}, {"intermediate_size": 700}, {"num_key_value_heads": 6}],
)
def test_the_bytes_of_a_token_are_what_autograd_stores(options, dtype) -> None:
    model = llama(dtype, **options)
    stored = stored_bytes(model.config, dtype)

    def counted(tokens: int) -> int:
        ids = torch.ones(2, tokens, dtype=torch.long)
        work = lambda: model.model(input_ids=ids, use_cache=False).last_hidden_state  # noqa: E731
        return sum(saved_storages(work, model).values())

    per_token = (counted(24) - counted(8)) / (2 * 16)
    assert 0.9 < per_token / (stored.activations + stored.cache) < 1.1
    assert stored.logits == 50 * max(4, dtype.itemsize)


def test_a_part_counts_prompts_once_and_keys_for_every_answer() -> None:
    one = StoredBytes(activations=10, cache=1, logits=0)
    # 2 prompts of 5 and 3 answers of 4 are read; each answer keeps the keys of its prompt and its own.
    assert one.part(2, 5, 3, 4) == 10 * (10 + 12) + (10 + 3 * 9)


def test_missing_widths_have_the_usual_meaning() -> None:
    old = GPT2Config(n_embd=8, n_head=2, n_layer=1, vocab_size=3)
    stored = stored_bytes(old, torch.float32)
    assert stored.cache == 2 * 8 * 4
    assert stored.activations == 4 * 4 * (8 + 32) + 4 * (32 + 2) + 8 * 8


@pytest.mark.parametrize("limit", [1, 30, 100, 1000])
def test_parts_keep_the_limit_and_lose_no_row(limit) -> None:
    draw = torch.Generator().manual_seed(0)
    prompts = torch.randint(4, (40,), generator=draw).tolist()
    lengths = torch.randint(1, 9, (40,), generator=draw).tolist()
    stored = StoredBytes(1, 0, 0)
    parts = split_rows(prompts, lengths, 3, stored, limit)
    assert sorted(row for part in parts for row in part) == list(range(40))
    costs = [
        stored.part(len({prompts[r] for r in p}), 3, len(p), max(lengths[r] for r in p))
        for p in parts
    ]
    assert all(cost <= limit or len(part) == 1 for cost, part in zip(costs, parts, strict=True))
    assert (len(parts) == 1) == (limit == 1000) and (limit > 1 or len(parts) == 40)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="lengths"):
        split_rows([0], [1, 2], 1, StoredBytes(1, 1, 1), 1)
    for name in ("logits", "activations"):
        with pytest.raises(ValueError, match=name):
            Limits(**{name: 0})


def test_the_limits_of_a_cuda_device_follow_what_is_free(monkeypatch) -> None:
    assert limits_on(torch.device("cpu")) == Limits()
    total = type("Properties", (), {"total_memory": 80 * 2**30})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: total)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 16 * 2**30)
    assert limits_on(torch.device("cuda")) == Limits(2**30, 32 * 2**30)
