"""Eight faults that the ordinary suite plants every time, one process for all of them."""

import json
import subprocess
import sys

import pytest

from tests.mutation.sources import ROOT
from tests.mutation.targets import HANDFUL, Planted


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    command = [sys.executable, "-m", "tests.mutation", "--handful"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(("number", "planted"), enumerate(HANDFUL))
def test_the_tests_see_the_fault(outcomes: dict[str, str], number: int, planted: Planted) -> None:
    assert outcomes[str(number)] == "killed", planted
