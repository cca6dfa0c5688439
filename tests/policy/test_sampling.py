"""Sampling: what is drawn, what is recorded, and what may not change it."""

import inspect
from types import SimpleNamespace

import pytest
import torch

from rlvr_lab.policy import sampling
from rlvr_lab.policy.drawn import multinomial_draw
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.policy.sampling import sample


@pytest.fixture(scope="module")
def base() -> Policy:
    return load_policy("sums", "cpu")


def draw(policy, seed=0, prompts=("7+5+8+3....?",), group_size=64, cap=24, **options):
    return sample(
        policy, list(prompts), group_size, cap, torch.Generator().manual_seed(seed), **options
    )


def test_same_seed_same_answers(base):
    assert draw(base, 1).texts == draw(base, 1).texts
    assert draw(base, 1).texts != draw(base, 2).texts


def test_masks_are_made_from_positions(base):
    batch = draw(base)
    eos = base.tokenizer.eos_token_id
    for row in range(64):
        length = int(batch.lengths[row])
        real = batch.completion_ids[row, :length].tolist()
        assert (real[-1] == eos) != bool(batch.truncated[row])
        assert eos not in real[:-1]
        assert batch.completion_mask[row].tolist() == [
            t < length for t in range(batch.completion_ids.shape[1])
        ]
        assert batch.texts[row] == base.tokenizer.decode(
            real[: length - (not batch.truncated[row])]
        )


def test_the_stop_token_stays_trained_when_it_is_also_the_pad_token():
    policy = load_policy("sums", "cpu")
    policy.tokenizer.pad_token = policy.tokenizer.eos_token
    batch = draw(policy)
    last = batch.lengths - 1
    assert bool(batch.completion_mask.gather(1, last[:, None]).all())


def test_first_tokens_follow_the_model(base):
    """Frequencies of the first token against the model's own probabilities."""
    n = 4096
    batch = draw(base, group_size=n, cap=1)
    ids = base.tokenizer("7+5+8+3....?", return_tensors="pt", add_special_tokens=False).input_ids
    with torch.no_grad():
        probs = base.model(ids).logits[0, -1].softmax(-1)
    counts = torch.bincount(batch.completion_ids[:, 0], minlength=len(probs)) / n
    assert float((counts - probs).abs().max()) < 4 * (0.25 / n) ** 0.5
    assert bool(batch.truncated[batch.completion_ids[:, 0] != 1].all())


def test_answers_do_not_depend_on_their_neighbours(base):
    """Padding and retiring rows must not change the distribution: entropy of each prompt's first step."""
    alone = draw(base, prompts=["1+2+3+4....?"], cap=1).entropy[0, 0]
    padded = draw(base, prompts=["1+2+3+4....?", "1+2+3+4+5+6+7+8?", "1+2?"], cap=1).entropy[0, 0]
    torch.testing.assert_close(alone, padded, atol=1e-5, rtol=0)


def test_top_p_keeps_the_smallest_nucleus(base):
    ids = base.tokenizer("7+5+8+3....?", return_tensors="pt", add_special_tokens=False).input_ids
    with torch.no_grad():
        probs = base.model(ids).logits[0, -1].softmax(-1)
    ordered, index = probs.sort(descending=True)
    size = int((ordered.cumsum(0) < 0.7).sum()) + 1
    seen = set(draw(base, group_size=2048, cap=1, top_p=0.7).completion_ids[:, 0].tolist())
    assert seen == set(index[:size].tolist())
    greedy = set(draw(base, group_size=64, cap=1, top_p=1e-6).completion_ids[:, 0].tolist())
    assert greedy == {int(probs.argmax())}


def test_low_temperature_is_greedy(base):
    assert len(set(draw(base, temperature=0.01).texts)) == 1


def test_forced_words_are_seen_but_not_trained():
    lab = load_policy("lab", "cpu")
    words = ["right", "wrong"] * 8
    batch = draw(lab, prompts=["?"], group_size=16, cap=32, forced_words=words)
    assert [t.startswith(w) for t, w in zip(batch.texts, words, strict=True)] == [True] * 16
    assert not bool(batch.completion_mask[:, 0].any()) and bool(batch.attention_mask[:, 0].all())
    fillers = {
        t.removeprefix(w).replace("ok", "").replace("hmm", "")
        for t, w in zip(batch.texts, words, strict=True)
    }
    assert fillers == {""}
    with pytest.raises(ValueError, match="forced_words"):
        draw(lab, prompts=["?"], group_size=16, forced_words=["right"])


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 0.0), ("top_p", 0.0), ("top_p", 1.5), ("group_size", 0), ("cap", 0)],
)
def test_bad_numbers_are_named(base, name, value):
    with pytest.raises(ValueError, match={"cap": "max_new_tokens"}.get(name, name)):
        draw(base, **{name: value})


def test_groups_picks_whole_groups(base):
    batch = draw(base, prompts=["1+2+3+4....?", "7+5+8+3....?"], group_size=3)
    one = batch.groups([1])
    assert one.texts == batch.texts[3:] and one.group_size == 3
    for name in ("prompt_ids", "prompt_mask"):
        assert torch.equal(getattr(one, name), getattr(batch, name)[1:]), name
    for name in (
        *("completion_ids", "completion_mask", "attention_mask"),
        *("old_logprobs", "entropy", "truncated"),
    ):
        assert torch.equal(getattr(one, name), getattr(batch, name)[3:]), name
    lab = load_policy("lab", "cpu")  # where trained and real tokens are not the same
    forced = draw(lab, prompts=["?", "?"], group_size=2, cap=8, forced_words=["right", "wrong"] * 2)
    half = forced.groups([1])
    assert torch.equal(half.completion_mask, forced.completion_mask[2:])
    assert torch.equal(half.attention_mask, forced.attention_mask[2:])
    with pytest.raises(ValueError, match="completion_ids"):
        type(one)(**{**vars(one), "texts": one.texts[:-1]})


def test_the_entropy_outside_the_mask_is_0_and_the_model_keeps_its_mode(base):
    batch = draw(base)
    assert not batch.entropy[~batch.completion_mask].any()
    assert bool((batch.entropy[batch.completion_mask] > 0).any())
    for training in (True, False):
        base.model.train(training)
        draw(base, group_size=2)
        assert base.model.training is training


def test_a_forced_word_is_its_own_token_and_nothing_around_it():
    class Adding:
        def encode(self, word, add_special_tokens=True):
            return [1, 7] if add_special_tokens else [7]

    policy = SimpleNamespace(tokenizer=Adding(), device="cpu")
    assert inspect.unwrap(sampling._forced_ids)(policy, ["right", "right"], 2).tolist() == [7, 7]


def test_without_a_nucleus_the_whole_distribution_is_drawn_from(monkeypatch):
    """Even what rounding would take for the rest behind a sum of 1."""
    seen = []
    monkeypatch.setattr(torch, "multinomial", lambda p, *_, **__: seen.append(p) or p[:, :1].long())
    scores = torch.tensor([[0.0, -30.0]])
    multinomial_draw(scores, 1.0, torch.Generator())
    assert torch.equal(seen[0], scores.exp())
