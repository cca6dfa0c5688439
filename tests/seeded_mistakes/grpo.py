"""Mistakes in the exercises of notebooks 06 and 07."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]


# -------------------------------------------------------------------------------- group advantages


def z(r, n, dim=1, correction=0, eps=1e-6):
    g = r.view(-1, n)
    return (
        (g - g.mean(dim, keepdim=True)) / (g.std(dim, keepdim=True, correction=correction) + eps)
    ).flatten()


def z_of_columns(r, n):
    g = r.view(n, -1)
    return ((g - g.mean(0)) / (g.std(0, correction=0) + 1e-6)).flatten()


def z_written_over_rewards(r, n):
    g = r.view(-1, n)
    std = g.std(1, keepdim=True, correction=0)
    g -= g.mean(1, keepdim=True)
    g /= std + 1e-6
    return r


def z_in_numpy(r, n):
    return z(r, n).numpy()


def centred(r, n):
    g = r.view(-1, n)
    return (g - g.mean(1, keepdim=True)).flatten()


def over_variance(r, n):
    g = r.view(-1, n)
    return ((g - g.mean(1, keepdim=True)) / (g.var(1, keepdim=True, correction=0) + 1e-6)).flatten()


def unwritten(*arguments):
    """What a learner's function returns when the last line is missing."""


def out_of_range(r, n):
    return [r[i] for i in range(len(r) + 1)]


def std_of_the_batch(r, n):
    return centred(r, n) / (r.std(correction=0) + 1e-6)


def clamped_std(r, n):
    g = r.view(-1, n)
    return (
        (g - g.mean(1, keepdim=True)) / g.std(1, keepdim=True, correction=0).clamp(min=1e-9)
    ).flatten()


def one_missing_silences_all(rewards, size):
    return z(rewards, size).nan_to_num()


GROUP = [
    seeded("ddof=1", lambda r, n: z(r, n, correction=1)),
    seeded("whole batch", lambda r, n: (r - r.mean()) / (r.std(correction=0) + 1e-6)),
    seeded("wrong axis", lambda r, n: z(r, n, dim=0)),
    seeded("wrong axis", z_of_columns),
    seeded("not divided by the standard deviation", centred),
    seeded("variance", over_variance),
    seeded("zero spread", lambda r, n: z(r, n, eps=0.0)),
    seeded("rounding", clamped_std),
    seeded("too large", lambda r, n: z(r, n, eps=0.1)),
    seeded("sign is flipped", lambda r, n: -z(r, n)),
    seeded("std is that of the whole batch", std_of_the_batch),
    seeded("overwrites its input `rewards`", z_written_over_rewards),
    seeded("wrong shape", lambda r, n: z(r, n).view(-1, n)),
    seeded("must return a torch.Tensor", z_in_numpy),
    seeded("wrong dtype", lambda r, n: z(r, n).round().long()),
    seeded("not written yet", unwritten),
    seeded("IndexError", out_of_range),
    seeded("counts in neither mean nor std", z),
    seeded("counted as a reward of 0", lambda r, n: z(r.nan_to_num(), n)),
    seeded(
        "counted as a reward of 0",
        lambda r, n: torch.where(r.isnan(), 0.0, z(r.nan_to_num(), n)),
    ),
    seeded("count the verdicts that there are", one_missing_silences_all),
]


# ----------------------------------------------------------------------------------- leave one out


def loo(r, n):
    g = r.view(-1, n)
    return (g - (g.sum(1, keepdim=True) - g) / (n - 1)).flatten()


def over_all(r, n):
    g = r.view(-1, n)
    return (g - (g.sum(1, keepdim=True) - g) / n).flatten()


def itself_in_the_sum(r, n):
    g = r.view(-1, n)
    return (g - g.sum(1, keepdim=True) / (n - 1)).flatten()


def loo_down_the_columns(r, n):
    g = r.view(-1, n)
    return (g - (g.sum(0) - g) / (len(g) - 1)).flatten()


LOO = [
    seeded("contains the answer itself", centred),
    seeded("divided by G", over_all),
    seeded("sum still contains", itself_in_the_sum),
    seeded("baseline alone", lambda r, n: r - loo(r, n)),
    seeded("sign is flipped", lambda r, n: -loo(r, n)),
    seeded("wrong axis", loo_down_the_columns),
    seeded("whole batch", lambda r, n: r - (r.sum() - r) / (len(r) - 1)),
    seeded("does not divide by a standard deviation", lambda r, n: loo(r, n) / std_rows(r, n)),
    seeded("upside down", lambda r, n: centred(r, n) * (n - 1) / n),
    seeded("summed, not averaged", lambda r, n: r - ((r - loo(r, n)) * (n - 1))),
    seeded("overwrites its input `rewards`", lambda r, n: r.copy_(loo(r, n))),
    seeded("wrong shape", lambda r, n: loo(r, n)[:, None]),
]


def std_rows(r, n):
    return r.view(-1, n).std(1, keepdim=True, correction=0).expand(-1, n).flatten()


# --------------------------------------------------------------------------------------------- k3


def exp(x):
    return torch.exp(x)


K3 = [
    seeded("direction is flipped", lambda lp, ref: exp(lp - ref) - 1 - (lp - ref)),
    seeded("this is k1,", lambda lp, ref: lp - ref),
    seeded("sign flipped", lambda lp, ref: ref - lp),
    seeded("k2", lambda lp, ref: 0.5 * (lp - ref) ** 2),
    seeded("constant is missing", lambda lp, ref: exp(ref - lp) + (lp - ref)),
    seeded("do not fit together", lambda lp, ref: exp(ref - lp) - 1 - (lp - ref)),
    seeded("upside down", lambda lp, ref: exp(lp - ref) - 1 + (lp - ref)),
    seeded("the log-ratio itself", lambda lp, ref: exp(ref - lp) - 1),
    seeded("wrong shape", lambda lp, ref: (exp(ref - lp) - 1 + lp - ref).mean()),
    seeded("no gradient flows", lambda lp, ref: (exp(ref - lp) - 1 + lp - ref).detach()),
    seeded("only through the log-ratio", lambda lp, ref: exp(ref - lp).detach() - 1 + lp - ref),
    seeded("through the exponential, not", lambda lp, ref: exp(ref - lp) - 1 + (lp - ref).detach()),
]


def score_function_gradient(pi, q):
    """The gradient of the expectation, with the sampling differentiated as well."""
    theta = pi.log().requires_grad_()
    logp = theta.log_softmax(-1)
    kl = (logp.exp() * (logp - q.log())).sum()
    return torch.autograd.grad(kl, theta)[0]


K3_GRADIENT = [
    seeded("sign is flipped", lambda pi, q: q - pi),
    seeded("KL(π‖π_ref)", score_function_gradient),
    seeded("expectation over tokens", lambda pi, q: 1 - q / pi),
    seeded("normaliser", lambda pi, q: pi * (1 - q / pi) * (1 - pi)),
    seeded("over the reference", lambda pi, q: q * (1 - q / pi) - pi * (q * (1 - q / pi)).sum()),
    seeded("upside down", lambda pi, q: pi * (1 - pi / q) - pi * (pi * (1 - pi / q)).sum()),
    seeded("which vanishes", lambda pi, q: torch.zeros_like(pi)),
    seeded("wrong shape", lambda pi, q: (pi - q).sum()),
]

RIGHT_DIRECTIONS = {"k1": "nothing", "k2": "reverse", "k3": "forward", "rho*k3": "reverse"}


def answering(**changed: str) -> Callable[[str], str]:
    answers = RIGHT_DIRECTIONS | {key.replace("_", "*"): answer for key, answer in changed.items()}
    return lambda estimator: answers[estimator]


DIRECTIONS = [
    seeded("mixing up the KL that k3 estimates", answering(k3="reverse")),
    seeded("E[∇log π]", answering(k1="reverse")),
    seeded("where it is biased", answering(k2="forward")),
    seeded("ρ is 1 as a number", answering(rho_k3="forward")),
    seeded("must return one of", answering(k2="backward")),
    seeded("KeyError", lambda estimator: {"k1": "nothing"}[estimator]),
    seeded("not written yet", unwritten),
]


# ------------------------------------------------------------------------------------------ masks


def one_too_many(ids, eos):
    is_eos = (ids == eos).int()
    before = is_eos.cumsum(1) - is_eos
    return torch.cat([torch.zeros(len(ids), 1), before[:, :-1]], dim=1) == 0


def up_to_the_last(ids, eos):
    is_eos = ids == eos
    ends_later = is_eos.flip(1).cumsum(1).flip(1) > 0
    return ends_later | ~is_eos.any(1, keepdim=True)


def shifted(ids, eos):
    mask = right_mask(ids, eos)
    mask[:, 0] = False
    return mask


def needs_an_end(ids, eos):
    is_eos = (ids == eos).int()
    return (is_eos.cumsum(1) - is_eos == 0) & (is_eos.sum(1, keepdim=True) > 0)


MASK = [
    seeded("end-of-sequence token is masked out", lambda ids, eos: (ids == eos).cumsum(1) == 0),
    seeded("wherever they stand", lambda ids, eos: ids != eos),
    seeded("nothing is masked", lambda ids, eos: torch.ones_like(ids).bool()),
    seeded("wrong way round", lambda ids, eos: ~right_mask(ids, eos)),
    seeded("one token too many", one_too_many),
    seeded("cut off", needs_an_end),
    seeded("runs to the last", up_to_the_last),
    seeded("until a second one", lambda ids, eos: (ids == eos).cumsum(1) <= 1),
    seeded("first token of each answer", shifted),
    seeded("only the end-of-sequence", lambda ids, eos: ids == eos),
    seeded("wrong dtype", lambda ids, eos: right_mask(ids, eos).int()),
    seeded("wrong shape", lambda ids, eos: right_mask(ids, eos).sum(1).bool()),
    seeded("overwrites its input `completion_ids`", lambda ids, eos: ids.sub_(eos).bool()),
]


def right_mask(ids, eos):
    is_eos = (ids == eos).int()
    return is_eos.cumsum(1) - is_eos == 0


# --------------------------------------------------------------------------------------- averages


def kept(x, m):
    return torch.where(m, x, 0.0)


def sequence(x, m):
    return (kept(x, m).sum(1) / m.sum(1)).mean()


def token(x, m):
    return kept(x, m).sum() / m.sum()


def constant(x, m, n):
    return kept(x, m).sum() / (len(x) * n)


def by_columns(x, m):
    return (kept(x, m).sum(0) / m.sum(0).clamp(min=1)).mean()


AVERAGES = [
    seeded("token average", token, token, constant),
    seeded("padding is averaged in", lambda x, m: x.mean(), token, constant),
    seeded("counted in the denominator", lambda x, m: kept(x, m).mean(1).mean(), token, constant),
    seeded("still in the sum", lambda x, m: (x.sum(1) / m.sum(1)).mean(), token, constant),
    seeded("wrong axis", by_columns, token, constant),
    seeded("added up", lambda x, m: sequence(x, m) * len(x), token, constant),
    seeded("1/|o| is missing", lambda x, m: kept(x, m).sum(1).mean(), token, constant),
    seeded("gives nan and not 0", lambda x, m: ((x * m).sum(1) / m.sum(1)).mean(), token, constant),
    seeded("wrong shape", lambda x, m: kept(x, m).sum(1) / m.sum(1), token, constant),
    seeded("every token should weigh the same", sequence, sequence, constant),
    seeded("number of answers", sequence, lambda x, m: kept(x, m).sum() / len(x), constant),
    seeded("leftover 1/|o|", sequence, token, lambda x, m, n: sequence(x, m) / n),
    seeded("number of answers is missing", sequence, token, lambda x, m, n: kept(x, m).sum() / n),
    seeded("width of the padded batch", sequence, token, lambda x, m, n: kept(x, m).mean()),
    seeded("constant is missing", sequence, token, lambda x, m, n: kept(x, m).sum() / len(x)),
    seeded("token average", sequence, token, lambda x, m, n: token(x, m)),
    seeded("no gradient", lambda x, m: sequence(x, m).detach(), token, constant),
]


def weights(sequence=None, token=None, constant=None):
    """Right weights, apart from the average that is given."""
    right = {
        "sequence": lambda o, n: [1 / (len(o) * x) for x in o],
        "token": lambda o, n: [1 / sum(o)] * len(o),
        "constant": lambda o, n: [1 / (len(o) * n)] * len(o),
    }
    given = {"sequence": sequence, "token": token, "constant": constant}
    chosen = {key: given[key] or right[key] for key in right}
    return lambda o, average, n: chosen[average](o, n)


WEIGHTS = [
    seeded("average over the answers is missing", weights(lambda o, n: [1 / x for x in o])),
    seeded("token average", weights(lambda o, n: [1 / sum(o) for _ in o])),
    seeded("whole answer", weights(lambda o, n: [1 / len(o) for _ in o])),
    seeded("upside down", weights(lambda o, n: [x / len(o) for x in o])),
    seeded("sequence average", weights(token=lambda o, n: [1 / (len(o) * x) for x in o])),
    seeded("one time too many", weights(token=lambda o, n: [1 / (len(o) * sum(o)) for _ in o])),
    seeded("leftover 1/|o|", weights(constant=lambda o, n: [1 / (len(o) * x * n) for x in o])),
    seeded("longest answer", weights(constant=lambda o, n: [1 / (len(o) * max(o)) for _ in o])),
    seeded("wrong shape", weights(lambda o, n: [1 / sum(o)])),
    seeded("must return a list", weights(lambda o, n: 1 / sum(o))),
    seeded(
        "overwrites its input `lengths`", weights(lambda o, n: [1 / o.pop() for _ in range(len(o))])
    ),
]


# ------------------------------------------------------------------------------------------ losses


def grpo(lp, old, a, m, clip, *, act=None, column=None, reduce=None, ratio=None):
    """A right GRPO loss whose parts can be exchanged."""
    a, old = a.detach(), old.detach()
    ratio = torch.exp(lp - old) if ratio is None else ratio(lp, old)
    column = a[:, None] if column is None else column(a)

    def clipped(r, c):
        return torch.minimum(r * c, r.clamp(1 - clip, 1 + clip) * c)

    surrogate = (act or clipped)(ratio, column)
    return reduce(surrogate, m) if reduce else -((surrogate * m).sum(1) / m.sum(1)).mean()


def but(**parts: Callable[..., Any]) -> Callable[..., Any]:
    """``grpo`` with other parts; ``act`` also gets the clip."""

    def loss(lp, old, a, m, clip):
        given = dict(parts)
        if "act" in given:
            act = given["act"]
            given["act"] = lambda r, c: act(r, c, clip)
        return grpo(lp, old, a, m, clip, **given)

    return loss


def without_eos(lp, old, a, m, clip):
    last = m.sum(1) - 1
    m = m.clone()
    m[torch.arange(len(m)), last] = False
    return grpo(lp, old, a, m, clip)


def missing_detach(lp, old, a, m, clip):
    ratio, c = torch.exp(lp - old), a[:, None]
    surrogate = torch.minimum(ratio * c.detach(), ratio.clamp(1 - clip, 1 + clip) * c.detach())
    return -((surrogate * m).sum(1) / m.sum(1)).mean()


def missing_detach_of_advantages(lp, old, a, m, clip):
    ratio, c = torch.exp(lp - old.detach()), a[:, None]
    surrogate = torch.minimum(ratio * c, ratio.clamp(1 - clip, 1 + clip) * c)
    return -((surrogate * m).sum(1) / m.sum(1)).mean()


def max_of_losses(r, c, clip):
    return -torch.minimum(-r * c, -r.clamp(1 - clip, 1 + clip) * c)


def through_the_clip(r, c, clip):
    value = torch.minimum(r * c, r.clamp(1 - clip, 1 + clip) * c)
    return r * c + (value - r * c).detach()


GRPO = [
    seeded("sign is flipped", lambda *x: -grpo(*x)),
    seeded("wrong axis", but(column=lambda a: a)),
    seeded("padding is averaged in", but(reduce=lambda s, m: -s.mean())),
    seeded("counted in the length", but(reduce=lambda s, m: -(s * m).mean(1).mean())),
    seeded("still in the sum", but(reduce=lambda s, m: -(s.sum(1) / m.sum(1)).mean())),
    seeded("DAPO", but(reduce=lambda s, m: -(s * m).sum() / m.sum())),
    seeded("1/|o| is missing", but(reduce=lambda s, m: -(s * m).sum(1).mean())),
    seeded("should be averaged", but(reduce=lambda s, m: -((s * m).sum(1) / m.sum(1)).sum())),
    seeded("end-of-sequence token is masked out", without_eos),
    seeded("no clip", but(act=lambda r, c, clip: r * c)),
    seeded("only the clipped", but(act=lambda r, c, clip: r.clamp(1 - clip, 1 + clip) * c)),
    seeded("more optimistic", but(act=max_of_losses)),
    seeded("smaller ratio", but(act=lambda r, c, clip: r.clamp(max=1 + clip) * c)),
    seeded("fixed at 0.2", lambda lp, old, a, m, clip: grpo(lp, old, a, m, 0.2)),
    seeded("upside down", but(ratio=lambda lp, old: torch.exp(old - lp))),
    seeded("difference of log-probabilities", but(ratio=lambda lp, old: lp - old)),
    seeded("divided by each other", but(ratio=lambda lp, old: lp / old)),
    seeded("plain policy gradient", but(ratio=lambda lp, old: lp, act=lambda r, c, clip: r * c)),
    seeded("flows through `old_logprobs`", missing_detach),
    seeded("flows through `advantages`", missing_detach_of_advantages),
    seeded("no gradient flows", lambda *x: grpo(*x).detach()),
    seeded("where the clip is active", but(act=through_the_clip)),
    seeded("one number per answer", but(reduce=lambda s, m: -(s * m).sum(1) / m.sum(1))),
    seeded(
        "overwrites its input `logprobs`",
        lambda lp, old, a, m, clip: grpo(lp, old, a, m, clip) * over(lp),
    ),
]


def over(x):
    with torch.no_grad():
        x.sub_(1.0)
    return 1.0


def dr(advantage=centred, divide=None):
    """A right Dr. GRPO loss whose two changes can be undone."""

    def loss(lp, old, rewards, m, n, longest, clip):
        column, ratio = advantage(rewards, n)[:, None], torch.exp(lp - old)
        surrogate = torch.minimum(ratio * column, ratio.clamp(1 - clip, 1 + clip) * column)
        total = (surrogate * m).sum(1)
        return -(divide(total, m, longest) if divide else total / longest).mean()

    return loss


DR_GRPO = [
    seeded("still GRPO", dr(z, lambda total, m, longest: total / m.sum(1))),
    seeded("leftover 1/|o|", dr(divide=lambda total, m, longest: total / m.sum(1))),
    seeded("leftover std", dr(z)),
    seeded("width of the padded batch", dr(divide=lambda total, m, longest: total / m.shape[1])),
    seeded("longest answer of this batch", dr(divide=lambda total, m, _: total / m.sum(1).max())),
    seeded("token average", dr(divide=lambda total, m, _: total.sum() / m.sum())),
    seeded("max_length is missing", dr(divide=lambda total, m, longest: total)),
    seeded("in addition", dr(divide=lambda total, m, longest: total / m.sum(1) / longest)),
    seeded("should be averaged", dr(divide=lambda total, m, longest: total.sum() / longest)),
    seeded("raw rewards", dr(lambda r, n: r)),
    seeded("over the whole batch", dr(lambda r, n: r - r.mean())),
    seeded("sign is flipped", lambda *x: -dr()(*x)),
    seeded("overwrites its input `rewards`", dr(lambda r, n: r.copy_(centred(r, n)))),
]


# ------------------------------------------------------------------------------------ expectations


def chances(p, n, comb=math.comb):
    return [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def roots(n, correction=1.0):
    return [math.sqrt(correction * k / n * (1 - k / n)) for k in range(n + 1)]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


MULTIPLIER = [
    seeded("limit", lambda p, n: 1 / math.sqrt(p * (1 - p))),
    seeded("not divided by p(1 − p)", lambda p, n: dot(chances(p, n), roots(n))),
    seeded(
        "square root is missing",
        lambda p, n: dot(chances(p, n), [x * x for x in roots(n)]) / p / (1 - p),
    ),
    seeded(
        "binomial coefficient",
        lambda p, n: dot(chances(p, n, lambda n, k: 1), roots(n)) / p / (1 - p),
    ),
    seeded("equally likely", lambda p, n: sum(roots(n)) / (n + 1) / p / (1 - p)),
    seeded("without their probabilities", lambda p, n: sum(roots(n)) / p / (1 - p)),
    seeded("which is ∇p", lambda p, n: dot(chances(p, n), roots(n)) / math.sqrt(p * (1 - p))),
    seeded("ddof=1", lambda p, n: dot(chances(p, n), roots(n, n / (n - 1))) / p / (1 - p)),
    seeded(
        "are left out",
        lambda p, n: dot(chances(p, n), roots(n)) / p / (1 - p) / (1 - p**n - (1 - p) ** n),
    ),
    seeded("number K", lambda p, n: n * dot(chances(p, n), roots(n)) / p / (1 - p)),
    seeded("one number", lambda p, n: roots(n)),
    seeded("ZeroDivisionError", lambda p, n: 1 / (n - n)),
]


def pull(
    *, ddof=0, std=True, centre=0.5, half=0.5, chance=True, weigh=True, first=False, turn=None
):
    """A right expected pull whose parts can be exchanged."""

    def expected_pull(p, n, weights, short, long):
        out = {1: 0.0, 0: 0.0}
        for group in itertools.product(itertools.product((0, 1), (short, long)), repeat=n):
            rewards = np.array([state for state, _ in group], dtype=float)
            a = rewards - rewards.mean()
            if std:
                a = np.zeros(n) if rewards.std() == 0 else a / rewards.std(ddof=ddof)
            w = weights([length for _, length in group]) if weigh else [1 / n] * n
            c = math.prod((p if s else 1 - p) if chance else 0.5 for s, _ in group) * half**n
            for i, (state, length) in enumerate(group[:1] if first else group):
                out[state] += c * a[i] * w[i] * ((length == long) - centre)
        return turn(out[1], out[0], p, n) if turn else (out[1], out[0])

    return expected_pull


PULL = [
    seeded("ddof=1", pull(ddof=1)),
    seeded("not divided by the std", pull(std=False)),
    seeded("not centred", pull(centre=0.0)),
    seeded("probabilities are incomplete", pull(half=1.0)),
    seeded("every group counts the same", pull(chance=False)),
    seeded("weights are not used", pull(weigh=False)),
    seeded("only one answer", pull(first=True)),
    seeded("swapped", pull(turn=lambda r, w, p, n: (w, r))),
    seeded("sign is flipped", pull(turn=lambda r, w, p, n: (-r, -w))),
    seeded("conditional", pull(turn=lambda r, w, p, n: (r / p, w / (1 - p)))),
    seeded("number of groups", pull(turn=lambda r, w, p, n: (r / 4**n, w / 4**n))),
    seeded("G times too large", pull(turn=lambda r, w, p, n: (r * n, w * n))),
    seeded("one sum", pull(turn=lambda r, w, p, n: (r + w, r + w))),
    seeded("2 numbers", pull(turn=lambda r, w, p, n: r + w)),
]

BANK: dict[str, list[Seeded]] = {
    "check_group_advantages": GROUP,
    "check_leave_one_out_advantages": LOO,
    "check_k3": K3,
    "check_k3_gradient": K3_GRADIENT,
    "check_kl_directions": DIRECTIONS,
    "check_completion_mask": MASK,
    "check_grpo_loss": GRPO,
    "check_averages": AVERAGES,
    "check_token_weights": WEIGHTS,
    "check_std_multiplier": MULTIPLIER,
    "check_expected_pull": PULL,
    "check_dr_grpo_loss": DR_GRPO,
}
