"""Each recording names a command that the command line still understands."""

import json
import shlex
from pathlib import Path

import pytest

from rlvr_lab.__main__ import _parser
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.policy.data import data_folder

RUNS = data_folder() / "runs"
FILES = sorted(RUNS.rglob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(RUNS).as_posix())
def test_the_command_of_a_recording_is_understood(path: Path) -> None:
    command = json.loads(path.read_text("utf-8"))["command"]
    start, words = command[:18], shlex.split(command)[3:]
    assert start == "python -m rlvr_lab"
    # A file that holds one run for each of several seeds says S for the seed.
    options = _parser().parse_args(["0" if word == "S" else word for word in words])
    if name := getattr(options, "study", None):
        assert set(options.only or []) <= set(STUDIES[name].variants)
