"""The dashboard of the entropy: each control reaches the run, and its words are the run's numbers."""

import torch

from rlvr_lab.exact.grpo_dynamics import exact_grpo
from rlvr_lab.widgets.entropy import CORRECT, draw_entropy, entropy_dashboard, four_answers

VALUES = {"correct": 0.3, "rate": 0.2, "updates": 2, "clip_high": 0.05, "entropy_coef": 0.1}


def test_each_control_reaches_the_run() -> None:
    run = four_answers(**VALUES)
    wanted = exact_grpo(
        updates=2,
        learning_rate=0.2,
        clip_high=0.05,
        entropy_coef=0.1,
        start=(0.24, 0.06, 0.56, 0.14),
        correct=CORRECT,
    )
    torch.testing.assert_close(run.probability, wanted.probability)
    others = {"correct": 0.4, "rate": 0.4, "updates": 4, "clip_high": 1.0, "entropy_coef": 0.0}
    for name, value in others.items():
        changed = four_answers(**VALUES | {name: value})
        assert not torch.equal(changed.probability, run.probability), name


def test_the_words_are_the_numbers_of_the_run() -> None:
    figure, words = draw_entropy(**VALUES)
    run = four_answers(**VALUES)
    assert f"from {float(run.entropy[0]):.2f} to {float(run.entropy[-1]):.2f} nats" in words
    assert f"the law says {float(run.predicted[0]):+.3f} nats" in words
    assert len(figure.axes) == 2


def test_every_option_of_the_dashboard_can_be_drawn() -> None:
    panel = entropy_dashboard()
    start = {name: widget.value for name, widget in panel.controls.items()}
    assert start == {
        "correct": 0.2,
        "rate": 0.4,
        "updates": 4,
        "clip_high": 0.2,
        "entropy_coef": 0.0,
    }
    ends = {"correct": 0.95, "rate": 0.8, "updates": 8, "clip_high": 4.0, "entropy_coef": 0.5}
    figure, _ = draw_entropy(**ends)
    run = four_answers(**ends)
    assert bool(torch.isfinite(run.probability).all()) and figure.axes
