"""Checks of the museum of broken runs: what is wrong with a run, since when, and the line that mends it.

A wrong fault is answered by the evidence of the recorded run that speaks against it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.calls import Mistake, call, function_name
from rlvr_lab.checks.kit import Check, Series, drawing
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
        _whole(name, step)
        return fault


def _whole(name: str, step: Any) -> int:
    """The step that a learner gives: 3, 3.0 and tensor(3) are the same."""
    refused = Mistake(f"{name}: the step must be a whole number, not {step!r}")
    if isinstance(step, bool | str):
        raise refused
    try:
        value = float(step)
    except (TypeError, ValueError, RuntimeError):
        raise refused from None
    if not value.is_integer():
        raise refused
    return int(value)


def _when(number: int, fn: Any, rng: np.random.Generator) -> None:
    """The step, once the fault is known."""
    result, _ = call(fn)
    name, right = function_name(fn), true_step(number)
    step = _whole(name, result[1])
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


@dataclass(frozen=True)
class TwoHalves(Series):
    """A diagnosis, and the line that mends the run; the first half can be checked alone.

    Attributes:
        evidence: for the diagnosis; shown once it is correct.
    """

    evidence: str = ""

    def __call__(self, *functions: Any, seed: int | None = None) -> None:
        """Check the diagnosis, and the mended function if it is given.

        Raises:
            Mistake: with a sentence that says what is wrong, and in which half.
        """
        if len(functions) not in (1, 2):
            raise Mistake(f"pass one or two functions to the check, not {len(functions)}")
        diagnosis, line = self.parts
        diagnosis.examine(functions[0], np.random.default_rng(0))  # it draws nothing
        found = f"the diagnosis is correct: {self.evidence}"
        if len(functions) == 1:
            print(f"✓ {found}")
            return
        try:
            with drawing(seed) as rng:
                line.examine(functions[1], rng)
        except Mistake as mistake:
            name, said = function_name(functions[1]), str(mistake)
            if said.startswith(f"{name} is not written yet: "):
                said = f"The line is still to be written, in {name}"
            raise Mistake(f"the diagnosis is correct. {said}") from None
        print(f"✓ {self.title}: {found}. The line is mended")


def _check(number: int, evidence: str) -> TwoHalves:
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
    parts = (diagnosis, MENDS[number])
    return TwoHalves(f"exhibit {number}", parts, functions=2, evidence=evidence)


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
