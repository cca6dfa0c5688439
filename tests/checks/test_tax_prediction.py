"""The prediction of notebook 08 is graded against what was recorded."""

import pytest

from rlvr_lab.checks.run_reports import GROWTH
from rlvr_lab.experiments.evaluated import variant_of
from rlvr_lab.experiments.r1.longer import growth
from rlvr_lab.experiments.r1.zero import TAXES
from rlvr_lab.experiments.recorded import recorded


def test_the_graded_numbers_are_those_of_the_recording() -> None:
    runs = recorded("r1/tax").runs
    for (wanted, tax), tokens in GROWTH.items():
        name = f"tax {tax}" if wanted == "sum" else f"hidden, tax {tax}"
        found = growth(variant_of(runs, TAXES[name]), 24)
        assert len(found) == 5
        assert found.mean() == pytest.approx(tokens, abs=0.05)
