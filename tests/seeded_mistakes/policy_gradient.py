"""Mistakes in the exercises of notebook 03."""

import torch

from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]


def softmax_gradient(logits, rewards, centre=None, weight=None):
    pi = torch.softmax(logits, dim=0)
    centre = pi @ rewards if centre is None else centre
    return (pi if weight is None else weight) * (rewards - centre)


def softmax_gradient_in_numpy(logits, rewards):
    return softmax_gradient(logits, rewards).numpy()


def reinforce(logprobs, advantages, mask):
    return -(advantages.detach() * (logprobs * mask).sum(dim=1)).mean()


def reinforce_with_gradient_in_rewards(logprobs, rewards, baseline, mask):
    return -((rewards - baseline) * (logprobs * mask).sum(dim=1)).mean()


def reinforce_without_gradient(logprobs, rewards, baseline, mask):
    return reinforce(logprobs.detach(), rewards - baseline, mask)


def reward_to_go(rewards, mask, gamma):
    out, running = torch.zeros_like(rewards), 0.0
    for t in reversed(range(rewards.shape[1])):
        running = rewards[:, t] + gamma * running
        out[:, t] = running
    return out


def reward_so_far(rewards, mask, gamma):
    out, running = torch.zeros_like(rewards), 0.0
    for t in range(rewards.shape[1]):
        running = (rewards * mask)[:, t] + gamma * running
        out[:, t] = running
    return out * mask


def discounted_from_the_start(rewards, mask, gamma):
    paid = gamma ** torch.arange(rewards.shape[1]) * rewards * mask
    return paid.flip(1).cumsum(1).flip(1) * mask


def later_rewards_only(rewards, mask, gamma):
    return (reward_to_go(rewards * mask, mask, gamma) - rewards) * mask


def rewards_overwritten(rewards, mask, gamma):
    rewards *= mask
    return reward_to_go(rewards, mask, gamma)


def baseline(weights, rewards):
    return (weights * rewards).sum() / weights.sum()


def variance(pi, rewards, b, scores=None, chances=None, subtract=True):
    scores = torch.eye(len(pi), dtype=pi.dtype) - pi if scores is None else scores
    estimates = (rewards - b)[:, None] * scores
    gradient = pi * (rewards - pi @ rewards) if subtract else 0.0
    squares = (estimates**2).sum(dim=1) - (gradient**2).sum() if subtract else (estimates**2).sum(1)
    return (pi if chances is None else chances) @ squares


BANK: dict[str, list[Seeded]] = {
    "check_softmax_gradient": [
        seeded("compared with the average J", lambda x, r: softmax_gradient(x, r, centre=0.0)),
        seeded("plain mean", lambda x, r: softmax_gradient(x, r, centre=r.mean())),
        seeded(
            "probability of the answer itself",
            lambda x, r: softmax_gradient(x, r, weight=torch.ones(())),
        ),
        seeded("sign is flipped", lambda x, r: -softmax_gradient(x, r)),
        seeded("as if they were probabilities", lambda x, r: x * (r - x @ r)),
        seeded("diagonal", lambda x, r: x.softmax(0) * (1 - x.softmax(0)) * r),
        seeded("divided by the number", lambda x, r: softmax_gradient(x, r) / len(x)),
        seeded("∇log J", lambda x, r: softmax_gradient(x, r) / (x.softmax(0) @ r)),
        seeded("wrong shape", lambda x, r: x.softmax(0) @ r),
        seeded("torch.Tensor", softmax_gradient_in_numpy),
    ],
    "check_reinforce_loss": [
        seeded("sign is flipped", lambda lp, r, b, m: -reinforce(lp, r - b, m)),
        seeded("baseline is not used", lambda lp, r, b, m: reinforce(lp, r, m)),
        seeded("baseline is added", lambda lp, r, b, m: reinforce(lp, r + b, m)),
        seeded(
            "padding is included in the sum",
            lambda lp, r, b, m: reinforce(lp, r - b, torch.ones_like(m)),
        ),
        seeded("divided by its length", lambda lp, r, b, m: reinforce(lp, (r - b) / m.sum(1), m)),
        seeded(
            "all tokens are averaged",
            lambda lp, r, b, m: -((r - b).detach()[:, None] * lp * m).sum() / m.sum(),
        ),
        seeded("answers are added up", lambda lp, r, b, m: reinforce(lp, r - b, m) * len(r)),
        seeded(
            "not its logarithm",
            lambda lp, r, b, m: -((r - b).detach() * (lp * m).sum(1).exp()).mean(),
        ),
        seeded(
            "does not remove it", lambda lp, r, b, m: -((r - b).detach() * (lp * m).sum(1)).mean()
        ),
        seeded("a detach is missing", reinforce_with_gradient_in_rewards),
        seeded("no gradient flows", reinforce_without_gradient),
        seeded(
            "one number per answer", lambda lp, r, b, m: -(r - b).detach() * (lp * m).sum(dim=1)
        ),
    ],
    "check_reward_to_go": [
        seeded("over the past", reward_so_far),
        seeded("γ is not used", lambda r, m, g: reward_to_go(r * m, m, 1.0)),
        seeded("counts from the first token", discounted_from_the_start),
        seeded("own reward is missing", later_rewards_only),
        seeded("one time too many", lambda r, m, g: g * reward_to_go(r * m, m, g)),
        seeded("on padding are counted", lambda r, m, g: reward_to_go(r, m, g) * m),
        seeded("padding is in the sum, and", reward_to_go),
        seeded(
            "does not come out as 0", lambda r, m, g: torch.where(m, reward_to_go(r * m, m, g), r)
        ),
        seeded(
            "the whole return",
            lambda r, m, g: reward_to_go(r * m, m, g)[:, :1].expand_as(r) * m,
        ),
        seeded("immediate reward", lambda r, m, g: r * m),
        seeded("overwrites its input", rewards_overwritten),
    ],
    "check_optimal_baseline": [
        seeded("mean reward", lambda s, r: r.mean()),
        seeded("*squared* lengths", lambda s, r: baseline(s.norm(dim=1), r)),
        seeded("not divided by the sum", lambda s, r: ((s**2).sum(1) * r).sum()),
        seeded("denominator is missing", lambda s, r: ((s**2).sum(1) * r).mean()),
        seeded("upside down: short", lambda s, r: baseline(1 / (s**2).sum(1), r)),
        seeded("before they are squared", lambda s, r: baseline(s.sum(1) ** 2, r)),
        seeded("first parameter", lambda s, r: baseline(s[:, 0] ** 2, r)),
        seeded("contain the reward", lambda s, r: baseline((r[:, None] * s).pow(2).sum(1), r)),
        seeded("fraction is upside down", lambda s, r: 1 / baseline((s**2).sum(1), r)),
        seeded("must return one number", lambda s, r: ((s**2).T @ r / (s**2).sum(0)).tolist()),
        seeded("one baseline for each parameter", lambda s, r: (s**2).T @ r / (s**2).sum(0)),
    ],
    "check_exact_variance": [
        seeded("mean square", lambda p, r, b: variance(p, r, b, subtract=False)),
        seeded("square of the mean", lambda p, r, b: ((p * (r - p @ r)) ** 2).sum()),
        seeded("baseline is not used", lambda p, r, b: variance(p, r, 0.0)),
        seeded(
            "count the same",
            lambda p, r, b: variance(p, r, b, chances=torch.full_like(p, 1 / len(p))),
        ),
        seeded(
            "e_y alone",
            lambda p, r, b: variance(p, r, b, scores=torch.eye(len(p), dtype=p.dtype)),
        ),
        seeded("components are averaged", lambda p, r, b: variance(p, r, b) / len(p)),
        seeded("variance of the reward", lambda p, r, b: p @ (r - p @ r) ** 2),
        seeded("square root", lambda p, r, b: variance(p, r, b).sqrt()),
    ],
}
