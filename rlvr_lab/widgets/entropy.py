"""The dashboard of notebook 06 in which the entropy of four answers falls or rises, with the law beside it."""

import ipywidgets as W
from matplotlib.figure import Figure

from rlvr_lab.exact.grpo_dynamics import Dynamics, exact_grpo
from rlvr_lab.pictures.entropy import plot_entropy_path
from rlvr_lab.widgets.live_figures import ExactDashboard

__all__ = ["draw_entropy", "entropy_dashboard", "four_answers"]

CORRECT = (1.0, 1.0, 0.0, 0.0)
"""Rewards of the answers: correct and common, correct and rare, wrong and common, wrong and rare."""
COMMON = 0.8
_WHOLE = {"layout": W.Layout(width="300px"), "style": {"description_width": "130px"}}


def four_answers(
    correct: float, rate: float, updates: int, clip_high: float, entropy_coef: float
) -> Dynamics:
    """GRPO without sampling noise on two correct and two wrong answers, 25 steps, G = 8.

    Args:
        correct: probability of the two correct answers together, shared 4 : 1; so are the wrong ones.
        rate: learning rate.
        updates: per batch of groups.
        clip_high: ε above; below it is 0.2.
        entropy_coef: weight of the entropy bonus.

    >>> run = four_answers(0.2, 0.4, 1, 0.2, 0.0)
    >>> [round(x, 2) for x in run.probability[0].tolist()]
    [0.16, 0.04, 0.64, 0.16]
    """
    start = [share * part for share in (correct, 1 - correct) for part in (COMMON, 1 - COMMON)]
    return exact_grpo(
        8,
        updates=updates,
        learning_rate=rate,
        clip_high=clip_high,
        entropy_coef=entropy_coef,
        start=start,
        correct=CORRECT,
    )


def draw_entropy(
    correct: float, rate: float, updates: int, clip_high: float, entropy_coef: float
) -> tuple[Figure, str]:
    """The picture for these settings, and its words."""
    run = four_answers(correct, rate, updates, clip_high, entropy_coef)
    axes = plot_entropy_path(run.probability, run.entropy, run.predicted)
    first, end = float(run.predicted[0]), run.probability[-1]
    axes[0].set_title(f"correct {float(end[:2].sum()):.3f}", loc="left", fontsize=10)
    axes[1].set_title(f"first step: −Cov {first:+.3f} nats", loc="left", fontsize=10)
    words = (
        f"GRPO without sampling noise on four answers, {correct:g} correct at the start, learning rate {rate:g}, "
        f"{updates} updates, ε above {clip_high:g}, entropy bonus {entropy_coef:g}. In the first step the law says "
        f"{first:+.3f} nats; the entropy changes by {float(run.entropy[1] - run.entropy[0]):+.3f}. In 25 steps it "
        f"goes from {float(run.entropy[0]):.2f} to {float(run.entropy[-1]):.2f} nats, and the clip acts on "
        f"{float(run.clipped.mean()):.0%} of the answers. At the end the correct answers have probability "
        f"{float(end[:2].sum()):.3f}; the rarer of them is {float(end[1] / end[:2].sum()):.1%} of that."
    )
    return axes[0].figure, words


def entropy_dashboard() -> ExactDashboard:
    """Controls for the pass rate at the start, the learning rate, the updates, the clip and the bonus."""
    return ExactDashboard(
        draw_entropy,
        correct=W.FloatSlider(
            value=0.2, min=0.05, max=0.95, step=0.05, description="correct at start", **_WHOLE
        ),
        rate=W.SelectionSlider(
            options=[0.05, 0.1, 0.2, 0.4, 0.8], value=0.4, description="learning rate η", **_WHOLE
        ),
        updates=W.IntSlider(value=4, min=1, max=8, description="updates", **_WHOLE),
        clip_high=W.SelectionSlider(
            options=[0.05, 0.1, 0.2, 0.28, 0.5, 1.0, 4.0],
            value=0.2,
            description="clip ε above",
            **_WHOLE,
        ),
        entropy_coef=W.SelectionSlider(
            options=[0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5],
            value=0.0,
            description="entropy bonus",
            **_WHOLE,
        ),
    )
