"""Traces that are kept or not, what they cost, and epochs over them."""

import random

import pytest
import torch

from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.tasks.codes import Codes
from rlvr_lab.training.distillation import epoch_batch, sample_traces
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.supervised import encode_solutions, supervised_step


def test_traces_are_the_kept_answers_of_the_policy_and_all_are_paid() -> None:
    policy, task = load_policy("codes", "cpu"), Codes()
    correct = lambda problem, text, verdict: verdict.correct  # noqa: E731
    found = sample_traces(policy, task, 6, correct, "x", 96, 24, chunk=32)
    rng = random.Random("traces x")
    generator = torch.Generator().manual_seed(rng.getrandbits(62))
    kept, answers, sampled, read = [], 0, 0, 0
    while len(kept) < 6 and answers < 96:
        problems = task.problems(32, rng)
        batch = sample(policy, [p.prompt for p in problems], 1, 24, generator)
        pairs = zip(problems, batch.texts, batch.truncated.tolist(), strict=True)
        kept += [(p.prompt, text) for p, text, cut in pairs if task.verify(p, text, cut).correct]
        answers, sampled = answers + 32, sampled + int(batch.completion_mask.sum())
        read += sum(len(policy.tokenizer.encode(p.prompt)) for p in problems)
    assert found.pairs == kept[:6]
    assert found[1:] == (answers, sampled, read)
    everything = lambda *_: True  # noqa: E731
    assert len(sample_traces(policy, task, 40, everything, "x", 33, 24, chunk=32).pairs) == 33
    other = sample_traces(policy, task, 6, correct, "y", 96, 24, chunk=32)
    assert other.pairs != found.pairs


def test_sampling_traces_refuses_what_makes_no_sense() -> None:
    policy = load_policy("codes", "cpu")
    never = lambda *_: False  # noqa: E731
    with pytest.raises(ValueError, match="keep: none of 4"):
        sample_traces(policy, Codes(), 1, never, "x", 4, 24)
    for name in ("count", "most_answers", "chunk"):
        numbers = {"count": 1, "most_answers": 1, "chunk": 1, name: 0}
        with pytest.raises(ValueError, match=f"{name}: need at least 1, got 0"):
            sample_traces(policy, Codes(), keep=never, seed="x", **numbers)


def test_epochs_visit_each_item_once_in_new_orders() -> None:
    epochs = [[i for step in range(3) for i in epoch_batch(7, 3 * e + step, 3, 5)] for e in (0, 1)]
    assert [sorted(one) for one in epochs] == [list(range(7))] * 2
    assert epochs[0] != epochs[1] and epochs[0] != list(range(7))
    assert [len(epoch_batch(7, step, 3, 5)) for step in range(4)] == [3, 3, 1, 3]
    assert epoch_batch(7, 0, 3, 5) == epochs[0][:3] != epoch_batch(7, 0, 3, 6)
    with pytest.raises(ValueError, match="count, size"):
        epoch_batch(0, 0, 3, 0)
    with pytest.raises(ValueError, match="count, size"):
        epoch_batch(3, 0, 0, 0)


def test_a_step_counts_its_tokens() -> None:
    policy = load_policy("codes", "cpu")
    pairs = [
        ("7+5+8,3+4+1,9+2+2?", "=083"),
        ("7+5+8,3+4+1,9+2+2?", "<think>720,378,913</think>=083"),
    ]
    lengths = [len(policy.tokenizer.encode(text)) + 1 for _, text in pairs]  # and the end
    prompt = len(policy.tokenizer.encode(pairs[0][0]))
    ids, targets = encode_solutions(policy, pairs)
    with torch.no_grad():
        scores = policy.model(ids).logits.log_softmax(-1)
    nats = [-scores[row, t - 1, ids[row, t]] for row, t in (targets != -100).nonzero().tolist()]
    before = torch.cat([p.flatten().clone() for p in policy.model.parameters()])
    done = supervised_step(policy, pairs, adamw(trained(policy.model), 1e-3))
    assert done.loss == pytest.approx(float(torch.stack(nats).mean()), abs=1e-5)
    assert (done.trained, done.read) == (sum(lengths), sum(lengths) + 2 * prompt)
    assert not torch.equal(before, torch.cat([p.flatten() for p in policy.model.parameters()]))
    again = supervised_step(policy, pairs, adamw(trained(policy.model), 0.0), trained_from=1)
    assert (again.trained, again.read) == (sum(lengths) - 2, done.read)
