"""Mistakes in the derivations of notebooks 05 to 07, as a learner would enter them."""

import itertools
import math

import torch

from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]


def parts(pi, rewards):
    """E[(r − J)²|s|²], the variance of r, E|s|² and |∇J|²."""
    centred = rewards - pi @ rewards
    length = (pi**2).sum() - 2 * pi + 1
    slope = pi * centred
    return (
        (pi * centred**2 * length).sum(),
        pi @ centred**2,
        pi @ length,
        (slope**2).sum(),
    )


def loo(pi, rewards, n):
    a, sigma, length, slope = parts(pi, rewards)
    return (a + sigma * length / (n - 1) - (n - 2) / (n - 1) * slope) / n


def constant_j(pi, rewards, n):
    a, _, _, slope = parts(pi, rewards)
    return (a - slope) / n


def no_baseline(pi, rewards, n):
    slope = parts(pi, rewards)[3]
    length = (pi**2).sum() - 2 * pi + 1
    return ((pi * rewards**2 * length).sum() - slope) / n


def as_if_independent(pi, rewards, n):
    a, sigma, length, slope = parts(pi, rewards)
    return (a + sigma * length / (n - 1) - slope) / n


def second_moment(pi, rewards, n):
    return loo(pi, rewards, n) + parts(pi, rewards)[3]


def of_groups(groups, pi, rewards, n):
    second, first = 0.0, torch.zeros(len(pi), dtype=pi.dtype)
    scores = torch.eye(len(pi), dtype=pi.dtype) - pi
    for group in groups:
        r, chance = rewards[list(group)], pi[list(group)].prod()
        g = ((r - (r.sum() - r) / (n - 1))[:, None] * scores[list(group)]).mean(dim=0)
        second, first = second + chance * g @ g, first + chance * g
    return second - first @ first


def over_a_list_of_groups(pi, rewards, n):
    return of_groups([*itertools.product(range(len(pi)), repeat=n)], pi, rewards, n)


def limits(p, n):
    q = p * (1 - p)
    return math.sqrt(n - 1), 1 / math.sqrt(q), 1 / (8 * q**1.5)


def first(change):
    return lambda p, n: (change(p, n), *limits(p, n)[1:])


def second(change):
    return lambda p, n: (limits(p, n)[0], change(p), limits(p, n)[2])


def third(change):
    return lambda p, n: (*limits(p, n)[:2], change(p * (1 - p)))


def at_ends(w, a, b):
    old_new = -(w * math.log(a) + (1 - w) * math.log(b))
    return old_new, w * a * math.log(a) + (1 - w) * b * math.log(b)


def worst(low, high):
    return at_ends(high / (low + high), 1 - low, 1 + high)


def later(errors, gamma, lam, own=-1.0, front=None, decay=None, first=1):
    front = gamma * (1 - lam) if front is None else front
    decay = gamma * lam if decay is None else decay
    found = torch.zeros_like(errors)
    for t in range(len(errors)):
        rest = errors[t + first :]
        weights = decay ** torch.arange(len(rest), dtype=errors.dtype)
        found[t] = own * errors[t] + front * (weights * rest).sum()
    return found


BANK: dict[str, list[Seeded]] = {
    "check_loo_variance": [
        seeded("taken to be the constant J", constant_j),
        seeded("no baseline in it", no_baseline),
        seeded("shrinks every", lambda pi, r, n: loo(pi, r, n) * ((n - 1) / n) ** 2),
        seeded("treated as independent", as_if_independent),
        seeded("not divided by G", lambda pi, r, n: n * loo(pi, r, n)),
        seeded("once too often", lambda pi, r, n: loo(pi, r, n) / n),
        seeded("still to be subtracted", second_moment),
        seeded("standard deviation", lambda pi, r, n: loo(pi, r, n).sqrt()),
        seeded("one answer more", lambda pi, r, n: loo(pi, r, n + 1)),
        seeded("times G/(G − 1)", lambda pi, r, n: n / (n - 1) * constant_j(pi, r, n)),
        seeded("go through none of them", over_a_list_of_groups),
        seeded("should be K or G", lambda pi, r, n: loo(pi, r, min(n, 4))),
    ],
    "check_multiplier_limits": [
        seeded("not 1/√G", first(lambda p, n: math.sqrt(n))),
        seeded("How often does such a group", first(lambda p, n: math.sqrt(n - 1) / n)),
        seeded("before p becomes small", first(lambda p, n: 1e4)),
        seeded("that is the std; the multiplier", second(lambda p: math.sqrt(p * (1 - p)))),
        seeded("variance stands where", second(lambda p: 1.0)),
        seeded("1 − p is missing", second(lambda p: 1 / math.sqrt(p))),
        seeded("third number: the sign", third(lambda q: -1 / (8 * q**1.5))),
        seeded("factor ½", third(lambda q: 1 / (4 * q**1.5))),
        seeded("correction of the mean std", third(lambda q: 1 / (8 * q**0.5))),
        seeded("first-order term", third(lambda q: 0.0)),
        seeded("A closed form is asked for", third(lambda q: 1.003 / (8 * q**1.5))),
    ],
    "check_worst_kl": [
        seeded("both ends are equally probable", lambda a, b: at_ends(0.5, 1 - a, 1 + b)),
        seeded("of the two ends are exchanged", lambda a, b: at_ends(a / (a + b), 1 - a, 1 + b)),
        seeded("lower end everywhere", lambda a, b: at_ends(1.0, 1 - a, 1 + b)),
        seeded("upper end everywhere", lambda a, b: at_ends(0.0, 1 - a, 1 + b)),
        seeded("with probability 1", lambda a, b: (-math.log(1 - a), (1 + b) * math.log(1 + b))),
        seeded("bounds the logarithm", lambda a, b: (-math.log(1 - a), math.log(1 + b))),
        seeded("two directions are exchanged", lambda a, b: worst(a, b)[::-1]),
        seeded("second-order approximation", lambda a, b: (a * b / 2, a * b / 2)),
        seeded("the same direction", lambda a, b: (worst(a, b)[0], worst(a, b)[0])),
        seeded("as far from 1 as the lower end", lambda a, b: worst(a, a)),
        seeded("a KL is never negative", lambda a, b: (-worst(a, b)[0], -worst(a, b)[1])),
    ],
    "check_gae_error": [
        seeded("the sign of the error at t", lambda e, g, lam: later(e, g, lam, own=1.0)),
        seeded("error at t itself is missing", lambda e, g, lam: later(e, g, lam, own=0.0)),
        seeded("λ = 1 only", lambda e, g, lam: -e),
        seeded("λ = 0 only", lambda e, g, lam: later(e, g, 0.0)),
        seeded("1 − λ is missing", lambda e, g, lam: later(e, g, lam, front=g)),
        seeded("in front of the sum", lambda e, g, lam: later(e, g, lam, front=1 - lam)),
        seeded("with λ alone", lambda e, g, lam: later(e, g, lam, decay=lam)),
        seeded("with γ alone", lambda e, g, lam: later(e, g, lam, decay=g)),
        seeded("begins at the next one", lambda e, g, lam: later(e, g, lam, first=0)),
        seeded("wrong sign", lambda e, g, lam: later(e, g, lam, front=-g * (1 - lam))),
    ],
}
