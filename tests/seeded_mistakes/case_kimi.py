"""Mistakes in the exercises of notebook 09."""

import heapq
import math

import numpy as np
import torch

from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]


# ------------------------------------------------------------------------------ the optimum's baseline


def estimate(p, tau, k, comb=math.comb, power=None, scale=1.0):
    """E[τ log mean exp(r/τ)], with exp(1/τ) taken out of the logarithm."""
    power = 1 / tau if power is None else power
    total = 0.0
    for j in range(k + 1):
        inside = math.log(j / k + (1 - j / k) * math.exp(-power)) + power if j else 0.0
        total += comb(k, j) * p**j * (1 - p) ** (k - j) * (inside + math.log(scale))
    return tau * total


def tau_for(p, target):
    return 1 / math.log(target / (1 - target) / (p / (1 - p)))


def log_z(p, tau):
    return 1 + tau * math.log(p + (1 - p) * math.exp(-1 / tau))


def naive(p, tau, k):
    """Overflows for a small τ."""
    chances = [math.comb(k, j) * p**j * (1 - p) ** (k - j) for j in range(k + 1)]
    logs = [math.log(1 + j / k * (math.exp(1 / tau) - 1)) for j in range(k + 1)]
    return tau * sum(c * x for c, x in zip(chances, logs, strict=True))


def overflows(tau):
    """0 · exp(1/τ), which is nan for a small τ."""
    return 0 * float(torch.tensor(1 / tau, dtype=torch.float64).exp())


# ------------------------------------------------------------------------------------- the surrogate


def centre(rewards, size):
    groups = rewards.view(-1, size)
    return (groups - groups.mean(1, keepdim=True)).flatten()


def surrogate(new, old, mask, rewards, size, tau):
    ratio = torch.where(mask, new - old.detach(), 0.0).sum(1)
    return ((centre(rewards, size) - tau * ratio) ** 2).mean() / (2 * tau)


def summed(new, old, mask):
    return torch.where(mask, new - old.detach(), 0.0).sum(1)


def pads(new, old, mask, rewards, size, tau):
    return ((centre(rewards, size) - tau * (new - old.detach()).sum(1)) ** 2).mean() / (2 * tau)


def averages_tokens(new, old, mask, rewards, size, tau):
    ratio = summed(new, old, mask) / mask.sum(1)
    return ((centre(rewards, size) - tau * ratio) ** 2).mean() / (2 * tau)


def with_advantages(advantages):
    def loss(new, old, mask, rewards, size, tau):
        return ((advantages(rewards, size) - tau * summed(new, old, mask)) ** 2).mean() / (2 * tau)

    return loss


def over_std(unbiased):
    def advantages(rewards, size):
        std = rewards.view(-1, size).std(1, keepdim=True, unbiased=unbiased)
        return (centre(rewards, size).view(-1, size) / std).flatten()

    return advantages


def leaves_itself_out(rewards, size):
    groups = rewards.view(-1, size)
    return (groups - (groups.sum(1, keepdim=True) - groups) / (size - 1)).flatten()


def square_of(inside, scale=2.0):
    def loss(new, old, mask, rewards, size, tau):
        x = inside(centre(rewards, size), tau, summed(new, old, mask))
        return (x**2).mean() / (scale * tau)

    return loss


def per_token(new, old, mask, rewards, size, tau):
    each = (centre(rewards, size)[:, None] - tau * (new - old.detach())) ** 2
    return torch.where(mask, each, 0.0).sum(1).mean() / (2 * tau)


def moves_both(new, old, mask, rewards, size, tau):
    ratio = torch.where(mask, new - old, 0.0).sum(1)
    return ((centre(rewards, size) - tau * ratio) ** 2).mean() / (2 * tau)


def freezes(new, old, mask, rewards, size, tau):
    return (
        surrogate(new, old, mask, rewards, size, tau).detach()
        + 0 * torch.where(mask, new, 0.0).sum()
    )


def resting(rewards, size, tau, baseline):
    groups = rewards.view(-1, size)
    if baseline == "mean":
        b = groups.mean(1, keepdim=True)
    else:
        b = tau * (torch.logsumexp(groups / tau, 1, keepdim=True) - math.log(size))
    return ((groups - b) / tau).exp().flatten()


def resting_sum(rewards, size, tau, baseline):
    scale = size if baseline == "log Z" else 1
    return resting(rewards, size, tau, baseline) / scale


# --------------------------------------------------------------------------------- the length reward


def length_reward(
    lengths, correct, size, low="group", high="group", side="max", half=0.5, equal=0.0
):
    rewards = []
    for n, right in zip(lengths.view(-1, size), correct.view(-1, size), strict=True):
        shortest = {"group": n, "batch": lengths, "correct": n[right]}[low].min()
        longest = {"group": n, "batch": lengths}[high].max()
        lam = half - (n - shortest) / (longest - shortest)
        wrong = {"max": lam.clamp(max=0), "min": lam.clamp(min=0), "same": lam, "none": 0 * lam}[
            side
        ]
        reward = torch.where(right, lam, wrong)
        if equal is not None and longest == shortest:
            reward = torch.full_like(n, equal)
        rewards.append(reward)
    return torch.cat(rewards)


def with_bugs(**bugs):
    return lambda lengths, correct, size: length_reward(lengths, correct, size, **bugs)


# ------------------------------------------------------------------------------- the break-even weight


def gap(d, c, w):
    return c - w / 2 - d - w * d / 2


def even(d, c):
    return 2 * (c - d) / (1 + d)


# ---------------------------------------------------------------------------------- the guess filter


def kept(shares, guess, n):
    left = shares * ((1 - guess) ** n).mean(1)
    return left / left.sum()


def _normal(shares):
    return shares / shares.sum()


def of_the_mean(shares, guess, n):
    left = shares * (1 - guess.mean(1)) ** n
    return left / left.sum()


def search(test, start=1):
    def fewest(guess, removed):
        n = 1
        while not test(guess, n, removed):
            n += 1
        return n + start - 1

    return fewest


def enough(guess, n, removed):
    return (1 - (1 - guess) ** n).mean() >= removed


fewest = search(enough)


# ---------------------------------------------------------------------------------------- schedules


def busy(lengths, slots):
    free = [0.0] * slots
    for length in lengths:
        heapq.heappush(free, heapq.heappop(free) + length)
    return sum(lengths) / (slots * max(free))


def rounds(lengths, slots):
    time = sum(max(lengths[i : i + slots]) for i in range(0, len(lengths), slots))
    return sum(lengths) / (slots * time)


def dealt(lengths, slots):
    return sum(lengths) / (slots * max(sum(lengths[s::slots]) for s in range(slots)))


def long_run(short, long, p, n):
    some = 1 - (1 - p) ** n
    return (short + p * (long - short)) / (short + some * (long - short))


def of_ratios(short, long, p, n):
    total = 0.0
    for j in range(n + 1):
        chance = math.comb(n, j) * p**j * (1 - p) ** (n - j)
        total += chance * (j * long + (n - j) * short) / n / (long if j else short)
    return total


def with_chance(some):
    return lambda s, b, p, n: (s + p * (b - s)) / (s + some(p, n) * (b - s))


# ------------------------------------------------------------------------------------------- reports


def selecting(
    choose=lambda dev, test: dev,
    tell=lambda dev, test: test,
    pick=None,
    limit=True,
    read=lambda run, key: run[-1][key],
    base=None,
    first=False,
    pooled=False,
    sign=1,
):
    pick = pick or (lambda fine: min(fine, key=lambda one: one[2]))

    def report(train, weights, dev_seeds, test_seeds, loss):
        def measure(weight, seeds):
            runs = [train(weight, s) for s in seeds]
            plain = [base(r) for r in runs] if base else [train(0.0, s) for s in seeds]
            gains = [
                read(a, "accuracy") - read(b, "accuracy") for a, b in zip(runs, plain, strict=True)
            ]
            own, other = [[read(r, "length") for r in side] for side in (runs, plain)]
            ratio = np.mean([a / b for a, b in zip(own, other, strict=True)])
            return weight, np.mean(gains), np.mean(own) / np.mean(other) if pooled else ratio

        dev, test = (dev_seeds[:1], test_seeds[:1]) if first else (dev_seeds, test_seeds)
        found = [measure(weight, choose(dev, test)) for weight in weights]
        fine = [one for one in found if one[1] >= -loss or not limit]
        weight, change, ratio = measure(pick(fine)[0], tell(dev, test))
        return weight, sign * float(change), float(ratio)

    return report


def peeks(train, weights, dev_seeds, test_seeds, loss):
    for weight in weights:
        for seed in test_seeds:
            train(weight, seed)
    return selecting()(train, weights, dev_seeds, test_seeds, loss)


# --------------------------------------------------------------------------------------- predictions

CASES = (("none", 10), ("both", 10), ("correct", 10), ("both", 40))


def foretelling(*accuracies):
    """A learner who commits these four numbers, in the order of the cases."""
    return lambda part, step: dict(zip(CASES, accuracies, strict=True))[part, step]


BANK: dict[str, list[Seeded]] = {
    "check_log_z": [
        seeded("this is τ·log Z itself", lambda p, tau, k: log_z(p, tau), tau_for),
        seeded("limit of a large τ", lambda p, tau, k: p, tau_for),
        seeded("limit of a small τ", lambda p, tau, k: 1 - (1 - p) ** k, tau_for),
        seeded("factor τ is missing", lambda p, tau, k: estimate(p, tau, k) / tau, tau_for),
        seeded("multiplied by τ", lambda p, tau, k: estimate(p, tau, k, power=tau), tau_for),
        seeded("binomial", lambda p, tau, k: estimate(p, tau, k, comb=lambda k, j: 1), tau_for),
        seeded("not of an incorrect one", lambda p, tau, k: estimate(1 - p, tau, k), tau_for),
        seeded("not divided by k", lambda p, tau, k: estimate(p, tau, k, scale=k), tau_for),
        seeded("sign is reversed", lambda p, tau, k: -estimate(p, tau, k), tau_for),
        seeded("OverflowError", naive, tau_for),
        seeded(
            "or an overflow",
            lambda p, tau, k: overflows(tau) + estimate(p, tau, k),
            tau_for,
        ),
        seeded("this is 1/τ", estimate, lambda p, q: 1 / tau_for(p, q)),
        seeded("use odds", estimate, lambda p, q: 1 / math.log(q / p)),
        seeded("logarithm is missing", estimate, lambda p, q: p / (1 - p) * (1 - q) / q),
        seeded("start and target are exchanged", estimate, lambda p, q: tau_for(q, p)),
        seeded("linear in the log-odds", estimate, lambda p, q: 1 / (q - p)),
        seeded("base 10", estimate, lambda p, q: math.log(10) * tau_for(p, q)),
        seeded("odds at the start", estimate, lambda p, q: 1 / math.log(q / (1 - q))),
    ],
    "check_kimi_loss": [
        seeded("padding counts", pads, resting),
        seeded("averaged", averages_tokens, resting),
        seeded("whole batch", with_advantages(lambda r, n: r - r.mean()), resting),
        seeded("no baseline", with_advantages(lambda r, n: r), resting),
        seeded("leaves the answer itself out", with_advantages(leaves_itself_out), resting),
        seeded("divided by the std", with_advantages(over_std(False)), resting),
        seeded("(sample) std", with_advantages(over_std(True)), resting),
        seeded("division by 2τ is missing", lambda *x: surrogate(*x) * 2 * x[-1], resting),
        seeded("not by 2τ", square_of(lambda a, tau, s: a - tau * s, 1.0), resting),
        seeded("τ is missing in front", square_of(lambda a, tau, s: a - s), resting),
        seeded("wrong sign", square_of(lambda a, tau, s: a + tau * s), resting),
        seeded(
            "its logarithm should stand", square_of(lambda a, tau, s: a - tau * s.exp()), resting
        ),
        seeded("for each token", per_token, resting),
        seeded("added up; take their mean", lambda *x: surrogate(*x) * len(x[3]), resting),
        seeded("it is minimised", lambda *x: -surrogate(*x), resting),
        seeded("data from before this step", moves_both, resting),
        seeded("one detach too many", freezes, resting),
        seeded("always the mean", surrogate, lambda r, n, t, b: resting(r, n, t, "mean")),
        seeded("always τ·log Z", surrogate, lambda r, n, t, b: resting(r, n, t, "log Z")),
        seeded("not a sum", surrogate, resting_sum),
        seeded("logarithm of the ratio", surrogate, lambda *x: resting(*x).log()),
        seeded("π_old/π", surrogate, lambda *x: 1 / resting(*x)),
        seeded(
            "the advantage is multiplied by τ",
            surrogate,
            lambda r, n, t, b: (resting(r, n, t, b).log() * t * t).exp(),
        ),
        seeded("τ is missing", surrogate, lambda r, n, t, b: (resting(r, n, t, b).log() * t).exp()),
        seeded("first order", surrogate, lambda *x: 1 + resting(*x).log()),
        seeded("baseline is that of the whole", surrogate, lambda r, n, t, b: resting(r, 6, t, b)),
    ],
    "check_length_repair": [
        seeded("longest answer is that", with_bugs(high="batch")),
        seeded("among the correct ones", with_bugs(low="correct")),
        seeded("short is paid", with_bugs(side="min")),
        seeded("own; an incorrect", with_bugs(high="batch", side="min")),
        seeded("count; an incorrect", with_bugs(low="correct", side="min")),
        seeded("own; the shortest", with_bugs(low="correct", high="batch", side="min", equal=None)),
        seeded("shortest and longest answer are", with_bugs(low="batch", high="batch")),
        seeded("whatever its length: where", with_bugs(side="same")),
        seeded("whatever its length: beyond", with_bugs(side="none")),
        seeded("earns ½; it should", with_bugs(equal=0.5)),
        seeded("the ½ is missing", with_bugs(half=0.0)),
        seeded("longer answers earn more", lambda *x: -length_reward(*x)),
        seeded("returns nan", with_bugs(equal=None)),
    ],
    "check_break_even": [
        seeded("sign is reversed", lambda *x: -gap(*x), even),
        seeded("incorrect direct answer is paid", lambda d, c, w: c - w / 2 - d - w / 2, even),
        seeded(
            "incorrect chain loses nothing", lambda d, c, w: c - w * c / 2 - d - w * d / 2, even
        ),
        seeded("length reward alone", lambda d, c, w: -w / 2 - w * d / 2, even),
        seeded("weight is not used", lambda d, c, w: gap(d, c, 1), even),
        seeded("length reward is missing", lambda d, c, w: c - d, even),
        seeded("and not ±1", lambda d, c, w: gap(d, c, 2 * w), even),
        seeded("shorter answer has", lambda d, c, w: c + w * c / 2 - (d - w / 2), even),
        seeded("earns no length reward", lambda d, c, w: c - w / 2 - d, even),
        seeded("incorrect direct answer is paid +½ here", gap, lambda d, c: c - d),
        seeded("loses nothing here", gap, lambda d, c: 2 * (c - d) / (c + d)),
        seeded("no length reward here", gap, lambda d, c: 2 * (c - d)),
        seeded("the sign is reversed", gap, lambda d, c: -even(d, c)),
        seeded("this is 1/weight", gap, lambda d, c: 1 / even(d, c)),
        seeded("and not ±1", gap, lambda d, c: even(d, c) / 2),
        seeded("1 − p_direct", gap, lambda d, c: 2 * (c - d) / (1 - d)),
    ],
    "check_guess_filter": [
        seeded("average over the items last", of_the_mean, fewest),
        seeded("add up to 1", lambda s, g, n: s * ((1 - g) ** n).mean(1), fewest),
        seeded(
            "among the removed", lambda s, g, n: _normal(s * (1 - (1 - g) ** n).mean(1)), fewest
        ),
        seeded("n is not used", lambda s, g, n: kept(s, g, 1), fewest),
        seeded("only if all n", lambda s, g, n: _normal(s * (1 - g**n).mean(1)), fewest),
        seeded("shares of the pool", lambda s, g, n: kept(torch.ones_like(s), g, n), fewest),
        seeded("its share of what is kept", lambda s, g, n: ((1 - g) ** n).mean(1), fewest),
        seeded("pool is unchanged", lambda s, g, n: s.clone(), fewest),
        seeded("wrong shape", lambda s, g, n: s[:, None] * (1 - g) ** n, fewest),
        seeded(
            "hard to guess need more",
            kept,
            lambda g, x: math.ceil(math.log(1 - x) / math.log(1 - float(g.mean()))),
        ),
        seeded("one attempt too few", kept, search(enough, start=0)),
        seeded("one attempt more", kept, search(enough, start=2)),
        seeded("of *each* item", kept, search(lambda g, n, x: (1 - (1 - g) ** n).min() >= x)),
        seeded("share that is kept", kept, lambda g, x: fewest(g, 1 - x)),
        seeded("median", kept, search(lambda g, n, x: 1 - (1 - np.median(g.numpy())) ** n >= x)),
    ],
    "check_utilisation": [
        seeded("takes the next answer at once", rounds, long_run),
        seeded("dealt to the slots", dealt, long_run),
        seeded("longest answer. With", lambda x, s: sum(x) / (s * max(x)), long_run),
        seeded("longest first", lambda x, s: busy(sorted(x)[::-1], s), long_run),
        seeded("shortest first", lambda x, s: busy(sorted(x), s), long_run),
        seeded("by the number of answers", lambda x, s: busy(x, s) * s / len(x), long_run),
        seeded("idle share", lambda x, s: 1 - busy(x, s), long_run),
        seeded("duration of the step", lambda x, s: sum(x) / s / busy(x, s), long_run),
        seeded("slot for each answer", lambda x, s: sum(x) / len(x) / max(x), long_run),
        seeded("no slot is ever idle", lambda x, s: 1.0, long_run),
        seeded("long step counts for more", busy, of_ratios),
        seeded("without a long answer is short", busy, with_chance(lambda p, n: 1)),
        seeded("only if *all*", busy, with_chance(lambda p, n: p**n)),
        seeded("events overlap", busy, with_chance(lambda p, n: n * p)),
        seeded("(1 − p)^n here", busy, with_chance(lambda p, n: (1 - p) ** n)),
        seeded("n is not used", busy, with_chance(lambda p, n: p)),
        seeded("idle share", busy, lambda *x: 1 - long_run(*x)),
        seeded("probability of the long", busy, lambda s, b, p, n: long_run(s, b, 1 - p, n)),
        seeded("time per token", busy, lambda *x: 1 / long_run(*x)),
    ],
    "check_length_report": [
        seeded("choice makes them too good", selecting(tell=lambda dev, test: dev)),
        seeded("chosen on the test seeds", selecting(choose=lambda dev, test: test)),
        seeded("chosen on all seeds", selecting(choose=lambda dev, test: dev + test)),
        seeded("not part of the choice", selecting(limit=False)),
        seeded("largest weight", selecting(pick=max)),
        seeded("smallest weight", selecting(pick=min)),
        seeded("most accurate", selecting(pick=lambda fine: max(fine, key=lambda one: one[1]))),
        seeded(
            "best record",
            selecting(
                read=lambda run, key: (
                    max(one[key] for one in run) if key == "accuracy" else run[-1][key]
                )
            ),
        ),
        seeded("own step 0", selecting(base=lambda run: run[:1])),
        seeded("only the first seed", selecting(first=True)),
        seeded("mean of the ratios", selecting(pooled=True)),
        seeded("sign of the change", selecting(sign=-1)),
        seeded("no test of the chosen one", peeks),
    ],
    "check_length_prediction": [
        seeded("changes nothing here", foretelling(0.85, 0.85, 0.85, 0.95)),
        seeded("changes nothing at once", foretelling(0.85, 0.85, 0.85, 0.4)),
        seeded("is not for ever. Where", foretelling(0.8, 0.4, 0.8, 0.4)),
        seeded("not unlearned for good", foretelling(0.8, 0.1, 0.8, 0.1)),
        seeded("its break-even weight is higher", foretelling(0.8, 0.35, 0.35, 0.95)),
        seeded("and a stall is not for ever", foretelling(0.8, 0.35, 0.35, 0.35)),
        seeded("enough on this base", foretelling(0.3, 0.3, 0.3, 0.9)),
        seeded("the change, and not", foretelling(0.63, 0.18, 0.62, 0.76)),
        seeded("percentages", foretelling(83, 39, 82, 96)),
        seeded("compared with no length reward", foretelling(0.575, 0.58, 0.8, 0.9)),
        seeded("the larger gap over guesses", foretelling(0.8, 0.57, 0.56, 0.9)),
        seeded("between 0 and 1", foretelling(0.8, 0.4, 0.8, 1.1)),
        seeded("step = 10: a little too high", foretelling(0.8, 0.62, 0.8, 0.9)),
    ],
}
