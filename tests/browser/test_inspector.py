"""The step inspector in a browser: by mouse and by keyboard, in a light and in a dark theme."""

from pathlib import Path

import nbformat
import pytest

from tests.browser.lab import ARTIFACTS, LabPage

pytestmark = pytest.mark.browser

CELL = """from dataclasses import replace
from rlvr_lab.tasks import WORLDS
from rlvr_lab.training import PRESETS
from rlvr_lab.widgets.dashboards import TrainingDashboard
lab = replace(PRESETS["grpo"], world="lab", **{**WORLDS["lab"].settings, "steps": 3})
TrainingDashboard(lab).show()"""
# Milliseconds from the event of the box to the recoloured table, as the page sees it.
TIMED = """() => {
    const box = document.querySelector('.rl-inspect-by-length input');
    box.addEventListener('change', () => { window.began = performance.now() });
    new MutationObserver(() => {
        const table = document.querySelector('.rl-inspected-group').innerText;
        if (window.began && !window.ended && table.includes('without 1/|o|')) window.ended = performance.now();
    }).observe(document.querySelector('.rl-inspector'), {subtree: true, childList: true});
}"""


def test_a_learner_looks_inside_a_step(lab: LabPage, served: Path) -> None:
    v4 = nbformat.v4
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    page = v4.new_notebook(cells=[v4.new_code_cell(CELL)], metadata={"kernelspec": kernel})
    nbformat.write(page, served / "notebooks" / "inspector.ipynb")
    lab.open_notebook("notebooks/inspector.ipynb")
    lab.run_all()
    assert lab.errors() == []
    dashboard = lab.page.locator(".rl-dashboard")
    dashboard.locator(".rl-run").click()
    lab.says(dashboard, "Finished after 3 of 3 steps", 60)
    dashboard.locator(".rl-inspect").click()
    words = dashboard.locator(".rl-inspected-words")
    words.get_by_text("going on gains").first.wait_for()
    lab.page.evaluate(TIMED)
    box = dashboard.locator(".rl-inspect-by-length input")
    box.focus()
    lab.page.keyboard.press("Space")
    words.get_by_text("without 1/|o|").wait_for()
    took = lab.page.evaluate("window.ended - window.began")
    print(f"\nfrom the box to the recoloured table: {took:.0f} ms")
    words.get_by_text("nothing pulls at the length").first.wait_for()
    dashboard.locator(".rl-inspect-other select").select_option(label="DAPO")
    dashboard.locator(".rl-inspected-group").get_by_text("difference").first.wait_for()
    table = dashboard.locator(".rl-inspected-answer table")
    assert table.locator("caption").count() == 1
    assert table.locator("th[scope=col]").count() == table.locator("tr").first.locator("th").count()
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        change = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
        lab.page.evaluate(change, theme)
        ARTIFACTS.mkdir(exist_ok=True)
        dashboard.screenshot(path=ARTIFACTS / f"inspector_{theme.split()[1].lower()}.png")
    dashboard.locator(".rl-inspect").click()
    dashboard.locator(".rl-inspector").wait_for(state="hidden")
