"""The dashboard of notebook 10 that cuts one problem's chain of thought at a budget and shows the answer."""

import random
from functools import cache

import ipywidgets as W
import numpy as np
import torch
from matplotlib.figure import Figure

from rlvr_lab.experiments.qwen3.budget import answer_probabilities, cut_start
from rlvr_lab.pictures.qwen3_budget import plot_cut_chain
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.tasks.task import Problem
from rlvr_lab.tasks.two_modes import PLACES, Kind, TwoModes
from rlvr_lab.widgets.live_figures import ExactDashboard

__all__ = ["budget_dashboard", "cut_chain", "draw_cut_chain"]

MODEL = "two_modes"
"""The shipped model: after fusion, seed 0."""
PROBLEMS = 20
_WHOLE = {"layout": W.Layout(width="300px"), "style": {"description_width": "110px"}}


@cache
def _policy() -> Policy:
    return load_policy(MODEL, "cpu")


@cache
def _problems(task: Kind) -> list[Problem]:
    return TwoModes(task, "none", 4).problems(PROBLEMS, random.Random("budget"))


@cache
def cut_chain(task: Kind, number: int) -> tuple[Problem, list[int], np.ndarray]:
    """A problem, the chain that the model writes without a budget, and P(digit) after a cut at each budget.

    The chain is nearly greedy: it is sampled at temperature 0.01. The probabilities are exact.

    Args:
        task: sums or maxima.
        number: of the problem, from 1.

    Returns:
        The problem; its chain of n values; [9, 10], a row for each budget 0 … 8. From budget n on a row is that of
        the whole chain.
    """
    problem = _problems(task)[number - 1]
    generator = torch.Generator().manual_seed(0)
    (text,) = sample(_policy(), [problem.prompt], 1, 20, generator, 0.01).texts
    whole = text.split("</think>")[0] + "</think>"
    starts = [cut_start(text, budget) or whole for budget in range(PLACES + 1)]
    chain = [int(digit) for digit in whole if digit.isdigit()]
    return problem, chain, answer_probabilities(_policy(), problem.prompt, starts)


def draw_cut_chain(task: Kind, problem: int, budget: int) -> tuple[Figure, str]:
    """The picture of one problem at one budget, and its words."""
    asked, chain, probabilities = cut_chain(task, problem)
    now = probabilities[budget]
    figure = plot_cut_chain(
        asked.prompt, chain, budget, now, asked.answer, probabilities[:, asked.answer]
    )
    kept, likely = chain[:budget], int(now.argmax())
    cut = f"cut after {len(kept)} of {len(chain)} values" if budget < len(chain) else "not cut"
    words = (
        f"{asked.prompt} The chain {''.join(map(str, chain))} is {cut}. The most probable answer is "
        f"{likely} with probability {now[likely]:.2f}; the correct one is {asked.answer}, with "
        f"probability {now[asked.answer]:.2f}."
    )
    return figure, words


def budget_dashboard() -> ExactDashboard:
    """Controls for the task, the problem and the thinking budget."""
    return ExactDashboard(
        draw_cut_chain,
        task=W.Dropdown(options=["sums", "maxima"], value="sums", description="task", **_WHOLE),
        problem=W.IntSlider(value=1, min=1, max=PROBLEMS, description="problem", **_WHOLE),
        budget=W.IntSlider(value=3, min=0, max=PLACES, description="budget k", **_WHOLE),
    )
