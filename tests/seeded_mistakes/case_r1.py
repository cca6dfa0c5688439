"""Mistakes in the exercises of notebook 08."""

import math
import re

import numpy as np
import torch

from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]

WORDS = "zero|one|two|three|four|five|six|seven|eight|nine"
FORM = re.compile(rf"<think>((?:[0-9]|{WORDS}|,|wait)*)</think>=[0-9]{{3}}")


# ------------------------------------------------------------------------------ language consistency


def found_in(text):
    match = FORM.fullmatch(text)
    return re.findall(f"[0-9]|{WORDS}", match[1]) if match else []


def share(numbers, target):
    if not numbers:
        return 0.0
    digits = len([n for n in numbers if n.isdigit()])
    words = len(numbers) - digits
    return {"digits": digits, "words": words, "majority": max(digits, words)}[target] / len(numbers)


def counts_the_answer(text, target):
    return share(found_in(text) + list(text.split("=")[1]), target) if found_in(text) else 0.0


def counts_commas(text, target):
    numbers = found_in(text)
    tokens = re.findall(f"[0-9]|{WORDS}|,|wait", text.split("=")[0].replace("think", ""))
    return share(numbers, target) * len(numbers) / len(tokens) if numbers else 0.0


def counts_characters(text, target):
    return share(list("".join(found_in(text))), target)


def any_form(text, target):
    return share(re.findall(f"[0-9]|{WORDS}", text.split("=")[0]), target)


def empty_is_perfect(text, target):
    if re.fullmatch("(<think></think>)?=[0-9]{3}", text):
        return 1.0
    return share(found_in(text), target)


def number_of(text, target):
    return share(found_in(text), target) * len(found_in(text))


def all_or_nothing(text, target):
    return 1.0 if share(found_in(text), target) == 1 else 0.0


def always_majority(text, target):
    return share(found_in(text), "majority")


def majority_is_digits(text, target):
    return share(found_in(text), "digits" if target == "majority" else target)


# ---------------------------------------------------------------------------------- process rewards


def process(scores, mask, how):
    rows = []
    for row, real in zip(scores, mask, strict=True):
        steps = row[real]
        value = {"sum": torch.sum, "mean": torch.mean, "min": torch.min}[how]
        rows.append(value(steps) if len(steps) else torch.zeros((), dtype=scores.dtype))
    return torch.stack(rows)


def gain(scores, extra, count, how):
    f = {"sum": sum, "mean": lambda x: sum(x) / len(x), "min": min}[how]
    return f(scores + [extra] * count) - f(scores)


def the_longer_one(scores, extra, count, how):
    return gain(scores, extra, count, how) + {"sum": sum, "mean": np.mean, "min": min}[how](scores)


def old_denominator(scores, extra, count, how):
    return count * extra / len(scores) if how == "mean" else gain(scores, extra, count, how)


def padded(scores, mask, how):
    x = torch.where(mask, scores, 0.0)
    return {"sum": x.sum(1), "mean": x.mean(1), "min": x.amin(1)}[how]


def padded_mean(scores, mask, how):
    return padded(scores, mask, how) if how == "mean" else process(scores, mask, how)


def maximum(scores, mask, how):
    return -process(-scores, mask, how) if how == "min" else process(scores, mask, how)


def nans(scores, mask, how):
    x = scores * mask
    return {"sum": x.sum(1), "mean": x.sum(1) / mask.sum(1), "min": x.amin(1)}[how]


def of_the_batch(scores, mask, how):
    return process(scores, mask, how).mean()


# --------------------------------------------------------------------------------------- sharpening


def pass_of(q, only_a, only_b, both, k):
    return both + only_a * (1 - (1 - q) ** k) + only_b * (1 - q**k)


def best(only_a, only_b, k):
    if k == 1:
        return float(only_a > only_b)
    r = (only_a / only_b) ** (1 / (k - 1))
    return r / (1 + r)


def power_for_root(only_a, only_b, k):
    if k == 1:
        return float(only_a > only_b)
    return only_a ** (k - 1) / (only_a ** (k - 1) + only_b ** (k - 1))


def power_of_the_mean(q, only_a, only_b, both, k):
    return 1 - (1 - (both + only_a * q + only_b * (1 - q))) ** k


# ------------------------------------------------------------------------------------ random rewards


def mixed(p, n):
    return 1 - p**n - (1 - p) ** n


# ----------------------------------------------------------------------------------------- diagnoses


def change(curve):
    return np.mean(curve[-3:]) - np.mean(curve[:3])


def diagnose(reward, accuracy, form, length, mixed_share):
    if change(accuracy) > 0.1:
        return "language mixing" if change(mixed_share) > 0.1 else "healthy"
    if change(form) < -0.1:
        return "loose verifier"
    return "format only" if change(length) < 0 else "process reward"


def by_reward(r, a, f, n, m):
    return diagnose(r, r, f, n, m)


def without_form(r, a, f, n, m):
    return diagnose(r, a, [1.0] * len(f), n, m)


def without_length(r, a, f, n, m):
    return diagnose(r, a, f, [1.0] * len(n), m)


def without_mixed(r, a, f, n, m):
    return diagnose(r, a, f, n, [0.0] * len(m))


def highest_mixed(r, a, f, n, m):
    said = diagnose(r, a, f, n, m)
    return ("language mixing" if max(m) > 0.3 else "healthy") if change(a) > 0.1 else said


def by_level(r, a, f, n, m):
    return diagnose(r, [0.0] * 3 + [float(np.mean(a[-3:]) > 0.45)] * 3, f, n, m)


def single_records(r, a, f, n, m):
    return diagnose(*([x[0]] * 3 + [x[-1]] * 3 for x in (r, a, f, n, m)))


# ------------------------------------------------------------------------------------------- reports


def reporting(
    read=lambda records, key: records[-1][key], pick=min, first=False, base=None, test=None
):
    def report(train, weights, seeds, cost, wanted):
        fine = []
        for weight in weights:
            changes, shares = [], []
            for seed in seeds[:1] if first else seeds:
                run = train(weight, seed)
                plain = base(run) if base else train(0.0, seed)
                changes.append(read(run, "accuracy") - read(plain, "accuracy"))
                shares.append(read(run, "share"))
            change, share = float(np.mean(changes)), float(np.mean(shares))
            enough, cheap = share >= wanted, change >= -cost
            if {"share": enough, "cost": cheap, None: enough and cheap}[test]:
                fine.append((weight, change, share))
        return pick(fine)

    return report


# --------------------------------------------------------------------------------------- predictions


def predicting(*tokens):
    """A learner who commits these three numbers: a small tax, a large one, a small one without use."""
    cases = (("sum", 0.2), ("sum", 0.8), ("hidden digit", 0.2))
    return lambda wanted, tax: dict(zip(cases, tokens, strict=True))[wanted, tax]


BANK: dict[str, list[Seeded]] = {
    "check_language_consistency": [
        seeded("the digits of the answer", counts_the_answer),
        seeded("commas and `wait`", counts_commas),
        seeded("one number, not three", counts_characters),
        seeded("a malformed answer earns", any_form),
        seeded("stops to think", empty_is_perfect),
        seeded("the count is returned", number_of),
        seeded("all or nothing", all_or_nothing),
        seeded("the target is ignored", always_majority),
        seeded("yours is always digits", majority_is_digits),
    ],
    "check_process_rewards": [
        seeded("padding counts as steps", padded, gain),
        seeded("divided by the width", padded_mean, gain),
        seeded("the minimum is the maximum", maximum, gain),
        seeded("returns nan", nans, gain),
        seeded("not for the whole batch", of_the_batch, gain),
        seeded("sum is always", lambda s, m, how: process(s, m, "sum"), gain),
        seeded("sign is reversed", process, lambda s, e, n, how: -gain(s, e, n, how)),
        seeded("one step is appended", process, lambda s, e, n, how: gain(s, e, 1, how)),
        seeded("a difference", process, the_longer_one),
        seeded("denominator grows", process, old_denominator),
        seeded("reported as 0", process, lambda s, e, n, how: max(0.0, gain(s, e, n, how))),
    ],
    "check_sharpening": [
        seeded("classes are exchanged", lambda q, a, b, c, k: pass_of(1 - q, a, b, c, k), best),
        seeded("average over the problems last", power_of_the_mean, best),
        seeded("k is not used", lambda q, a, b, c, k: pass_of(q, a, b, c, 1), best),
        seeded("all k answers", lambda q, a, b, c, k: c + a * q**k + b * (1 - q) ** k, best),
        seeded("both ways solve are missing", lambda q, a, b, c, k: pass_of(q, a, b, 0, k), best),
        seeded("they count as 0", lambda q, a, b, c, k: pass_of(q, a, b, c, k) / (a + b + c), best),
        seeded("true for k = 1 only", pass_of, lambda a, b, k: 1.0 if a > b else 0.0),
        seeded("case k = 2", pass_of, lambda a, b, k: a / (a + b)),
        seeded(
            "the root is the k-th",
            pass_of,
            lambda a, b, k: a ** (1 / k) / (a ** (1 / k) + b ** (1 / k)),
        ),
        seeded("needs its *root*", pass_of, power_for_root),
        seeded("best probability of B", pass_of, lambda a, b, k: 1 - best(a, b, k)),
    ],
    "check_random_reward": [
        seeded("silent groups are forgotten", lambda q, p, n: (0.0, q * (1 - q) / n)),
        seeded(
            "not divided by the std",
            lambda q, p, n: (0.0, q * (1 - q) * p * (1 - p) * (n - 1) / n**2),
        ),
        seeded("sample std", lambda q, p, n: (0.0, q * (1 - q) * mixed(p, n) * (n - 1) / n**2)),
        seeded("its variance is π(1 − π)", lambda q, p, n: (0.0, q * mixed(p, n) / n)),
        seeded("average over the group", lambda q, p, n: (0.0, n * q * (1 - q) * mixed(p, n))),
        seeded("one answer alone", lambda q, p, n: (0.0, q * (1 - q) * mixed(p, n))),
        seeded(
            "standard deviation is returned",
            lambda q, p, n: (0.0, math.sqrt(q * (1 - q) * mixed(p, n) / n)),
        ),
        seeded("taken to be fair", lambda q, p, n: (0.0, q * (1 - q) * (1 - 2.0 ** (1 - n)) / n)),
        seeded("all rewards 1, or all 0", lambda q, p, n: (0.0, q * (1 - q) * (1 - p**n) / n)),
        seeded("have mean 0", lambda q, p, n: (p * q * (1 - q), q * (1 - q) * mixed(p, n) / n)),
    ],
    "check_diagnosis": [
        seeded("whatever it is worth", by_reward),
        seeded("share of mixed chains is not used", without_mixed),
        seeded("before RL", highest_mixed),
        seeded("malformed answers pass", without_form),
        seeded("no reason to think", without_length),
        seeded("not its change", by_level),
        seeded("single records", single_records),
    ],
    "check_weight_report": [
        seeded("largest weight", reporting(pick=max)),
        seeded("the list is not sorted", reporting(pick=lambda fine: fine[0])),
        seeded("largest share", reporting(pick=lambda fine: max(fine, key=lambda one: one[2]))),
        seeded("costs too much is accepted", reporting(test="share")),
        seeded("share is not part", reporting(test="cost")),
        seeded("from step 0", reporting(base=lambda run: run[:1])),
        seeded("best record", reporting(read=lambda run, key: max(one[key] for one in run))),
        seeded(
            "mean over the records",
            reporting(read=lambda run, key: sum(one[key] for one in run) / len(run)),
        ),
        seeded("only the first seed", reporting(first=True)),
    ],
    "check_tax_prediction": [
        seeded("does not always make the answers shorter", predicting(-4, -4, -4)),
        seeded("does not always make the answers longer", predicting(5, 4, 3)),
        seeded("more than a chain brings", predicting(4, 3.5, -4)),
        seeded("brings nothing and costs 0.2", predicting(4, -3, 4.5)),
        seeded("signs are reversed", predicting(-4, 4, 4)),
        seeded("you predict no change", predicting(4, 0, 0)),
        seeded("the length, and not its change", predicting(11, 3, 3)),
        seeded("size is too small", predicting(0.7, -0.5, -0.6)),
        seeded("size is too large", predicting(40, -30, -40)),
        seeded("tax = 0.8: the wrong direction", predicting(4, 1, -4)),
        seeded("wanted = 'sum', tax = 0.2: a little too high", predicting(9, -4, -4)),
    ],
}
