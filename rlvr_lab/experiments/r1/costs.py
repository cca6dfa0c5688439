"""What a student had used when: tokens and operations, read from the recorded runs (notebook 08, section 7)."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from jaxtyping import Float

from rlvr_lab.records.runs import Run

__all__ = ["Costs", "at_cost", "cost_of", "costs"]

Costs = Literal[
    "trained_tokens",
    "sampled_tokens",
    "student_tokens",
    "updates",
    "flops",
    "with_sampling",
    "sampling_first",
    "with_teacher",
]


def costs(run: Run, what: Costs, teachers: Iterable[Run] = ()) -> Float[np.ndarray, " T"]:
    """What a run had used at each of its records.

    Args:
        run: one student.
        what: ``trained_tokens``; ``sampled_tokens``; ``student_tokens`` (of the pupils in notebook 10);
            ``updates``; ``flops`` of the student; ``with_sampling`` adds the work of the teacher, each trace
            when it is first used; ``sampling_first`` adds all of it before the first step;
            ``with_teacher`` adds the RL of the teacher too, where the teacher after its RL takes part.
        teachers: the runs of the teachers, for ``with_teacher``.

    Raises:
        ValueError: when the teacher of this seed is needed and not there.
    """
    if what in (
        "trained_tokens",
        "sampled_tokens",
        "student_tokens",
        "updates",
        "flops",
    ):
        return run.curve(what)
    sampling = run.curve("teacher_flops")
    total = run.curve("flops") + (sampling[-1] if what == "sampling_first" else sampling)
    if what == "with_teacher" and run.config.needs_teacher:
        seed = run.config.seed
        own = [teacher for teacher in teachers if teacher.config.seed == seed]
        if not own:
            raise ValueError(f"teachers: none of them has seed {seed}")
        total = total + own[0].records[-1]["flops"]
    return total


def at_cost(
    runs: Iterable[Run],
    key: str,
    grid: Iterable[float],
    what: Costs = "trained_tokens",
    teachers: Iterable[Run] = (),
) -> Float[np.ndarray, "S T"]:
    """One metric of each run at given costs, linear between the records; NaN outside what was recorded."""
    teachers, grid = list(teachers), list(grid)
    rows = [
        np.interp(grid, costs(run, what, teachers), run.curve(key), left=np.nan, right=np.nan)
        for run in runs
    ]
    return np.array(rows)


def cost_of(
    runs: Iterable[Run],
    level: float,
    what: Costs = "trained_tokens",
    teachers: Iterable[Run] = (),
) -> Float[np.ndarray, " S"]:
    """The cost at which a run's accuracy first reaches ``level``, linear between records; NaN if it does not."""
    teachers, found = list(teachers), []
    for run in runs:
        x, y = costs(run, what, teachers), run.curve("accuracy")
        above = np.flatnonzero(y >= level)
        if not len(above):
            found.append(np.nan)
        elif (i := above[0]) == 0:
            found.append(x[0])
        else:
            found.append(x[i - 1] + (x[i] - x[i - 1]) * (level - y[i - 1]) / (y[i] - y[i - 1]))
    return np.array(found)
