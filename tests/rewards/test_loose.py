"""Loose verifiers: what each pays, row by row, against its own question."""

import pytest
import torch

from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.rewards.loose import answer_anywhere, any_equals
from rlvr_lab.rewards.registry import make_reward
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Answers, Problem, grade

PROBLEMS = [Problem("3+4......?", 7), Problem("1+1......?", 2)]


def answers(first: list[str], second: list[str], truncated: bool = False) -> Answers:
    """As many answers to either problem."""
    texts, rows = [*first, *second], len(first) + len(second)
    ones, zeros = torch.ones(rows, 1), torch.zeros(rows, 1)
    cut = torch.full((rows,), truncated)
    batch = RolloutBatch(
        torch.ones(2, 1).long(), torch.ones(2, 1).bool(), ones.long(), ones.bool(), ones.bool(),
        zeros, zeros, cut, texts, len(first),
    )  # fmt: skip
    return Answers(Sums(), PROBLEMS, batch, grade(Sums(), PROBLEMS, texts, cut.tolist()))


# text, anywhere, after any "=", strict; the right answer is 7
TEXTS = [
    ("<think>37</think>=7", 1, 1, 1),
    ("<think>37</think>=8", 1, 0, 0),
    ("<think>34</think>=8", 0, 0, 0),
    ("=1=7=3", 1, 1, 0),
    ("=17", 1, 0, 0),
    ("0123456789", 1, 0, 0),
    ("<think>37=7", 1, 1, 0),
    ("=seven", 0, 0, 0),
    ("", 0, 0, 0),
]


def test_what_each_verifier_pays() -> None:
    texts, anywhere, equals, strict = zip(*TEXTS, strict=True)
    seen = answers(list(texts), ["=2"] * len(texts))
    rest = [1.0] * len(texts)
    assert answer_anywhere(seen).tolist() == [*map(float, anywhere), *rest]
    assert any_equals(seen).tolist() == [*map(float, equals), *rest]
    assert make_reward("accuracy")(seen).tolist() == [*map(float, strict), *rest]


def test_a_row_is_judged_by_its_own_question() -> None:
    seen = answers(["=7", "=2"], ["=7", "=2"])
    for verify in (answer_anywhere, any_equals):
        assert verify(seen).tolist() == [1.0, 0.0, 0.0, 1.0]


def test_a_truncated_text_is_paid_all_the_same() -> None:
    seen = answers(["=7"], ["=2"], truncated=True)
    assert answer_anywhere(seen).tolist() == any_equals(seen).tolist() == [1.0, 1.0]
    assert make_reward("accuracy")(seen).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["answer_anywhere", "any_equals"])
def test_the_name_is_registered(name: str) -> None:
    assert make_reward(name).__name__ == name
