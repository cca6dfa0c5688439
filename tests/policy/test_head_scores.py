"""Scores of chosen tokens from hidden states, against whole logits."""

from copy import deepcopy

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from rlvr_lab.objectives.kl import entropy
from rlvr_lab.policy.head_scores import body_and_head, chosen_scores
from rlvr_lab.policy.loading import load_policy
from tests.policy.stored import largest_saved

ROWS, WIDTH, VOCABULARY = 23, 8, 997


def example(dtype=torch.float64):
    torch.manual_seed(0)
    head = torch.nn.Linear(WIDTH, VOCABULARY).to(dtype)
    hidden = torch.randn(ROWS, WIDTH, dtype=dtype, requires_grad=True)
    return head, hidden, torch.randint(VOCABULARY, (ROWS,))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("at_once", [1, 7, 23, 1000])
def test_values_and_gradients_are_those_of_whole_logits(at_once, temperature) -> None:
    head, hidden, ids = example()
    logits = head(hidden) / temperature
    wanted = logits.log_softmax(-1).gather(1, ids[:, None]).squeeze(1), entropy(logits)
    found = chosen_scores(head, hidden, ids, temperature, at_once, with_entropy=True)
    weights = torch.randn(2, ROWS, dtype=torch.float64)
    inputs = [hidden, *head.parameters()]
    slopes = []
    for columns in (wanted, found):
        total = sum((w * x).sum() for w, x in zip(weights, columns, strict=True))
        slopes.append(torch.autograd.grad(total, inputs))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def test_no_tensor_of_tokens_times_vocabulary_is_stored() -> None:
    head, hidden, ids = example(torch.float32)
    whole = largest_saved(lambda: head(hidden).log_softmax(-1).gather(1, ids[:, None]))
    assert whole >= ROWS * VOCABULARY * 4
    assert largest_saved(lambda: chosen_scores(head, hidden, ids, 1.0, 4)) < 4 * VOCABULARY * 4


def test_a_forbidden_token_adds_nothing_to_the_entropy() -> None:
    head = torch.nn.Linear(3, 3)
    torch.nn.init.zeros_(head.weight)
    head.bias.data = torch.tensor([0.0, 0.0, -torch.inf])
    states = torch.zeros(1, 3, requires_grad=True)
    _, entropies = chosen_scores(head, states, torch.tensor([0]), with_entropy=True)
    torch.testing.assert_close(entropies, torch.tensor([0.6931472]))
    assert bool(torch.autograd.grad(entropies.sum(), states)[0].isfinite().all())


def test_a_bfloat16_head_is_summed_in_float32() -> None:
    head, hidden, ids = example(torch.bfloat16)
    found, nothing = chosen_scores(head, hidden, ids, 1.0, 5)
    assert found.dtype == torch.float32 and nothing is None
    wanted = head(hidden).float().log_softmax(-1).gather(1, ids[:, None]).squeeze(1)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_no_tokens_at_once_is_named() -> None:
    with pytest.raises(ValueError, match="tokens_at_once"):
        chosen_scores(*example(), tokens_at_once=0)


def test_a_model_that_transforms_its_logits_is_not_taken_apart() -> None:
    small = Gemma2Config(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        final_logit_softcapping=5.0,
        pad_token_id=0,
    )
    assert body_and_head(Gemma2ForCausalLM(small).eval()) is None
    small = deepcopy(small)
    small.final_logit_softcapping = None
    assert body_and_head(Gemma2ForCausalLM(small).eval()) is not None
    base = load_policy("sums", "cpu").model
    assert body_and_head(base) == (base.model, base.lm_head)
    assert body_and_head(base.model) is None
