"""What a step collects: rewards by name, a reference for as many rows as needed."""

from dataclasses import replace

import pytest
import torch

from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS
from rlvr_lab.training.rollouts import collect

TINY = replace(
    PRESETS["grpo"], steps=2, prompts_per_step=2, group_size=4, max_new_tokens=6, device="cpu"
)


def test_a_live_change_may_name_a_new_reward() -> None:
    state, more = TINY.begin(), replace(TINY, rewards={"accuracy": 1.0, "truncation": -0.5})
    live = [TINY, more]
    records = list(train(TINY, state=state, live_config=lambda: live[state.step]))
    assert "reward_truncation" not in records[0] and "reward_format" not in records[1]
    assert records[1]["reward"] == pytest.approx(
        records[1]["reward_accuracy"] - 0.5 * records[1]["reward_truncation"]
    )
    assert list(state.rewards) == ["accuracy", "format", "truncation"]


def test_a_reward_that_is_given_is_used_and_keeps_its_place() -> None:
    config = replace(TINY, rewards={"accuracy": 2.0, "ends in seven": 3.0})
    seven = lambda answers: torch.tensor([float(t.endswith("7")) for t in answers.batch.texts])  # noqa: E731
    state = config.begin(rewards={"ends in seven": seven})
    found = collect(config, state)
    expected = 2 * found.parts["accuracy"] + 3 * seven(found.answers)
    torch.testing.assert_close(found.rewards, expected)


@pytest.mark.parametrize(("kl_coef", "rows"), [(0.0, [0, 4]), (0.1, list(range(8)))])
def test_the_reference_scores_every_answer_only_where_it_takes_part(kl_coef, rows) -> None:
    config = replace(TINY, kl_coef=kl_coef)
    found = collect(config, config.begin()).reference
    assert found.rows.nonzero().flatten().tolist() == rows
    assert not found.logprobs.requires_grad


def test_times_are_those_of_the_stages_in_their_order(monkeypatch) -> None:
    ticks = iter([0.0, 1.0, 3.0, 7.0])
    monkeypatch.setattr("rlvr_lab.training.rollouts.time.perf_counter", lambda: next(ticks))
    assert collect(TINY, TINY.begin()).seconds == {
        "seconds_rollout": 1.0,
        "seconds_reward": 2.0,
        "seconds_reference": 4.0,
    }


def test_a_base_can_be_named_and_a_policy_begins_without_dropout() -> None:
    named = replace(TINY, base="lab").begin().policy
    assert named.name == "lab" and not named.model.training
    given = TINY.begin().policy
    given.model.train()
    state = TINY.begin(given)
    assert state.policy is given and not given.model.training
    assert not any(p.requires_grad for p in state.reference.model.parameters())
