"""Filtering: what is kept, and that experiences joined from several rounds are the same answers."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.policy.loading import load_policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.tasks.long_sums import LongSums
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Task
from rlvr_lab.training.filtering import in_band, joined, pass_rates, restricted
from rlvr_lab.training.policy_gradient import PRESETS
from rlvr_lab.training.rollouts import Experience, Reference

CONFIG = replace(
    PRESETS["grpo"],
    world="long_sums",
    prompts_per_step=3,
    group_size=4,
    max_new_tokens=12,
    rewards={"accuracy": 1.0, "format": 0.1},
    device="cpu",
)


def experience(task: Task, step: int, cap: int) -> Experience:
    config = replace(CONFIG, max_new_tokens=cap)
    state = config.begin(load_policy("sums", "cpu"), task)
    state.step = step
    return config.collect(state)


@pytest.fixture(scope="module")
def two() -> list[Experience]:
    """Short prompts with long answers, then long prompts with short answers."""
    return [experience(Sums(), 0, 12), experience(LongSums(), 5, 6)]


def test_pass_rates_and_the_band(two) -> None:
    for one in two:
        correct = [verdict.correct for verdict in one.answers.verdicts]
        by_hand = [sum(correct[i : i + 4]) / 4 for i in (0, 4, 8)]
        assert pass_rates(one).tolist() == by_hand
    rates = torch.tensor([0.0, 0.19, 0.2, 0.5, 0.8, 0.81])
    assert in_band(rates, 0.2, 0.8).tolist() == [False, False, True, True, True, False]


def test_a_restricted_experience_is_those_groups(two) -> None:
    whole = two[0]
    part = restricted(whole, [2, 0])
    rows = [8, 9, 10, 11, 0, 1, 2, 3]
    assert part.answers.problems == [whole.answers.problems[2], whole.answers.problems[0]]
    assert part.answers.verdicts == [whole.answers.verdicts[row] for row in rows]
    assert part.batch.texts == [whole.batch.texts[row] for row in rows]
    assert torch.equal(part.rewards, whole.rewards[rows])
    assert torch.equal(part.parts["format"], whole.parts["format"][rows])
    assert torch.equal(part.reference.logprobs, whole.reference.logprobs[rows])
    assert part.reference.rows.tolist() == whole.reference.rows[rows].tolist()
    assert part.seconds == whole.seconds
    # Also where the reference was computed for other rows than the first of each group.
    uneven = Reference(whole.reference.logprobs, torch.arange(12) % 5 == 0)
    part = restricted(replace(whole, reference=uneven), [2, 0])
    assert part.reference.rows.tolist() == [row % 5 == 0 for row in rows]
    both = joined([replace(whole, reference=uneven), two[1]])
    assert both.reference.rows.tolist() == uneven.rows.tolist() + two[1].reference.rows.tolist()


def test_a_joined_experience_is_the_same_answers_with_the_same_probabilities(two) -> None:
    both = joined(two)
    assert both.answers.problems == two[0].answers.problems + two[1].answers.problems
    assert both.answers.verdicts == two[0].answers.verdicts + two[1].answers.verdicts
    assert both.batch.texts == two[0].batch.texts + two[1].batch.texts
    assert torch.equal(both.rewards, torch.cat([one.rewards for one in two]))
    assert torch.equal(both.parts["format"], torch.cat([one.parts["format"] for one in two]))
    assert both.reference.rows.tolist() == [row % 4 == 0 for row in range(12)] * 2
    assert both.seconds["seconds_rollout"] == sum(one.seconds["seconds_rollout"] for one in two)
    widths = [one.batch.prompt_ids.shape[1] for one in two]
    lengths = [one.batch.completion_ids.shape[1] for one in two]
    assert widths[0] != widths[1] and lengths[0] != lengths[1]
    assert both.batch.lengths.tolist() == [n for one in two for n in one.batch.lengths.tolist()]
    model = load_policy("sums", "cpu").model
    found = token_logprobs(model, both.batch)
    for start, one in zip((0, 12), two, strict=True):
        rows, width = slice(start, start + 12), one.batch.completion_ids.shape[1]
        assert torch.equal(both.batch.old_logprobs[rows, :width], one.batch.old_logprobs)
        assert torch.equal(both.batch.completion_mask[rows, :width], one.batch.completion_mask)
        assert torch.equal(both.batch.entropy[rows, :width], one.batch.entropy)
        assert torch.equal(both.batch.truncated[rows], one.batch.truncated)
        assert not both.batch.attention_mask[rows, width:].any()
        torch.testing.assert_close(
            found[rows, :width], token_logprobs(model, one.batch), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            both.reference.logprobs[rows, :width], one.reference.logprobs, atol=0, rtol=0
        )


def test_what_cannot_be_joined_is_refused(two) -> None:
    with pytest.raises(ValueError, match="parts: need at least one"):
        joined([])
    other = replace(two[0], answers=replace(two[0].answers, batch=two[0].batch.groups([0])))
    object.__setattr__(other.answers.batch, "group_size", 2)
    with pytest.raises(ValueError, match="the same group size"):
        joined([two[0], other])


def test_a_joined_experience_keeps_what_is_read_apart_from_what_is_trained(two) -> None:
    first = two[0]
    mask = first.batch.completion_mask.clone()
    mask[:, 0] = False  # as if the first word had been forced
    answers = replace(first.answers, batch=replace(first.batch, completion_mask=mask))
    both = joined([replace(first, answers=answers), two[1]])
    width = mask.shape[1]
    assert torch.equal(both.batch.completion_mask[:12, :width], mask)
    assert torch.equal(both.batch.attention_mask[:12, :width], first.batch.attention_mask)
