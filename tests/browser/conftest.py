"""One browser and one JupyterLab for all browser tests; a page of its own for each."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.lab import ROOT, LabPage, LabServer, chromium, find_chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if find_chromium() is None:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail("CI needs Chromium for the browser tests, and there is none")
        pytest.skip("no Chromium on this machine")
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the notebooks need, so that running them changes nothing here."""
    folder = tmp_path_factory.mktemp("course")
    for name in ("notebooks", "data"):
        ignored = shutil.ignore_patterns(".ipynb_checkpoints")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


@pytest.fixture(scope="session")
def server(
    browser: Browser, served: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabServer]:
    started = LabServer(served, tmp_path_factory.mktemp("home"))
    yield started
    started.stop()


@pytest.fixture
def lab(browser: Browser, server: LabServer) -> Iterator[LabPage]:
    """A page that fails its test when anything went wrong in it that the test did not look at."""
    page = LabPage(browser, server)
    yield page
    page.close()
    assert not page.trouble, "\n".join(page.trouble)
