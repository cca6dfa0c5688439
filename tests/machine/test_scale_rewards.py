"""TRL's reward functions give what the course's rewards give for the same tokens."""

import random
from dataclasses import replace

import pytest
import torch

from rlvr_lab.machine.scale_rewards import Grader, problems_of_run, reward_functions
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.rewards.registry import REWARDS, make_reward
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Answers, grade
from rlvr_lab.training.policy_gradient import PRESETS
from rlvr_lab.training.rollouts import collect

GROUP = 8
NAMES = [name for name in REWARDS if name != "mode"]  # its prompts belong to another world


@pytest.fixture(scope="module")
def policy():
    return load_policy("sums", "cpu")


@pytest.fixture(scope="module")
def answers(policy) -> Answers:
    """Answers of which some are cut off, and one has a special token in its middle."""
    task = Sums()
    problems = task.problems(3, random.Random(0))
    generator = torch.Generator().manual_seed(0)
    batch = sample(policy, [one.prompt for one in problems], GROUP, 10, generator)
    ids = batch.completion_ids.clone()
    long = int(batch.lengths.argmax())
    ids[long, 0] = policy.tokenizer.pad_token_id
    lengths = batch.lengths - (~batch.truncated).long()
    texts = policy.tokenizer.batch_decode(
        [row[:end] for row, end in zip(ids.tolist(), lengths.tolist(), strict=True)]
    )
    batch = replace(batch, completion_ids=ids, texts=texts)
    assert batch.truncated.any() and not batch.truncated.all()
    verdicts = grade(task, problems, texts, batch.truncated.tolist())
    return Answers(task, problems, batch, verdicts)


def tokens(answers: Answers) -> list[list[int]]:
    """As TRL passes them on."""
    batch = answers.batch
    pairs = zip(batch.completion_ids.tolist(), batch.lengths.tolist(), strict=True)
    return [row[:length] for row, length in pairs]


@pytest.mark.parametrize("name", NAMES)
def test_each_reward_is_that_of_the_course(name: str, policy, answers: Answers) -> None:
    config = replace(PRESETS["grpo"], rewards={name: 1.0}, group_size=GROUP, device="cpu")
    # The row numbers are those of the run's dataset, in any order.
    problems = [*answers.problems[:1], *answers.problems[:0:-1]]
    rows = [row for row in (0, 2, 1) for _ in range(GROUP)]
    function = reward_functions(config, Grader(answers.task, problems, policy, GROUP))[0]
    assert function.__name__ == name
    found = function(completion_ids=tokens(answers), problem=rows, prompts=[], completions=[])
    assert found == make_reward(name, "cpu")(answers).tolist()


def test_a_grader_sees_the_same_answers(policy, answers: Answers) -> None:
    grader = Grader(answers.task, answers.problems, policy, GROUP)
    rows = [row for row in range(3) for _ in range(GROUP)]
    found = grader.answers(tokens(answers), rows)
    assert found.verdicts == answers.verdicts and found.problems == answers.problems
    assert found.batch.texts == answers.batch.texts
    for name in ("prompt_ids", "prompt_mask", "completion_mask", "attention_mask", "truncated"):
        assert torch.equal(getattr(found.batch, name), getattr(answers.batch, name)), name
    inside = found.batch.attention_mask
    wanted = answers.batch.completion_ids
    assert torch.equal(found.batch.completion_ids[inside], wanted[inside])


def test_the_next_step_is_graded_anew(policy, answers: Answers) -> None:
    grader = Grader(answers.task, answers.problems, policy, GROUP)
    rows = [row for row in range(3) for _ in range(GROUP)]
    first = grader.answers(tokens(answers), rows)
    again = grader.answers(list(reversed(tokens(answers))), rows)
    assert again.batch.texts == list(reversed(first.batch.texts))


def test_groups_that_are_split_are_refused(policy, answers: Answers) -> None:
    grader = Grader(answers.task, answers.problems, policy, GROUP)
    for rows in ([0] * 5, [0, 1] * GROUP):
        with pytest.raises(ValueError, match=r"^problem: .* whole groups of 8"):
            grader.answers(tokens(answers)[: len(rows)], rows)


def test_a_reward_that_needs_what_trl_does_not_give_is_refused(
    policy, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    surprise = lambda device: lambda answers: -answers.batch.old_logprobs.sum(1)  # noqa: E731
    monkeypatch.setitem(REWARDS, "surprise", surprise)
    config = replace(PRESETS["grpo"], rewards={"surprise": 1.0}, device="cpu")
    function = reward_functions(config, Grader(answers.task, answers.problems, policy, GROUP))[0]
    with pytest.raises(ValueError, match="rewards: 'surprise' is not finite"):
        function(
            completion_ids=tokens(answers), problem=[r for r in range(3) for _ in range(GROUP)]
        )


def test_the_dataset_has_the_problems_of_our_own_run(policy) -> None:
    config = replace(
        PRESETS["grpo"], steps=3, seed=4, prompts_per_step=2, group_size=2, max_new_tokens=2
    )
    config = replace(config, device="cpu")
    state = config.begin(policy)
    asked = []
    for step in range(3):
        state.step = step
        asked += collect(config, state).answers.problems
    assert problems_of_run(config, state.task) == asked
