"""Checks of the museum of broken runs: what is wrong with a run, since when, and the line that mends it.

A wrong fault is answered by the evidence of the recorded run that speaks against it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.calls import Mistake, call, function_name
from rlvr_lab.checks.kit import Check, Series
from rlvr_lab.checks.museum_code import MENDS
from rlvr_lab.experiments.museum import EXHIBITS, exhibit
from rlvr_lab.experiments.museum_faults import choices, first_step
from rlvr_lab.experiments.museum_signs import contradiction


def true_step(number: int, seed: int = 1) -> int:
    """The step at which the fault of an exhibit begins to show, by the rule of the exercises; 0 for no fault."""
    fault = EXHIBITS[number].fault
    if fault == "nothing":
        return 0
    step = first_step(*exhibit(number, seed))
    if step is None:
        raise ValueError(f"number: the fault of exhibit {number} does not show with seed {seed}")
    return step


def _evidence(number: int) -> dict[str, Any]:
    """What speaks against each wrong fault of an exhibit → the function that returns that fault."""
    found = {}
    for fault in choices(number):
        try:
            said = contradiction(number, fault)
        except (FileNotFoundError, ValueError):  # the museum is being recorded
            said = None
        if said is not None and fault != EXHIBITS[number].fault:
            found[f"{fault!r} does not agree with the curves: {said}"] = partial(str, fault)
    return found


@dataclass(frozen=True)
class Diagnosis(Check):
    """A check of a function without arguments that returns (fault, step).

    Attributes:
        number: of the exhibit.
    """

    number: int = 1

    def _value(self, name: str, result: Any, right: Any, inputs: dict[str, Any]) -> str:
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise Mistake(f"{name} must return two things: the fault, in quotes, and the step")
        fault, step = result
        if not isinstance(fault, str) or fault not in self.words:
            choice = ", ".join(map(repr, self.words))
            raise Mistake(f"{name}: the fault must be one of {choice}; not {fault!r}")
        if isinstance(step, bool) or not isinstance(step, int | np.integer):
            raise Mistake(f"{name}: the step must be a whole number, not {step!r}")
        return fault


def _when(number: int, fn: Any, rng: np.random.Generator) -> None:
    """The step, once the fault is known."""
    result, _ = call(fn)
    name, step, right = function_name(fn), int(result[1]), true_step(number)
    if right == 0 and step != 0:
        raise Mistake(f"{name}: the fault is correct. Where nothing is wrong, the step is 0")
    if step < right:
        raise Mistake(
            f"{name}: the fault is correct, but step {step} is too early: in the record of that step, and in all "
            "before it, every metric is within its tolerance"
        )
    if step > right:
        raise Mistake(
            f"{name}: the fault is correct, but step {step} is too late: a metric leaves its tolerance before. Go "
            "through `broken` and `healthy` side by side, from the first record on"
        )


def _check(number: int, title: str) -> Series:
    mend = MENDS[number]
    diagnosis = Diagnosis(
        f"exhibit {number}",
        draw=lambda rng, turn: {},
        right=lambda: EXHIBITS[number].fault,
        mistakes=_evidence(number),
        calls=1,
        words=tuple(choices(number)),
        last=partial(_when, number),
        number=number,
    )
    return Series(f"exhibit {number}: {title}", (diagnosis, mend), functions=2)


check_exhibit_1 = _check(
    1,
    "the score rises to the end, far above what a verifier could pay, while the accuracy of a strict verifier "
    "rises, turns and falls",
)
check_exhibit_2 = _check(
    2,
    "rewards differ within the groups, so there are advantages; only the gradient is exactly 0, and the policy "
    "stays where it was",
)
check_exhibit_3 = _check(
    3,
    "every reward is the largest one from the first step on, all groups are silent, and the strict verifier "
    "sees no better answers",
)
check_exhibit_4 = _check(
    4,
    "ρ is 1 where a fresh copy was taken and leaves 1 in the steps after it, so the clip acts before the first "
    "inner step",
)
check_exhibit_5 = _check(
    5,
    "ρ is not 1 at the first inner step of step 1, where policy and sampler have the same weights: what differs "
    "is not the policy but the way log π is computed",
)
check_exhibit_6 = _check(
    6,
    "with one inner step ρ = 1, so the loss is minus the mean advantage, 0, and nothing is clipped; the gradient "
    "is not 0, and the accuracy rises",
)
check_exhibit_7 = _check(
    7,
    "the KL and its share in the loss grow together: the optimiser is paid for leaving the reference",
)
check_exhibit_8 = _check(
    8,
    "the advantage of an answer whose seven rivals agree is 1e6; the limit on the gradient norm hides this from "
    "the parameters, but one answer then decides the direction of the step",
)
check_exhibit_9 = _check(
    9,
    "most pairs agree and are silent, the others have advantages of exactly ±1; it learns, but from fewer "
    "answers",
)
check_exhibit_10 = _check(
    10,
    "whole chains are cut off at step 1 and earn nothing; what remains short enough, the guess, is learned, "
    "after which nothing is cut off any more",
)
check_exhibit_11 = _check(
    11,
    "the logged reward is that of guessing from the first step on, and answers are shorter than the same "
    "policy's answers to real questions",
)
check_exhibit_12 = _check(
    12,
    "length and entropy of the rollouts stay where they are for eight steps and then jump, while the accuracy moves "
    "at once; ρ leaves 1, and nothing is clipped, as the loss has no ratio",
)
check_exhibit_13 = _check(
    13,
    "ratios, silent groups and gradient norms look healthy at the start, and still the accuracy does not rise: "
    "every answer is pushed by the advantage of another",
)
