"""Two processes that exchange gradients end where one process ends, from the same answers."""

from pathlib import Path

import pytest

from rlvr_lab.machine.scale import hand_over
from rlvr_lab.records.runs import Run
from tests.benchmarks.two_processes import (
    CONFIG,
    ROWS,
    TrlAdvantages,
    ended,
    flags,
    launch_two,
    ours,
)

pytestmark = [pytest.mark.scale, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("trl", reason="TRL is not installed: pip install -e '.[scale]' brings it")

SAME = 1e-3
"""Relative distance of the parameters. The gradients of 32 answers are added in another order (float32: about 1e-7 of
each sum), and AdamW enlarges that where a gradient is almost 0; measured are 1e-5 and less."""


def test_two_processes_end_where_one_ends(tmp_path: Path) -> None:
    before, us, answers = ours(TrlAdvantages.of(CONFIG))
    answers.save(tmp_path / "answers.safetensors")
    more = ["--replay", str(tmp_path / "answers.safetensors"), "--rows-per-device", str(ROWS)]
    launch_two(tmp_path / "two", *more, *flags(CONFIG))
    hand_over(CONFIG, tmp_path / "one", rows_per_device=ROWS, replay=answers)
    one, two = ended(tmp_path / "one"), ended(tmp_path / "two")
    moved = (us - before).norm()
    assert (two - one).norm() / moved < SAME
    assert (one - us).norm() / moved < 0.05
    run = Run.load(tmp_path / "two" / "run.json")
    assert run.config == CONFIG and len(run.records) == CONFIG.steps
