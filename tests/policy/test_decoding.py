"""Both decoders against the model's own forward pass: padded prompts, rows that branch and leave."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from rlvr_lab.policy.decoding import Decoder, LlamaDecoder, decoder_for
from rlvr_lab.policy.logprobs import prefill


def llama(kv_heads: int = 2, bias: bool = False) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=17, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=kv_heads, initializer_range=0.3,
        attention_bias=bias, tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():  # neither norms of 1 nor biases of 0
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=17, n_embd=32, n_layer=2, n_head=4)).eval()


PROMPTS = [[3, 4, 5, 6, 7], [8, 9], [10, 11, 12]]


# The old rows that the new ones continue, step by step.
BRANCHES = [
    [0, 0, 1, 2, 2, 2],  # answers part
    [0, 1, 1, 3, 5],  # some leave, one parts
    [4, 0, 2, 2, 2, 1, 4, 0],  # out of order, more than before
    [7, 7, 7],  # only rows from the end, all from one
    [0, 1, 2],  # nothing changes
    [2],
]


@pytest.mark.parametrize("kind", [Decoder, LlamaDecoder])
@pytest.mark.parametrize("prompts", [PROMPTS, [PROMPTS[0]] * 3])
@pytest.mark.parametrize("model", [llama(), llama(4), llama(1, bias=True)])
@torch.no_grad()
def test_every_step_equals_a_forward_pass_from_scratch(kind, prompts, model):
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[False] * (width - len(p)) + [True] * len(p) for p in prompts])
    cache, _ = prefill(model, ids, mask)
    decoder = kind(model, cache, mask, 8, len(BRANCHES))
    texts = prompts
    generator = torch.Generator().manual_seed(1)
    for parent in BRANCHES:
        token = torch.randint(17, (len(parent),), generator=generator)
        texts = [[*texts[old], new] for old, new in zip(parent, token.tolist(), strict=True)]
        got = decoder.step(torch.tensor(parent), token)
        plain = [model(torch.tensor([text])).logits[0, -1] for text in texts]
        torch.testing.assert_close(got, torch.stack(plain), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_other_models_take_the_general_path():
    model, mask = gpt2(), torch.ones(1, 3, dtype=torch.bool)
    cache, _ = prefill(model, torch.tensor([[3, 4, 5]]), mask)
    decoder = decoder_for(model, cache, mask, 2, 4)
    assert type(decoder) is Decoder
    got = decoder.step(torch.tensor([0, 0]), torch.tensor([6, 7]))
    plain = model(torch.tensor([[3, 4, 5, 7]])).logits[0, -1]
    torch.testing.assert_close(got[1], plain, atol=2e-5, rtol=1e-4)
    cache, _ = prefill(llama(), torch.tensor([[3, 4, 5]]), mask)
    assert type(decoder_for(llama(), cache, mask, 2, 4)) is LlamaDecoder
