"""Kinds of answers: the averages that set some apart reach the parameters, and the parts add up."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_lab.experiments.answer_kinds import (
    ANSWER_KINDS,
    AnswerKindsConfig,
    decompose,
    divided_by,
)
from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.objectives.averages import constant_mean, sequence_mean
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.records.runs import Run

SMALL = AnswerKindsConfig(
    steps=1,
    prompts_per_step=4,
    group_size=8,
    optimizer="sgd",
    learning_rate=0.1,
    max_grad_norm=None,
    device="cpu",
)


def test_one_divisor_for_each_answer_contains_both_averages() -> None:
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([5.0, 2.0, 3.0])
    mask = torch.arange(5) < lengths[:, None]
    torch.testing.assert_close(divided_by(lengths)(x, mask), sequence_mean(x, mask))
    torch.testing.assert_close(
        divided_by(torch.full((3,), 7.0))(x, mask), constant_mean(7)(x, mask)
    )


@pytest.mark.parametrize("average", ["sequence", "constant"])
@pytest.mark.parametrize("apart", ["none", "incorrect_guesses", "short_answers"])
def test_the_named_average_reaches_the_parameters(average: str, apart: str) -> None:
    config = replace(SMALL, average=average, apart=apart)
    state = config.begin()
    experience = config.collect(state)
    batch, model = experience.batch, state.policy.model
    advantages = group_advantages(experience.rewards, config.group_size)
    loss = 0.0
    logprobs = token_logprobs(model, batch)
    for row, text in enumerate(batch.texts):
        own = batch.completion_mask[row]
        guess = len(text) == 2 and text[0] == "="
        correct = experience.answers.verdicts[row].correct
        special = {
            "none": False,
            "incorrect_guesses": guess and not correct,
            "short_answers": int(own.sum()) <= 3,
        }[apart]
        by_length = (average == "sequence") != special
        divisor = float(own.sum()) if by_length else 11.0
        loss = loss - advantages[row] * logprobs[row][own].sum() / divisor / len(batch.texts)
    expected = [
        p.detach() - 0.1 * g
        for p, g in zip(
            model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        )
    ]
    config.update(state, experience)
    for now, then in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(now.detach(), then, rtol=1e-4, atol=1e-6)


def test_a_record_counts_every_incorrect_answer_once() -> None:
    state = SMALL.begin()
    experience = SMALL.collect(state)
    record = SMALL.measure(state, experience)
    counts = [record[f"wrong_{kind}"] for kind in ANSWER_KINDS]
    assert sum(counts) == round((1 - record["pass_rate"]) * 32)
    lengths = [record[f"length_wrong_{kind}"] or 0.0 for kind in ANSWER_KINDS]
    assert np.dot(counts, lengths) / sum(counts) == pytest.approx(record["length_wrong"])
    assert record["length_wrong_guess"] == 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"world": "lab"}, "world"),
        ({"apart": "short_answers", "minibatches": 2}, "minibatches"),
        ({"apart": "short_answers", "average": "token"}, "average"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict, field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        replace(SMALL, **change)


def run(guesses: float, chains: float, malformed: float, chain: float = 11.0) -> Run:
    counts = {
        "guess": guesses,
        "short_chain": 0,
        "chain": chains,
        "wait": 0,
        "malformed": malformed,
    }
    lengths = {"guess": 3.0, "short_chain": None, "chain": chain, "wait": None, "malformed": 9.0}
    record = {"step": 5} | {f"wrong_{k}": n for k, n in counts.items()}
    return Run(SMALL, [record | {f"length_wrong_{k}": x for k, x in lengths.items()}])


def test_the_parts_of_a_difference_add_up_and_name_the_cause() -> None:
    base = run(20, 60, 20)
    fewer = decompose([run(10, 67.5, 22.5)], [base], 5, 5)  # the others in the same proportion
    assert fewer.total == pytest.approx(0.1 * (0.75 * 11 + 0.25 * 9 - 3))
    assert fewer.guesses == pytest.approx(fewer.total)
    longer = decompose([run(20, 60, 20, chain=12.0)], [base], 5, 5)
    assert longer.lengths == pytest.approx(0.6) == pytest.approx(longer.total)
    other = decompose([run(20, 70, 10)], [base], 5, 5)
    assert other.mix == pytest.approx(0.1 * 2) and other.guesses == pytest.approx(0)
    both = decompose([run(5, 80, 15, chain=12.5)], [base], 5, 5)
    assert sum(both[1:]) == pytest.approx(both.total)
    assert both.total == pytest.approx((15 + 1000 + 135) / 100 - (60 + 660 + 180) / 100)


def test_a_step_that_is_missing_or_without_incorrect_answers_is_refused() -> None:
    with pytest.raises(ValueError, match="no step 6"):
        decompose([run(1, 1, 1)], [run(1, 1, 1)], 5, 6)
    with pytest.raises(ValueError, match="no incorrect answer"):
        decompose([run(0, 0, 0)], [run(1, 1, 1)], 5, 5)
