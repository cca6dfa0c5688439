"""Mistakes in the exercises of notebook 04."""

import math

import numpy as np
import torch

from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]


def importance(weights, rewards):
    return (weights * rewards).mean(), weights.sum() ** 2 / (weights**2).sum()


def weights_of(new, old, mask):
    return ((new - old) * mask).sum(dim=1).exp()


def fisher(pi, v, damping):
    return pi * v - pi * (pi @ v) + damping * v


def with_the_matrix(pi, v, damping):
    return (torch.diag(pi) - torch.outer(pi, pi)) @ v + damping * v


def with_the_matrix_in_numpy(pi, v, damping):
    p = pi.numpy()
    return torch.tensor((np.diag(p) - np.outer(p, p)) @ v.numpy()) + damping * v


def with_lists(pi, v, damping):
    matrix = [
        [p * ((i == j) - q) for j, q in enumerate(pi.tolist())] for i, p in enumerate(pi.tolist())
    ]
    rows = [sum(m * x for m, x in zip(row, v.tolist(), strict=True)) for row in matrix]
    return torch.tensor(rows, dtype=v.dtype) + damping * v


def steepest_descent(product, b, iterations):
    x = torch.zeros_like(b)
    for _ in range(iterations):
        r = b - product(x)
        x = x + (r @ r) / (r @ product(r)) * r
    return x


def conjugate(product, b, iterations, sign=-1, beta=None, alpha=None, give="x"):
    beta = beta or (lambda new, old: new / old)
    alpha = alpha or (lambda r, p, image: (r @ r) / (p @ image))
    x, r, p = torch.zeros_like(b), b, b
    for _ in range(iterations):
        image = product(p)
        length = alpha(r, p, image)
        x = x + length * p
        new = r + sign * length * image
        p = new + beta(new @ new, r @ r) * p
        r = new
    return {"x": x, "r": r, "p": p}[give]


def in_place(product, b, iterations):
    x, r, p = torch.zeros_like(b), b, b
    for _ in range(iterations):
        image = product(p)
        length = (r @ r) / (p @ image)
        x += length * p
        r -= length * image
    return x


def stale_residual(product, b, iterations):
    x, r, p = torch.zeros_like(b), b, b
    for _ in range(iterations):
        x = x + (r @ r) / (p @ product(p)) * p
        p = r + p
    return x


def search(evaluate, limit, shrink, tries, good, places=None, give=None, otherwise=0.0):
    places = range(tries) if places is None else places
    for k in places:
        fraction = shrink**k if give is None else give(k)
        if good(*evaluate(fraction), limit):
            return fraction
    return otherwise


def both(gain, kl, limit):
    return gain > 0 and kl <= limit


def falls_through(evaluate, limit, shrink, tries):
    fraction = 1.0
    for _ in range(tries):
        if both(*evaluate(fraction), limit):
            return fraction
        fraction *= shrink
    return fraction


def largest_gain(evaluate, limit, shrink, tries):
    best, most = 0.0, 0.0
    for k in range(tries):
        gain, kl = evaluate(shrink**k)
        if kl <= limit and gain > most:
            best, most = shrink**k, gain
    return best


def number_of_the_try(evaluate, limit, shrink, tries):
    for k in range(tries):
        if both(*evaluate(shrink**k), limit):
            return k
    return 0


def last_that_fits(evaluate, max_kl, shrink, tries):
    fraction = 0.0
    for k in range(tries):
        gain, kl = evaluate(shrink**k)
        if gain > 0 and kl <= max_kl:
            fraction = shrink**k
    return fraction


BANK: dict[str, list[Seeded]] = {
    "check_importance_estimate": [
        seeded("upside down", lambda n, o, r, m: importance(weights_of(o, n, m), r)),
        seeded(
            "padding is in", lambda n, o, r, m: importance(weights_of(n, o, torch.ones_like(m)), r)
        ),
        seeded("GSPO", lambda n, o, r, m: importance((((n - o) * m).sum(1) / m.sum(1)).exp(), r)),
        seeded(
            "added up; probabilities", lambda n, o, r, m: importance(((n - o).exp() * m).sum(1), r)
        ),
        seeded(
            "averaged; probabilities",
            lambda n, o, r, m: importance(((n - o).exp() * m).sum(1) / m.sum(1), r),
        ),
        seeded("first token", lambda n, o, r, m: importance((n - o)[:, 0].exp(), r)),
        seeded("logarithm of the ratio", lambda n, o, r, m: importance(((n - o) * m).sum(1), r)),
        seeded(
            "self-normalised",
            lambda n, o, r, m: (
                (weights_of(n, o, m) * r).sum() / weights_of(n, o, m).sum(),
                importance(weights_of(n, o, m), r)[1],
            ),
        ),
        seeded(
            "a share here",
            lambda n, o, r, m: (
                importance(weights_of(n, o, m), r)[0],
                importance(weights_of(n, o, m), r)[1] / len(r),
            ),
        ),
        seeded("are exchanged", lambda n, o, r, m: importance(weights_of(n, o, m), r)[::-1]),
        seeded("must return 2 numbers", lambda n, o, r, m: importance(weights_of(n, o, m), r)[0]),
    ],
    "check_fisher_product": [
        seeded("diagonal of the matrix", lambda p, v, d: p * v + d * v),
        seeded("wrong sign", lambda p, v, d: p * v + p * (p @ v) + d * v),
        seeded("diagonal is missing", lambda p, v, d: d * v - p * (p @ v)),
        seeded("multiplied by its probability", lambda p, v, d: v - p @ v + d * v),
        seeded("plain mean", lambda p, v, d: p * (v - v.mean()) + d * v),
        seeded("damping is missing", lambda p, v, d: fisher(p, v, 0.0)),
        seeded("added to every entry", lambda p, v, d: fisher(p, v, 0.0) + d),
        seeded("entry by entry", lambda p, v, d: p * v - p * p * v + d * v),
        seeded("this is a matrix", lambda p, v, d: p.diag() - p.outer(p) + d * torch.eye(len(p))),
        seeded("like vᵀFv", lambda p, v, d: v @ fisher(p, v, d)),
        seeded("K × K matrix is built", with_the_matrix),
        seeded("K × K matrix is built", with_the_matrix_in_numpy),
        seeded("K × K matrix is built", with_lists),
    ],
    "check_conjugate_gradient": [
        seeded("residual grows", lambda f, b, k: conjugate(f, b, k, sign=1)),
        seeded("upside down", lambda f, b, k: conjugate(f, b, k, beta=lambda n, o: o / n)),
        seeded("*squared*", lambda f, b, k: conjugate(f, b, k, beta=lambda n, o: (n / o).sqrt())),
        seeded("steepest descent", steepest_descent),
        seeded(
            "matrix belongs between",
            lambda f, b, k: conjugate(f, b, k, alpha=lambda r, p, i: (r @ r) / (p @ p)),
        ),
        seeded("residual is not updated", stale_residual),
        seeded("residual is returned", lambda f, b, k: conjugate(f, b, k, give="r")),
        seeded("direction is returned", lambda f, b, k: conjugate(f, b, k, give="p")),
        seeded("too few", lambda f, b, k: conjugate(f, b, k - 1)),
        seeded("too many", lambda f, b, k: conjugate(f, b, k + 1)),
        seeded("overwrites its input", in_place),
    ],
    "check_step_size": [
        seeded("½ of the quadratic", lambda x, f, kl: math.sqrt(kl / (x @ f))),
        seeded("wrong side", lambda x, f, kl: math.sqrt(0.5 * kl / (x @ f))),
        seeded("root is missing", lambda x, f, kl: 2 * kl / (x @ f)),
        seeded("measures the step in parameters", lambda x, f, kl: math.sqrt(2 * kl / (x @ x))),
        seeded("upside down", lambda x, f, kl: math.sqrt((x @ f) / (2 * kl))),
        seeded("used twice", lambda x, f, kl: math.sqrt(2 * kl / (f @ f))),
        seeded("not under the root", lambda x, f, kl: 2 * kl / math.sqrt(x @ f)),
        seeded("wrong shape", lambda x, f, kl: math.sqrt(2 * kl / (x @ f)) * x),
    ],
    "check_line_search": [
        seeded("KL is not checked", lambda *a: search(*a, good=lambda g, kl, d: g > 0)),
        seeded("gain is not checked", lambda *a: search(*a, good=lambda g, kl, d: kl <= d)),
        seeded("both must hold", lambda *a: search(*a, good=lambda g, kl, d: g > 0 or kl <= d)),
        seeded("exactly δ", lambda *a: search(*a, good=lambda g, kl, d: g > 0 and kl < d)),
        seeded(
            "full step is never tried",
            lambda *a: search(*a, good=both, places=range(1, a[3] + 1)),
        ),
        seeded("one fraction too many", lambda *a: search(*a, good=both, places=range(a[3] + 1))),
        seeded("one fraction too few", lambda *a: search(*a, good=both, places=range(a[3] - 1))),
        seeded("no step at all", lambda *a: search(*a, good=both, otherwise=a[2] ** (a[3] - 1))),
        seeded("the fraction after the last one is returned", falls_through),
        seeded("fraction with the largest gain", largest_gain),
        seeded("the last fraction that meets both", last_that_fits),
        seeded("gains exactly 0", lambda *a: search(*a, good=lambda g, kl, m: g >= 0 and kl <= m)),
        seeded(
            "the last one times `shrink`",
            lambda *a: search(*a, good=both, give=lambda k: 1 - k * (1 - a[2])),
        ),
        seeded("number of the try", number_of_the_try),
        seeded("does not return anything", lambda *a: search(*a, good=both, otherwise=None)),
    ],
}
