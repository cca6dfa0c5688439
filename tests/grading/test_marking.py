"""What a mark depends on, and what the instructor is told."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from rlvr_lab.checks import stubs
from rlvr_lab.grading import marking, submissions
from rlvr_lab.grading.marking import Limits, Unreadable, mark, read_submission
from tests.grading.hostile import ROOT, small

SOLUTIONS = ROOT / "notebooks" / "solutions"
SOURCE = small(stubs.read(SOLUTIONS / "06_grpo.ipynb"))
LIMITS = Limits(cell=6, call=4)


def changed(**sources: str) -> dict[str, Any]:
    """The solution with other sources in some cells, by id; an empty one removes the cell."""
    made = copy.deepcopy(SOURCE)
    names = {name.replace("_", "-"): source for name, source in sources.items()}
    for cell in made["cells"]:
        cell["source"] = names.get(cell["id"], "".join(cell["source"]))
    made["cells"] = [cell for cell in made["cells"] if cell["source"]]
    return made


def added(notebook: dict[str, Any], after: str, source: str) -> dict[str, Any]:
    made = copy.deepcopy(notebook)
    place = next(n for n, cell in enumerate(made["cells"]) if cell["id"] == after)
    cell = {"cell_type": "code", "id": "mine", "metadata": {}, "source": source, "outputs": []}
    made["cells"].insert(place + 1, cell)
    return made


def points(marked: marking.Marked) -> list[float | None]:
    return [cell.points for cell in marked.cells]


def written_by_hand(grade_id: str = "proof", answer: str = "Because.") -> dict[str, Any]:
    grading = {"grade": True, "solution": True, "grade_id": grade_id, "points": 3}
    metadata = {"nbgrader": grading}
    return {"cell_type": "markdown", "id": grade_id, "metadata": metadata, "source": answer}


def test_the_seed_is_hidden_and_decides() -> None:
    given: list[str] = []

    def seeds(grade_id: str) -> int:
        given.append(grade_id)
        return 123456789

    wrong = "def k3(logprobs, ref_logprobs):\n    return (logprobs - ref_logprobs) * 1.23"
    first = mark(changed(k3=wrong), SOURCE, LIMITS, seeds)
    assert points(first) == [2, 2, 0] and "k3-check" in given
    said = first.cell("k3-check")
    assert said.error == "Mistake" and said.passed is False
    assert "not one of the common mistakes. For\n  logprobs" in said.message
    assert "seed" not in said.message and "123456789" not in said.message
    assert mark(changed(k3=wrong), SOURCE, LIMITS, seeds) == first, "the same seed, the same marks"
    assert "123456789" not in repr(first)


def test_a_seed_of_the_sheet_is_used_and_not_shown() -> None:
    source = changed(k3_check="checks.check_k3(k3)\nchecks.check_k3(k3, seed=987654)")
    [*_, exercise] = submissions.exercises(source)
    assert [call.seed for call in exercise.calls] == [None, 987654]
    flipped = "def k3(a, b):\n    return torch.exp(a - b) - 1 - (a - b)"
    said = mark(changed(k3=flipped), source, LIMITS).cell("k3-check").message
    assert said and "seed" not in said and "Inputs of the call" not in said


def test_functions_may_be_defined_in_other_cells() -> None:
    k3 = "".join(next(c for c in SOURCE["cells"] if c["id"] == "k3")["source"])
    moved = added(
        changed(k3="# see below"), "k3", k3.replace("def k3", "def helper") + "\nk3 = helper"
    )
    assert points(mark(moved, SOURCE, LIMITS)) == [2, 2, 2]
    late = added(changed(k3=""), "k3-check", k3)
    marked = mark(late, SOURCE, LIMITS)
    assert points(marked) == [2, 2, 2]
    assert "k3-check: cell k3 is missing" in marked.log


def test_a_cell_that_fails_does_not_stop_the_next() -> None:
    broken = added(SOURCE, "setup", "%no_such_magic\n1/0")
    marked = mark(added(broken, "mine", "undefined"), SOURCE, LIMITS)
    assert points(marked) == [2, 2, 2]
    errors = [ran.error for ran in marked.ran if ran.error]
    assert len(errors) == 2 and errors[1].startswith("NameError")


def test_magics_display_and_pictures_work() -> None:
    code = (
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n6 * 7"
    )
    marked = mark(added(SOURCE, "setup", code), SOURCE, LIMITS)
    mine = next(ran for ran in marked.ran if ran.cell_id == "mine")
    assert mine.error == "" and mine.printed.strip().endswith("42")
    assert mine.owner == "group-advantages-check"


def test_data_of_the_course_can_be_loaded() -> None:
    code = 'from rlvr_lab.policy import load_policy\npolicy = load_policy("sums")\nprint(type(policy).__name__)'
    marked = mark(added(SOURCE, "setup", code), SOURCE, Limits(cell=60))
    mine = next(ran for ran in marked.ran if ran.cell_id == "mine")
    assert mine.error == "" and mine.printed
    assert points(marked) == [2, 2, 2] and not marked.log


def test_what_is_no_function_and_what_is_not_defined() -> None:
    marked = mark(changed(k3="k3 = 5", leave_one_out="x = 1"), SOURCE, LIMITS)
    assert "this is a int" in marked.cell("k3-check").message
    lost = marked.cell("leave-one-out-check")
    assert lost.error == "NameError" and "leave_one_out_advantages" in lost.message


def test_answers_in_prose_wait_for_a_reader() -> None:
    source, answered = copy.deepcopy(SOURCE), copy.deepcopy(SOURCE)
    source["cells"].append(written_by_hand())
    answered["cells"].append(written_by_hand(answer="By symmetry."))
    mine = mark(answered, source, LIMITS).cell("proof")
    assert (mine.points, mine.passed, mine.text, mine.possible) == (None, None, "By symmetry.", 3.0)
    for empty in ("", "  \n", stubs.PROSE_STUB):
        answered["cells"][-1] = written_by_hand(answer=empty)
        marked = mark(answered, source, LIMITS)
        assert marked.cell("proof").points == 0 and "proof: no answer" in marked.log
    missing = mark(SOURCE, source, LIMITS)
    assert missing.cell("proof").message == "cell proof is missing"


def test_another_notebook_and_another_version_are_named() -> None:
    other = stubs.read(SOLUTIONS / "07_grpo_biases.ipynb")
    other["cells"] = [c for c in other["cells"] if c["id"] == "setup"]
    marked = mark(other, SOURCE, LIMITS)
    assert marked.points == 0
    assert marked.log[0].startswith("no cell of this assignment")
    assert "leave-one-out-check: cell leave-one-out is missing" in marked.log
    older = copy.deepcopy(SOURCE)
    older["cells"] = [c for c in older["cells"] if not c["id"].startswith("k3")]
    older["cells"].append(written_by_hand("old-proof"))
    marked = mark(older, SOURCE, LIMITS)
    assert marked.log[0] == "another version of the assignment? Unknown cells: old-proof"
    assert points(marked) == [2, 2, 0]


@pytest.mark.parametrize("nothing", [None, 3, [], {}, {"cells": 5}, "text"], ids=repr)
def test_what_is_no_notebook_gets_nothing(nothing: Any) -> None:
    marked = mark(nothing, SOURCE, LIMITS)
    assert marked.points == 0 and marked.possible == 6 and "no notebook" in marked.log[0]


def test_a_notebook_of_strange_cells() -> None:
    strange = [3, None, {}, {"cell_type": "code"}, {"cell_type": "code", "source": [1, "x = 1"]}]
    strange += [{"cell_type": "code", "metadata": {"nbgrader": "k3"}, "source": {"a": 1}, "id": []}]
    marked = mark({"cells": strange}, SOURCE, LIMITS)
    assert marked.points == 0 and "leave-one-out-check: cell leave-one-out is missing" in marked.log


def test_a_file_that_is_no_notebook(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    for data, word in [
        (b"{", "broken JSON"),
        (b"[" * 10**5, "broken JSON"),
        (b"\xff\xfe\x00", "broken JSON"),
        (b"[]", "no list of cells"),
        (b'{"cells": 3}', "no list of cells"),
        (b" " * 3000, "too large"),
    ]:
        path.write_bytes(data)
        with pytest.raises(Unreadable, match=word):
            read_submission(path, Limits(notebook_bytes=2000) if word == "too large" else None)
    with pytest.raises(Unreadable, match="cannot be read"):
        read_submission(tmp_path / "none.ipynb")
    path.write_text(json.dumps(SOURCE))
    assert read_submission(path) == SOURCE


def test_the_time_for_a_notebook_has_an_end() -> None:
    slow = added(SOURCE, "leave-one-out", "while True: pass")
    marked = mark(slow, SOURCE, Limits(cell=30, notebook=3))
    assert marked.points == 0
    assert {cell.error for cell in marked.cells} == {"Timeout"}
    assert "time for the whole notebook" in marked.cells[0].message


def test_a_cell_of_the_sheet_that_only_shows_something_costs_nothing() -> None:
    source = added(SOURCE, "k3-check", "print(k3(torch.zeros(1), torch.zeros(1)))")
    shown = next(c for c in source["cells"] if c["id"] == "mine")
    shown["metadata"] = {"tags": ["needs-answer"]}
    marked = mark(source, source, LIMITS)
    assert points(marked) == [2, 2, 2] and "mine" not in {ran.cell_id for ran in marked.ran}
    edited = copy.deepcopy(source)
    next(c for c in edited["cells"] if c["id"] == "mine")["source"] = "while True: pass"
    marked = mark(edited, source, Limits(cell=2))
    assert points(marked) == [2, 2, 2] and "took too long" in marked.log[0]


def test_a_sheet_that_checks_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="calls no check"):
        mark(SOURCE, changed(k3_check="print(1)"), LIMITS)


def test_every_sheet_can_be_read() -> None:
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        found = submissions.exercises(stubs.read(path))
        assert found and all(e.needs for e in found), path.name
        cells = stubs.read(path)
        assert set(submissions.owners(cells, cells)) <= {e.grade_id for e in found}
        whole, each = submissions.findings(stubs.stub(cells), cells)
        assert not whole and not any(each.values())
