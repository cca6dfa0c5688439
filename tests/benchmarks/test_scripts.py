"""The benchmarks of memory and of a GPU run as they are written, on a tiny size."""

import json
import subprocess
import sys

import pytest
import torch

from tests.benchmarks import gpu
from tests.benchmarks.memory import WAYS, fit


def test_the_gpu_table_has_a_number_in_every_row(tmp_path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--device", "cpu", "--smoke"]
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
    result = json.loads(out.read_text())
    assert len(result["rows"]) == 2 * len(gpu.RATES)
    for row in result["rows"]:
        assert row["value"] > 0 and row["note"] == "measured", row
    assert result["bandwidth"] > 1e6 and result["hardware"]["device"] == "cpu"


def test_without_a_device_nothing_is_claimed(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rows = gpu.table("cuda", smoke=False)["rows"]
    assert [row["value"] for row in rows] == [None] * 2 * len(gpu.RATES)
    assert {row["note"] for row in rows} == {"not measured"}
    assert [(row["what"], row["unit"]) for row in rows] == gpu.RATES * 2


def test_the_memory_of_each_way_is_measured(tmp_path) -> None:
    out = tmp_path / "memory.json"
    command = [sys.executable, "-m", "tests.benchmarks.memory", "--smoke", "--several", "1"]
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
    result = json.loads(out.read_text())
    whole = [row for row in result["rows"] if row["way"] == "whole"]
    assert {row["way"] for row in result["rows"]} == set(WAYS) == set(result["lines"])
    assert whole[-1]["growth"][0] > 3 * whole[0]["growth"][0] > 0
    expected = result["formula"]["activations"]
    # A few KiB per token are noise of the allocator: the real shape is the measurement.
    assert 0.3 < result["lines"]["whole"]["per_token"] / expected < 6


def test_the_line_is_least_squares() -> None:
    assert fit([1, 2, 3], [5.0, 7.0, 9.0]) == pytest.approx(
        {"per_token": 2, "fixed": 3, "worst": 0}
    )
    assert fit([0, 1, 2], [0.0, 3.0, 0.0])["worst"] == pytest.approx(2 / 3)
