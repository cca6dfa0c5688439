"""Fitting reward models: where the pairs come from, what is refused, what is frozen."""

import random
from dataclasses import replace

import pytest
import torch

from rlvr_lab.tasks.letters import PreferenceWorld
from rlvr_lab.tasks.worlds import base_policy, make_task
from rlvr_lab.training import reward_models
from rlvr_lab.training.reward_models import (
    fit_proxy,
    fit_reward_model,
    preference_pairs,
    taste_pairs,
)


@pytest.fixture(scope="module")
def sums():
    task = make_task("sums", {})
    return base_policy("sums", task, 0, "cpu"), task


def test_pairs_come_from_eight_answers_of_at_most_forty_tokens_to_64_questions(
    sums, monkeypatch
) -> None:
    batches = []
    plain = reward_models.sample

    def noted(policy, prompts, size, tokens, generator):
        assert (len(prompts), size, tokens) == (64, 8, 40)
        assert generator.initial_seed() == 5
        batches.append((prompts, plain(policy, prompts, size, tokens, generator)))
        return batches[-1][1]

    monkeypatch.setattr(reward_models, "sample", noted)
    pairs = preference_pairs(*sums, 20, seed=5)
    ((prompts, batch),) = batches
    assert len(pairs) == 20
    task = sums[1]
    problems = task.problems(64, random.Random(5))
    assert prompts == [problem.prompt for problem in problems]
    sums_of = {problem.prompt: problem.answer for problem in problems}
    sampled = {
        prompt + text
        for i, prompt in enumerate(prompts)
        for text in batch.texts[8 * i : 8 * (i + 1)]
    }
    assert {text for pair in pairs for text in pair} <= sampled
    for chosen, rejected in pairs:
        prompt = next(p for p in prompts if chosen.startswith(p))
        assert rejected.startswith(prompt)
        assert chosen.endswith(f"={sums_of[prompt]}")


def test_always_flipped_pairs_are_the_same_pairs_the_wrong_way_round(sums) -> None:
    right, wrong = (preference_pairs(*sums, 6, flip=flip, seed=1) for flip in (0.0, 1.0))
    assert [pair[::-1] for pair in wrong] == right
    assert preference_pairs(*sums, 1, seed=1) == right[:1]


def test_what_makes_no_sense_is_named(sums) -> None:
    with pytest.raises(ValueError, match=r"^count: need at least 1 pair, got 0"):
        preference_pairs(*sums, 0)
    for flip in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r"^flip: must be a probability"):
            preference_pairs(*sums, 1, flip=flip)
    pair = [("7?=7", "7?=1")]
    for pairs, held_out in ((pair, []), ([], pair), ([], [])):
        with pytest.raises(ValueError, match=r"^pairs, held_out: need"):
            fit_reward_model(pairs, held_out, steps=1)


def test_pairs_of_a_taste_are_ordered_by_it(sums) -> None:
    def shorter(problem, text, correct):
        return -len(text)

    pairs = taste_pairs(*sums, 30, shorter, seed=2)
    assert len(pairs) == 30 and pairs == taste_pairs(*sums, 30, shorter, seed=2)
    assert all(len(chosen) < len(rejected) for chosen, rejected in pairs)
    assert all(chosen.split("?")[0] == rejected.split("?")[0] for chosen, rejected in pairs)
    turned = taste_pairs(*sums, 30, shorter, flip=1.0, seed=2)
    assert all(len(chosen) > len(rejected) for chosen, rejected in turned)
    some = taste_pairs(*sums, 60, shorter, flip=0.25, seed=2)
    assert 5 <= sum(len(chosen) > len(rejected) for chosen, rejected in some) <= 25


def test_a_taste_knows_the_question_and_whether_the_answer_is_correct(sums) -> None:
    def checking(problem, text, correct):
        assert correct == sums[1].verify(problem, text, False).correct
        return float(correct)

    for chosen, rejected in taste_pairs(*sums, 20, checking, seed=3):
        digits, answer = chosen.split("?")
        total = sum(int(digit) for digit in digits.strip(".").split("+")) % 10
        assert answer.endswith(f"={total}") and not rejected.endswith(f"?={total}")


def test_a_taste_without_differences_is_named(sums) -> None:
    with pytest.raises(ValueError, match=r"^taste: only 0 of 400 pairs"):
        taste_pairs(*sums, 1, lambda problem, text, correct: 1.0)
    with pytest.raises(ValueError, match=r"^count: need at least 1 pair, got 0"):
        taste_pairs(*sums, 0, lambda problem, text, correct: 1.0)
    with pytest.raises(ValueError, match=r"^flip: must be a probability"):
        taste_pairs(*sums, 1, lambda problem, text, correct: 1.0, flip=2.0)


def test_a_proxy_is_frozen_and_the_callers_randomness_is_left_alone() -> None:
    world = replace(PreferenceWorld(), length=3)
    before = torch.random.get_rng_state()
    model = fit_proxy(world, world.pairs(8, 0.0, 0), 0, steps=1, batch_size=4)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_a_reward_model_does_not_train_any_further() -> None:
    pair = [("7?=7", "7?=1")]
    assert not fit_reward_model(
        pair, pair, steps=1, batch_size=2, hidden=8, device="cpu"
    ).model.training
