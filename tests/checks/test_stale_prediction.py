"""The prediction of notebook 11 is graded against what was recorded."""

import pytest

from rlvr_lab.checks.stale_prediction import ENDS, FAST
from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.experiments.stale import settled


def test_the_accuracies_with_an_old_sampler_are_those_of_the_recording() -> None:
    runs = recorded("stale").runs
    for (learning_rate, correction), accuracy in ENDS.items():
        fast = "fast, " if learning_rate == FAST else ""
        found = settled(runs, f"{fast}lag 8, {correction}", last=1)
        assert len(found) == 5
        assert found.mean() == pytest.approx(accuracy, abs=0.02)
