"""Two runs that are killed and resumed; ``python -m tests.kills`` does so to every kind of run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_killed_run_is_resumed_bit_for_bit(tmp_path):
    out = tmp_path / "kills.json"
    words = ["tests.kills", "--points", "2", "--kinds", "sgd", "--out", str(out)]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=root, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = json.loads(out.read_text("utf-8"))["kinds"]["sgd"]
    assert counted["points"] == counted["survived"] == 2 <= counted["kills"]
