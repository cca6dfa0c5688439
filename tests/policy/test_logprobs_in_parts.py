"""A large batch is scored in parts: the values and gradients of one pass, on every kind of batch."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.policy.logprobs import token_logprobs, token_scores
from rlvr_lab.policy.memory_plan import Limits
from rlvr_lab.policy.sampling import sample
from tests.policy.precise import exact
from tests.policy.stored import saved_storages

NONE = Limits.none()
LIMITS = {
    "logits": Limits(logits=44 * 8 * 3, activations=NONE.activations),
    "rows": Limits(logits=NONE.logits, activations=300_000),
    "both": Limits(logits=44 * 8 * 3, activations=300_000),
    "one row": Limits(logits=1, activations=1),
}
PROMPTS = ["7+5+8+3....?", "1+2?", "1+2+3+4+5+6+7+8?"]  # left padding


@pytest.fixture(scope="module")
def base() -> Policy:
    policy = exact(load_policy("sums", "cpu", torch.float64))
    torch.manual_seed(0)
    for parameter in policy.model.parameters():  # away from the base: ratios differ from 1
        parameter.data += 0.01 * torch.randn_like(parameter)
    return policy


def drawn(base, prompts=PROMPTS, group_size=5, **options):
    return sample(base, prompts, group_size, 16, torch.Generator().manual_seed(0), **options)


def forced(batch):
    """Its first tokens were written by the environment: part of the text, but not trained."""
    mask = batch.completion_mask.clone()
    mask[:, 0] = False
    return replace(batch, completion_mask=mask)


def twins(batch):
    """The second answer of each group is the first one again."""
    index = torch.arange(len(batch.texts))
    index = torch.where(index % batch.group_size == 1, index - 1, index)
    names = ("completion_ids", "completion_mask", "attention_mask", "old_logprobs", "entropy")
    return replace(batch, **{name: getattr(batch, name)[index] for name in names})


BATCHES = {
    "ragged, left-padded": drawn,
    "twins": lambda base: twins(drawn(base)),
    "G=1": lambda base: drawn(base, group_size=1),
    "forced": lambda base: forced(drawn(base)),
    "one token": lambda base: sample(base, PROMPTS, 2, 1, torch.Generator().manual_seed(1)),
}


def gradient(scores, batch, model):
    weights = torch.randn(len(scores), *scores[0].shape, generator=torch.Generator().manual_seed(2))
    total = sum((w * x)[batch.attention_mask].sum() for w, x in zip(weights, scores, strict=True))
    return torch.autograd.grad(total, list(model.parameters()))


@pytest.fixture(params=["tree", "rows"])
def way(request, monkeypatch) -> None:
    """Both ways of one pass: over the tree of beginnings, and over padded rows."""
    if request.param == "rows":
        monkeypatch.setattr("rlvr_lab.policy.logprobs.tree_pass_fits", lambda *_: False)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS.keys())
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_parts_change_neither_values_nor_gradients(base, batch, limits) -> None:
    batch = batch(base)
    for temperature, keep in ((1.0, None), (0.6, torch.arange(len(batch.texts)) % 3 != 1)):
        options = {"temperature": temperature, "rows": keep, "with_entropy": True}
        whole = token_scores(base.model, batch, **options, limits=NONE)
        found = token_scores(base.model, batch, **options, limits=limits)
        for a, b in zip(found, whole, strict=True):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
        slopes = (gradient(scores, batch, base.model) for scores in (found, whole))
        for a, b in zip(*slopes, strict=True):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)
        alone = token_logprobs(base.model, batch, temperature, keep, limits=limits)
        assert torch.equal(alone, found[0])


def test_nothing_wanted_is_nothing_computed(base) -> None:
    batch = drawn(base)
    nobody = torch.zeros(15, dtype=torch.bool)
    logprobs, entropies = token_scores(
        base.model, batch, rows=nobody, limits=LIMITS["both"], with_entropy=True
    )
    assert torch.equal(logprobs, batch.old_logprobs) and torch.equal(entropies, batch.entropy)
    assert token_scores(base.model, batch, rows=nobody)[1] is None


def test_parts_store_little(base, monkeypatch) -> None:
    """In one pass everything is stored; in parts only what the rows have in common."""
    monkeypatch.setattr("rlvr_lab.policy.logprobs.tree_pass_fits", lambda *_: False)
    batch = drawn(base)
    stored = {
        name: sum(
            saved_storages(
                lambda limits=limits: token_logprobs(base.model, batch, limits=limits), base.model
            ).values()
        )
        for name, limits in {"none": NONE, **LIMITS}.items()
    }
    one = int(batch.lengths.sum()) * 44 * 8  # a tensor of tokens × vocabulary, in float64
    assert stored["logits"] < stored["none"] - 2 * one
    assert stored["rows"] < 0.03 * stored["none"], stored


def test_a_bfloat16_model_is_scored_in_float32(base) -> None:
    small = load_policy("sums", "cpu", torch.bfloat16)
    batch = drawn(small)
    assert batch.old_logprobs.dtype == torch.float32
    whole = token_logprobs(small.model, batch, limits=NONE)
    for limits in LIMITS.values():
        found = token_logprobs(small.model, batch, limits=limits)
        assert found.dtype == torch.float32
        # Other shapes round elsewhere: bfloat16 keeps three digits.
        torch.testing.assert_close(found, whole, atol=0.1, rtol=0.05)
    float32 = token_logprobs(load_policy("sums", "cpu").model, batch)
    assert float((whole - float32).detach().abs().mean()) < 0.05


def test_the_tiny_models_take_the_fast_path(base, monkeypatch) -> None:
    def refuse(*_, **__):
        raise AssertionError("planned for nothing")

    for name in ("checkpoint", "split_rows", "chosen_scores", "body_and_head"):
        monkeypatch.setattr(f"rlvr_lab.policy.logprobs.{name}", refuse)
    token_logprobs(base.model, drawn(base))
