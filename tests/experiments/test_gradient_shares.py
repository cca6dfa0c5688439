"""Gradients of single questions: what is summed and what the further runs train on."""

import random

import pytest
import torch

from rlvr_lab.experiments import gradient_shares
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


def test_the_further_runs_train_the_measured_policy_on_one_kind_of_question(monkeypatch) -> None:
    """On the questions of that kind alone, with the same settings, from the policy at the end."""
    begun = []

    def spy(config, state):
        begun.append((config, state.task.listed, state.policy.model.state_dict()))
        return iter(())

    monkeypatch.setattr(gradient_shares, "train", spy)
    state = SMALL.begin()
    with torch.no_grad():
        for parameter in state.policy.model.parameters():
            parameter.mul_(1.01)
    state.step = SMALL.steps
    record = SMALL.after(state)
    assert [config.KIND for config, *_ in begun] == ["policy-gradient"] * 2
    asked = Sums().problems(SMALL.questions, random.Random(10_000 + SMALL.seed))
    (plain, medium, weights), (_, hard, _) = begun
    assert (plain.steps, plain.group_size, plain.seed) == (1, SMALL.group_size, 20_007)
    assert (len(medium), len(hard)) == (record["questions_medium"], record["questions_hard"])
    assert set(medium) | set(hard) <= set(asked) and not set(medium) & set(hard)
    for name, value in state.policy.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0)
    assert record["hard_after_hard"] == record["hard_after_medium"] == record["hard_before"]
    with pytest.raises(ValueError, match="steps"):
        SMALL._plain(steps=0)
