"""A learner's path through an exercise sheet: run all, write an answer, run its check, save, see the progress."""

from pathlib import Path

import pytest

from rlvr_lab.checks import catalogue, stubs
from tests.browser.lab import ROOT, LabPage, wait_for

pytestmark = pytest.mark.browser

SHEET = "03_policy_gradient"


def solutions() -> dict[str, str]:
    """grade_id → the solution's source, without its marks."""
    notebook = stubs.read(ROOT / "notebooks" / "solutions" / f"{SHEET}.ipynb")
    return {
        cell["metadata"]["nbgrader"]["grade_id"]: "".join(
            line for line in cell["source"] if "### " not in line
        )
        for cell in notebook["cells"]
        if cell["metadata"].get("nbgrader", {}).get("solution") and cell["cell_type"] == "code"
    }


def write(lab: LabPage, source: str) -> None:
    """Replace the stub of a function by its solution, with the keyboard, and run the cell."""
    name = source.split("def ")[1].split("(")[0]
    stub = lab.page.locator(".jp-CodeCell").filter(has_text=f'"{name} is still to be written"')
    editor = stub.last.locator(".cm-content")  # the check's output may quote the words, too
    editor.scroll_into_view_if_needed()
    editor.click()
    lab.page.keyboard.press("Control+A")
    lab.page.keyboard.insert_text(source)
    lab.page.keyboard.press("Shift+Enter")  # runs it, and selects the cell below
    lab.wait_idle()


def test_an_exercise_is_solved_and_counted(lab: LabPage, served: Path) -> None:
    lab.open_notebook(f"notebooks/exercises/{SHEET}.ipynb")
    lab.run_all()
    errors = lab.errors()
    assert errors and all("still to be written" in e or "not written yet" in e for e in errors)
    pictures = lab.page.locator(".jp-OutputArea img")
    assert pictures.count() >= 2, "the exhibits of the museum are drawn without an answer"
    pictures.first.scroll_into_view_if_needed()
    lab.screenshot("exercise_exhibit")

    found = solutions()
    write(lab, found["softmax-gradient"].replace("return ", "return -"))
    lab.page.keyboard.press("Shift+Enter")
    wait_for(lambda: any("✗" in text for text in said(lab)), 30, "the check to name a mistake")
    lab.screenshot("exercise_mistake")

    again = lab.page.locator(".jp-CodeCell").filter(has_text="def softmax_gradient")
    again.first.locator(".cm-content").click()
    lab.page.keyboard.press("Control+A")
    lab.page.keyboard.insert_text(found["softmax-gradient"])
    lab.page.keyboard.press("Shift+Enter")
    lab.page.keyboard.press("Shift+Enter")
    wait_for(lambda: any("✓ softmax" in text for text in said(lab)), 30, "the check to pass")
    lab.screenshot("exercise_solved")

    lab.page.locator('[data-command="docmanager:save"]').first.click()
    folder = served / "notebooks" / "exercises"

    def saved() -> bool:
        lab.page.wait_for_timeout(100)  # lets the page's requests through, which a sleep does not
        try:
            states = catalogue.states(folder)
        except ValueError:  # the server empties the file before it writes the new one
            return False
        # The first exercise has a derivation, too, which is not written: so it counts as begun.
        return states[SHEET, 1] == catalogue.TRIED

    wait_for(saved, 30, "the saved sheet to count")
    assert catalogue.states(folder)[SHEET, 2] == catalogue.OPEN


def said(lab: LabPage) -> list[str]:
    """The text of every output of the sheet."""
    return [
        "".join(output.get("text", output.get("traceback", [])))
        for cell in lab.outputs()
        for output in cell
    ]
