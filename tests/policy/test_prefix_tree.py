"""The prefix tree against texts written out, and the pass over it against a pass over each text alone."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from rlvr_lab.policy import logprobs
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.llama import plain_llama
from rlvr_lab.policy.llama_pass import LARGEST_MASK, tree_pass_fits, tree_states
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.logprobs import state_logits, token_scores
from rlvr_lab.policy.prefix_tree import prefix_tree
from rlvr_lab.policy.sampling import sample
from tests.policy.precise import exact

VOCABULARY = 11


def batch_of(prompt_sizes, group_size, longest, words=2, seed=0) -> RolloutBatch:
    """Random ragged answers of few words, so that many begin alike; the first prompt is the longest."""
    draw = torch.Generator().manual_seed(seed)
    count, rows, width = len(prompt_sizes), len(prompt_sizes) * group_size, max(prompt_sizes)
    lengths = torch.randint(1, longest + 1, (rows,), generator=draw)
    there = torch.arange(longest) < lengths[:, None]
    return RolloutBatch(
        prompt_ids=torch.randint(2, VOCABULARY, (count, width), generator=draw),
        prompt_mask=torch.arange(width) >= width - torch.tensor(prompt_sizes)[:, None],
        completion_ids=torch.randint(2, 2 + words, (rows, longest), generator=draw),
        completion_mask=there,
        attention_mask=there,
        old_logprobs=torch.zeros(rows, longest, dtype=torch.float64),
        entropy=torch.zeros(rows, longest, dtype=torch.float64),
        truncated=torch.zeros(rows, dtype=torch.bool),
        texts=[""] * rows,
        group_size=group_size,
    )


BATCHES = {
    "ragged, left-padded": batch_of([5, 1, 3], 6, 7),
    "one prompt": batch_of([4], 9, 5),
    "no answer begins like another": batch_of([2, 2], 4, 6, words=9, seed=1),
    "one answer each": batch_of([3, 2, 3], 1, 4),
    "one token each": batch_of([3, 1], 3, 1),
}
ROWS = {"all": lambda rows: rows, "some, out of order": lambda rows: rows.flip(0)[::2]}


def text(batch, row, until):
    prompt = batch.prompt_ids[row // batch.group_size][batch.prompt_mask[row // batch.group_size]]
    return [*prompt.tolist(), *batch.completion_ids[row, :until].tolist()]


def small(kv_heads=2, bias=False, tied=True, **options) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=kv_heads, initializer_range=0.4, attention_bias=bias, mlp_bias=bias,
        tie_word_embeddings=tied, pad_token_id=0, **options,
    )  # fmt: skip
    model = LlamaForCausalLM(config).double().eval()
    for parameter in model.parameters():  # neither norms of 1 nor biases of 0
        parameter.data += 0.2 * torch.randn_like(parameter)
    return exact(SimpleNamespace(model=model)).model


MODELS = {
    "grouped queries": small(),
    "every head its own": small(4, tied=False),
    "biases": small(1, bias=True),
}


@pytest.mark.parametrize("piece", [1, 4, 10**9])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_every_node_sees_the_text_that_it_ends(batch, rows, piece) -> None:
    wanted = rows(torch.arange(len(batch.texts)))
    tree = prefix_tree(batch, wanted, piece)
    slots, sees = tree.slots.flatten(), tree.sees.flatten(0, 1)
    nodes = set()
    for index, row in enumerate(wanted.tolist()):
        for t in range(int(batch.lengths[row])):
            node = tree.unread + int(tree.before[index, t])
            nodes.add(node)
            slot = int(tree.home[node])
            assert slots[slot] == node
            piece_slots = tree.slots[slot // tree.slots.shape[1]]
            seen = piece_slots[sees[slot]]
            order = tree.position[seen].argsort()
            assert tree.position[seen][order].tolist() == list(range(len(seen)))
            assert tree.ids[seen][order].tolist() == text(batch, row, t)
    beginnings = {
        (row // batch.group_size, *text(batch, row, t))
        for row in wanted.tolist()
        for t in range(int(batch.lengths[row]))
    }
    assert len(nodes) == len(beginnings) == len(tree.ids) - tree.unread  # each once, and no other
    assert bool(
        sees.any(dim=1).all()
    )  # an empty slot sees something, or its softmax is not a number


def test_a_piece_is_cut_when_it_is_full() -> None:
    batch = BATCHES["one prompt"]
    pieces = [len(prefix_tree(batch, torch.arange(9), piece).slots) for piece in (1, 4, 10**9)]
    assert pieces[0] > pieces[1] > pieces[2] == 1


def alone(model, batch, wanted, longest):
    """The logits before each token, from a pass over each text alone; 0 elsewhere."""
    rows = []
    for row in wanted.tolist():
        length = int(batch.lengths[row])
        whole = text(batch, row, length)
        logits = model(torch.tensor([whole])).logits[0, len(whole) - length - 1 : -1]
        rows.append(nn.functional.pad(logits, (0, 0, 0, longest - length)))
    return torch.stack(rows)


@pytest.mark.parametrize("piece", [1, 4, 10**9])
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_logits_and_gradients_are_those_of_each_text_alone(model, batch, piece) -> None:
    wanted = torch.arange(len(batch.texts)).flip(0)
    tree = prefix_tree(batch, wanted, piece)
    there = batch.attention_mask[wanted, :, None]
    found = model.lm_head(tree_states(model, tree))[tree.before].masked_fill(~there, 0.0)
    plain = alone(model, batch, wanted, there.shape[1])
    torch.testing.assert_close(found, plain, atol=1e-10, rtol=0)
    weights = torch.randn(
        found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    slopes = [
        torch.autograd.grad((logits * weights).sum(), list(model.parameters()))
        for logits in (found, plain)
    ]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_both_ways_of_scoring_agree(batch, monkeypatch) -> None:
    """Log-probabilities, entropies, logits of the states, and their second derivatives."""
    model, keep = MODELS["grouped queries"], torch.arange(len(batch.texts)) % 3 != 1
    assert tree_pass_fits(model, batch, len(batch.texts))
    parameters = list(model.parameters())

    def results():
        values = token_scores(model, batch, 0.7, keep, with_entropy=True)
        logits = state_logits(model, batch, 0.7)
        mask = batch.attention_mask
        square = (logits.log_softmax(-1)[mask] ** 2).sum()
        slopes = torch.autograd.grad(square, parameters, create_graph=True)
        curved = torch.autograd.grad(sum((s**2).sum() for s in slopes), parameters)
        assert not bool(logits[~mask].any())
        return (*values, logits[mask], *slopes, *curved)

    found = results()
    monkeypatch.setattr(logprobs, "tree_pass_fits", lambda *_: False)
    for a, b in zip(found, results(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)


def test_the_shipped_model_agrees_in_float32() -> None:
    base = load_policy("sums", "cpu")
    batch = sample(base, ["7+5+8+3....?", "1+2?"], 8, 24, torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = state_logits(base.model, batch)[batch.attention_mask]
    tokens = batch.completion_ids[batch.attention_mask]
    scores = logits.log_softmax(-1).gather(1, tokens[:, None]).squeeze(1)
    wanted = batch.old_logprobs[batch.attention_mask]
    torch.testing.assert_close(scores, wanted, atol=1e-5, rtol=1e-5)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def replaced(model):
    old = model.model.layers[1].mlp.up_proj
    model.model.layers[1].mlp.up_proj = Doubled(
        old.in_features, old.out_features, bias=False
    ).double()


def hooked(model):
    model.model.layers[0].register_forward_hook(lambda module, given, out: 2 * out)


def dropping(model):
    model.config.attention_dropout = 0.1
    model.train()


def checkpointing(model):
    for layer in model.model.layers:
        layer.gradient_checkpointing = True


class Own(LlamaForCausalLM):
    def forward(self, *given, **named):
        return super().forward(*given, **named)


def subclassed(model):
    model.__class__ = Own


CHANGES = [replaced, hooked, dropping, checkpointing, subclassed]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_model_takes_its_own_forward(change) -> None:
    model, batch = small(), BATCHES["ragged, left-padded"]
    assert plain_llama(model)
    change(model)
    assert not plain_llama(model) and not tree_pass_fits(model, batch, 1)


def test_long_texts_take_the_general_path() -> None:
    batch = BATCHES["one prompt"]
    most = LARGEST_MASK // (4 + 5) ** 2
    assert tree_pass_fits(MODELS["biases"], batch, most)
    assert not tree_pass_fits(MODELS["biases"], batch, most + 1)
