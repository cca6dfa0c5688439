"""What a learner does in the notebooks, with a mouse: run all, move, flip, Run, flip, Stop."""

import json
import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator

from tests.browser.lab import ARTIFACTS, LabPage

pytestmark = pytest.mark.browser

# Limits are generous, because other machines are slower; what was measured is kept as an artefact.
FIRST_CURVE, STOPPED, ANSWERED = 30.0, 3.0, 20.0  # seconds
SWITCHES = ("rl-length", "rl-std")
# The line that the dashboard writes when a control is moved during a run.
MARK = r"step\s+\d+[^\n]*normalise by length"


@pytest.fixture(scope="module")
def times() -> Iterator[dict[str, float]]:
    """Seconds by name; printed and kept, in a file for each worker."""
    measured: dict[str, float] = {}
    yield measured
    ARTIFACTS.mkdir(exist_ok=True)
    text = json.dumps({name: round(value, 3) for name, value in measured.items()}, indent=2)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "all")
    (ARTIFACTS / f"browser_times_{worker}.json").write_text(text + "\n")
    print(f"\nseconds in the browser: {text}")


def flip(lab: LabPage, switch: str, cell: Locator) -> None:
    """Click on a check box and see that it has turned."""
    before = lab.control(switch, cell).is_checked()
    lab.click(switch, cell)
    assert lab.control(switch, cell).is_checked() is not before


def train_live(lab: LabPage, name: str, times: dict[str, float]) -> None:
    """Flip both switches, run, flip one during the run, stop."""
    cell = lab.cell("rl-run")
    for switch in SWITCHES:
        flip(lab, switch, cell)

    shown = lab.figure(cell)
    lab.click("rl-run", cell)
    times[f"{name}: Run to first curve"] = lab.figure_changes(cell, shown, FIRST_CURVE)
    for _ in range(3):
        lab.figure_changes(cell, lab.figure(cell), 20)

    flip(lab, "rl-length", cell)
    times[f"{name}: flip to its mark"] = lab.says(cell, MARK, 20)
    lab.figure_changes(cell, lab.figure(cell), 20)

    # No screenshot in between: on a fast machine the run would be over before Stop.
    assert lab.control("rl-stop", cell).is_enabled(), "the run ended by itself before Stop"
    lab.click("rl-stop", cell)
    times[f"{name}: Stop to stopped"] = stopped = lab.enabled("rl-run", cell, 20)
    lab.page.wait_for_timeout(2000)  # the last frame is drawn after the buttons are free again
    shown = lab.figure(cell)
    lab.page.wait_for_timeout(1500)
    assert lab.figure(cell) == shown, "the figure still moves after Stop"
    assert stopped < STOPPED
    lab.screenshot(f"{name}_stopped")


def test_start_here(lab: LabPage, times: dict[str, float]) -> None:
    lab.open_notebook("notebooks/00_start_here.ipynb")
    times["00: run all"] = lab.run_all()
    assert lab.errors() == []
    train_live(lab, "00", times)


def test_biases_of_grpo(lab: LabPage, times: dict[str, float]) -> None:
    lab.open_notebook("notebooks/07_grpo_biases.ipynb")
    times["07: run all"] = lab.run_all()
    assert lab.errors() == []

    turn_exact_pictures(lab, "07", times)
    train_live(lab, "07", times)


def test_case_study_of_r1(lab: LabPage, times: dict[str, float]) -> None:
    lab.open_notebook("notebooks/08_case_deepseek_r1.ipynb")
    times["08: run all"] = lab.run_all()
    assert lab.errors() == []

    train_live(lab, "08", times)

    cell = lab.cell("rl-consistency")  # the second live run: mixed languages
    shown = lab.figure(cell)
    lab.click("rl-run", cell)
    times["08: second Run to first curve"] = lab.figure_changes(cell, shown, FIRST_CURVE)
    lab.figure_changes(cell, lab.figure(cell), 20)
    lab.screenshot("08_languages")
    lab.click("rl-stop", cell)
    assert lab.enabled("rl-run", cell, 20) < STOPPED


def test_case_study_of_kimi(lab: LabPage, times: dict[str, float]) -> None:
    lab.open_notebook("notebooks/09_case_kimi.ipynb")
    times["09: run all"] = lab.run_all()
    assert lab.errors() == []
    turn_exact_pictures(lab, "09", times)
    train_live(lab, "09", times)


def test_case_study_of_qwen3(lab: LabPage, times: dict[str, float]) -> None:
    lab.open_notebook("notebooks/10_case_qwen3.ipynb")
    times["10: run all"] = lab.run_all()
    assert lab.errors() == []
    turn_exact_pictures(lab, "10", times)
    train_live(lab, "10", times)


@pytest.mark.parametrize(
    "name",
    [
        "01_rlhf_recap",
        "02_overoptimisation",
        "03_policy_gradient",
        "04_trpo",
        "05_ppo",
        "06_grpo",
    ],
)
def test_exact_pictures_answer(name: str, lab: LabPage, times: dict[str, float]) -> None:
    lab.open_notebook(f"notebooks/{name}.ipynb")
    times[f"{name[:2]}: run all"] = lab.run_all()
    assert lab.errors() == []
    turn_exact_pictures(lab, name[:2], times)


def turn_exact_pictures(lab: LabPage, name: str, times: dict[str, float]) -> None:
    """Move a control of every exact picture and see it answer."""
    exact = lab.page.locator(".jp-Cell").filter(has=lab.page.locator(".rl-exact"))
    assert exact.count() > 0
    for number in range(exact.count()):
        cell = exact.nth(number)
        shown = lab.figure(cell)
        move_first_control(cell.locator(".rl-exact").first)
        seconds = lab.figure_changes(cell, shown, ANSWERED)
        times[f"{name}: exact picture {number + 1} answers"] = seconds
        lab.screenshot(f"{name}_exact_{number + 1}")


def move_first_control(container: Locator) -> None:
    """Flip its first check box; else press the second button, take the second choice, move a slider."""
    container.scroll_into_view_if_needed()
    boxes = container.locator("input[type=checkbox]")
    buttons = container.locator(".widget-toggle-buttons button")
    if boxes.count():
        boxes.first.click()
    elif buttons.count():
        buttons.nth(1).click()
    elif container.locator("select").count() and not container.locator(".noUi-handle").count():
        container.locator("select").first.select_option(index=1)
    else:
        container.locator(".noUi-handle").first.press("ArrowRight")
