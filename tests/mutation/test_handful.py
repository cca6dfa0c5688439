"""A few faults that the ordinary suite plants every time, one process for all of them."""

import json
import subprocess
import sys

import pytest

from tests.mutation.__main__ import ROOT, TABLE


@pytest.fixture(scope="module")
def outcomes() -> list[str]:
    command = [sys.executable, "-m", "tests.mutation", "--handful"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(TABLE["planted"])))
def test_the_tests_see_the_fault(outcomes: list[str], number: int) -> None:
    assert outcomes[number] == "killed", TABLE["planted"][number]
