"""Gradients of single questions: what is summed and what the further runs train on."""

import random
from dataclasses import replace

import pytest
import torch

from rlvr_lab.experiments.gradient_shares import GradientSharesConfig, Listed, question_gradients
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.training.loop import train

SMALL = GradientSharesConfig(
    questions=12, group_size=8, prompts_per_step=4, transfer_steps=1, steps=2, device="cpu", seed=7
)


def test_only_the_last_step_has_a_record_and_it_counts_every_question() -> None:
    (record,) = train(SMALL)
    assert record["step"] == 2
    assert sum(record[f"questions_{kind}"] for kind in ("hard", "medium", "easy")) == 12
    assert 0 <= record["hard_before"] <= 1 and -1 <= record["cosine_hard_medium"] <= 1
    assert record["divided_hard"] > record["centred_hard"] > 0


def test_division_by_the_std_scales_the_gradient_of_one_question_by_its_std() -> None:
    state = SMALL.begin()
    problems = Sums().problems(6, random.Random(0))
    batch, rewards = SMALL._answers(state.policy, problems, torch.Generator().manual_seed(0))
    stds = rewards.view(6, 8).std(dim=1, correction=0)
    question = int(stds.argmax())
    for centred, divided in zip(
        *(question_gradients(state.policy, batch, rewards, question, d) for d in (False, True)),
        strict=True,
    ):
        torch.testing.assert_close(divided * stds[question], centred, rtol=1e-3, atol=1e-5)


def test_listed_problems_come_from_the_list_alone() -> None:
    known = tuple(Sums().problems(3, random.Random(0)))
    drawn = Listed(listed=known).problems(7, random.Random(1))
    assert len(drawn) == 7 and set(drawn) == set(known)
    assert Listed().problems(2, random.Random(0)) == Sums().problems(2, random.Random(0))


def test_the_further_run_starts_from_the_measured_policy() -> None:
    plain = SMALL._plain(steps=5)
    assert plain.steps == 5 and plain.KIND == "policy-gradient"
    assert replace(plain, steps=2).group_size == SMALL.group_size
    with pytest.raises(ValueError, match="steps"):
        SMALL._plain(steps=0)
