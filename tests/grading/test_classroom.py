"""From the release of a sheet to the table of points: the instructor's commands, run as an instructor would.

The commands run once, in one process of the instructor's Python; each test looks at one part of what they
left behind.
"""

import csv
import json
import os
import re
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter

from rlvr_lab.__main__ import main
from rlvr_lab.checks import stubs
from rlvr_lab.grading import layer
from rlvr_lab.grading.classroom_cells import AlignCells, _digest, _seeds, _with_seeds, harmless
from rlvr_lab.grading.classroom_course import (
    Course,
    choose,
    fingerprint,
    grading,
    hidden_call,
    is_test,
    open_course,
    source_of,
)
from rlvr_lab.grading.submissions import exercises
from tests.grading.tiny import CHECKS, ESSAY, IDS, NAME, answered, handed_out, put, sheet

ROOT = Path(__file__).parents[2]
PYTHON = Path(sys.prefix) / "instructor" / ("Scripts" if os.name == "nt" else "bin") / "python"
VERSION = fingerprint(sheet())
DUE, HOUR = 1_800_000_000, 3600
CLEO = "cléo_2_{x}"
WORDS = "Without its own reward the baseline does not depend on the answer."
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)> [x](javascript:alert(3))"
LONG = "h" * 250
FORMGRADER = """
import sys
from nbconvert.exporters import HTMLExporter
from traitlets.config import PyFileConfigLoader
config = PyFileConfigLoader("nbgrader_config.py", path=".").load_config()
config.HTMLExporter.template_name = "formgrade"
resources = {"index": 0, "base_url": "", "total": 1}
print(HTMLExporter(config=config).from_filename(sys.argv[1], resources=resources)[0])
"""  # as nbgrader's formgrader renders a submission
TRAINS = Path("notebooks/solutions/05_ppo.ipynb")

needs_nbgrader = pytest.mark.skipif(
    not PYTHON.exists() and not os.environ.get("CI"), reason="first run: make instructor"
)


def run(commands: list[list[str]]) -> list[Any]:
    """What each command returned and printed."""
    words = [str(PYTHON), "-m", "tests.grading.class_commands"]
    done = subprocess.run(
        words, input=json.dumps(commands), capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One course: a good submission, a stub, a renamed late one, a broken one, and one that nbgrader collected."""
    folder = tmp_path_factory.mktemp("class")
    given, marks = folder / "in", folder / "marks.csv"
    stubs.write(sheet(), folder / "sheets" / f"{NAME}.ipynb")
    shorter = sheet() | {"cells": sheet()["cells"][:-1]}
    stubs.write(shorter, folder / "changed" / f"{NAME}.ipynb")
    sent = answered(*IDS, essay=f"{WORDS} {SCRIPT}", of=handed_out(VERSION))
    sent["cells"].insert(1, {"cell_type": "raw", "metadata": {}, "source": [SCRIPT]})
    sent["cells"].insert(1, {"cell_type": "markdown", "metadata": {}, "source": ["\ud800"]})
    put(sent, given / "ada/tiny.ipynb", DUE)
    put(answered(of=handed_out(VERSION)), given / "ben/tiny.ipynb", DUE)
    renamed = answered("k3", of=handed_out("0123456789ab"))
    put(renamed, given / "cléo[2]{x}" / "Untitled (2).ipynb", DUE + 3 * HOUR)
    put('{"cells": [', given / "dan/tiny.ipynb", DUE)
    course = Course(folder / "course")
    put('{"cells": [', course.notebook("submitted", NAME, "fay"))  # through JupyterHub's exchange
    put(sent | {"nbformat_minor": "x"}, course.notebook("submitted", NAME, "gil"))
    put('{"cells": [', course.notebook("submitted", NAME, LONG))
    raising = answered(*IDS, of=handed_out(VERSION))
    place = next(cell for cell in raising["cells"] if cell["id"] == "k3")
    place["source"] = ["def k3(*_):\n", "    raise ValueError(chr(0xD800) + '\\x1b[2J')\n"]
    put(raising, course.notebook("submitted", NAME, "hal"))
    roster = ["student,name", "ada,A", "ben,B", "cléo[2]{x},C", "dan,D", "eve,E"]
    (course.folder / "students.csv").write_text("\n".join(roster), "utf-8")
    head = "student,assignment,cell,points,comment\n"
    marks.write_text(head + f"ada,{NAME},{ESSAY},5,Good.\nben,{NAME},{ESSAY},,\n")
    wrong = {
        "points": f"ada,{NAME},{ESSAY},7,",
        "text": f"ada,{NAME},{ESSAY},many,",
        "student": f"zoe,{NAME},{ESSAY},1,",
        "cell": f"ada,{NAME},nowhere,1,",
        "sheet": f"ada,07,{ESSAY},1,",
    }
    for name, line in wrong.items():
        (folder / f"{name}.csv").write_text(f"{head}ada,{NAME},{ESSAY},1,\n{line}\n")
    (folder / "columns.csv").write_text("student,points\nada,1\n")
    at = ["--course", str(course.folder)]
    steps = {
        "release": ["release", "--sheets", str(folder / "sheets"), *at],
        "again": ["release", "--sheets", str(folder / "sheets"), *at],
        "collect": ["collect", str(given), "--due", "2027-01-15 08:00+00:00", *at],
        "autograde": ["autograde", *at],
        "forced": ["autograde", "--student", CLEO, "--force", *at],
        **{
            f"wrong {name}": ["marks", "--import", str(folder / f"{name}.csv"), *at]
            for name in [*wrong, "columns"]
        },
        "before": ["export", "--out", str(folder / "before"), *at],
        "marks": ["marks", "--import", str(marks), *at],
        "changed": ["release", "--sheets", str(folder / "changed"), *at],
        "feedback": ["feedback", *at],
        "export": ["export", *at],
        "nobody": ["autograde", "--student", "zoe", *at],
        "unknown sheet": ["autograde", "--assignment", "99", *at],
        "nowhere": ["autograde", "--course", str(folder / "nowhere")],
        "in git": ["release", "--course", str(ROOT / "tests")],
        "no time": ["collect", str(given), "--due", "soon", *at],
        "no folder": ["collect", str(folder / "nothing"), *at],
        "no file": ["marks", "--import", str(folder / "nothing.csv"), *at],
    }
    results = dict(zip(steps, run(list(steps.values())), strict=True))
    return SimpleNamespace(folder=folder, course=course, results=results, given=given)


def table_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


# ------------------------------------------------------------------------------- with nbgrader, as a whole


@needs_nbgrader
def test_the_release_is_the_exercise_sheet_and_keeps_the_tests_back(ran: SimpleNamespace) -> None:
    status, printed, errors = ran.results["release"]
    assert (status, errors) == (0, "") and VERSION in printed
    released = ran.course.notebook("release", NAME)
    made, expected = stubs.read(released), stubs.stub(sheet())
    for key in ("id", "cell_type", "source"):
        assert [c[key] for c in made["cells"]] == [c[key] for c in expected["cells"]]
    assert made["metadata"]["rlvr_lab"] == {"assignment": NAME, "version": VERSION}
    text = released.read_text("utf-8")
    assert "HIDDEN" not in text and "SOLUTION" not in text
    assert not any(str(seed) in text for seed in hidden_seeds(ran.course))
    assert ran.results["again"][:2] == ran.results["release"][:2]


@needs_nbgrader
def test_what_was_found_is_told(ran: SimpleNamespace) -> None:
    status, printed, _ = ran.results["collect"]
    assert status == 0
    assert "renamed to Untitled (2).ipynb; recognised by its cells" in printed
    assert "old version 0123456789ab, which this course never released" in printed
    assert "3 hours late" in printed
    assert "tiny.ipynb is not a notebook: it is no JSON" in printed
    assert re.search(r"eve +tiny +no +missing", printed)
    assert "3 of 6 used" in printed


@needs_nbgrader
def test_every_submission_is_marked_and_a_broken_one_stops_nobody(ran: SimpleNamespace) -> None:
    status, printed, _ = ran.results["autograde"]
    assert status == 1, "fay's notebook could not be marked"
    rows = {line.split()[1]: line.split()[2:6] for line in printed.splitlines()[1:8] if line}
    assert rows["ada"][:3] == ["4", "10", "6"]
    assert rows["ben"][:3] == ["0", "10", "0"]
    assert rows[CLEO][:3] == ["2", "10", "0"]
    assert rows["hal"][:3] == ["2", "10", "0"], "the last of all"
    for other in ("fay", "gil", LONG):
        assert re.search(rf"{other} .* not marked: \w", printed)
    (long,) = ran.course.logs.glob("tiny_hhh*~*.txt")
    assert long.read_text().startswith(f"tiny, {LONG}: not marked: ")
    assert (ran.course.logs / "tiny_fay.txt").read_text().startswith("tiny, fay: not marked")
    log = (ran.course.logs / f"tiny_{CLEO}.txt").read_text("utf-8")
    assert f"tiny, {CLEO}: 2 of 10 points" in log and "not written yet" in log
    assert ran.results["forced"][0] == 0 and f" {CLEO} " in ran.results["forced"][1]


@needs_nbgrader
def test_points_go_into_the_tables(ran: SimpleNamespace) -> None:
    assert ran.results["export"][0] == 0
    rows = table_of(ran.course.folder / "export" / "tiny.csv")
    points = [
        f"{CHECKS[0]} (2)",
        f"{CHECKS[1]} (2)",
        f"{ESSAY} (6)",
        "sum",
        "maximum",
        "to mark",
        "late",
    ]
    assert [rows["ada"][name] for name in points] == ["2", "2", "5", "9", "10", "0", "0"]
    assert [rows["ben"][name] for name in points] == ["0", "0", "0", "0", "10", "0", "0"]
    assert [rows[CLEO][name] for name in points] == ["0", "2", "0", "2", "10", "0", "3"]
    for absent in ("dan", "eve", "fay", "gil", LONG):
        assert [rows[absent][name] for name in points[:4]] == ["", "", "", "0"]
    assert "not a notebook" in rows["dan"]["remarks"]
    assert rows["eve"]["remarks"] == "missing: no notebook to mark"
    assert rows["fay"]["remarks"] == "not marked yet"
    totals = table_of(ran.course.folder / "export" / "totals.csv")
    assert totals["ada"] == {
        "student": "ada",
        NAME: "9",
        "sum": "9",
        "maximum": "10",
        "to mark": "0",
    }
    assert set(totals) == set(rows) == {"ada", "ben", CLEO, "dan", "eve", "fay", "gil", "hal", LONG}


@needs_nbgrader
def test_answers_in_prose_are_listed_marked_and_read_in(ran: SimpleNamespace) -> None:
    (waiting,) = table_of(ran.folder / "before" / "to_mark.csv").values()
    assert (waiting["student"], waiting["cell"], waiting["maximum"]) == ("ada", ESSAY, "6")
    assert WORDS in Path(waiting["notebook"]).read_text("utf-8")
    assert table_of(ran.folder / "before" / "tiny.csv")["ada"]["to mark"] == "6"
    assert ran.results["marks"][1].startswith("1 marks taken from ")
    assert table_of(ran.course.folder / "export" / "to_mark.csv") == {}


@needs_nbgrader
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("points", "row 3: points: 7 is not between 0 and 6; no mark was taken"),
        ("text", "row 3: points: 'many' is no number"),
        ("student", "row 3: 'zoe' has no marked submission of tiny"),
        ("cell", "row 3: tiny has no graded cell 'nowhere'"),
        ("sheet", "row 3: no assignment '07'"),
        ("columns", "no column assignment, cell"),
    ],
)
def test_marks_that_cannot_be_read_are_named(ran: SimpleNamespace, name: str, why: str) -> None:
    status, printed, errors = ran.results[f"wrong {name}"]
    assert (status, printed) == (2, "") and why in errors
    assert table_of(ran.folder / "before" / "tiny.csv")["ada"][f"{ESSAY} (6)"] == ""


@needs_nbgrader
def test_feedback_shows_messages_and_no_secret(ran: SimpleNamespace) -> None:
    assert ran.results["feedback"][0] == 0
    texts = {
        name: (ran.course.folder / "feedback" / name / NAME / "tiny.html").read_text("utf-8")
        for name in ("ada", "ben", CLEO)
    }
    assert "not written yet" in texts["ben"] and "✓" in texts["ada"] and "Good." in texts["ada"]
    solved = [line for c in sheet()["cells"] if c["id"] in IDS for line in answer_lines(c)]
    assert solved
    for name, text in texts.items():
        assert "HIDDEN" not in text
        sent = ran.course.notebook("submitted", NAME, name)
        seeds = [*hidden_seeds(ran.course), *seeds_of(ran.course, name, sent).values()]
        assert not any(str(seed) in text for seed in seeds)
        plain = re.sub("<[^>]+>", "", text)
        assert name != "ben" or not any(line in plain for line in solved)


@needs_nbgrader
def test_no_students_script_is_in_the_pages(ran: SimpleNamespace) -> None:
    shown = subprocess.run(
        [str(PYTHON), "-c", FORMGRADER, ran.course.notebook("autograded", NAME, "ada")],
        capture_output=True,
        text=True,
        cwd=ran.course.folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    ).stdout
    feedback = (ran.course.folder / "feedback/ada" / NAME / "tiny.html").read_text("utf-8")
    for page in (shown, feedback):
        assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2, "essay and raw cell"
        assert "<script>alert" not in page and "onerror" not in page
        assert 'href="javascript:' not in page
        assert '<div class="highlight' in page


@needs_nbgrader
def test_a_hidden_seed_is_a_submissions_own(ran: SimpleNamespace, tmp_path: Path) -> None:
    put("{}", tmp_path / "new.ipynb")
    one = seeds_of(ran.course, "ada", ran.course.notebook("submitted", NAME, "ada"))
    again = seeds_of(ran.course, "ada", ran.course.notebook("submitted", NAME, "ada"))
    new = seeds_of(ran.course, "ada", tmp_path / "new.ipynb")
    other = seeds_of(ran.course, "ben", ran.course.notebook("submitted", NAME, "ada"))
    assert one == again and len({s[CHECKS[0]] for s in (one, new, other)}) == 3
    source = stubs.read(ran.course.notebook("source", NAME))
    text = json.dumps(_with_seeds(source, ran.course, NAME, one))
    assert all(f"seed={one[name]})" in text for name in CHECKS)
    assert not any(str(seed) in text for seed in hidden_seeds(ran.course))
    whole = source_of(Course(tmp_path), stubs.read(ROOT / TRAINS), TRAINS.stem)
    trains = [one.grade_id for one in exercises(whole) if one.train]
    seeds = _seeds(Course(tmp_path), TRAINS.stem, "ada/1", whole)
    assert trains
    for name, seed in seeds.items():
        assert (seed == Course(tmp_path).hidden_seed(TRAINS.stem, name)) == (name in trains)


@needs_nbgrader
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("changed", "tiny was not released: RuntimeError: Cannot add or remove cells"),
        ("nobody", "--student: 'zoe' has no notebook in"),
        ("unknown sheet", "--assignment: '99' is not released in"),
        ("nowhere", "no course in"),
        ("in git", "git does not ignore it"),
        ("no time", "'soon' is no time; write \"2026-12-01 23:59\""),
        ("no folder", "no folder"),
        ("no file", "nothing.csv"),
    ],
)
def test_commands_say_what_is_wrong(ran: SimpleNamespace, name: str, why: str) -> None:
    status, printed, errors = ran.results[name]
    assert (status, printed) == (2, "") and why in errors


@needs_nbgrader
def test_originals_and_the_secret_stay_as_they_were(ran: SimpleNamespace) -> None:
    assert (ran.given / "dan/tiny.ipynb").read_text() == '{"cells": ['
    assert stat.S_IMODE((ran.course.folder / "secret").stat().st_mode) == 0o600


# -------------------------------------------------------------------------------------- without nbgrader


def hidden_seeds(course: Course) -> list[int]:
    return [course.hidden_seed(NAME, name) for name in CHECKS]


def seeds_of(course: Course, student: str, path: Path) -> dict[str, int]:
    source = stubs.read(course.notebook("source", NAME))
    return _seeds(course, NAME, f"{student}/{_digest(path)}", source)


def answer_lines(cell: dict[str, Any]) -> list[str]:
    """The lines of a solution."""
    _, inside = "".join(cell["source"]).split("### BEGIN SOLUTION", 1)
    lines = inside.split("### END SOLUTION")[0].splitlines()
    return [line.strip() for line in lines if len(line.strip()) > 12]


def as_read(notebook: dict[str, Any]) -> nbformat.NotebookNode:
    return nbformat.reads(json.dumps(notebook), as_version=4)


def test_the_learners_environment_has_no_nbgrader() -> None:
    assert find_spec("nbgrader") is None
    shared = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "@jupyter" / "nbgrader"
    assert not shared.exists()
    config = Path(sys.prefix) / "etc" / "jupyter"
    assert not any("nbgrader" in path.name for path in config.rglob("*"))


def test_the_learners_python_says_how_to_install(capsys: pytest.CaptureFixture) -> None:
    assert main(["class", "release"]) == 2
    assert "make instructor\n" in capsys.readouterr().err


def test_the_layer_asks_for_the_projects_nbgrader_and_sees_the_learners_packages() -> None:
    assert layer._requirements() == ["nbgrader==0.9.*"]
    line = layer._layer(Path("/venv"))
    assert line.startswith("import os, site; site.addsitedir(") and "\n" not in line
    assert "'JUPYTERLAB_DIR', '/venv/share/jupyter/lab'" in line or os.name == "nt"


def test_every_sheet_gets_hidden_tests_that_only_the_secret_gives(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    first, other = Course(tmp_path / "a"), Course(tmp_path / "b")
    for path in sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb")):
        solved = stubs.read(path)
        made = source_of(first, solved, path.stem)
        assert made == source_of(Course(tmp_path / "a"), solved, path.stem)
        assert made != source_of(other, solved, path.stem)
        assert stubs.stub(made) == stubs.stub(solved)
        assert fingerprint(made) == fingerprint(solved)
        for cell in filter(is_test, made["cells"]):
            seed = first.hidden_seed(path.stem, grading(cell)["grade_id"])
            assert f"seed={seed})\n### END HIDDEN TESTS" in "".join(cell["source"])


def test_a_hidden_test_calls_each_check_of_its_cell() -> None:
    source = "result = 3\nchecks.check_a(f, g, seed=1)\nchecks.check_b(\n    f\n)"
    assert hidden_call(source, 5).splitlines()[-4:] == [
        "### BEGIN HIDDEN TESTS",
        "checks.check_a(f, g, seed=5)",
        "checks.check_b(f, seed=5)",
        "### END HIDDEN TESTS",
    ]
    more = hidden_call(f"checks.check_a(f)\n{hidden_call('checks.check_b(g)', 6)}", 5)
    assert more.count("check_a(f, seed=5)") == more.count("check_b(g, seed=5)") == 1
    with pytest.raises(ValueError, match="calls no check"):
        hidden_call("print(1)", 5)


def test_a_course_lies_where_git_does_not_look(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no course in"):
        open_course(tmp_path / "class")
    assert open_course(tmp_path / "class", create=True).folder == tmp_path / "class"
    for seen in (ROOT, ROOT / "course", ROOT / "notebooks"):
        with pytest.raises(ValueError, match="git does not ignore it"):
            open_course(seen)
    with pytest.raises(FileNotFoundError):  # ignored
        open_course(ROOT / "class" / "nowhere")


def test_a_roster_is_a_column_of_names(tmp_path: Path) -> None:
    course, path = Course(tmp_path), tmp_path / "students.csv"
    assert course.roster() == []
    path.write_text("\ufeffname,Student\nA,ada\nB,ben\n\n", "utf-8")
    assert course.roster() == ["ada", "ben"]
    path.write_text("ada\nben\n")
    assert course.roster() == ["ada", "ben"]
    path.write_text("student\nada\nada\n")
    with pytest.raises(ValueError, match="'ada' stands there more than once"):
        course.roster()
    with pytest.raises(FileNotFoundError):
        course.roster(tmp_path / "nowhere.csv")


def test_names_are_chosen_among_known_ones() -> None:
    assert choose(None, ["a", "b"], "here") == ["a", "b"]
    assert choose(["b", "b"], ["a", "b"], "here") == ["b"]
    with pytest.raises(ValueError, match=r"'c' is not here \(known: a, b\)"):
        choose(["c"], ["a", "b"], "here")
    with pytest.raises(ValueError, match="no assignment is here"):
        choose(None, [], "here")


def test_a_submission_is_brought_into_the_shape_of_its_sheet(tmp_path: Path) -> None:
    course = Course(tmp_path)
    stubs.write(source_of(course, sheet(), NAME), course.notebook("source", NAME))
    given = answered(*IDS, essay=WORDS)
    cells = {cell["id"]: cell for cell in given["cells"]}
    first = cells[IDS[0]]
    again = {**first, "id": "twice", "source": ["second"]}
    old = {**cells["k3"], "id": "old", "metadata": {"nbgrader": {"grade_id": "older"}}}
    text = {**cells[ESSAY], "cell_type": "code"}
    given["cells"] = [
        again | {"id": "once", "source": ["first"]},
        again,
        old,
        text,
    ]  # both check cells are gone
    resources = {"nbgrader": {"assignment": NAME}}
    pp = AlignCells(course=str(tmp_path))
    made, _ = pp.preprocess(as_read(given), resources)
    names = [grading(cell).get("grade_id") for cell in made.cells]
    assert [name for name in names if name] == [IDS[0], *CHECKS[:1], "k3", CHECKS[1], ESSAY]
    assert made.cells[0].source == "first" and "second" in [cell.source for cell in made.cells]
    assert made.cells[names.index("k3")].source.count("NotImplementedError") == 1
    assert made.cells[names.index(ESSAY)].cell_type == "markdown"
    assert made.cells[names.index(ESSAY)].source == WORDS
    assert len({cell.id for cell in made.cells}) == len(made.cells)
    whole, _ = pp.preprocess(as_read(answered(*IDS)), resources)
    assert [cell.source for cell in whole.cells] == [
        "".join(c["source"]) for c in answered(*IDS)["cells"]
    ]


def test_tables_hold_no_formulas(tmp_path: Path) -> None:
    from rlvr_lab.grading.classroom_marks import _write

    odd = ["=1", "+1", "-1", "@x", "\t=1", "\r=1", 'a;"=1', "\ud800", None, 2.5, 3]
    path = _write(tmp_path / "a.csv", ["a"] * len(odd), [odd])
    assert path.read_bytes().decode().startswith('"a","a"')
    with path.open(newline="", encoding="utf-8") as file:
        _, row = csv.reader(file)
    assert row[:6] == [f"'{text}" for text in odd[:6]]
    assert row[6:] == ['a;"=1', "�", "", "2.5", "3"]


def test_the_sheets_own_pages_stay_as_they_are() -> None:
    text = (
        "<details><summary>Hint</summary>\n\n$a<b$ `x < y`\n\n| a |\n|---|\n| **b** |\n\n</details>"
    )
    html = str(HTMLExporter().markdown2html({}, text))
    assert harmless(html).replace("\n", "") == html.replace("\n", "")
    assert harmless('<a href="JavaScript:x()" id="k3">a</a>') == "<a>a</a>"
    assert harmless('<img src="javascript:x">') == "<img>"
    assert harmless("<svg><style>p {}</style></svg>").startswith("&lt;svg&gt;&lt;style&gt;")
    assert harmless('<span class="btn full-credit">a</span>') == "<span>a</span>"
