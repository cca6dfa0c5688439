"""The dashboard of the thinking budget: what it cuts and what it says."""

import random

import numpy as np
import pytest

from rlvr_lab.experiments.qwen3.budget import answer_probabilities
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.tasks.two_modes import TwoModes, digits_of, flag_of, kind_of, make_problem
from rlvr_lab.widgets import budget
from rlvr_lab.widgets.budget import PROBLEMS, budget_dashboard, cut_chain, draw_cut_chain


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


def test_the_controls_reach_the_picture(monkeypatch) -> None:
    board = budget_dashboard()
    assert board._values() == {"task": "sums", "problem": 1, "budget": 3}
    assert (board.controls["problem"].min, board.controls["problem"].max) == (1, PROBLEMS)
    assert (board.controls["budget"].min, board.controls["budget"].max) == (0, 8)
    assert board._draw is budget.draw_cut_chain
    for task in ("sums", "maxima"):
        draw_cut_chain(task, PROBLEMS, 8)


def test_the_chain_is_nearly_greedy_and_cut_at_each_budget(monkeypatch) -> None:
    asked, cuts = [], []

    def written(policy, prompts, size, cap, generator, temperature):
        asked.append((prompts, size, cap, generator.initial_seed(), temperature))
        return type("B", (), {"texts": ["<think>7203</think>=9ok"]})

    def noted(policy, prompt, starts):
        cuts.append((prompt, starts))
        return np.zeros((9, 10))

    monkeypatch.setattr(budget, "sample", written)
    monkeypatch.setattr(budget, "answer_probabilities", noted)
    for task in ("sums", "maxima"):
        problems = TwoModes(task, "none", 4).problems(PROBLEMS, random.Random("budget"))
        for number in (1, 2, PROBLEMS):
            problem, chain, _ = cut_chain.__wrapped__(task, number)
            assert problem == problems[number - 1] and chain == [7, 2, 0, 3]
            assert asked.pop() == ([problem.prompt], 1, 20, 0, 0.01)
            starts = [f"<think>{'7203'[:k]}</think>" for k in range(9)]
            assert cuts.pop() == (problem.prompt, starts)


def test_picture_and_words_are_of_the_chosen_budget(monkeypatch) -> None:
    table = np.full((9, 10), 0.02)
    table[:, 3] = np.linspace(0.1, 0.9, 9)
    table[1, 5] = 0.6
    problem, asked = make_problem("sums", [7, 5, 8, 3]), []

    def made_up(task, number):
        asked.append((task, number))
        return problem, [7, 2, 0, 3], table

    monkeypatch.setattr(budget, "cut_chain", made_up)
    cut = "cut after 1 of 4 values"
    for k, is_cut, likely, odds in (
        (1, cut, 5, "0.60"),
        (4, "not cut", 3, "0.50"),
        (8, "not cut", 3, "0.90"),
    ):
        figure, words = draw_cut_chain("maxima", 6, k)
        assert words == (
            f"7+5+8+3.....? The chain 7203 is {is_cut}. The most probable answer is {likely} with "
            f"probability {odds}; the correct one is 3, with probability {table[k, 3]:.2f}."
        )
        left, middle, right = figure.axes
        assert left.get_title(loc="left") == problem.prompt
        assert [t.get_text() for t in left.texts][:4] == ["7", "2", "0", "3"]
        np.testing.assert_allclose([bar.get_height() for bar in middle.patches], table[k])
        assert [d for d, bar in enumerate(middle.patches) if bar.get_hatch()] == [3]
        np.testing.assert_allclose(right.lines[0].get_ydata(), table[:, 3])
        assert list(right.lines[1].get_xdata()) == [k]
    assert asked == [("maxima", 6)] * 3
    assert budget_dashboard().controls["task"].options == ("sums", "maxima")
