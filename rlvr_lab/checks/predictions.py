"""Checks of predictions: direction and order of magnitude against recorded runs (notebooks 02, 05, 06, 07).

Each check compares the predictions with means over the seeds of a recording: their directions, their orders and
their sizes, and no message contains a recorded value. The numbers stand here, so that
a check needs no file; a test compares them with the recordings.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from rlvr_lab.checks.forecasts import Forecast
from rlvr_lab.checks.kit import Check

Draw = Callable[[np.random.Generator, int], dict[str, Any]]


def _in_turn(table: dict[tuple[Any, ...], float], *names: str) -> Draw:
    """Draw the keys of a table one after the other."""
    keys = list(table)
    return lambda rng, turn: dict(zip(names, keys[turn], strict=True))


NO_SHARE = "a share lies between 0 and 1"


# ------------------------------------------------- notebook 02: a KL penalty and the gold reward at the end

GOLD = {(0.0, 13): 3.17, (0.0, 50): -3.82, (0.5, 50): 2.15, (1.0, 50): 1.18}
"""(β, step) → change of the gold reward since step 1 under PPO, mean over the seeds of
``overoptimisation/fresh/ppo_300_flips`` (seeds 5–14 for β = 0, 5–9 for the others)."""


def _gold(beta: float, step: int) -> float:
    return GOLD[beta, step]


PROXY = {(0.0, 13): 1.36, (0.0, 50): 5.15, (0.5, 50): 1.43, (1.0, 50): 0.70}

check_gold_prediction = Check(
    "predict_gold: four directions, the order of the two penalties, and sizes within half the recorded ones plus 0.5",
    draw=_in_turn(GOLD, "beta", "step"),
    right=_gold,
    calls=len(GOLD),
    tolerance=0.5,
    near=0.3,
    secret=Forecast(
        signed=True,
        orders={
            "the two penalties are in the wrong order. Both runs stop before the peak: which of them stops "
            "nearer to the base, where the gold reward has risen less?": (
                lambda early, late, weak, strong: weak > strong
            ),
        },
    ),
    mistakes={
        "you predict that the gold reward follows the proxy. The proxy keeps rising; the gold reward is what "
        "it leaves out": lambda beta, step: PROXY[beta, step],
        "without a penalty you let the gold reward rise to the end. The reward model has seen 300 pairs "
        "only: what happens far from its data?": lambda beta, step: abs(_gold(beta, step)),
        "the gold reward does not fall from the first step. Near the base the reward model is right on "
        "average": lambda beta, step: -2.0 if beta == 0 else _gold(beta, step),
        "the signs are reversed: positive means that the gold reward has risen": lambda beta, step: (
            -_gold(beta, step)
        ),
        "a penalty does not stop everything. It sets how far the policy goes, and part of that way is "
        "useful": lambda beta, step: 0.0 if beta else _gold(beta, step),
        "a penalty of this size does change the end: it decides whether the policy goes past the peak": (
            lambda beta, step: _gold(0.0, step)
        ),
        "you predict the gold reward itself; asked is its change since step 1, where it is about -1.1": (
            lambda beta, step: _gold(beta, step) * 0.2 - 1.06
        ),
        "the directions are right, the sizes are too small. The gold reward of a single answer has a spread "
        "of several units": lambda beta, step: 0.1 * _gold(beta, step),
        "the directions are right, the sizes are too large": lambda beta, step: (
            10 * _gold(beta, step)
        ),
    },
)


# --------------------------------------------------------- notebook 05: PPO against a verifier and a model

PASSED = {("verifier", 20): 0.98, ("model", 8): 0.58, ("model", 40): 0.065}
"""(reward, step) → share of correct answers under PPO, mean over seeds 0–4 of ``sums_ppo`` and
``sums_ppo_model``."""


def _passed(reward: str, step: int) -> float:
    return PASSED[reward, step]


check_reward_model_prediction = Check(
    "predict_correct: three shares in their order, each near the recorded one",
    draw=_in_turn(PASSED, "reward", "step"),
    right=_passed,
    calls=len(PASSED),
    tolerance=0.12,
    near=0.08,
    secret=Forecast(
        least=0,
        most=1,
        unit=NO_SHARE,
        orders={
            "after 8 steps the model's run is no better than the verifier's after 20. Which of the two rewards "
            "is exact?": lambda verifier, early, late: verifier > early,
            "with the reward model, which of the two steps is nearer to the answers that it was fitted on? "
            "Your order is the other one": lambda verifier, early, late: early > late,
        },
    ),
    mistakes={
        "a learned reward is not a verifier. It was fitted to answers of the base, and PPO moves away from "
        "those": lambda reward, step: 0.95,
        "the reward model is useful at first: its score and correctness agree on the base's answers": (
            lambda reward, step: _passed(reward, step) if reward == "verifier" else 0.1
        ),
        "with the reward model the share does not stay where it is after 8 steps. PPO goes on as long as "
        "the score rises": lambda reward, step: (
            _passed(reward, step) if reward == "verifier" else 0.58
        ),
        "with the reward model it does not go on rising: the score does, and the share of correct answers "
        "is something else": lambda reward, step: 0.98 if step > 10 else 0.58,
        "the two rewards are exchanged: the verifier is what is measured": lambda reward, step: {
            20: 0.3,
            8: 0.93,
            40: 0.97,
        }[step],
        "you predict that nothing is learned: the base is correct in about 0.2 of its answers": (
            lambda reward, step: 0.2
        ),
        "shares lie between 0 and 1; these are percentages": lambda reward, step: (
            100 * _passed(reward, step)
        ),
        "you predict what is incorrect; asked is the share of correct answers": lambda reward, step: (
            1 - _passed(reward, step)
        ),
    },
)


# ---------------------------------------------------- notebook 06: which KL term holds the policy back

HELD = {("k3", "loss", 0.05): 0.83, ("k1", "loss", 1.0): 0.76, ("k1", "reward", 1.0): 0.32}
HELD |= {("k3", "loss", 1.0): 0.42}
"""(estimator, place, β) → share of correct answers, mean over steps 10–12 and ten seeds of ``grpo_kl``."""


def _held(estimator: str, place: str, beta: float) -> float:
    return HELD[estimator, place, beta]


check_kl_prediction = Check(
    "predict_correct: the order of the four KL terms, and four shares near the recorded ones",
    draw=_in_turn(HELD, "estimator", "place", "beta"),
    right=_held,
    calls=len(HELD),
    tolerance=0.1,
    near=0.06,
    secret=Forecast(
        least=0,
        most=1,
        unit=NO_SHARE,
        orders={
            "k1 in the loss has no expected gradient, but its noise does not vanish with it. What does noise at "
            "β = 1 do to the run, compared with a weak term?": (
                lambda weak, k1_loss, k1_reward, k3_loss: weak > k1_loss
            ),
            "the same k1 acts in only one of the two places. In which of them should the share be lower?": (
                lambda weak, k1_loss, k1_reward, k3_loss: k1_loss > k1_reward
            ),
            "k3 in the loss at β = 1 has an expected gradient. k1 in the loss has none: which of the two lets "
            "the policy go farther?": lambda weak, k1_loss, k1_reward, k3_loss: k1_loss > k3_loss,
            "both hold the policy back at β = 1, but not equally. In the loss only the advantages are divided by "
            "the std of the group; in the reward the penalty is divided as well": (
                lambda weak, k1_loss, k1_reward, k3_loss: k3_loss > k1_reward
            ),
        },
    ),
    mistakes={
        "you expect that every term with β = 1 holds the policy back, k1 in the loss like k1 in the reward. "
        "What is the expected gradient of k1 itself?": lambda k, place, beta: (
            0.35 if beta == 1 else 0.84
        ),
        "in the reward, k1 does act: it is part of the advantage, and the policy gradient is taken of it": (
            lambda k, place, beta: 0.8 if k == "k1" else _held(k, place, beta)
        ),
        "you expect that no KL term changes much. In the reward at β = 1, a nat costs as much as a correct answer "
        "earns": (lambda k, place, beta: 0.84),
        "β = 0.05 is a weak penalty: a twentieth of the one in the last row": (
            lambda k, place, beta: 0.4 if beta < 1 else _held(k, place, beta)
        ),
        "with β = 1 the policy still learns something: it goes as far as a nat pays": (
            lambda k, place, beta: (
                0.1 if beta == 1 and (k, place) != ("k1", "loss") else _held(k, place, beta)
            )
        ),
        "shares lie between 0 and 1; these are percentages": lambda k, place, beta: (
            100 * _held(k, place, beta)
        ),
        "you predict the base: it is correct in 0.2 of its answers, and these runs learn for 12 steps": (
            lambda k, place, beta: 0.2
        ),
        "the two places are exchanged: in one of them the term is differentiated, in the other it is a "
        "number": lambda k, place, beta: (
            (0.33 if place == "loss" else 0.75) if k == "k1" else _held(k, place, beta)
        ),
    },
)


# -------------------------------------------------------------- notebook 07: the length laboratory

LENGTHS = {("sequence", 0.2, "all"): 22.1, ("sequence", 0.8, "all"): 7.1}
LENGTHS |= {("sequence", 0.8, "incorrect"): 27.0, ("constant", 0.2, "incorrect"): 6.0}
"""(average, p, which answers) → expected length after 25 steps, mean over seeds 0–4 of ``lab_*_p*``."""


def _length(average: str, p: float, which: str) -> float:
    return LENGTHS[average, p, which]


check_lab_prediction = Check(
    "predict_length: four lengths within about a third, the incorrect answers under 1/|o| the longest",
    draw=_in_turn(LENGTHS, "average", "p", "which"),
    right=_length,
    calls=len(LENGTHS),
    tolerance=0.3,
    near=0.1,
    secret=Forecast(
        least=1,
        most=32,
        unit="an answer has at least one token and at most 32",
        orders={
            "under 1/|o|, all answers together include the correct ones. Are those longer or shorter than the "
            "incorrect ones?": lambda rare, often, incorrect, constant: (
                incorrect > max(rare, often)
            ),
            "under 1/|o|, incorrect answers are more frequent at p = 0.2 than at p = 0.8. What does that do to "
            "the mean over all answers?": lambda rare, often, incorrect, constant: rare > often,
        },
    ),
    mistakes={
        "you expect that all answers grow under 1/|o|. What happens to the correct ones, and how many are "
        "they at p = 0.8?": lambda average, p, which: (
            22.0 if which == "all" else _length(average, p, which)
        ),
        "at p = 0.8 you expect that incorrect answers do not grow. p decides how many they are; their "
        "advantage is negative at each p": lambda average, p, which: (
            6.0 if (p, which) == (0.8, "incorrect") else _length(average, p, which)
        ),
        "you expect that correct and incorrect answers have the same length. The policy reads the outcome "
        "before it chooses": lambda average, p, which: _length(
            average, p, "all" if average == "sequence" else which
        ),
        "under the constant a token weighs the same in every answer, and the pushes on the length cancel": (
            lambda average, p, which: 25.0 if average == "constant" else _length(average, p, which)
        ),
        "you expect no change anywhere. Under 1/|o| a long incorrect answer is punished less per token": (
            lambda average, p, which: 5.7
        ),
        "you expect that incorrect answers become shorter. Their advantage is negative: which length makes "
        "the push on a token smallest?": lambda average, p, which: (
            2.1 if average == "sequence" else _length(average, p, which)
        ),
        "you predict the change; asked is the length after 25 steps (it starts at 5.7)": (
            lambda average, p, which: _length(average, p, which) - 5.7
        ),
        "the directions are right, the size is too large: no answer is longer than 32 tokens": (
            lambda average, p, which: (
                60.0
                if which == "incorrect" and average == "sequence"
                else _length(average, p, which)
            )
        ),
    },
)
