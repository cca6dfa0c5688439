"""Worked solutions as ids and labels."""

import copy

import torch
from tokenizers.processors import TemplateProcessing

from rlvr_lab.policy.loading import Policy
from rlvr_lab.training.supervised import encode_solutions
from tests.reference.plain import END, TOKENIZER, encode, random_policy

PAIRS = [("7+5.?", "=12"), ("1?", "=1"), ("3?", "=3")]


def test_labels_are_the_solution_and_its_end_and_nothing_else() -> None:
    policy = random_policy()
    for trained_from in (0, 1):
        ids, labels = encode_solutions(policy, PAIRS, trained_from)
        for (prompt, solution), row, label in zip(PAIRS, ids, labels, strict=True):
            head, tail = encode(prompt), [*encode(solution), END]
            rest = ids.shape[1] - len(head) - len(tail)
            assert row.tolist() == head + tail + [TOKENIZER.pad_token_id] * rest
            hidden = len(head) + trained_from
            assert label.tolist() == [-100] * hidden + tail[trained_from:] + [-100] * rest
        assert ids.shape == labels.shape == torch.Size([3, len(encode("7+5.?=12")) + 1])


def test_a_tokenizer_that_adds_tokens_of_its_own_is_kept_from_it() -> None:
    policy, eager = random_policy(), copy.deepcopy(TOKENIZER)
    eager.backend_tokenizer.post_processor = TemplateProcessing(
        single="<eos> $A <eos>", special_tokens=[("<eos>", END)]
    )
    assert eager.encode("1?") == [END, *encode("1?"), END]
    found = encode_solutions(Policy(policy.model, eager, "eager"), PAIRS)
    for ours, theirs in zip(found, encode_solutions(policy, PAIRS), strict=True):
        assert torch.equal(ours, theirs)
