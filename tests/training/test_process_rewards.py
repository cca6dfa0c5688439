"""Fitting a process reward model: which answers, which labels, which loss, what stays as it is."""

import random

import pytest
import torch

from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.scalar_head import ScalarModel
from rlvr_lab.rewards.process import number_ids, steps_of, verify_steps
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.training import process_rewards
from rlvr_lab.training.optimise import adamw
from rlvr_lab.training.process_rewards import fit_process_reward, labelled_chains


@pytest.fixture(scope="module")
def policy():
    return load_policy("sums", "cpu")


def test_labels_are_those_of_the_verifier(policy) -> None:
    batch, labels = labelled_chains(policy, Sums(), 20, seed=4)
    where = steps_of(batch, number_ids(policy.tokenizer))
    assert labels.shape == batch.completion_ids.shape and len(labels) == 20
    assert (where.sum(dim=1) > 1).all() and not labels[~where].any()
    drawn = Sums().problems(60, random.Random("labelled chains 4"))
    asked = {tuple(policy.tokenizer.encode(p.prompt)): p for p in drawn}
    for row in range(20):
        ids = batch.prompt_ids[row][batch.prompt_mask[row]].tolist()
        right = verify_steps(asked[tuple(ids)], batch.texts[row])
        assert labels[row][where[row]].bool().tolist() == right


def test_flips_are_as_many_as_asked_for_and_only_at_numbers(policy) -> None:
    (batch, plain), (_, all_wrong), (_, some) = (
        labelled_chains(policy, Sums(), 60, flip, seed=4) for flip in (0.0, 1.0, 0.3)
    )
    where = steps_of(batch, number_ids(policy.tokenizer))
    assert torch.equal(all_wrong[where], 1 - plain[where])
    assert not all_wrong[~where].any() and not some[~where].any()
    assert 0.2 < float((some != plain)[where].float().mean()) < 0.4


def test_the_fit_minimises_the_cross_entropy_at_the_numbers(policy) -> None:
    """Two steps equal a plain loop, written apart, over the same minibatches."""
    batch, labels = labelled_chains(policy, Sums(), 8, seed=1)
    before = {k: v.clone() for k, v in policy.model.state_dict().items()}
    fitted = fit_process_reward(policy, batch, labels, 2, 4, 2e-3, seed=5).model
    plain = ScalarModel.from_policy(policy)
    optimizer, rng = adamw(plain.parameters(), 2e-3), random.Random(5)
    where = steps_of(batch, number_ids(policy.tokenizer))
    for _ in range(2):
        terms = []
        for row in rng.choices(range(8), k=4):
            ids = batch.prompt_ids[row][batch.prompt_mask[row]].tolist()
            start = len(ids)
            ids += batch.completion_ids[row][batch.attention_mask[row]].tolist()
            whole = torch.tensor([ids])
            p = plain(whole, torch.ones_like(whole))[0].sigmoid()
            for column in where[row].nonzero().flatten().tolist():
                q = p[start + column]
                terms.append(-torch.log(q if labels[row, column] else 1 - q))
        loss = torch.stack(terms).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
    for (name, mine), theirs in zip(fitted.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=2e-5, msg=name)
        assert not mine.requires_grad
    assert not fitted.training
    assert all(torch.equal(v, before[k]) for k, v in policy.model.state_dict().items())
    assert all(p.requires_grad for p in policy.model.parameters())


def test_a_fit_learns_what_shows() -> None:
    """Labels that the number itself tells: an even digit is "correct"."""
    policy = load_policy("sums", "cpu")
    batch, _ = labelled_chains(policy, Sums(), 64, seed=2)
    where = steps_of(batch, number_ids(policy.tokenizer))
    first = number_ids(policy.tokenizer)[0]
    even = where & ((batch.completion_ids - first) % 2 == 0)
    prm = fit_process_reward(policy, batch, even.float(), 25, 32)
    with torch.no_grad():
        right = (prm.logits(batch) > 0) == even
    assert float(right[where].float().mean()) > 0.95


def test_what_makes_no_sense_is_named(policy, monkeypatch) -> None:
    task = Sums()
    for count, flip, message in (
        (0, 0.0, "count: need at least 1 chain, got 0"),
        (1, 1.5, r"flip: must be a probability in \[0, 1\], got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            labelled_chains(policy, task, count, flip)
    batch, labels = labelled_chains(policy, task, 2)
    with pytest.raises(ValueError, match="steps: need at least 1, got 0"):
        fit_process_reward(policy, batch, labels, 0)
    with pytest.raises(ValueError, match="labels: the batch is"):
        fit_process_reward(policy, batch, labels[:1], 1)
    monkeypatch.setattr(process_rewards, "number_ids", lambda tokenizer: [])
    with pytest.raises(ValueError, match="count: only 0 of 6 answers have a chain"):
        labelled_chains(policy, task, 2)
