"""The dashboard of the thinking budget: what it cuts, what it says, and that it answers at once."""

import time

import numpy as np
import pytest

from rlvr_lab.experiments.qwen3.budget import answer_probabilities
from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.tasks.two_modes import digits_of, flag_of, kind_of
from rlvr_lab.widgets import budget
from rlvr_lab.widgets.budget import MODEL, PROBLEMS, budget_dashboard, cut_chain, draw_cut_chain

pytestmark = pytest.mark.skipif(
    not (data_folder() / "models" / MODEL).is_dir(),
    reason="the model is not there yet: python -m rlvr_lab pretrain two_modes",
)


@pytest.mark.parametrize("task", ["sums", "maxima"])
def test_each_row_is_the_model_after_its_own_cut_chain(task) -> None:
    problem, chain, found = cut_chain(task, 3)
    assert kind_of(problem.prompt) == task and flag_of(problem.prompt) == "none"
    assert len(chain) == len(digits_of(problem.prompt)) >= 4 and found.shape == (9, 10)
    starts = [f"<think>{''.join(map(str, chain[:k]))}</think>" for k in range(9)]
    expected = answer_probabilities(load_policy("two_modes", "cpu"), problem.prompt, starts)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found[len(chain) :], found[-1][None].repeat(9 - len(chain), 0))
    assert found[-1].argmax() == problem.answer
    assert cut_chain(task, 4)[0] != problem


def test_the_words_name_what_is_seen() -> None:
    problem, chain, found = cut_chain("sums", 3)
    figure, words = draw_cut_chain("sums", 3, 2)
    assert problem.prompt in words and f"cut after 2 of {len(chain)} values" in words
    assert f"is {problem.answer}, with probability {found[2, problem.answer]:.2f}" in words
    assert "is not cut" in draw_cut_chain("sums", 3, 8)[1]
    assert figure.axes[2].lines[0].get_ydata().tolist() == found[:, problem.answer].tolist()


def test_it_answers_within_half_a_second() -> None:
    draw_cut_chain("maxima", 1, 0)
    times = []
    for number in (2, 5, 6):
        started = time.process_time()
        draw_cut_chain("maxima", number, 4)
        times.append(time.process_time() - started)
    assert min(times) < 0.5


def test_the_controls_reach_the_picture(monkeypatch) -> None:
    board = budget_dashboard()
    assert board._values() == {"task": "sums", "problem": 1, "budget": 3}
    assert (board.controls["problem"].min, board.controls["problem"].max) == (1, PROBLEMS)
    assert (board.controls["budget"].min, board.controls["budget"].max) == (0, 8)
    assert board._draw is budget.draw_cut_chain
    for task in ("sums", "maxima"):
        draw_cut_chain(task, PROBLEMS, 8)
