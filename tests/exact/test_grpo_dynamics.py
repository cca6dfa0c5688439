"""GRPO without sampling noise: against a closed form, and against sampled groups."""

import pytest
import torch

from rlvr_lab.exact.binary_rewards import std_multiplier
from rlvr_lab.exact.grpo_dynamics import REFERENCE, REWARDS, exact_grpo
from rlvr_lab.objectives.advantages import group_advantages

ONE = {"steps": 1, "updates": 1, "learning_rate": 1.0}
REF = torch.tensor(REFERENCE, dtype=torch.float64)


def moved(**options) -> torch.Tensor:
    """What one step adds to the logits, up to a constant."""
    x = exact_grpo(**{**ONE, **options}).probability.log()
    return (x[1] - x[0]) - (x[1] - x[0]).mean()


@pytest.mark.parametrize("size", [2, 5, 16])
def test_the_first_step_is_the_gradient_of_the_pass_rate_times_its_multiplier(size: int) -> None:
    gradient = REF * (torch.tensor(REWARDS).double() - REF[0])
    expected = float(std_multiplier(float(REF[0]), size)) * gradient
    torch.testing.assert_close(
        moved(group_size=size), expected - expected.mean(), atol=1e-4, rtol=0
    )


def test_from_the_second_update_on_the_clip_and_the_kl_act() -> None:
    free, tight = (exact_grpo(clip=clip, steps=1) for clip in (1.0, 0.01))
    assert float(free.clipped[0]) == 0 and float(tight.clipped[0]) > 0.3
    assert tight.probability[1, 0] < free.probability[1, 0]
    single = exact_grpo(clip=0.01, steps=3, updates=1)
    assert float(single.clipped.sum()) == 0
    none, held = exact_grpo(kl_coef=0.0), exact_grpo(kl_coef=1.0)
    assert held.kl[-1] < 0.5 * none.kl[-1] and float(none.kl[0]) == pytest.approx(0, abs=1e-14)


def test_a_step_with_the_kl_in_the_reward_is_the_mean_of_sampled_groups() -> None:
    """The second step, where the KL is not zero."""
    options = {"group_size": 4, "kl_coef": 0.5, "kl_in": "reward", "updates": 1}
    run = exact_grpo(**options, steps=2, learning_rate=1.0)
    old = run.probability[1]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(old, 4 * 40_000, replacement=True, generator=generator)
    rewards = torch.tensor(REWARDS).double()[drawn] - 0.5 * (old / REF).log()[drawn]
    a = group_advantages(rewards, 4)
    scores = torch.nn.functional.one_hot(drawn, 3).double() - old
    sampled = (a[:, None] * scores).mean(dim=0)
    step = run.probability[2].log() - old.log()
    torch.testing.assert_close(step - step.mean(), sampled - sampled.mean(), atol=0.01, rtol=0)


def test_the_two_kls_are_those_of_the_probabilities() -> None:
    run = exact_grpo(steps=3)
    p = run.probability
    torch.testing.assert_close(run.kl, (p * (p / REF).log()).sum(dim=1))
    torch.testing.assert_close(run.forward_kl, (REF * (REF / p).log()).sum(dim=1))
    assert p.shape == (4, 3) and run.clipped.shape == (3,)


def test_the_entropy_and_what_the_law_says_of_it() -> None:
    run = exact_grpo(steps=4, updates=1, learning_rate=0.01)
    p = run.probability
    torch.testing.assert_close(run.entropy, -(p * p.log()).sum(dim=1))
    change = run.entropy[1:] - run.entropy[:-1]
    torch.testing.assert_close(run.predicted.double(), change, atol=1e-5, rtol=0)
    coarse = exact_grpo(steps=1, updates=1, learning_rate=0.02)
    errors = [
        float(r.entropy[1] - r.entropy[0]) - float(r.predicted[0].double()) for r in (coarse, run)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


def test_an_entropy_bonus_alone_is_the_gradient_of_the_entropy() -> None:
    run = exact_grpo(**ONE, entropy_coef=0.3, correct=(1.0, 1.0, 1.0))  # no spread, so no advantage
    logits = REF.log().requires_grad_()
    log_p = logits.log_softmax(0)
    (slope,) = torch.autograd.grad(-(log_p.exp() * log_p).sum(), logits)
    expected = (REF.log() + 0.3 * slope).softmax(0)
    torch.testing.assert_close(run.probability[1], expected)


def test_a_higher_clip_lets_good_answers_grow_and_leaves_the_lower_side_alone() -> None:
    narrow, same, wide = (
        exact_grpo(steps=1, clip=0.1, clip_high=high) for high in (None, 0.1, 1e6)
    )
    torch.testing.assert_close(narrow.probability, same.probability)
    assert wide.probability[1, 0] > narrow.probability[1, 0] + 0.01
    assert float(wide.clipped[0]) > 0.1  # incorrect answers are still clipped


def test_any_number_of_answers() -> None:
    start = (0.1, 0.2, 0.3, 0.4)
    run = exact_grpo(
        steps=1, updates=1, learning_rate=1.0, start=start, correct=(0.0, 0.0, 1.0, 0.0)
    )
    p = torch.tensor(start).double()
    gradient = p * (torch.tensor([0.0, 0.0, 1.0, 0.0]) - p[2]) * float(std_multiplier(0.3, 8))
    step = run.probability[1].log() - p.log()
    torch.testing.assert_close(step - step.mean(), gradient - gradient.mean(), atol=1e-4, rtol=0)
