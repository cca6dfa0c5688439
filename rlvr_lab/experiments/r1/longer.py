"""Why the answers of R1-Zero get longer: skill, objective, or format (notebook 08).

The recording ``r1/zero`` holds a 2 × 2 design: {the real answer, a hidden one} × {1/|o|, the constant average},
from the same base and with the same prompts for each seed. With a hidden answer no way to answer is better than
a guess. So what the real answer adds is due to skill, and what 1/|o| adds to the constant average is due to the
objective. Two more variants take out the format reward, or leave only that.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from rlvr_lab.experiments.answer_kinds import ANSWER_KINDS, Parts, mean_parts
from rlvr_lab.experiments.evaluated import at_step, variant_of
from rlvr_lab.experiments.r1.zero import VARIANTS
from rlvr_lab.records.runs import Run

__all__ = ["by_variant", "contributions", "growth", "growth_parts"]


def by_variant(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Name in ``VARIANTS`` → its runs in the order of their seeds.

    Raises:
        ValueError: when a variant is missing, or the variants do not have the same seeds.
    """
    runs = list(runs)
    found = {name: variant_of(runs, config) for name, config in VARIANTS.items()}
    seeds = {name: [run.config.seed for run in group] for name, group in found.items()}
    if len({tuple(own) for own in seeds.values()}) > 1:
        raise ValueError(f"runs: the variants have different seeds: {seeds}")
    return found


def growth(runs: Iterable[Run], step: int) -> np.ndarray:
    """Mean length of all test answers at ``step`` minus that of the base, [S], in tokens.

    Raises:
        ValueError: when a run has no record of that step.
    """
    runs = list(runs)
    return at_step(runs, "length", step) - at_step(runs, "length", 0)


def growth_parts(runs: Iterable[Run], step: int) -> Parts:
    """The growth until ``step``, split into guesses, mix of the other kinds, and lengths within the kinds, [S].

    Raises:
        ValueError: when a run has no record of that step.
    """
    runs = list(runs)
    sides = [
        np.array([at_step(runs, f"{key}_{kind}", at) for kind in ANSWER_KINDS]).T
        for at in (step, 0)
        for key in ("share", "length")
    ]
    return Parts(*np.array([mean_parts(*side) for side in zip(*sides, strict=True)]).T)


def contributions(variants: Mapping[str, list[Run]], step: int) -> dict[str, np.ndarray]:
    """What the growth until ``step`` is made of, [S] each, in tokens, paired by seed.

    Returns:
        ``all``: growth of R1-Zero (real answer, 1/|o|). It is the sum of three steps from the run in which
        neither skill nor 1/|o| acts: ``rest``, the growth with a hidden answer and the constant average;
        ``skill``, real minus hidden answer under the constant; ``objective``, 1/|o| minus constant with the
        real answer.
        The other order gives ``skill_sequence``, real minus hidden under 1/|o|, and ``objective_hidden``,
        1/|o| minus constant with a hidden answer.
        ``format``: R1-Zero minus the run without the format reward; ``format_only``: growth with only it.
    """
    g = {name: growth(runs, step) for name, runs in variants.items()}
    return {
        "all": g["sequence"],
        "rest": g["hidden_constant"],
        "skill": g["constant"] - g["hidden_constant"],
        "objective": g["sequence"] - g["constant"],
        "skill_sequence": g["sequence"] - g["hidden_sequence"],
        "objective_hidden": g["hidden_sequence"] - g["hidden_constant"],
        "format": g["sequence"] - g["no_format"],
        "format_only": g["format_only"],
    }
