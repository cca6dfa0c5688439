"""Process rewards: which numbers count, what is correct, where the score is read, how scores add up."""

import random

import pytest
import torch

from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.scalar_head import ScalarModel
from rlvr_lab.rewards.process import (
    AGGREGATES,
    ExactSteps,
    ProcessReward,
    ProcessRewardModel,
    mean_of_steps,
    min_of_steps,
    number_ids,
    step_labels,
    steps_of,
    sum_of_steps,
    verify_steps,
)
from rlvr_lab.tasks.sums import Sums, SumsMixture
from rlvr_lab.tasks.task import Answers, Problem, grade

PROBLEM = Problem("7+5+8+3....?", 3, 3)  # running sums 7 2 0 3


@pytest.fixture(scope="module")
def policy():
    return load_policy("sums", "cpu")


def answered(policy, count: int = 6, size: int = 4, seed: int = 0) -> Answers:
    task = Sums()
    problems = task.problems(count, random.Random(seed))
    generator = torch.Generator().manual_seed(seed)
    batch = sample(policy, [p.prompt for p in problems], size, 40, generator)
    verdicts = grade(task, problems, batch.texts, batch.truncated.tolist())
    return Answers(task, problems, batch, verdicts)


@pytest.mark.parametrize(
    ("text", "verdicts"),
    [
        ("<think>7203</think>=3", [1, 1, 1, 1, 1]),
        ("<think>7213</think>=4", [1, 1, 0, 1, 0]),  # a place, not the step from its neighbour
        ("=3", [1]),
        ("=33", [1, 0]),
        ("=4=3", [0, 0]),  # only the first number after = can be the answer
        ("7203=3", [1, 1, 1, 1, 1]),  # tags are the format's business
        ("<think>72033333", [1, 1, 1, 1, 0, 0, 0, 0]),
        ("<think>7wait7wait72", [1, 1, 1, 1]),
        ("<think>wait7", [1]),
        ("<think>7waitwait7", [1, 1]),
        ("<think>7+5two2</think>", [1, 1]),
        ("", []),
        ("<think></think>=", []),
    ],
)
def test_numbers_are_judged_by_hand(text: str, verdicts: list[int]) -> None:
    assert verify_steps(PROBLEM, text) == [bool(v) for v in verdicts]


def test_a_flawless_chain_has_only_correct_steps() -> None:
    rng = random.Random(0)
    for problem in Sums().problems(50, rng):
        steps = verify_steps(problem, SumsMixture.clean().solve(problem, rng))
        assert steps == [True] * (problem.difficulty + 2)


def test_labels_stand_at_the_numbers_of_any_words(policy) -> None:
    """Random words, addends and number words among them: one place for each number of the text."""
    answers = answered(policy)
    batch = answers.batch
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(2, len(policy.tokenizer), batch.completion_ids.shape, generator=generator)
    lengths = batch.attention_mask.sum(dim=1).tolist()
    texts = policy.tokenizer.batch_decode(
        [r[:n] for r, n in zip(ids.tolist(), lengths, strict=True)]
    )
    strange = type(batch)(**{**vars(batch), "completion_ids": ids, "texts": texts})
    answers = Answers(answers.task, answers.problems, strange, answers.verdicts)
    where = steps_of(strange, number_ids(policy.tokenizer))
    labels = step_labels(answers, where)
    assert where.any() and not labels[~where].any()
    for row, text in enumerate(texts):
        found = labels[row][where[row]].bool().tolist()
        assert found == verify_steps(answers.problems[row // 4], text)
    with pytest.raises(ValueError, match="steps: 0 places for"):
        step_labels(answers, torch.zeros_like(where))


def test_only_digits_are_numbers(policy) -> None:
    assert [policy.tokenizer.decode([i]) for i in number_ids(policy.tokenizer)] == list(
        "0123456789"
    )


def test_aggregates_by_hand() -> None:
    scores = torch.tensor([[0.5, 0.1, 0.9], [0.2, 0.4, 0.6], [0.3, 0.3, 0.3]])
    steps = torch.tensor([[True, False, True], [True] * 3, [False] * 3])
    torch.testing.assert_close(sum_of_steps(scores, steps), torch.tensor([1.4, 1.2, 0.0]))
    torch.testing.assert_close(mean_of_steps(scores, steps), torch.tensor([0.7, 0.4, 0.0]))
    torch.testing.assert_close(min_of_steps(scores, steps), torch.tensor([0.5, 0.2, 0.0]))
    assert {"sum": sum_of_steps, "mean": mean_of_steps, "min": min_of_steps} == AGGREGATES


def test_the_model_reads_each_number_and_nothing_after_it(policy) -> None:
    """Its score of a number is the head at that very token of prompt + answer, read apart."""
    answers = answered(policy)
    numbers = number_ids(policy.tokenizer)
    model = ScalarModel.from_policy(policy, zero_head=False, seed=3).eval()
    prm = ProcessRewardModel(model, numbers)
    scores, batch = prm.scores(answers), answers.batch
    where = steps_of(batch, numbers)
    assert not scores[~where].any() and where.sum() > 20
    for row, column in where.nonzero().tolist():
        text = answers.problems[row // 4].prompt
        ids = policy.tokenizer.encode(text, add_special_tokens=False)
        ids += batch.completion_ids[row, : column + 1].tolist()
        whole = torch.tensor([ids])
        with torch.no_grad():
            alone = model(whole, torch.ones_like(whole))[0, -1].sigmoid()
        torch.testing.assert_close(scores[row, column], alone, rtol=1e-4, atol=1e-5)
    assert scores.requires_grad is False and prm.logits(batch).requires_grad
    torch.testing.assert_close(prm.logits(batch, 5), prm.logits(batch))


@pytest.mark.parametrize("name", AGGREGATES)
def test_a_reward_is_the_aggregate_of_its_judge(policy, name: str) -> None:
    answers = answered(policy)
    judge = ExactSteps(number_ids(policy.tokenizer))
    found = ProcessReward(judge, name)(answers)
    by_hand = {"sum": sum, "mean": lambda v: sum(v) / len(v), "min": min}[name]
    for row, text in enumerate(answers.batch.texts):
        steps = verify_steps(answers.problems[row // 4], text)
        assert float(found[row]) == pytest.approx(float(by_hand(steps)) if steps else 0.0)


def test_an_unknown_aggregate_is_named() -> None:
    with pytest.raises(ValueError, match="aggregate: must be one of sum, mean, min, got 'max'"):
        ProcessReward(ExactSteps([]), "max")
