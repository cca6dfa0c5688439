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
NOTEBOOKS = [
    "00_start_here",
    "01_rlhf_recap",
    "02_overoptimisation",
    "03_policy_gradient",
    "04_trpo",
    "05_ppo",
    "06_grpo",
    "07_grpo_biases",
    "08_case_deepseek_r1",
    "09_case_kimi",
    "10_case_qwen3",
    "11_scaling_up",
]
# The line that a dashboard writes when a control is moved during a run.
MARK = r"step\s+\d+:"
# What the widgets of a dashboard show: its sliders, boxes and choices, in their order.
VALUES = """box => [...box.querySelectorAll('input, select, .widget-readout')]
    .map(w => w.type === 'checkbox' ? w.checked : w.value ?? w.innerText)"""


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


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_control_of_a_notebook(notebook: str, lab: LabPage, times: dict[str, float]) -> None:
    lab.open_notebook(f"notebooks/{notebook}.ipynb")
    name = notebook[:2]
    times[f"{name}: run all"] = lab.run_all()
    assert lab.errors() == []
    turn_exact_pictures(lab, name, times)
    dashboards = lab.page.locator(".jp-Cell").filter(has=lab.page.locator(".rl-dashboard"))
    assert dashboards.count() > 0, "the notebook has no live run"
    for number in range(dashboards.count()):
        cell, label = dashboards.nth(number), f"{name}, live run {number + 1}"
        turn_every_dial(cell.locator(".rl-dashboard"))
        train_live(lab, label, cell, times)
        lab.looks(f"{name}_live_{number + 1}", cell)


def turn_every_dial(dashboard: Locator) -> None:
    """Move every control once; Reset puts them all back."""
    before = dashboard.evaluate(VALUES)
    # Menus come last: another algorithm locks some of the others.
    for handle in dashboard.locator(".noUi-target:not([disabled]) .noUi-handle").all():
        handle.press("ArrowRight")
    for box in dashboard.locator("input[type=checkbox]:enabled").all():
        box.click()
    for menu in dashboard.locator("select:enabled").all():
        if menu.locator("option").count() > 1:
            other = 1 if menu.evaluate("menu => menu.selectedIndex") == 0 else 0
            menu.select_option(index=other)
    dashboard.page.wait_for_timeout(300)
    assert dashboard.evaluate(VALUES) != before
    dashboard.locator(".rl-reset").click()
    wait = "([box, before]) => JSON.stringify((" + VALUES + ")(box)) === JSON.stringify(before)"
    handle = dashboard.element_handle()
    dashboard.page.wait_for_function(wait, arg=[handle, before], timeout=10_000)


def train_live(lab: LabPage, name: str, cell: Locator, times: dict[str, float]) -> None:
    """Run, move a dial during the run, stop; run again with another setting over the first run."""
    dashboard = cell.locator(".rl-dashboard")
    steps = dashboard.locator(".rl-steps input")
    if steps.count():
        steps.fill("500")  # so that it is still running when Stop is pressed
        steps.press("Enter")
        lab.page.wait_for_timeout(1000)  # the empty picture gets a longer axis
    shown = lab.figure(cell)
    lab.click("rl-run", cell)
    times[f"{name}: Run to first curve"] = lab.figure_changes(cell, shown, FIRST_CURVE)
    frames = [lab.figure_changes(cell, lab.figure(cell), 20) for _ in range(5)]
    times[f"{name}: seconds per frame"] = sum(frames) / len(frames)

    move_first_control(dashboard)
    times[f"{name}: dial to its mark"] = lab.says(cell, MARK, 20)
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

    lab.click("rl-run", cell)
    lab.figure_changes(cell, shown, FIRST_CURVE)
    lab.figure_changes(cell, lab.figure(cell), 20)
    lab.click("rl-stop", cell)
    assert lab.enabled("rl-run", cell, 20) < STOPPED
    lab.page.wait_for_timeout(1500)
    shown = lab.figure(cell)
    lab.click("rl-compare", cell)  # the earlier run disappears from the picture
    lab.figure_changes(cell, shown, 20)
    lab.click("rl-compare", cell)


def turn_exact_pictures(lab: LabPage, name: str, times: dict[str, float]) -> None:
    """Move a control of every exact picture and see it answer."""
    exact = lab.page.locator(".jp-Cell").filter(has=lab.page.locator(".rl-exact"))
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
    boxes = container.locator("input[type=checkbox]:enabled")
    buttons = container.locator(".widget-toggle-buttons button")
    handles = container.locator(".noUi-target:not([disabled]) .noUi-handle")
    if boxes.count():
        boxes.first.click()
    elif buttons.count():
        buttons.nth(1).click()
    elif container.locator("select:enabled").count() and not handles.count():
        container.locator("select:enabled").first.select_option(index=1)
    else:
        handles.first.press("ArrowRight")
