"""Checks of the exercises on the policy gradient (notebook 03)."""

from typing import Any

import numpy as np
import torch

from rlvr_lab.checks.calls import Mistake, call, function_name
from rlvr_lab.checks.kit import Check, ragged, seen, softmax

# ------------------------------------------------------------------------- the gradient of a softmax


def _gradient(logits: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """Σ_y π(y)·r(y)·(e_y − π), answer by answer."""
    pi = softmax(logits)
    return sum(pi[y] * rewards[y] * (np.eye(len(pi))[y] - pi) for y in range(len(pi)))


check_softmax_gradient = Check(
    "softmax_gradient: π(r − J), equal to the sum over all answers",
    draw=lambda rng, turn: {
        "logits": rng.normal(0, 1.5, 3 + turn),
        "rewards": rng.normal(1, 1, 3 + turn),
    },
    right=_gradient,
    mistakes={  # x: logits
        "the logits are used as if they were probabilities: take a softmax first": lambda x, r: (
            x * (r - x @ r)
        ),
        "each reward must be compared with the average J; yours is not": lambda x, r: (
            softmax(x) * r
        ),
        "the rewards are compared with their plain mean. J is the mean *under the "
        "policy*": lambda x, r: softmax(x) * (r - r.mean()),
        "the probability of the answer itself is missing: rare answers change their logit "
        "less": lambda x, r: r - softmax(x) @ r,
        "only the diagonal of the softmax's derivative is used. Raising one logit lowers the "
        "probabilities of all other answers": lambda x, r: softmax(x) * (1 - softmax(x)) * r,
        "the sign is flipped: this is the direction in which J falls": lambda x, r: (
            -_gradient(x, r)
        ),
        "the result is divided by the number of answers; the probabilities already "
        "average": lambda x, r: _gradient(x, r) / len(r),
        "this is ∇log J: the gradient divided by J itself": lambda x, r: (
            _gradient(x, r) / (softmax(x) @ r)
        ),
    },
)


# ------------------------------------------------------------------------------------- REINFORCE


def _draw_loss(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    rows, width = ((4, 4), (3, 6), (5, 3))[turn]
    return {
        "logprobs": rng.uniform(-3, -0.3, (rows, width)),
        "rewards": rng.normal(0.5, 1, rows),
        "baseline": rng.uniform(0.2, 0.9, rows),
        "mask": ragged(rng, rows, width),
    }


def _reinforce(logprobs: Any, rewards: Any, baseline: Any, mask: Any) -> float:
    """Token by token."""
    total = 0.0
    for i, t in np.argwhere(mask):
        total -= (rewards[i] - baseline[i]) * logprobs[i, t]
    return total / len(rewards)


def _weighted(logprobs: Any, advantages: Any, mask: Any) -> float:
    return float(-(advantages * (logprobs * mask).sum(axis=1)).mean())


def _any_padding(fn: Any, rng: np.random.Generator) -> None:
    """Padding may hold anything; value and gradient may not notice."""
    inputs = _draw_loss(rng, 1)
    right = _reinforce(*inputs.values())
    for filler in (float("-inf"), float("nan")):
        given = {key: torch.tensor(value) for key, value in inputs.items()}
        logprobs = given["logprobs"].masked_fill(~given["mask"], filler).requires_grad_()
        value, leaves = call(fn, **(given | {"logprobs": logprobs}))
        slope = torch.autograd.grad(value, leaves["logprobs"])[0]
        fine = bool(torch.isfinite(slope[given["mask"]]).all())
        if not abs(float(value.detach()) - right) < 1e-5 or not fine:
            raise Mistake(
                f"{function_name(fn)}: correct where the padding holds numbers, but with {filler} on padding "
                f"the loss is {float(value.detach()):.3g} and should be {right:.3g}. A product with the mask "
                f"does not remove it: 0 · {filler} is nan"
            )


check_reinforce_loss = Check(
    "reinforce_loss: value, gradient, and no gradient through the rewards",
    draw=_draw_loss,
    right=_reinforce,
    through="logprobs",
    data=("rewards", "baseline"),
    last=_any_padding,
    instead=lambda logprobs, rewards, *rest: {
        rewards.shape: "this is still one number per answer",
        logprobs.shape: "this is still one number per token",
    },
    mistakes={
        "the sign is flipped: an optimiser minimises, and J should increase": lambda lp, r, b, m: (
            _weighted(lp, b - r, m)
        ),
        "the baseline is not used": lambda lp, r, b, m: _weighted(lp, r, m),
        "the baseline is added; a baseline is subtracted": lambda lp, r, b, m: _weighted(
            lp, r + b, m
        ),
        "padding is included in the sum": lambda lp, r, b, m: _weighted(lp, r - b, np.ones_like(m)),
        "each answer is divided by its length. log π(y) of a whole answer is a *sum* over tokens; 1/|o| "
        "comes later in the course and introduces a bias": lambda lp, r, b, m: _weighted(
            lp, (r - b) / m.sum(axis=1), m
        ),
        "all tokens are averaged together; add up an answer's tokens, then average the "
        "answers": lambda lp, r, b, m: _weighted(lp, r - b, m) * len(m) / m.sum(),
        "the answers are added up; average them": lambda lp, r, b, m: (
            _weighted(lp, r - b, m) * len(m)
        ),
        "this uses the probability π(y), not its logarithm": lambda lp, r, b, m: (
            -((r - b) * np.exp((lp * m).sum(axis=1))).mean()
        ),
        "the advantages are multiplied along the tokens instead of the answers. This goes unnoticed "
        "only because B = T here": lambda lp, r, b, m: (
            -((r - b)[None, :] * lp * m).sum(axis=1).mean() if len(m) == len(m.T) else np.nan
        ),
    },
)


# ------------------------------------------------------------------------------------ reward-to-go


def _to_go(rewards: Any, mask: Any, gamma: float) -> np.ndarray:
    """Every pair t ≤ s, one at a time."""
    out = np.zeros_like(rewards)
    for i, t in np.argwhere(mask):
        for s in range(t, int(mask[i].sum())):
            out[i, t] += gamma ** (s - t) * rewards[i, s]
    return out


def _discounted(rewards: Any, gamma: float) -> np.ndarray:
    return _to_go(rewards, np.ones(rewards.shape, bool), gamma)


check_reward_to_go = Check(
    "reward_to_go: every token gets its own and later rewards, and no earlier ones",
    draw=lambda rng, turn: {
        "rewards": rng.normal(0, 1, (4, 6)),
        "mask": ragged(rng, 4, 6),
        "gamma": float(rng.uniform(0.6, 0.9)),
    },
    right=_to_go,
    mistakes={
        "the sum runs over the past: a token gets rewards from before it": lambda r, m, g: (
            _discounted((r * m)[:, ::-1], g)[:, ::-1] * m
        ),
        "there is no discount: γ is not used": lambda r, m, g: _to_go(r, m, 1.0),
        "the discount counts from the first token. It should count from the token *itself*: "
        "γ^(s−t)": lambda r, m, g: (
            np.cumsum((g ** np.arange(6) * r * m)[:, ::-1], axis=1)[:, ::-1] * m
        ),
        "the token's own reward is missing: s starts at t, not at t + 1": lambda r, m, g: (
            (_to_go(r, m, g) - r) * m
        ),
        "everything is discounted one time too many: a token's own reward is not "
        "discounted": lambda r, m, g: _to_go(r, m, g) * g * m,
        "rewards on padding are counted": lambda r, m, g: _discounted(r, g) * m,
        "padding does not come out as 0": lambda r, m, g: np.where(m, _to_go(r, m, g), r),
        "padding is in the sum, and it is not set to 0 at the end": lambda r, m, g: _discounted(
            r, g
        ),
        "every token gets the whole return of its answer, as in plain REINFORCE": lambda r, m, g: (
            _discounted(r * m, g)[:, :1] * np.ones_like(r) * m
        ),
        "only the immediate reward is used: rewards of later tokens are missing": lambda r, m, g: (
            r * m
        ),
    },
)


# ------------------------------------------------------------------------------------- the baseline


def _optimal_baseline(scores: Any, rewards: Any) -> float:
    weights = [sum(x * x for x in score) for score in scores]
    return sum(w * r for w, r in zip(weights, rewards, strict=True)) / sum(weights)


def _weigh(weights: np.ndarray, rewards: np.ndarray) -> float:
    return float(weights @ rewards / weights.sum())


BASELINE_MISTAKES = {  # of the scores, their squared lengths, and the rewards
    "this is the mean reward. It is a good baseline, "
    "but not the best: long gradients count more": lambda s, w, r: r.mean(),
    "the weights are the lengths of the scores; they "
    "should be the *squared* lengths": lambda s, w, r: _weigh(np.sqrt(w), r),
    "the weighted rewards are added up, but not divided by the sum of the weights": lambda s, w, r: (
        w @ r
    ),
    "the numerator is averaged and the denominator is missing": lambda s, w, r: w @ r / len(r),
    "the weights are upside down: short gradients count most here": lambda s, w, r: _weigh(
        1 / w, r
    ),
    "the components of a score are added up before "
    "they are squared; ‖s‖² squares first": lambda s, w, r: _weigh(s.sum(axis=1) ** 2, r),
    "only the first parameter is used": lambda s, w, r: _weigh(s[:, 0] ** 2, r),
    "the weights contain the reward: they come from "
    "r·∇log π, but should come from ∇log π": lambda s, w, r: _weigh(w * r**2, r),
    "the fraction is upside down": lambda s, w, r: 1 / _weigh(w, r),
}

check_optimal_baseline = Check(
    "optimal_baseline: no other constant gives a smaller variance",
    draw=lambda rng, turn: {
        "scores": rng.normal(0, 1, (6 + turn, 3)) * rng.uniform(0.3, 2.5, (6 + turn, 1)),
        "rewards": rng.normal(1, 1, 6 + turn),
    },
    right=_optimal_baseline,
    instead=lambda s, r: {
        (s.shape[1],): "one baseline for each parameter is possible too, but here it is one number",
        r.shape: "this is still one number per answer",
    },
    mistakes=seen(lambda s, r: (s, (s**2).sum(axis=1), r), BASELINE_MISTAKES),
)


# ------------------------------------------------------------------------------------- the variance


def _variance(pi: Any, rewards: Any, baseline: float) -> float:
    """Σ_y π(y)·‖g_y − ∇J‖² with g_y = (r_y − b)(e_y − π)."""
    pulls = [(rewards[y] - baseline) * (np.eye(len(pi))[y] - pi) for y in range(len(pi))]
    mean = sum(p * g for p, g in zip(pi, pulls, strict=True))
    return sum(p * sum((g - mean) ** 2) for p, g in zip(pi, pulls, strict=True))


def _terms(pi: Any, rewards: Any, baseline: float) -> tuple[Any, ...]:
    """The inputs, the correct variance, and ‖∇J‖²."""
    square = ((pi * (rewards - pi @ rewards)) ** 2).sum()
    return pi, rewards, baseline, _variance(pi, rewards, baseline), square


VARIANCE_MISTAKES = {  # of the inputs, the correct variance v, and ‖∇J‖²
    "this is the mean square of the gradient: the "
    "square of its mean is not subtracted": lambda pi, r, b, v, square: v + square,
    "this is the square of the mean, ‖∇J‖²; the mean "
    "of the squares is missing": lambda pi, r, b, v, square: square,
    "the baseline is not used": lambda pi, r, b, v, square: _variance(pi, r, 0.0),
    "all answers count the same: weight each by its probability": lambda pi, r, b, v, square: (
        ((r - b) ** 2 @ ((np.eye(len(pi)) - pi) ** 2).sum(axis=1)) / len(pi) - square
    ),
    "the score of an answer is e_y − π; yours is e_y alone": lambda pi, r, b, v, square: (
        pi @ (r - b) ** 2 - square
    ),
    "the components are averaged; the total variance adds them up": lambda pi, r, b, v, square: (
        v / len(pi)
    ),
    "this is the variance of the reward, not of the gradient": lambda pi, r, b, v, square: (
        pi @ (r - pi @ r) ** 2
    ),
    "this is the standard deviation: remove the square root": lambda pi, r, b, v, square: np.sqrt(
        v
    ),
    "the baseline is also in ∇J: subtract the squared length of the true gradient; a baseline does not "
    "change the mean": lambda pi, r, b, v, square: v + square - ((pi * (r - b)) ** 2).sum(),
}

check_exact_variance = Check(
    "exact_variance: agrees with the sum over all answers",
    draw=lambda rng, turn: {
        "pi": softmax(rng.normal(0, 1, 3 + turn)),
        "rewards": rng.normal(1, 1, 3 + turn),
        "baseline": float(rng.uniform(0.3, 1.5)),
    },
    right=_variance,
    mistakes=seen(_terms, VARIANCE_MISTAKES),
)
