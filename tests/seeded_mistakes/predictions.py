"""Mistaken predictions in the exercises of notebooks 02, 05, 06 and 07."""

from collections.abc import Callable
from typing import Any

from rlvr_lab.checks.predictions import GOLD, HELD, LENGTHS, PASSED
from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]


def gold(*values: float) -> Callable[..., float]:
    table: dict[Any, float] = dict(zip(GOLD, values, strict=True))
    return lambda beta, step: table[beta, step]


def passed(*values: float) -> Callable[..., float]:
    table: dict[Any, float] = dict(zip(PASSED, values, strict=True))
    return lambda reward, step: table[reward, step]


def held(*values: float) -> Callable[..., float]:
    table: dict[Any, float] = dict(zip(HELD, values, strict=True))
    return lambda estimator, place, beta: table[estimator, place, beta]


def lengths(*values: float) -> Callable[..., float]:
    table: dict[Any, float] = dict(zip(LENGTHS, values, strict=True))
    return lambda average, p, which: table[average, p, which]


BANK: dict[str, list[Seeded]] = {
    "check_gold_prediction": [  # (0, 13), (0, 50), (0.5, 50), (1, 50)
        seeded("follows the proxy", gold(1.5, 5, 1.5, 0.8)),
        seeded("rise to the end", gold(3, 4, 2, 1)),
        seeded("does not fall from the first step", gold(-2, -2, 2, 1)),
        seeded("signs are reversed", gold(-3, 4, -2, -1)),
        seeded("does not stop everything", gold(3, -4, 0, 0)),
        seeded("does change the end", gold(3, -4, -4, -4)),
        seeded("asked is its change", gold(-0.5, -1.8, -0.6, -0.8)),
        seeded("sizes are too small", gold(0.3, -0.4, 0.2, 0.1)),
        seeded("sizes are too large", gold(30, -40, 20, 12)),
        seeded("two penalties are in the wrong order", gold(3, -4, 0.7, 2)),
        seeded("beta = 0.0, step = 50: the wrong direction", gold(2, 2, 2, 1)),
        seeded("step = 13: much too high", gold(20, -4, 2, 1)),
    ],
    "check_reward_model_prediction": [  # (verifier, 20), (model, 8), (model, 40)
        seeded("is not a verifier", passed(0.97, 0.93, 0.99)),
        seeded("useful at first", passed(0.95, 0.1, 0.05)),
        seeded("does not stay where it is", passed(0.95, 0.6, 0.6)),
        seeded("does not go on rising", passed(0.98, 0.6, 0.9)),
        seeded("are exchanged", passed(0.3, 0.9, 1.0)),
        seeded("nothing is learned", passed(0.2, 0.2, 0.2)),
        seeded("these are percentages", passed(98, 60, 6)),
        seeded("you predict what is incorrect", passed(0.02, 0.42, 0.94)),
        seeded("is exact", passed(0.745, 0.765, 0.1)),
        seeded("Your order is the other one", passed(0.9, 0.4, 0.5)),
        seeded("a share lies between 0 and 1", passed(1.1, 0.6, 0.1)),
        seeded("a share lies between 0 and 1", passed(0.95, 0.6, -0.05)),
        seeded("step = 40: a little too high", passed(0.95, 0.6, 0.25)),
    ],
    "check_kl_prediction": [  # k3 loss 0.05, k1 loss 1, k1 reward 1, k3 loss 1
        seeded("every term with β = 1 holds", held(0.8, 0.33, 0.33, 0.4)),
        seeded("every term with β = 1 holds", held(0.85, 0.4, 0.35, 0.35)),
        seeded("in the reward, k1 does act", held(0.8, 0.8, 0.8, 0.4)),
        seeded("no KL term changes much", held(0.85, 0.85, 0.8, 0.8)),
        seeded("is a weak penalty", held(0.4, 0.75, 0.35, 0.4)),
        seeded("still learns something", held(0.8, 0.75, 0.1, 0.1)),
        seeded("these are percentages", held(83, 75, 33, 41)),
        seeded("you predict the base", held(0.2, 0.2, 0.2, 0.2)),
        seeded("two places are exchanged", held(0.8, 0.3, 0.75, 0.4)),
        seeded("its noise does not vanish", held(0.66, 0.93, 0.3, 0.4)),
        seeded("its noise does not vanish", held(0.8, 0.8, 0.35, 0.35)),
        seeded("not equally", held(0.8, 0.7, 0.44, 0.31)),
        seeded("not equally", held(0.8, 0.7, 0.35, 0.35)),
        seeded("acts in only one", held(0.8, 0.5, 0.6, 0.4)),
        seeded("lets the policy go farther", held(0.8, 0.5, 0.3, 0.6)),
        seeded("'loss', beta = 1.0: a little too low", held(0.8, 0.5, 0.3, 0.4)),
    ],
    "check_lab_prediction": [  # sequence 0.2 all, 0.8 all, 0.8 incorrect, constant 0.2 incorrect
        seeded("how many are they at p = 0.8", lengths(22, 22, 26, 6)),
        seeded("p decides how many they are", lengths(22, 7, 6, 6)),
        seeded("have the same length", lengths(22, 7.5, 7.5, 6)),
        seeded("the pushes on the length cancel", lengths(22, 7, 27, 25)),
        seeded("expect no change anywhere", lengths(5.7, 5.7, 5.7, 5.7)),
        seeded("answers become shorter", lengths(2, 2, 2, 6)),
        seeded("you predict the change", lengths(16, 1.4, 21, 0.3)),
        seeded("no answer is longer than 32", lengths(22, 7, 60, 6)),
        seeded("at least one token and at most 32", lengths(22, 7, 34, 6)),
        seeded("longer or shorter than the incorrect", lengths(25, 7, 20, 6)),
        seeded("more frequent at p = 0.2", lengths(7, 22, 27, 6)),
        seeded("average = 'constant'", lengths(22, 7, 27, 15)),
    ],
}
