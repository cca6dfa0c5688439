"""What a mark depends on, and what the instructor is told."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from rlvr_lab.checks import catalogue, stubs
from rlvr_lab.grading import marking, nursery, submissions
from rlvr_lab.grading.marking import Limits, Unreadable, mark, read_submission
from rlvr_lab.grading.session import Session
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
    assert points(marked) == [2, 0, 0], "the first check comes before the slow cell"
    assert [cell.error for cell in marked.cells] == ["", "Timeout", "Timeout"]
    assert "time for the whole notebook" in marked.cells[1].message


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


BROKEN = {
    "an error without a message": "class E(Exception):\n    def __str__(self): return self.missing\nraise E()",
    "an error whose message is None": "class E(Exception):\n    def __str__(self): return None\nraise E()",
    "half a character": "raise ValueError('\\ud800')",
    "half a character in the source": "print('\ud800')\nraise ValueError('\ud800')",
    "a name that is no name": "raise type('E\\0\\ud800', (Exception,), {})()",
    "the shell's functions replaced": "import matplotlib.pyplot as plt\nplt.close = None",
}


@pytest.mark.parametrize("name", BROKEN)
def test_no_error_of_a_student_stops_the_marking(name: str) -> None:
    marked = mark(added(SOURCE, "k3-check", BROKEN[name]), SOURCE, LIMITS)
    assert points(marked) == [2, 2, 2]
    repr(marked).encode()
    code = "".join(f"    {line}\n" for line in BROKEN[name].splitlines())
    marked = mark(changed(k3=f"def k3(a, b):\n{code}    raise ValueError"), SOURCE, LIMITS)
    assert points(marked) == [2, 2, 0]
    repr(marked).encode()


def test_a_check_comes_before_the_cells_of_the_next_exercise() -> None:
    helper = "def helper(x):\n    return x.exp()\n\n"
    k3 = helper + "def k3(a, b):\n    return helper(b - a) - 1 + a - b"
    for after in ("del k3", "k3 = 3.0", "def helper(x):\n    return 0", "%reset -f", "exit()"):
        marked = mark(added(changed(k3=k3), "k3-check", after), SOURCE, LIMITS)
        assert points(marked) == [2, 2, 2], after
    spoilt = "".join(next(c for c in SOURCE["cells"] if c["id"] == "k3")["source"])
    marked = mark(changed(k3="del group_advantages\n" + spoilt), SOURCE, LIMITS)
    assert points(marked) == [2, 2, 2]
    hangs = "\ndef leave_one_out_advantages(rewards, group_size):\n    while True: pass"
    marked = mark(changed(leave_one_out=hangs), SOURCE, Limits(cell=6, call=1))
    assert points(marked) == [2, 0, 2], "the worker that starts again goes on at its place"


def test_cells_in_any_order_and_corrections_below_count() -> None:
    turned = copy.deepcopy(SOURCE)
    turned["cells"].reverse()
    assert points(mark(turned, SOURCE, LIMITS)) == [2, 2, 2]
    k3 = "".join(next(c for c in SOURCE["cells"] if c["id"] == "k3")["source"])
    wrong = changed(k3="def k3(a, b):\n    return a")
    assert points(mark(added(wrong, "k3-check", k3), SOURCE, LIMITS)) == [2, 2, 2]


HARMLESS = {
    "pip": "!pip install tqdm",
    "pip as a magic": "%pip install tqdm",
    "a list of files": "files = !ls\n%ls",
    "a cell of the shell": "%%bash\nls",
    "another folder": "%cd ..\nimport os\nos.chdir('..')",
    "files outside": "import glob, os\nprint(glob.glob('../*'))\nos.listdir('..')",
    "a file outside": "open('../data.csv')",
    "the web": "import urllib.request\nurllib.request.urlopen('http://example.org')",
    "the machine": "import platform, socket\nplatform.platform()\nsocket.gethostname()",
    "objects": "import gc\nlen(gc.get_objects())",
    "a profile": "import cProfile\ncProfile.run('1')",
    "windows": "%matplotlib tk",
    "other windows": "%matplotlib qt\n%matplotlib widget",
    "a backend": "import matplotlib\nmatplotlib.use('TkAgg')",
    "a question": "name = input('name?')\nassert name == ''",
    "compiling": "torch.compile(lambda x: x)(torch.ones(2))",
    "a folder for modules": "import sys\nsys.path.append('..')\nimport colorsys",
    "many files": "for n in range(99): open(f'f{n}', 'w').write('x')",
    "one file often": "for n in range(99): open('f', 'w').write('x')",
    "the process ended": "import os\nos._exit(0)",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_honest_notebooks_do_costs_nothing(name: str) -> None:
    code = HARMLESS[name]
    assert points(mark(added(SOURCE, "leave-one-out-check", code), SOURCE, LIMITS)) == [2, 2, 2]
    setup = "".join(next(c for c in SOURCE["cells"] if c["id"] == "setup")["source"])
    if not code.startswith("%%"):
        marked = mark(changed(setup=f"{code}\n{setup}"), SOURCE, LIMITS)
        assert points(marked) == [2, 2, 2]


def test_the_rest_of_a_first_cell_runs() -> None:
    k3 = "def k3(a, b):\n    return helper(b - a) - 1 + a - b"
    code = "import torch\nopen('../x')\n1/0\n!ls\nhelper = torch.exp"
    marked = mark(changed(setup=code, k3=k3), SOURCE, LIMITS)
    assert points(marked) == [2, 2, 2]
    assert any("wanted to read ../x: refused" in line for line in marked.log)
    assert next(ran for ran in marked.ran if ran.cell_id == "setup").error.startswith("Permission")


def test_an_own_cell_that_takes_too_long_costs_nothing() -> None:
    slow = added(SOURCE, "leave-one-out-check", "while True: pass")
    marked = mark(slow, SOURCE, Limits(cell=2))
    assert points(marked) == [2, 2, 2] and "took too long" in marked.log[0]


def test_files_are_counted_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    once = "for n in range(99):\n    open('f', 'a').write('x')\n    os.remove('f')"
    solved = "".join(next(c for c in SOURCE["cells"] if c["id"] == "k3")["source"])
    marked = mark(changed(k3=f"import os\n{once}\n{solved}"), SOURCE, LIMITS)
    assert points(marked) == [2, 2, 2] and not marked.log
    past = "for n in range(300): torch.from_file(f'f{n}', shared=True, size=9, dtype=torch.uint8)"
    marked = mark(changed(k3=f"{past}\n{solved}"), SOURCE, LIMITS)
    assert points(marked) == [2, 2, 0] and "left more than 200 files" in marked.cells[2].message
    big = "for n in range(6): torch.from_file(f'f{n}', shared=True, size=1 << 24, dtype=torch.uint8).fill_(1)"
    marked = mark(changed(k3=f"{big}\n{solved}"), SOURCE, LIMITS)
    assert points(marked) == [2, 2, 0] and "more than 64 MB" in marked.cells[2].message
    assert not [*tmp_path.iterdir()]


def test_deep_folders_are_removed(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / "top").mkdir()
    os.chdir(tmp_path / "top")
    try:
        for _ in range(1500):
            os.mkdir("a")
            os.chdir("a")
    finally:
        os.chdir(ROOT)
        os.close(here)
    nursery._remove(tmp_path / "top")
    assert not (tmp_path / "top").exists()


def test_classes_and_other_precisions() -> None:
    k3 = "class k3:\n    def __new__(cls, a, b):\n        return torch.exp(b - a) - 1 + a - b"
    assert points(mark(changed(k3=k3), SOURCE, LIMITS)) == [2, 2, 2]
    for kind in ("bfloat16", "half"):
        code = f"def k3(a, b):\n    return (torch.exp(b - a) - 1 + a - b).to(torch.{kind})"
        found = mark(changed(k3=code), SOURCE, LIMITS).cell("k3-check")
        assert found.points == 2 or "return float32" in found.message, found


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


def test_a_check_cell_that_is_not_as_handed_out_is_named() -> None:
    name = next(
        grade for c in SOURCE["cells"] if (grade := submissions.grade_id(c)).endswith("-check")
    )
    whole, each = submissions.findings(SOURCE, SOURCE)
    assert not whole and not any(each.values())
    made = changed(**{name.replace("-", "_"): "checks = None"})
    _, each = submissions.findings(made, SOURCE)
    assert each.pop(name) == ["the check cell was edited; the original was used"]
    assert not any(each.values())


def test_a_check_that_trains_is_known_by_its_kind_and_not_by_the_words_of_the_sheet() -> None:
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        sheet = stubs.read(path)
        trains = {one.grade_id for one in submissions.exercises(sheet) if one.train}
        kinds = catalogue.exercises_of(sheet, path.stem)
        assert trains == {name for one in kinds if one.kind == "train" for name in one.points}


@pytest.mark.parametrize(("train", "seconds"), [(True, 7.0), (False, 3.0)])
def test_a_check_that_trains_has_its_own_time_limit(
    train: bool, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def within(session: Any, worker: Any, limit: float) -> Any:
        asked.append(limit)
        raise StopAsking

    class StopAsking(Exception):
        pass

    class FakeSession(Session):
        def __init__(self) -> None:
            self.limits, self.costs = Limits(check=3.0, train=7.0), {}

        def ready(self, before: int | None = None) -> Any:
            return None

    monkeypatch.setattr(marking, "_within", within)
    call = submissions.Call("check_k3", ("k3",), 1)
    exercise = submissions.Exercise("k3-check", 2.0, (call,), ("k3",), train)
    with pytest.raises(StopAsking):
        marking._check(FakeSession(), exercise, call, None)
    assert asked == [seconds]
