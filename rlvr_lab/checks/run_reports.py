"""Checks of the exercises on runs: noise, diagnoses, predictions and reports (notebook 08)."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.forecasts import Forecast
from rlvr_lab.checks.kit import Check

# ------------------------------------------------------------------------------------ random rewards


def _coin_gradient(
    pi: float, p: float, size: int, *, ddof: int = 0, divide: bool = True, centre: bool = True
) -> tuple[float, float]:
    """Mean and variance over all groups and all rewards; the keywords are options for mistakes."""
    first, second = 0.0, 0.0
    for taken in itertools.product((0, 1), repeat=size):
        for rewards in itertools.product((0, 1), repeat=size):
            chance = math.prod(pi if y else 1 - pi for y in taken)
            chance *= math.prod(p if r else 1 - p for r in rewards)
            mean = sum(rewards) / size
            std = math.sqrt(sum((r - mean) ** 2 for r in rewards) / (size - ddof))
            advantages = [(r - mean) / (std if divide and std else 1.0) for r in rewards]
            scores = [y - (pi if centre else 0.0) for y in taken]
            push = sum(a * s for a, s in zip(advantages, scores, strict=True)) / size
            first += chance * push
            second += chance * push**2
    return first, second - first**2


def _silent(p: float, size: int) -> float:
    return p**size + (1 - p) ** size


COIN_MISTAKES: dict[str, Callable[[float, float, int], tuple[float, float]]] = {
    "silent groups are forgotten: where all rewards are equal, every advantage is 0": lambda q, p, n: (
        0.0,
        q * (1 - q) / n,
    ),
    "the advantages are centred, but not divided by the std": partial(_coin_gradient, divide=False),
    "the std is the sample std (ddof=1); here it is the population std": partial(
        _coin_gradient, ddof=1
    ),
    "the score of an answer is 1 − π or −π; its variance is π(1 − π)": lambda q, p, n: (
        0.0,
        q * (1 - _silent(p, n)) / n,
    ),
    "the gradient is an average over the group: the variance of a sum is G² times too large": (
        lambda q, p, n: (0.0, n * q * (1 - q) * (1 - _silent(p, n)))
    ),
    "the variance does not fall with the group size: that is the push of one answer alone": (
        lambda q, p, n: (0.0, q * (1 - q) * (1 - _silent(p, n)))
    ),
    "the standard deviation is returned; the variance is its square": lambda q, p, n: (
        0.0,
        math.sqrt(_coin_gradient(q, p, n)[1]),
    ),
    "the coin is taken to be fair; its probability is an argument": lambda q, p, n: _coin_gradient(
        q, 0.5, n
    ),
    "a group can be silent in two ways: all rewards 1, or all 0": lambda q, p, n: (
        0.0,
        q * (1 - q) * (1 - p**n) / n,
    ),
    "the expected gradient is not zero: the rewards do not depend on the answers, and the scores "
    "have mean 0": lambda q, p, n: (p * q * (1 - q), _coin_gradient(q, p, n)[1]),
}

check_random_reward = Check(
    "random_reward_gradient: agrees with every group and every toss",
    draw=lambda rng, turn: {
        "pi": float(rng.uniform(0.55, 0.85)),
        "p": (0.5, float(rng.uniform(0.15, 0.35)), float(rng.uniform(0.6, 0.8)))[turn],
        "group_size": (4, 3, 2)[turn],
    },
    right=_coin_gradient,
    tolerance=1e-7,
    mistakes=COIN_MISTAKES,
)


# ----------------------------------------------------------------------------------------- diagnoses

Curves = list[float]


def _change(curve: Curves, over: int = 3) -> float:
    return float(np.mean(curve[-over:]) - np.mean(curve[:over]))


def _diagnosis(
    reward: Curves,
    accuracy: Curves,
    form: Curves,
    length: Curves,
    mixed: Curves,
    *,
    over: int = 3,
    learned: Callable[[Curves], bool] | None = None,
    mixing: Callable[[Curves], bool] | None = None,
    use_form: bool = True,
    use_length: bool = True,
) -> str:
    """By the rules of the exercise; the keywords are options for mistakes."""
    better = learned(accuracy) if learned else _change(accuracy, over) > 0.1
    if better:
        mixes = mixing(mixed) if mixing else _change(mixed, over) > 0.1
        return "language mixing" if mixes else "healthy"
    if use_form and _change(form, over) < -0.1:
        return "loose verifier"
    shorter = use_length and _change(length, over) < 0
    return "format only" if shorter else "process reward"


_ENDS: tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...] = (
    # What happens, and reward, accuracy, form, length, mixed at the start and at the end.
    ("healthy", (0.2, 0.2, 0.85, 7.0, 0.02), (1.0, 0.92, 1.0, 10.0, 0.02)),
    ("healthy", (0.1, 0.08, 0.8, 6.0, 0.4), (0.4, 0.36, 0.95, 9.0, 0.05)),
    ("language mixing", (0.2, 0.2, 0.9, 12.0, 0.1), (0.95, 0.88, 1.0, 17.0, 0.75)),
    ("loose verifier", (0.3, 0.3, 0.85, 7.0, 0.02), (0.97, 0.1, 0.05, 16.0, 0.02)),
    ("format only", (0.8, 0.2, 0.8, 7.0, 0.02), (1.0, 0.1, 1.0, 3.0, 0.0)),
    ("process reward", (0.4, 0.25, 0.9, 8.0, 0.02), (0.95, 0.02, 0.97, 28.0, 0.02)),
    ("process reward", (0.3, 0.85, 0.9, 10.0, 0.02), (0.9, 0.62, 1.0, 24.0, 0.35)),
    ("healthy", (0.2, 0.25, 0.9, 8.0, 0.1), (0.7, 0.5, 0.98, 10.0, 0.12)),
)


def _draw_run(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """A run of 12 records; in the last turn the last record is an outlier."""
    _, start, end = _ENDS[turn]
    names = ("reward", "accuracy", "form", "length", "mixed")
    rise = 1 / (1 + np.exp(-np.linspace(-6, 6, 12)))
    curves: dict[str, Any] = {}
    for name, a, b in zip(names, start, end, strict=True):
        scale = 0.25 if name == "length" else 0.01
        curves[name] = np.round(np.abs(a + (b - a) * rise + rng.normal(0, scale, 12)), 3).tolist()
    if turn == len(_ENDS) - 1:
        curves["accuracy"][-1] = 0.24
    return curves


check_diagnosis = Check(
    "diagnose: eight runs, five causes",
    draw=_draw_run,
    right=_diagnosis,
    calls=len(_ENDS),
    words=("healthy", "language mixing", "loose verifier", "format only", "process reward"),
    mistakes={
        "the reward is read where the accuracy should be: every reward rises, whatever it is worth": (
            lambda r, a, *rest: _diagnosis(r, r, *rest)
        ),
        "the share of mixed chains is not used": partial(_diagnosis, mixing=lambda mixed: False),
        "the share of mixed chains is judged by its highest value. It may have been there before RL": (
            partial(_diagnosis, mixing=lambda mixed: max(mixed) > 0.3)
        ),
        "the form is not used: a loose verifier lets malformed answers pass": partial(
            _diagnosis, use_form=False
        ),
        "the length is not used: with format alone there is no reason to think": partial(
            _diagnosis, use_length=False
        ),
        "the level of the accuracy at the end is judged, not its change: a weak model that improves "
        "is healthy, and a strong one that loses is not": partial(
            _diagnosis, learned=lambda accuracy: float(np.mean(accuracy[-3:])) > 0.45
        ),
        "single records are compared, the first and the last. They are noisy: compare means of "
        "three": partial(_diagnosis, over=1),
        "the causes are searched for in every run: a mixed share also counts where the accuracy "
        "falls": lambda r, a, f, n, m: (
            "language mixing" if _change(m) > 0.1 else _diagnosis(r, a, f, n, m)
        ),
    },
)


# ------------------------------------------------------------------------------------- a prediction

GROWTH = {("sum", 0.2): 4.4, ("sum", 0.8): -3.6, ("hidden digit", 0.2): -3.6}
"""Change of the mean length in tokens after 24 steps, the mean over five seeds of the recording ``r1/tax``."""


def _growth(wanted: str, tax: float) -> float:
    return GROWTH[wanted, tax]


check_tax_prediction = Check(
    "predict_growth: the directions of three runs, and their sizes within about 3 tokens",
    draw=lambda rng, turn: dict(zip(("wanted", "tax"), list(GROWTH)[turn], strict=True)),
    right=_growth,
    tolerance=0.6,  # 4.4 tokens: a prediction between 1.2 and 7.6 passes
    near=0.35,
    secret=Forecast(signed=True),
    mistakes={
        "a tax does not always make the answers shorter. Compare it with what a chain brings: how much "
        "more often is it correct than a guess?": lambda wanted, tax: -abs(_growth(wanted, tax)),
        "RL does not always make the answers longer. Compare the tax with what a chain brings": (
            lambda wanted, tax: abs(_growth(wanted, tax))
        ),
        "a tax of 0.8 is more than a chain brings: the base's chains earn 0.7 - 0.1 = 0.6 more than "
        "a guess": lambda wanted, tax: _growth(wanted, 0.2 if wanted == "sum" else tax),
        "where the verifier wants a hidden digit, a chain brings nothing and costs 0.2": (
            lambda wanted, tax: _growth("sum", tax)
        ),
        "the signs are reversed: negative means that the answers become shorter": lambda wanted, tax: (
            -_growth(wanted, tax)
        ),
        "you predict no change where the chain does not pay. What costs more than it brings is unlearned "
        "until direct guesses remain": lambda wanted, tax: max(0.0, _growth(wanted, tax)),
        "you predict the length, and not its change: the base has about 7 tokens": lambda wanted, tax: (
            6.6 + _growth(wanted, tax)
        ),
        "the direction is right, the size is too small: the mixture of guesses (3 tokens) and chains (about "
        "11) becomes one or the other": lambda wanted, tax: 0.2 * _growth(wanted, tax),
        "the direction is right, the size is too large: the base has about 7 tokens, a whole chain about 11": (
            lambda wanted, tax: 10 * _growth(wanted, tax)
        ),
    },
)


# ------------------------------------------------------------------------------------------- reports

Train = Callable[[float, int], list[dict[str, float]]]


def _draw_trainer(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Six weights: the first misses the share, the second costs too much, the others meet the goal."""
    weights = np.round(np.cumsum(rng.uniform(0.05, 0.2, 6)), 2).tolist()
    share = dict(zip([0.0, *weights], (0.3, 0.4, 0.9, 0.88, 0.99, 0.93, 0.95), strict=True))
    costs = dict(zip([0.0, *weights], (0.0, 0.01, 0.15, 0.02, 0.03, 0.025, 0.04), strict=True))
    noise = {
        (weight, seed): rng.uniform(-0.01, 0.01, 4) for weight in share for seed in range(turn + 2)
    }

    def train(weight: float, seed: int) -> list[dict[str, float]]:
        a, b, c, d = noise[weight, seed]
        last = 0.8 + 0.05 * seed - costs[weight]
        ends = (
            (0, 0.3 + a, 0.3 + b),
            (10, last + 0.06 + d, 0.75 + c),
            (20, last + a, share[weight] + b),
        )
        return [{"step": step, "accuracy": acc, "share": part} for step, acc, part in ends]

    order = [weights[place] for place in (4, 0, 5, 3, 1, 2)]
    return {
        "train": train,
        "weights": order,
        "seeds": list(range(turn + 2)),
        "cost": 0.08,
        "wanted": 0.6,
    }


def _report(
    train: Train,
    weights: list[float],
    seeds: list[int],
    cost: float,
    wanted: float,
    *,
    read: Callable[[list[dict[str, float]], str], float] = lambda records, key: records[-1][key],
    base: Callable[[Train, float, int], list[dict[str, float]]] = lambda train, weight, seed: train(
        0.0, seed
    ),
    choose: Callable[[list[tuple[float, ...]]], tuple[float, ...]] = min,
    meets: Callable[[float, float, float, float], bool] = lambda change, share, cost, wanted: (
        change >= -cost and share >= wanted
    ),
    sign: float = 1.0,
) -> tuple[float, float, float]:
    """(weight, mean change of the accuracy, mean share); the keywords are options for mistakes."""
    found: list[tuple[float, ...]] = []
    for weight in weights:
        runs = [(train(weight, seed), base(train, weight, seed)) for seed in seeds]
        change = float(
            np.mean([read(run, "accuracy") - read(plain, "accuracy") for run, plain in runs])
        )
        share = float(np.mean([read(run, "share") for run, _ in runs]))
        if meets(change, share, cost, wanted):
            found.append((weight, change, share))
    weight, change, share = choose(found) if found else (0.0, 0.0, 0.0)
    return weight, sign * change, share


check_weight_report = Check(
    "report: the smallest weight that meets the goal, and what it costs",
    draw=_draw_trainer,
    right=_report,
    tolerance=1e-6,
    mistakes={
        "the largest weight that meets the goal is reported": partial(_report, choose=max),
        "the first weight *in the list* is reported; the list is not sorted": partial(
            _report, choose=lambda found: found[0]
        ),
        "the weight with the largest share is reported; the goal asks for the smallest weight": partial(
            _report, choose=lambda found: max(found, key=lambda one: one[2])
        ),
        "the accuracy is not part of the decision: a weight that costs too much is accepted": partial(
            _report, meets=lambda change, share, cost, wanted: share >= wanted
        ),
        "the share is not part of the decision": partial(
            _report, meets=lambda change, share, cost, wanted: change >= -cost
        ),
        "the change is measured from step 0 of the same run. The cost of the second reward is the "
        "difference from the run without it": partial(
            _report,
            base=lambda train, weight, seed: train(weight, seed)[:1],
        ),
        "the best record of each run is read; the last one counts, since the best is chosen by luck": (
            partial(_report, read=lambda records, key: max(record[key] for record in records))
        ),
        "the mean over the records of a run is read; the last one counts": partial(
            _report, read=lambda records, key: float(np.mean([record[key] for record in records]))
        ),
        "the first record of each run is read: that is the base": partial(
            _report, read=lambda records, key: records[0][key]
        ),
        "only the first seed is used": lambda train, weights, seeds, cost, wanted: _report(
            train, weights, seeds[:1], cost, wanted
        ),
        "the sign of the change is reversed: a loss of accuracy is negative": partial(
            _report, sign=-1.0
        ),
    },
)
