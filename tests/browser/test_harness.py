"""The harness must see what it is there to see: errors, exceptions, requests that leave."""

import json
from pathlib import Path

import pytest

from tests.browser.lab import LabPage

pytestmark = pytest.mark.browser


@pytest.fixture
def planted(served: Path) -> str:
    """A notebook whose second cell fails."""
    cells = ["1 + 1", "raise KeyError('planted')"]
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    notebook = {
        "cells": [code | {"id": f"c{i}", "source": source} for i, source in enumerate(cells)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (served / "planted.ipynb").write_text(json.dumps(notebook))
    return "planted.ipynb"


def test_a_planted_exception_is_seen(lab: LabPage, planted: str) -> None:
    lab.open_notebook(planted)
    lab.run_all(60)
    assert lab.errors() == ["cell 2: KeyError: 'planted'"]


def test_what_leaves_the_machine_is_refused_and_seen(lab: LabPage, planted: str) -> None:
    lab.open_notebook(planted)
    lab.page.evaluate("new Image().src = 'https://example.org/pixel.png'")
    lab.page.evaluate("console.error('planted')")
    lab.page.evaluate("setTimeout(() => { throw new Error('planted') })")
    lab.page.wait_for_timeout(500)
    seen = "\n".join(lab.trouble)
    lab.trouble.clear()
    assert "request that leaves this machine: https://example.org/pixel.png" in seen
    assert "console error: planted" in seen
    assert "exception in page: planted" in seen
