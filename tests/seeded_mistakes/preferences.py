"""Mistakes in the exercises of notebooks 01 and 02."""

import math

import torch
import torch.nn.functional as F

from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]


def bt(margin):
    return -F.logsigmoid(margin).mean()


def margin(w, x, rw, rx):
    return (w - rw.detach()) - (x - rx.detach())


def weight(w, x, rw, rx, b):
    return torch.sigmoid(-b * margin(w, x, rw, rx))


def simpo(w, x, n, m, b, g):
    return bt(b * w / n - b * x / m - g)


def powers(p, n):
    return torch.diff(p.cumsum(0) ** n, prepend=torch.zeros_like(p[:1]))


def coins(q, p):
    return q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))


def at_least_one(p, n):
    return 1 - (1 - p) ** n


def ece(confidence, correct, bins, gap=None, weigh=True, reduce=sum):
    gap = gap or (lambda c, r: (c.mean() - r.mean()).abs())
    place = (confidence * bins).long().clamp(max=bins - 1)
    gaps = []
    for b in range(bins):
        here = place == b
        if here.any():
            share = here.sum() / len(confidence) if weigh else 1.0
            gaps.append(share * gap(confidence[here], correct[here]))
    return reduce(gaps)


def ece_with_empty_bins(confidence, correct, bins):
    place = (confidence * bins).long()
    means = [
        (confidence[place == b].mean() - correct[place == b].mean()).abs() for b in range(2 * bins)
    ]
    return sum(means) / bins


def mean(gaps):
    return sum(gaps) / len(gaps)


def normal(x):
    return x / x.sum()


def ece_in(place, c, r, bins):
    total = 0.0
    for b in range(bins):
        here = place == b
        if here.any():
            total += here.sum() / len(c) * (c[here].mean() - r[here].mean()).abs()
    return total


def ece_between(c, r, bins):
    place = torch.full_like(c, -1)
    for b in range(bins):
        place[(c > b / bins) & (c < (b + 1) / bins)] = b
    return ece_in(place, c, r, bins)


def either(h, e):
    return (1 - e) * bt(h) + e * bt(-h)


def subtracted(w, x, rw, rx, b, e):
    h = b * margin(w, x, rw, rx)
    return (1 - e) * bt(h) - e * bt(-h)


def added_on_top(w, x, rw, rx, b, e):
    h = b * margin(w, x, rw, rx)
    return bt(h) + e * bt(-h)


def mixed_inside(w, x, rw, rx, b, e):
    h = b * margin(w, x, rw, rx)
    return -((1 - e) * torch.sigmoid(h) + e * torch.sigmoid(-h)).log().mean()


def tokens(rule):
    return lambda c, r, cm, rm, b, g: rule(
        (c * cm).sum(1), (r * rm).sum(1), cm.sum(1), rm.sum(1), b, g
    )


def together(w, x, n, m, b, g):
    return bt(b * (w.sum() / n.sum() - x.sum() / m.sum()) - g)


BANK: dict[str, list[Seeded]] = {
    "check_bradley_terry_loss": [
        seeded("sign is flipped", lambda w, x: F.logsigmoid(w - x).mean()),
        seeded("are exchanged", lambda w, x: bt(x - w)),
        seeded("logarithm is missing", lambda w, x: -torch.sigmoid(w - x).mean()),
        seeded("sigmoid is missing", lambda w, x: (x - w).mean()),
        seeded("rounds to 0", lambda w, x: -torch.log(torch.sigmoid(w - x)).mean()),
        seeded("rounds to 0", lambda w, x: torch.log(1 + torch.exp(x - w)).mean()),
        seeded("rounds to 0", lambda w, x: -torch.log(w.exp() / (w.exp() + x.exp())).mean()),
        seeded("its own sigmoid", lambda w, x: -(F.logsigmoid(w) + F.logsigmoid(-x)).mean()),
        seeded("averaged before", lambda w, x: -F.logsigmoid((w - x).mean())),
        seeded("added up; average", lambda w, x: -F.logsigmoid(w - x).sum()),
        seeded("hinge", lambda w, x: F.relu(1 - w + x).mean()),
        seeded("one number per pair", lambda w, x: -F.logsigmoid(w - x)),
        seeded("no gradient flows", lambda w, x: bt(w - x).detach()),
    ],
    "check_regularised_optimum": [
        seeded("too large or too small", lambda p, r, b: normal(p * (r / b).exp())),
        seeded("reference is missing", lambda p, r, b: torch.softmax(r / b, 0)),
        seeded("do not add up to 1", lambda p, r, b: p * (r / b).exp()),
        seeded("β multiplies", lambda p, r, b: torch.softmax(p.log() + b * r, 0)),
        seeded("β is not used", lambda p, r, b: torch.softmax(p.log() + r, 0)),
        seeded("bad answers become more likely", lambda p, r, b: torch.softmax(p.log() - r / b, 0)),
        seeded("not its logarithm", lambda p, r, b: torch.softmax(p + r / b, 0)),
        seeded("power 1/β", lambda p, r, b: torch.softmax((p.log() + r) / b, 0)),
        seeded(
            "all probability is on the best", lambda p, r, b: F.one_hot(r.argmax(), len(p)).double()
        ),
    ],
    "check_dpo_loss": [
        seeded("ε has no effect", lambda w, x, rw, rx, b, e: bt(b * margin(w, x, rw, rx))),
        seeded(
            "the probabilities ε and 1 − ε",
            lambda *given: either(given[4] * margin(*given[:4]), 1 - given[5]),
        ),
        seeded(
            "the sign inside the sigmoid",
            lambda *given: either(-given[4] * margin(*given[:4]), given[5]),
        ),
        seeded("is subtracted", subtracted),
        seeded("not the two probabilities inside", mixed_inside),
        seeded(
            "the margin is averaged",
            lambda w, x, rw, rx, b, e: bt((1 - 2 * e) * b * margin(w, x, rw, rx)),
        ),
        seeded("has the weight 1", added_on_top),
        seeded("reference is missing", lambda w, x, rw, rx, b, e: either(b * (w - x), e)),
        seeded("β is not used", lambda w, x, rw, rx, b, e: either(margin(w, x, rw, rx), e)),
        seeded(
            "inside the sigmoid", lambda w, x, rw, rx, b, e: b * either(margin(w, x, rw, rx), e)
        ),
        seeded("sign of the loss", lambda w, x, rw, rx, b, e: -either(b * margin(w, x, rw, rx), e)),
        seeded(
            "instead of cancelling",
            lambda w, x, rw, rx, b, e: either(b * margin(w, x, rw, -rx), e),
        ),
        seeded(
            "references of the two", lambda w, x, rw, rx, b, e: either(b * margin(w, x, rx, rw), e)
        ),
        seeded(
            "added up; average",
            lambda w, x, rw, rx, b, e: len(w) * either(b * margin(w, x, rw, rx), e),
        ),
        seeded(
            "ratio of probabilities",
            lambda w, x, rw, rx, b, e: either(b * ((w - rw).exp() - (x - rx).exp()), e),
        ),
        seeded(
            "computes log σ as a whole",
            lambda w, x, rw, rx, b, e: (
                -(
                    (1 - e) * torch.sigmoid(b * margin(w, x, rw, rx)).log()
                    + e * torch.sigmoid(-b * margin(w, x, rw, rx)).log()
                ).mean()
            ),
        ),
        seeded(
            "a detach is missing",
            lambda w, x, rw, rx, b, e: either(b * ((w - rw) - (x - rx)), e),
        ),
    ],
    "check_dpo_weight": [
        seeded(
            "where it is *small*", lambda w, x, rw, rx, b: torch.sigmoid(b * margin(w, x, rw, rx))
        ),
        seeded("β is not used", lambda w, x, rw, rx, b: weight(w, x, rw, rx, 1.0)),
        seeded("also in front", lambda w, x, rw, rx, b: b * weight(w, x, rw, rx, b)),
        seeded("reference is missing", lambda w, x, rw, rx, b: torch.sigmoid(b * (x - w))),
        seeded(
            "σ(1 − σ)",
            lambda w, x, rw, rx, b: weight(w, x, rw, rx, b) * (1 - weight(w, x, rw, rx, b)),
        ),
        seeded(
            "loss of each pair", lambda w, x, rw, rx, b: -F.logsigmoid(b * margin(w, x, rw, rx))
        ),
        seeded("add up to 1", lambda w, x, rw, rx, b: F.normalize(weight(w, x, rw, rx, b), 1, 0)),
        seeded("0 or 1", lambda w, x, rw, rx, b: (margin(w, x, rw, rx) < 0).double()),
    ],
    "check_simpo_loss": [
        seeded(name, tokens(rule))
        for name, rule in (
            ("lengths are not used", lambda w, x, n, m, b, g: bt(b * (w - x) - g)),
            ("γ is added", lambda w, x, n, m, b, g: simpo(w, x, n, m, b, -g)),
            ("γ is missing", lambda w, x, n, m, b, g: simpo(w, x, n, m, b, 0)),
            ("multiplied by β", lambda w, x, n, m, b, g: bt(b * (w / n - x / m - g))),
            ("lengths of the two", lambda w, x, n, m, b, g: simpo(w, x, m, n, b, g)),
            ("β is not used", lambda w, x, n, m, b, g: simpo(w, x, n, m, 1, g)),
            ("rejected are exchanged", lambda w, x, n, m, b, g: simpo(x, w, m, n, b, g)),
            ("multiplied by the lengths", lambda w, x, n, m, b, g: bt(b * (w * n - x * m) - g)),
            ("same length", lambda w, x, n, m, b, g: simpo(w, x, n, n, b, g)),
            ("outside the sigmoid", lambda w, x, n, m, b, g: simpo(w, x, n, m, b, 0) + g),
            ("averaged together", lambda w, x, n, m, b, g: together(w, x, n, m, b, g)),
        )
    ]
    + [
        seeded(
            "the mask is not used", lambda c, r, cm, rm, b, g: bt(b * (c.mean(1) - r.mean(1)) - g)
        ),
        seeded(
            "padding is included in the sum",
            lambda c, r, cm, rm, b, g: simpo(c.sum(1), r.sum(1), cm.sum(1), rm.sum(1), b, g),
        ),
        seeded(
            "divided by the width",
            lambda c, r, cm, rm, b, g: bt(b * ((c * cm).mean(1) - (r * rm).mean(1)) - g),
        ),
    ],
    "check_best_of_n": [
        seeded("*at most*", lambda p, n: p.cumsum(0) ** n),
        seeded("all n draws are this", lambda p, n: p**n),
        seeded("a different distribution", lambda p, n: p**n / (p**n).sum()),
        seeded("*among*", lambda p, n: 1 - (1 - p) ** n),
        seeded("the worst of n", lambda p, n: powers(p.flip(0), n).flip(0)),
        seeded("one too small", lambda p, n: powers(p, n - 1)),
        seeded("one too large", lambda p, n: powers(p, n + 1)),
        seeded("multiplied by n", lambda p, n: n * p),
        seeded("continuous scores", lambda p, n: n * p * p.cumsum(0) ** (n - 1)),
        seeded("wrong shape", lambda p, n: torch.diff(p.cumsum(0) ** n)),
    ],
    "check_binary_kl": [
        seeded("without ties", lambda p, n: math.log(n) - (n - 1) / n),
        seeded("limit", lambda p, n: -math.log(p)),
        seeded("direction", lambda p, n: coins(p, at_least_one(p, n))),
        seeded(
            "incorrect answers are left out",
            lambda p, n: at_least_one(p, n) * math.log(at_least_one(p, n) / p),
        ),
        seeded("*all* draws", lambda p, n: coins(p**n, p)),
        seeded("success rate, not", at_least_one),
        seeded("base 2", lambda p, n: coins(at_least_one(p, n), p) / math.log(2)),
        seeded("not written yet", lambda p, n: None),
    ],
    "check_gold_peak": [
        seeded("form of best-of-n", lambda a, b: (a / (2 * b), a * a / (4 * b))),
        seeded("is 0 again", lambda a, b: (math.exp(a / b), 0.0)),
        seeded("product rule", lambda a, b: (math.exp(a / b), b * math.exp(a / b))),
        seeded("sign of the 1", lambda a, b: (math.exp(a / b + 1), -b * math.exp(a / b + 1))),
        seeded("height is not", lambda a, b: (math.exp(a / b - 1), a * math.exp(a / b - 1))),
        seeded("square root", lambda a, b: (math.exp(2 * a / b - 2), b * math.exp(a / b - 1))),
        seeded("are exchanged", lambda a, b: (b * math.exp(a / b - 1), math.exp(a / b - 1))),
        seeded("are exchanged", lambda a, b: (math.exp(b / a - 1), a * math.exp(b / a - 1))),
        seeded("must return 2 numbers", lambda a, b: math.exp(a / b - 1)),
    ],
    "check_pass_at_k": [
        seeded("*with* replacement", lambda n, c, k: 1 - (1 - c / n) ** k),
        seeded("pass@1", lambda n, c, k: c / n),
        seeded("none is correct", lambda n, c, k: math.comb(n - c, k) / math.comb(n, k)),
        seeded("all k are correct", lambda n, c, k: math.comb(c, k) / math.comb(n, k)),
        seeded("overlap", lambda n, c, k: min(1, k * c / n)),
        seeded("pass@n", lambda n, c, k: float(c > 0)),
        seeded("exchanged", lambda n, c, k: 1 - math.comb(c, k) / math.comb(n, k)),
        seeded(
            "a correct one is certain",
            lambda n, c, k: 0.0 if n - c < k else 1 - math.comb(n - c, k) / math.comb(n, k),
        ),
    ],
    "check_calibration_error": [
        seeded("bins count the same", lambda c, r, k: ece(c, r, k, weigh=False, reduce=mean)),
        seeded("keep their signs", lambda c, r, k: ece(c, r, k, gap=lambda c, r: (c - r).mean())),
        seeded("Brier", lambda c, r, k: ((c - r) ** 2).mean()),
        seeded("answer by answer", lambda c, r, k: (c - r).abs().mean()),
        seeded(
            "squared", lambda c, r, k: ece(c, r, k, gap=lambda c, r: (c.mean() - r.mean()) ** 2)
        ),
        seeded("largest gap", lambda c, r, k: ece(c, r, k, weigh=False, reduce=max)),
        seeded("fixed at 15", lambda c, r, k: ece(c, r, 15)),
        seeded("1 are in no bin", lambda c, r, k: ece_in((c * k).long(), c, r, k)),
        seeded("bin of their own", lambda c, r, k: ece_in((c * k).long(), c, r, k + 1)),
        seeded("closed on the right", lambda c, r, k: ece_in((c * k).ceil().long() - 1, c, r, k)),
        seeded("open on both sides", ece_between),
        seeded("accuracy", lambda c, r, k: r.mean()),
        seeded("nan", ece_with_empty_bins),
    ],
}
