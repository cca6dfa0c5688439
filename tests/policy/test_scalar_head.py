"""Values stand at the state before their token; texts, not ids, reach the reward model."""

import random
import string

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rlvr_lab.machine.memory import held_bytes
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.scalar_head import (
    ConfidenceModel,
    ScalarModel,
    answer_scores,
    confidence,
    token_values,
)
from rlvr_lab.tasks.sums import Sums


@pytest.fixture(scope="module")
def policy():
    return load_policy("sums", "cpu")


@pytest.fixture(scope="module")
def batch(policy):
    prompts = [p.prompt for p in Sums().problems(3, random.Random(0))]
    return sample(policy, prompts, 4, 12, torch.Generator().manual_seed(0))


def character_tokenizer() -> PreTrainedTokenizerFast:
    """Another vocabulary for the same texts: one token a character."""
    characters = ["<pad>", "<eos>", *string.digits, *string.ascii_lowercase, *"+.?=<>/_"]
    tokenizer = Tokenizer(
        models.WordLevel({c: i for i, c in enumerate(characters)}, unk_token="<pad>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", padding_side="left"
    )


def test_a_value_depends_on_what_stands_before_its_token_alone(policy, batch) -> None:
    model = ScalarModel.from_policy(policy, zero_head=False, seed=1)
    values = token_values(model, batch)
    changed = batch.completion_ids.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 40
    other = token_values(model, type(batch)(**{**vars(batch), "completion_ids": changed}))
    torch.testing.assert_close(values[:, :4], other[:, :4])
    live = batch.completion_mask[:, 4]
    assert bool(live.any()) and not torch.allclose(values[live, 4], other[live, 4])
    assert not values[~batch.completion_mask].any()


def test_values_are_those_of_each_text_alone(policy, batch) -> None:
    model = ScalarModel.from_policy(policy, zero_head=False, seed=1)
    values = token_values(model, batch)
    for row in (0, 5, 11):
        group = row // batch.group_size
        prompt = batch.prompt_ids[group][batch.prompt_mask[group]]
        size = int(batch.lengths[row])
        text = torch.cat([prompt, batch.completion_ids[row, :size]])[None]
        alone = model(text, torch.ones_like(text))[0, len(prompt) - 1 : -1]
        torch.testing.assert_close(values[row, :size], alone, atol=1e-5, rtol=1e-4)


def test_a_zero_head_says_nothing_and_a_random_one_is_seeded(policy, batch) -> None:
    assert not token_values(ScalarModel.from_policy(policy), batch).any()
    heads = [ScalarModel.from_policy(policy, False, s).head.weight for s in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_the_body_is_a_copy_that_can_be_trained(policy) -> None:
    frozen = policy.frozen_copy()
    model = ScalarModel.from_policy(frozen)
    assert all(p.requires_grad for p in model.parameters())
    shared = {p.data_ptr() for p in frozen.model.parameters()}
    assert not shared & {p.data_ptr() for p in model.parameters()}


def test_a_score_is_read_at_the_last_token_wherever_the_padding_is(policy) -> None:
    model = ScalarModel.from_policy(policy, zero_head=False)
    texts = ["1+2.?=3", "1+2+3+4.?<think>136</think>=0"]
    tokenizer = policy.tokenizer
    together = answer_scores(model, tokenizer, texts)
    alone = torch.cat([answer_scores(model, tokenizer, [text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_ids_of_one_vocabulary_mean_other_words_in_another(policy, batch) -> None:
    other = character_tokenizer()
    text = batch.texts[0]
    ids = policy.tokenizer.encode(text, add_special_tokens=False)
    assert other.decode(other.encode(text, add_special_tokens=False)) == text
    assert other.decode(ids) != text, "passing ids on without retokenising scores another text"
    body = ScalarModel.from_policy(policy, zero_head=False)
    right = answer_scores(body, policy.tokenizer, [text])
    mixed = body(torch.tensor([other.encode(text)[:200]]) % 43, torch.ones(1, len(text)).long())
    assert abs(float((right - mixed[0, -1]).detach())) > 1e-3


def test_bytes_that_are_held_are_those_of_the_tensors(policy) -> None:
    value_model = ScalarModel.from_policy(policy)
    trained = policy.frozen_copy().model.requires_grad_(True)
    optimizer = torch.optim.AdamW([*trained.parameters(), *value_model.parameters()])
    for p in [*trained.parameters(), *value_model.parameters()]:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    held = held_bytes({"policy": trained, "value": value_model}, [optimizer])
    weights = sum(p.numel() for p in trained.parameters())
    values = sum(p.numel() for p in value_model.parameters())
    assert held["policy"] == 4 * weights and held["value"] == 4 * values
    assert held["gradients"] == 4 * (weights + values)
    tensors = len([*trained.parameters(), *value_model.parameters()])
    assert held["optimiser"] == 8 * (weights + values) + 4 * tensors  # and a step counter each


@pytest.mark.parametrize("texts", [[], [""]])
def test_bad_input_is_named(policy, texts: list[str]) -> None:
    with pytest.raises(ValueError, match="texts"):
        answer_scores(ScalarModel.from_policy(policy), policy.tokenizer, texts)


def test_a_value_model_starts_at_0_unless_asked_otherwise():
    policy = load_policy("lab", "cpu")
    assert not ScalarModel.from_policy(policy).head.weight.any()
    assert not ScalarModel(policy.model.base_model).head.weight.any()
    assert ScalarModel(policy.model.base_model, zero_head=False).head.weight.any()


def test_the_score_of_a_text_is_the_number_at_its_last_token():
    policy = load_policy("sums", "cpu")
    model = ScalarModel.from_policy(policy, zero_head=False, seed=1)
    texts = ["7+5?=2", "1+2+3?"]
    with torch.no_grad():
        found = answer_scores(model, policy.tokenizer, texts)
        for text, score in zip(texts, found, strict=True):
            ids = torch.tensor([policy.tokenizer.encode(text, add_special_tokens=False)])
            alone = model(ids, torch.ones_like(ids))[0, -1]
            torch.testing.assert_close(score, alone, atol=1e-5, rtol=1e-5)


def test_confidence_is_that_of_the_digits_before_each_token(policy, batch) -> None:
    counted = [i for w, i in policy.tokenizer.get_vocab().items() if w in list(string.digits)]
    found = confidence(batch, counted)
    for row in range(len(batch.texts)):
        words = policy.tokenizer.convert_ids_to_tokens(batch.completion_ids[row].tolist())
        seen = []
        for t, word in enumerate(words):
            expected = [min(seen), seen[-1]] if seen else [0.0, 0.0]
            torch.testing.assert_close(found[row, t], torch.tensor(expected))
            if word in list(string.digits) and batch.completion_mask[row, t]:
                seen.append(float(batch.old_logprobs[row, t]))
    assert float(found.min()) < -0.1


def test_a_confident_value_depends_on_the_past_alone(policy, batch) -> None:
    model = ConfidenceModel.from_policy(policy, zero_head=False, seed=1)
    values = token_values(model, batch)
    digit = model.counted[0]
    ids, old = batch.completion_ids.clone(), batch.old_logprobs.clone()
    ids[:, 3], old[:, 3] = digit, -3.0
    other = token_values(
        model, type(batch)(**{**vars(batch), "completion_ids": ids, "old_logprobs": old})
    )
    torch.testing.assert_close(values[:, :4], other[:, :4])
    same_ids = type(batch)(**{**vars(batch), "completion_ids": ids, "old_logprobs": old - 1})
    live = batch.completion_mask[:, 4]
    assert not torch.allclose(other[live, 4], token_values(model, same_ids)[live, 4])
    assert not token_values(ConfidenceModel.from_policy(policy), batch).any()
