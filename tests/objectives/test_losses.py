"""Losses against plain loops, hand-written token gradients, and the formulas of TRL 1.16."""

import inspect
import math

import numpy as np
import pytest
import torch

from rlvr_lab.objectives.averages import constant_mean, sequence_mean, token_mean
from rlvr_lab.objectives.kl import k1, k2, kl_penalty
from rlvr_lab.objectives.losses import (
    cispo_loss,
    dapo_loss,
    dr_grpo_loss,
    grpo_loss,
    gspo_loss,
    ppo_clip_loss,
    reinforce_loss,
    rloo_loss,
)
from rlvr_lab.objectives.ratios import clip_fraction, clipped_surrogate, token_ratio
from rlvr_lab.objectives.squared_loss import kimi_loss

# One prompt, G = 4 answers of 1 to 4 tokens. The ratios of the long answer are .5, .9, 1.1 and 1.5.
LENGTHS = [1, 2, 3, 4]
MASK = torch.arange(4) < torch.tensor(LENGTHS)[:, None]
ADVANTAGES = torch.tensor([1.0, -1.0, 2.0, -0.5], dtype=torch.float64)
RATIO = torch.tensor(
    [[1.5, 1, 1, 1], [0.5, 1.5, 1, 1], [0.5, 1.1, 1.4, 1], [0.5, 0.9, 1.1, 1.5]],
    dtype=torch.float64,
)
OLD = -torch.linspace(0.1, 3.0, 16, dtype=torch.float64).view(4, 4)
LOGPROBS = OLD + RATIO.log()
REF = OLD - 0.3 * torch.cos(torch.arange(16, dtype=torch.float64)).view(4, 4)


def token_clip_fraction(logprobs, old_logprobs, advantages, mask, *given, **named):
    ratio = token_ratio(logprobs, old_logprobs, mask)
    return clip_fraction(ratio, advantages, mask, *given, **named)


def gradient(loss, logprobs: torch.Tensor = LOGPROBS) -> torch.Tensor:
    leaf = logprobs.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


def weights(average: str, mask: torch.Tensor = MASK, constant: float = 1.0) -> torch.Tensor:
    """∂average/∂x of each token, from the formula of the average."""
    rows, lengths = mask.shape[0], mask.sum(dim=1, keepdim=True).double()
    return {
        "sequence": mask / (rows * lengths),
        "token": mask / lengths.sum(),
        "constant": mask / (rows * constant),
    }[average]


# ---------------------------------------------------------------------- one plain loop for them all


def loop(
    kind: str,
    average: str,
    logp: np.ndarray,
    old: np.ndarray,
    ref: np.ndarray,
    advantages: np.ndarray,
    mask: np.ndarray,
    low: float = 0.2,
    high: float = 0.2,
    beta: float = 0.0,
    constant: float = 7.0,
) -> float:
    """A policy-gradient loss token by token in Python floats, in the notation of TRL's trainer.

    ``kind``: "token" or "sequence" ratios under PPO's clip.
    """
    rows, total, tokens = len(logp), 0.0, int(mask.sum())
    for i in range(rows):
        places = [t for t in range(logp.shape[1]) if mask[i, t]]
        mean_log_ratio = sum(logp[i, t] - old[i, t] for t in places) / len(places)
        for t in places:
            log_ratio = mean_log_ratio if kind == "sequence" else logp[i, t] - old[i, t]
            rho = math.exp(log_ratio)
            clipped = min(max(rho, 1 - low), 1 + high)
            cost = -min(rho * advantages[i], clipped * advantages[i])
            d = ref[i, t] - logp[i, t]
            cost += beta * (math.exp(d) - d - 1)
            total += (
                cost
                * {
                    "sequence": 1 / (rows * len(places)),
                    "token": 1 / tokens,
                    "constant": 1 / (rows * constant),
                }[average]
            )
    return total


def random_batch(seed: int, rows: int = 6, width: int = 5):
    rng = np.random.default_rng(seed)
    old = -rng.exponential(1.0, (rows, width))
    logp = old + rng.normal(0, 0.4, (rows, width))
    ref = old + rng.normal(0, 0.4, (rows, width))
    mask = np.arange(width) < rng.integers(1, width + 1, rows)[:, None]
    return logp, old, ref, rng.normal(size=rows), mask


def finite_difference(function, logp: np.ndarray) -> np.ndarray:
    out = np.zeros_like(logp)
    for index in np.ndindex(*logp.shape):
        step = np.zeros_like(logp)
        step[index] = 1e-6
        out[index] = (function(logp + step) - function(logp - step)) / 2e-6
    return out


# name: (our loss, loop's keyword arguments). TRL's names in brackets.
CASES = {
    "ppo [bnpo]": (
        lambda lp, old, ref, a, m: ppo_clip_loss(lp, old, a, m),
        {"kind": "token", "average": "token"},
    ),
    "grpo": (
        lambda lp, old, ref, a, m: grpo_loss(lp, old, a, m),
        {"kind": "token", "average": "sequence"},
    ),
    "grpo with KL": (
        lambda lp, old, ref, a, m: grpo_loss(lp, old, a, m, ref, kl_coef=0.7),
        {"kind": "token", "average": "sequence", "beta": 0.7},
    ),
    "grpo with KL, token average": (
        lambda lp, old, ref, a, m: grpo_loss(lp, old, a, m, ref, 0.7, average=token_mean),
        {"kind": "token", "average": "token", "beta": 0.7},
    ),
    "dr_grpo": (
        lambda lp, old, ref, a, m: dr_grpo_loss(lp, old, a, m, max_length=7),
        {"kind": "token", "average": "constant"},
    ),
    "dapo": (
        lambda lp, old, ref, a, m: dapo_loss(lp, old, a, m),
        {"kind": "token", "average": "token", "high": 0.28},
    ),
    "gspo": (
        lambda lp, old, ref, a, m: gspo_loss(lp, old, a, m, 0.05, 0.1),
        {"kind": "sequence", "average": "sequence", "low": 0.05, "high": 0.1},
    ),
    "gspo, defaults": (
        lambda lp, old, ref, a, m: gspo_loss(lp, old, a, m),
        {"kind": "sequence", "average": "sequence", "low": 3e-4, "high": 4e-4},
    ),
    "asymmetric clip": (
        lambda lp, old, ref, a, m: grpo_loss(lp, old, a, m, clip_low=0.1, clip_high=0.5),
        {"kind": "token", "average": "sequence", "low": 0.1, "high": 0.5},
    ),
    "summed tokens [luspo]": (
        lambda lp, old, ref, a, m: grpo_loss(lp, old, a, m, average=constant_mean(1)),
        {"kind": "token", "average": "constant", "constant": 1.0},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_loop(case, seed):
    ours, options = CASES[case]
    logp, old, ref, a, mask = random_batch(seed)

    def theirs(x: np.ndarray) -> float:
        return loop(logp=x, old=old, ref=ref, advantages=a, mask=mask, **options)

    fixed = [torch.tensor(x) for x in (old, ref, a, mask)]
    leaf = torch.tensor(logp, requires_grad=True)
    value = ours(leaf, *fixed)
    value.backward()
    assert value.item() == pytest.approx(theirs(logp), abs=1e-13)
    np.testing.assert_allclose(leaf.grad.numpy(), finite_difference(theirs, logp), atol=2e-8)


@pytest.mark.parametrize("average", ["sequence", "token"])
@pytest.mark.parametrize("seed", range(3))
def test_cispo_equals_its_formula(average, seed):
    # TRL: −sg[min(ρ, ε_high)]·A·log π, where ε_high is the absolute cap (here 1 + clip_high).
    logp, old, _, a, mask = random_batch(seed)
    choice = {"sequence": sequence_mean, "token": token_mean}[average]
    fixed = [torch.tensor(x) for x in (old, a, mask)]
    leaf = torch.tensor(logp, requires_grad=True)
    value = cispo_loss(leaf, *fixed, clip_high=0.28, average=choice)
    value.backward()
    weight = np.minimum(np.exp(logp - old), 1.28) * a[:, None]
    weight = weight * weights(average, torch.tensor(mask)).numpy()
    assert value.item() == pytest.approx(-(weight * logp).sum(), abs=1e-13)
    np.testing.assert_allclose(leaf.grad.numpy(), -weight, atol=1e-14)  # the weight is detached


# --------------------------------------------------------------------------- numbers for the eye


def test_hand_checkable_group():
    # r = (1, 0, 0, 1), z-scores (1, −1, −1, 1); answers of 6, 2, 6, 2 tokens, all with log π = −1.
    a = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor([[6], [2], [6], [2]])
    logp = -torch.ones(4, 6, dtype=torch.float64)
    for average in ("sequence", "token", "constant"):
        choice = {"sequence": sequence_mean, "token": token_mean, "constant": constant_mean(6)}
        found = gradient(lambda x, f=choice[average]: reinforce_loss(x, a, mask, f), logp)
        first = {
            "sequence": [-1 / 24, 1 / 8, 1 / 24, -1 / 8],
            "token": [-1 / 16, 1 / 16, 1 / 16, -1 / 16],
            "constant": [-1 / 24, 1 / 24, 1 / 24, -1 / 24],
        }[average]
        assert found[:, 0].tolist() == pytest.approx(first, abs=1e-16)


def test_on_the_first_update_the_gradient_is_the_plain_policy_gradient():
    for average in (sequence_mean, token_mean, constant_mean(5)):
        plain = gradient(lambda x, f=average: reinforce_loss(x, ADVANTAGES, MASK, f), OLD)
        ppo = gradient(lambda x, f=average: ppo_clip_loss(x, OLD, ADVANTAGES, MASK, average=f), OLD)
        cispo = gradient(lambda x, f=average: cispo_loss(x, OLD, ADVANTAGES, MASK, average=f), OLD)
        torch.testing.assert_close(ppo, plain, rtol=0, atol=1e-16)
        torch.testing.assert_close(cispo, plain, rtol=0, atol=1e-16)
    plain = gradient(lambda x: reinforce_loss(x, ADVANTAGES, MASK), OLD)
    gspo = gradient(lambda x: gspo_loss(x, OLD, ADVANTAGES, MASK), OLD)
    sequence = MASK * plain.sum(dim=1, keepdim=True) / MASK.sum(dim=1, keepdim=True)
    torch.testing.assert_close(gspo, sequence, rtol=0, atol=1e-16)


def test_on_the_first_update_the_value_says_nothing():
    # With advantages that sum to zero GRPO's loss starts at 0 although its gradient does not.
    a = torch.tensor([1.5, -0.5, -0.5, -0.5], dtype=torch.float64)
    assert grpo_loss(OLD, OLD, a, MASK).item() == pytest.approx(0, abs=1e-16)
    assert gradient(lambda x: grpo_loss(x, OLD, a, MASK), OLD).abs().max() > 0.1


def test_reinforce_and_rloo_gradient_by_hand():
    column = ADVANTAGES[:, None]
    found = gradient(lambda x: reinforce_loss(x, ADVANTAGES, MASK))
    torch.testing.assert_close(found, -column * weights("sequence"), rtol=0, atol=1e-16)
    found = gradient(lambda x: rloo_loss(x, ADVANTAGES, MASK))
    torch.testing.assert_close(found, -column * MASK / 4, rtol=0, atol=1e-16)
    whole = sum(
        a * logp[:n].sum() for a, logp, n in zip(ADVANTAGES, LOGPROBS, LENGTHS, strict=True)
    )
    assert rloo_loss(LOGPROBS, ADVANTAGES, MASK).item() == pytest.approx(-whole.item() / 4)


@pytest.mark.parametrize(
    ("ratio", "advantage", "alive"),
    [
        (1.5, 1.0, False),  # already more likely than 1 + ε, and still to be raised: stop
        (0.5, 1.0, True),
        (1.5, -1.0, True),  # the other two corners pull the ratio back
        (0.5, -1.0, False),
        (1.1, 1.0, True),
        (0.9, -1.0, True),
        (1.0, 1.0, True),
        (1.0, -1.0, True),
        (1.25, 1.0, False),
        (1.25, -1.0, True),
    ],
)
def test_zero_gradient_regions_of_the_clip(ratio, advantage, alive):
    one = torch.zeros(1, 1, dtype=torch.float64)
    a, mask = torch.tensor([advantage], dtype=torch.float64), torch.ones(1, 1, dtype=torch.bool)
    found = gradient(lambda x: ppo_clip_loss(x, one, a, mask), one + math.log(ratio)).item()
    assert found == pytest.approx(-advantage * ratio if alive else 0.0, abs=1e-15)
    dead = token_clip_fraction(one + math.log(ratio), one, a, mask)
    assert dead == (0.0 if alive else 1.0)


def test_token_gradients_of_grpo_by_hand():
    dead = torch.tensor(
        [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]], dtype=torch.bool
    )  # A > 0 and ρ > 1.2, or A < 0 and ρ < 0.8
    expected = -ADVANTAGES[:, None] * RATIO * weights("sequence") * ~dead
    found = gradient(lambda x: grpo_loss(x, OLD, ADVANTAGES, MASK))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
    assert token_clip_fraction(LOGPROBS, OLD, ADVANTAGES, MASK) == pytest.approx(4 / 10)


def test_cispo_never_drops_a_token():
    found = gradient(lambda x: cispo_loss(x, OLD, ADVANTAGES, MASK))
    expected = -ADVANTAGES[:, None] * RATIO.clamp(max=1.28) * weights("token")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
    assert (found[MASK] != 0).all()
    assert (gradient(lambda x: dapo_loss(x, OLD, ADVANTAGES, MASK))[MASK] == 0).any()


def test_gspo_weighs_all_tokens_of_an_answer_alike_and_drops_it_whole():
    found = gradient(lambda x: gspo_loss(x, OLD, ADVANTAGES, MASK, 0.2, 0.2))
    for i, length in enumerate(LENGTHS):
        s = float(RATIO[i, :length].log().mean().exp())  # geometric mean of the token ratios
        a = ADVANTAGES[i].item()
        dead = (a > 0 and s > 1.2) or (a < 0 and s < 0.8)
        expected = [0.0 if dead else -a * s / (4 * length)] * length + [0.0] * (4 - length)
        assert found[i].tolist() == pytest.approx(expected, abs=1e-15), i
    assert (found[0] == 0).all() and (found[1, :2] != 0).all()  # both kinds occur


def test_dapo_clips_higher_than_grpo_and_as_low():
    one, mask = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.bool)
    plus, minus = torch.ones(1, dtype=torch.float64), -torch.ones(1, dtype=torch.float64)
    assert gradient(lambda x: dapo_loss(x, one, plus, mask), one + math.log(1.27)) != 0
    assert gradient(lambda x: dapo_loss(x, one, plus, mask), one + math.log(1.29)) == 0
    assert gradient(lambda x: dapo_loss(x, one, minus, mask), one + math.log(0.81)) != 0
    assert gradient(lambda x: dapo_loss(x, one, minus, mask), one + math.log(0.79)) == 0


def test_clipped_surrogate_equals_its_definition_on_a_grid():
    for ratio in np.linspace(0, 3, 31):
        for a in (-2.0, 0.0, 1.5):
            found = clipped_surrogate(
                torch.tensor([[ratio]]), torch.tensor([[a]], dtype=torch.float64), 0.1, 0.3
            )
            bound = 1.3 * a if a >= 0 else 0.9 * a
            assert found.item() == pytest.approx(min(ratio * a, bound), abs=1e-15)


# ---------------------------------------------------------------------------------------- KL term


def test_kl_penalty_value_gradient_and_direction():
    beta, d = 0.7, LOGPROBS - REF
    value = kl_penalty(LOGPROBS, REF, MASK, beta, sequence_mean)
    expected = beta * ((torch.exp(-d) - 1 + d) * weights("sequence")).sum()
    assert value.item() == pytest.approx(expected.item(), abs=1e-14)
    found = gradient(lambda x: kl_penalty(x, REF, MASK, beta, sequence_mean))
    torch.testing.assert_close(
        found, beta * (1 - torch.exp(-d)) * weights("sequence"), rtol=0, atol=1e-15
    )


@pytest.mark.parametrize(
    ("estimator", "slope"), [(k1, lambda d: torch.ones_like(d)), (k2, lambda d: d)]
)
def test_kl_penalty_takes_other_estimators(estimator, slope):
    found = gradient(
        lambda x: grpo_loss(
            x, OLD, torch.zeros(4, dtype=torch.float64), MASK, REF, 0.7, estimator=estimator
        )
    )
    expected = 0.7 * slope(LOGPROBS - REF) * weights("sequence")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


def test_kl_penalty_is_positive_and_added():
    zero = torch.zeros(4, dtype=torch.float64)
    assert kl_penalty(LOGPROBS, REF, MASK, 1.0, token_mean) > 0
    assert grpo_loss(LOGPROBS, OLD, zero, MASK, REF, kl_coef=1.0) > 0
    with_kl = grpo_loss(LOGPROBS, OLD, ADVANTAGES, MASK, REF, kl_coef=1.0)
    without = grpo_loss(LOGPROBS, OLD, ADVANTAGES, MASK)
    penalty = kl_penalty(LOGPROBS, REF, MASK, 1.0, sequence_mean)
    assert (with_kl - without).item() == pytest.approx(penalty.item(), abs=1e-14)


# ----------------------------------------------------------------- what every loss has in common

LOSSES = {
    "reinforce": lambda lp, old, ref, a, m: reinforce_loss(lp, a, m),
    "rloo": lambda lp, old, ref, a, m: rloo_loss(lp, a, m),
    "ppo": lambda lp, old, ref, a, m: ppo_clip_loss(lp, old, a, m),
    "grpo": lambda lp, old, ref, a, m: grpo_loss(lp, old, a, m, ref, kl_coef=0.5),
    "grpo k2": lambda lp, old, ref, a, m: grpo_loss(lp, old, a, m, ref, 0.5, estimator=k2),
    "dr-grpo": lambda lp, old, ref, a, m: dr_grpo_loss(lp, old, a, m, max_length=8),
    "dapo": lambda lp, old, ref, a, m: dapo_loss(lp, old, a, m),
    "gspo": lambda lp, old, ref, a, m: gspo_loss(lp, old, a, m),
    "cispo": lambda lp, old, ref, a, m: cispo_loss(lp, old, a, m),
    "kimi": lambda lp, old, ref, a, m: kimi_loss(lp, old, a, m, tau=0.3),
    "kl": lambda lp, old, ref, a, m: kl_penalty(lp, ref, m, 0.5, token_mean),
}


@pytest.mark.parametrize("garbage", [math.inf, -math.inf, math.nan, 1e4, -1e4])
@pytest.mark.parametrize("where", ["logprobs", "old", "ref", "all"])
@pytest.mark.parametrize("name", LOSSES)
def test_padding_garbage_reaches_neither_value_nor_gradient(name, where, garbage):
    def soil(x: torch.Tensor, which: str) -> torch.Tensor:
        return x.masked_fill(~MASK, garbage) if where in (which, "all") else x

    old, ref = soil(OLD, "old"), soil(REF, "ref")
    clean = LOSSES[name](LOGPROBS, OLD, REF, ADVANTAGES, MASK)
    leaf = soil(LOGPROBS, "logprobs").clone().requires_grad_()
    value = LOSSES[name](leaf, old, ref, ADVANTAGES, MASK)
    value.backward()
    assert value.item() == clean.item()
    expected = gradient(lambda x: LOSSES[name](x, OLD, REF, ADVANTAGES, MASK))
    assert torch.equal(leaf.grad, expected)
    assert (leaf.grad[~MASK] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_dtype_is_kept_and_the_loss_is_a_scalar(name, dtype):
    tensors = [x.to(dtype) for x in (LOGPROBS, OLD, REF, ADVANTAGES)]
    value = LOSSES[name](*tensors, MASK)
    assert value.dtype == dtype and value.shape == ()


def test_no_kl_costs_nothing_and_keeps_the_dtype():
    value = kl_penalty(LOGPROBS, None, MASK, 0.0, sequence_mean)
    assert value.item() == 0 and value.dtype == torch.float64


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_flows_through_logprobs_alone(name):
    inputs = [x.clone().requires_grad_() for x in (LOGPROBS, OLD, REF, ADVANTAGES)]
    LOSSES[name](*inputs, MASK).backward()
    assert inputs[0].grad is not None
    assert all(x.grad is None or (x.grad == 0).all() for x in inputs[1:])


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "kl"])
def test_descent_makes_good_answers_likelier(name):
    # Ratio 1 and no KL force (ref = old): the sign of each token's gradient is −sign(A).
    found = gradient(lambda x: LOSSES[name](x, OLD, OLD, ADVANTAGES, MASK), OLD)
    wanted = -ADVANTAGES.sign()[:, None].expand_as(found)
    assert torch.equal(found.sign()[MASK], wanted[MASK])


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "kl"])
def test_rows_in_another_order_change_nothing(name):
    order = torch.tensor([2, 0, 3, 1])
    tensors = (LOGPROBS, OLD, REF, ADVANTAGES, MASK)
    shuffled = [x[order] for x in tensors]
    assert LOSSES[name](*shuffled).item() == pytest.approx(LOSSES[name](*tensors).item(), abs=1e-15)


def test_clip_fraction_equals_loop_and_takes_no_gradient():
    logp, old, _, a, mask = (torch.tensor(x) for x in random_batch(9))
    dead = 0
    for i, t in mask.nonzero().tolist():
        rho = math.exp(logp[i, t] - old[i, t])
        dead += (a[i] > 0 and rho > 1.3) or (a[i] < 0 and rho < 0.9)
    found = token_clip_fraction(logp.requires_grad_(), old, a, mask, clip_low=0.1, clip_high=0.3)
    assert isinstance(found, float) and 0 < found < 1
    assert found == pytest.approx(float(dead) / int(mask.sum()), abs=1e-15)


# ------------------------------------------------------------------------------------------- Kimi


@pytest.mark.parametrize("tau", [0.01, 0.1, 1.0, 30.0])
def test_kimis_first_step_is_the_mean_baselined_policy_gradient_for_each_tau(tau):
    plain = gradient(lambda x: rloo_loss(x, ADVANTAGES, MASK), OLD)
    found = gradient(lambda x: kimi_loss(x, OLD, ADVANTAGES, MASK, tau), OLD)
    assert (found - plain).abs().max() <= 1e-12
    single = gradient(
        lambda x: kimi_loss(x, OLD.float(), ADVANTAGES.float(), MASK, tau), OLD.float()
    )
    assert (single - plain.float()).abs().max() <= 1e-6


@pytest.mark.parametrize("tau", [0.05, 2.0])
def test_kimis_loss_and_gradient_are_those_of_the_paper(tau):
    value, wanted = 0.0, torch.zeros(4, 4, dtype=torch.float64)
    for i, n in enumerate(LENGTHS):
        log_ratio = sum(float(LOGPROBS[i, t] - OLD[i, t]) for t in range(n))
        value += (float(ADVANTAGES[i]) - tau * log_ratio) ** 2 / 4
        # Equation 3, whose sign is that of an ascent: A·∇log π − τ/2·∇(log ρ)².
        wanted[i, :n] = -(float(ADVANTAGES[i]) - tau * log_ratio) / 4
    found = kimi_loss(LOGPROBS, OLD, ADVANTAGES, MASK, tau)
    assert found.item() == pytest.approx(value / (2 * tau), rel=1e-12)
    found = gradient(lambda x: kimi_loss(x, OLD, ADVANTAGES, MASK, tau))
    assert (found - wanted).abs().max() <= 1e-12


def test_kimis_squares_are_averaged_by_the_given_average():
    def per_answer(lengths):
        total = ((LOGPROBS - OLD) * MASK).sum(dim=1)
        return ((ADVANTAGES - 0.3 * total) ** 2 / 0.6 / lengths).mean()

    lengths = torch.tensor(LENGTHS).double()
    for average, divisor in ((constant_mean(7), 7), (sequence_mean, lengths), (None, 1)):
        found = kimi_loss(LOGPROBS, OLD, ADVANTAGES, MASK, 0.3, average)
        assert found.item() == pytest.approx(per_answer(divisor).item(), rel=1e-12)


def test_kimis_minimum_over_all_policies_is_the_regularised_optimum():
    """Answers of one token, all of them: π* ∝ π_old·exp(r/τ) makes the loss with the exact log Z zero."""
    tau, rewards = 0.4, torch.tensor([1.0, 0.0, 0.3, 0.7, 0.0], dtype=torch.float64)
    old = torch.tensor([0.1, 0.4, 0.2, 0.05, 0.25], dtype=torch.float64).log()
    log_z = tau * (old + rewards / tau).logsumexp(0)
    best = (old + rewards / tau).log_softmax(0)
    mask = torch.ones(5, 1, dtype=torch.bool)

    def loss(logprobs, baseline):
        return kimi_loss(logprobs[:, None], old[:, None], rewards - baseline, mask, tau)

    assert loss(best, log_z).item() <= 1e-30
    assert gradient(lambda x: loss(x, log_z), best).abs().max() <= 1e-12
    assert gradient(lambda x: loss(x, rewards.mean()), best).abs().max() > 1e-3


def test_kimis_tau_is_positive():
    for tau in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"^tau: must be positive"):
            kimi_loss(LOGPROBS, OLD, ADVANTAGES, MASK, tau)


# --------------------------------------------------------------------------------------- refusals

FUNCTIONS = {
    **{name: LOSSES[name] for name in LOSSES if name != "kl"},
    "clip fraction": lambda lp, old, ref, a, m: token_clip_fraction(lp, old, a, m),
}
USES_OLD = ["ppo", "grpo", "dr-grpo", "dapo", "gspo", "cispo", "kimi", "clip fraction"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_trained_logprob_that_is_not_finite_is_refused(name, bad):
    soiled = LOGPROBS.clone()
    soiled[3, 3] = bad
    with pytest.raises(ValueError, match="logprobs: a trained token"):
        FUNCTIONS[name](soiled, OLD, REF, ADVANTAGES, MASK)
    if name in USES_OLD:
        with pytest.raises(ValueError, match="old_logprobs: a trained token"):
            FUNCTIONS[name](LOGPROBS, soiled, REF, ADVANTAGES, MASK)
    if name == "grpo":
        with pytest.raises(ValueError, match="ref_logprobs: a trained token"):
            FUNCTIONS[name](LOGPROBS, OLD, soiled, ADVANTAGES, MASK)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_advantage_that_is_not_finite_is_refused(name, bad):
    advantages = ADVANTAGES.clone()
    advantages[2] = bad
    with pytest.raises(ValueError, match="advantages: all advantages must be finite"):
        FUNCTIONS[name](LOGPROBS, OLD, REF, advantages, MASK)


UNWRAPPED = {  # without the checker of annotations, which would refuse these shapes first
    name: (inspect.unwrap(function), uses_old)
    for name, function, uses_old in [
        ("reinforce", reinforce_loss, False),
        ("ppo", ppo_clip_loss, True),
        ("gspo", gspo_loss, True),
        ("cispo", cispo_loss, True),
    ]
}


@pytest.mark.parametrize("name", UNWRAPPED)
def test_shapes_that_broadcasting_would_accept_are_refused(name):
    function, uses_old = UNWRAPPED[name]
    before = (OLD,) if uses_old else ()
    for advantages in (ADVANTAGES[:, None].expand(4, 4), ADVANTAGES[:1], ADVANTAGES[:, None]):
        with pytest.raises(ValueError, match="advantages: expected one per row"):
            function(LOGPROBS, *before, advantages, MASK)
    with pytest.raises(ValueError, match="advantages"):
        function(LOGPROBS, *before, torch.tensor(1.0), MASK)
    with pytest.raises(ValueError, match="logprobs: expected the shape of mask"):
        function(LOGPROBS[:, :1], *before, ADVANTAGES, MASK)
    if uses_old:
        with pytest.raises(ValueError, match="old_logprobs: expected the shape of mask"):
            function(LOGPROBS, OLD[:1], ADVANTAGES, MASK)


@pytest.mark.parametrize("name", ["reinforce", "rloo", "grpo", "dr-grpo", "gspo"])
def test_an_answer_without_tokens_is_refused(name):
    empty = MASK.clone()
    empty[1] = False
    with pytest.raises(ValueError, match=r"mask: .*\[1\]"):
        LOSSES[name](LOGPROBS, OLD, REF, ADVANTAGES, empty)


@pytest.mark.parametrize("name", ["ppo", "dapo", "cispo"])
def test_a_mask_that_selects_nothing_is_refused(name):
    with pytest.raises(ValueError, match="mask"):
        LOSSES[name](LOGPROBS, OLD, REF, ADVANTAGES, torch.zeros_like(MASK))


@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.2), (1.1, 0.2), (0.2, -0.1), (math.nan, 0.2)])
def test_a_clip_range_that_is_none_is_refused(low, high):
    for function in (ppo_clip_loss, grpo_loss, dapo_loss, gspo_loss, token_clip_fraction):
        with pytest.raises(ValueError, match="clip_low, clip_high"):
            function(LOGPROBS, OLD, ADVANTAGES, MASK, clip_low=low, clip_high=high)
    with pytest.raises(ValueError, match="clip_low, clip_high"):
        dr_grpo_loss(LOGPROBS, OLD, ADVANTAGES, MASK, 4, clip_low=low, clip_high=high)


def test_other_refusals():
    with pytest.raises(ValueError, match="clip_high"):
        cispo_loss(LOGPROBS, OLD, ADVANTAGES, MASK, clip_high=-0.1)
    with pytest.raises(ValueError, match="kl_coef: β must not be negative, got -1"):
        grpo_loss(LOGPROBS, OLD, ADVANTAGES, MASK, REF, kl_coef=-1.0)
    with pytest.raises(ValueError, match=r"ref_logprobs: needed when kl_coef is positive \(0.1\)"):
        grpo_loss(LOGPROBS, OLD, ADVANTAGES, MASK, kl_coef=0.1)
    with pytest.raises(ValueError, match="length"):
        dr_grpo_loss(LOGPROBS, OLD, ADVANTAGES, MASK, max_length=0)


def test_a_cap_must_lie_above_the_clip():
    one = torch.ones(1, 1)
    with pytest.raises(ValueError, match="ratio_cap: δ must exceed"):
        clipped_surrogate(one, one, 0.2, 0.5, ratio_cap=1.5)
