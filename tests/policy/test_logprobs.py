"""Whole texts: how they are glued, counted and scored, against the definition."""

import pytest
import torch

from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.logprobs import before_each_token, state_logits, token_logprobs, whole_texts
from rlvr_lab.policy.sampling import sample


@pytest.fixture(scope="module")
def base():
    return load_policy("sums", "cpu")


@pytest.fixture(scope="module")
def batch(base):
    return sample(base, ["7+5+8+3....?", "1+2?"], 3, 12, torch.Generator().manual_seed(0))


def test_real_tokens_are_counted_from_0_wherever_the_padding_is(batch) -> None:
    ids, mask, positions = whole_texts(batch)
    assert ids.shape == mask.shape == positions.shape and bool((positions >= 0).all())
    for row in range(len(ids)):
        prompt = batch.prompt_ids[row // 3][batch.prompt_mask[row // 3]]
        real = mask[row].bool()
        text = torch.cat([prompt, batch.completion_ids[row, : int(batch.lengths[row])]])
        assert ids[row][real].tolist() == text.tolist()
        assert positions[row][real].tolist() == list(range(len(text)))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_logits_of_the_states_are_those_that_score_the_tokens(base, batch, temperature) -> None:
    logits = state_logits(base.model, batch, temperature)
    found = logits.log_softmax(-1).gather(2, batch.completion_ids[..., None]).squeeze(2)
    mask = batch.completion_mask
    scored = token_logprobs(base.model, batch, temperature)
    torch.testing.assert_close(found[mask], scored[mask], atol=1e-4, rtol=1e-4)


def test_the_output_of_the_last_token_is_not_needed() -> None:
    outputs = torch.arange(10.0).view(2, 5)
    whole = before_each_token(outputs, 5, 3)
    assert whole.tolist() == [[1, 2, 3], [6, 7, 8]]
    assert torch.equal(before_each_token(outputs[:, :-1], 5, 3), whole)


def test_answers_of_one_token_are_scored_by_the_prompt_alone(base) -> None:
    one = sample(base, ["7+5+8+3....?"], 4, 1, torch.Generator().manual_seed(0))
    scored = token_logprobs(base.model, one)
    torch.testing.assert_close(scored, one.old_logprobs, atol=1e-5, rtol=0)
    assert scored.requires_grad
