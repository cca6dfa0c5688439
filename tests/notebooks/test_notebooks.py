"""The stored notebooks can be read without running them, by eye and by screen reader, anywhere.

What the cells compute is checked elsewhere: there every notebook is run from top to bottom.
"""

import ast
import base64
import copy
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
COURSE = sorted(FOLDER.glob("*.ipynb"))
SOLUTIONS = sorted(FOLDER.glob("solutions/*.ipynb"))
STUBS = sorted(FOLDER.glob("exercises/*.ipynb"))

LONGEST_CELL = 35  # lines
LARGEST_PNG, WIDEST_PNG, LARGEST_FILE = 200_000, 2_000, 2_500_000  # bytes, pixels, bytes
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:home|Users|root|tmp|work|private|opt)/|\b[A-Z]:\\\w")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(<?([^)\s>]+)>?[^)]*\)")
IMAGE_TAG = re.compile(r"<img\b[^>]*>", re.IGNORECASE)

Notebook = nbformat.NotebookNode


def code_cells(notebook: Notebook) -> list[Notebook]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def outputs(notebook: Notebook) -> Iterator[Notebook]:
    for cell in code_cells(notebook):
        yield from cell.outputs


def not_executed_in_order(notebook: Notebook, path: Path) -> Iterator[str]:
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"restart and run all before storing it: execution counts are {counts}"


def errors(notebook: Notebook, path: Path) -> Iterator[str]:
    for cell in code_cells(notebook):
        if "raises-exception" not in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if output.output_type == "error":
                    yield f"a cell ended in {output.ename}: {output.evalue}"


def noise(notebook: Notebook, path: Path) -> Iterator[str]:
    for output in outputs(notebook):
        if output.output_type == "stream" and output.name == "stderr":
            yield f"a warning or progress bar was stored: {output.text[:80]!r}"


def widget_state(notebook: Notebook, path: Path) -> Iterator[str]:
    if "widgets" in notebook.metadata:
        yield "widget state is stored in the metadata"


def long_cells(notebook: Notebook, path: Path) -> Iterator[str]:
    lengths = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    for number, length in enumerate(lengths, start=1):
        if length > LONGEST_CELL:
            yield f"code cell {number} has {length} lines; at most {LONGEST_CELL}"


def large_pictures(notebook: Notebook, path: Path) -> Iterator[str]:
    for output in outputs(notebook):
        if "image/png" in output.get("data", {}):
            png = base64.b64decode(output.data["image/png"])
            (width,) = struct.unpack(">I", png[16:20])
            if len(png) > LARGEST_PNG or width > WIDEST_PNG:
                yield f"a picture of {len(png)} bytes, {width} pixels wide"


def lost_pictures(notebook: Notebook, path: Path) -> Iterator[str]:
    """``pictures.show`` returns a picture: anywhere but at the end of a cell nobody sees it."""
    for number, cell in enumerate(code_cells(notebook), start=1):
        # A cell with a magic or a shell command is not Python, and holds no picture.
        with suppress(SyntaxError):
            for line in ast.parse(cell.source).body[:-1]:
                if ast.unparse(line).startswith("pictures.show("):
                    yield f"code cell {number} makes a picture and does not show it"


def pictures_without_words(notebook: Notebook, path: Path) -> Iterator[str]:
    for output in outputs(notebook):
        for kind in output.get("data", {}):
            if kind.startswith("image/"):
                alt = output.metadata.get(kind, {}).get("alt") or output.metadata.get("alt")
                if not (alt or "").strip():
                    yield f"an {kind} output has no alt text"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield from words_missing_in_markdown(cell.source)


def words_missing_in_markdown(text: str) -> Iterator[str]:
    for mark, words, target in LINK.findall(text):
        if mark and not words.strip():
            yield f"the picture {target} has no alt text"
    for tag in IMAGE_TAG.findall(text):
        if not re.search(r"\balt\s*=\s*[\"'][^\"']+", tag):
            yield f"{tag} has no alt text"


def controls_as_code(notebook: Notebook, path: Path) -> Iterator[str]:
    for output in outputs(notebook):
        if "children=" in output.get("data", {}).get("text/plain", ""):
            yield "controls would be shown as Python code where no widget can be: use widgets.Panel"


def empty_dashboards(notebook: Notebook, path: Path) -> Iterator[str]:
    for output in outputs(notebook):
        if "no step yet" in (output.get("metadata", {}).get("image/png", {}).get("alt") or ""):
            yield "a dashboard is stored before its first step: store it with make store"


def dead_links(notebook: Notebook, path: Path) -> Iterator[str]:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield from dead_links_in_markdown(cell.source, path.parent)


def dead_links_in_markdown(text: str, folder: Path) -> Iterator[str]:
    text = re.sub(r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$", "", text, flags=re.DOTALL)
    for _, _, target in LINK.findall(text):
        if not re.match(r"[a-z]+:|#", target):
            address, _, heading = target.partition("#")
            file = unquote(address.split("?")[0])
            if file.startswith("/") or not (folder / file).exists():
                yield f"the link {target} leads nowhere"
                continue
            known = headings(folder / file) if file.endswith(".ipynb") else {unquote(heading)}
            if heading and unquote(heading) not in known:
                yield f"the link {target} leads to a heading that is not there"


def headings(path: Path) -> set[str]:
    """The names under which JupyterLab, nbconvert and GitHub find a notebook's headings."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return {line.replace(" ", "-") for line in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)}


def machine_paths(notebook: Notebook, path: Path) -> Iterator[str]:
    for cell in notebook.cells:
        texts = [cell.source]
        for output in cell.get("outputs", []):
            texts += [output.get("text", ""), *output.get("traceback", [])]
            data = output.get("data", {})
            texts += [str(data[kind]) for kind in data if kind.startswith("text/")]
        for text in texts:
            if found := MACHINE_PATH.search(text):
                yield f"a path of one machine: …{text[found.start() : found.start() + 60]!r}"


Check = Callable[[Notebook, Path], Iterator[str]]
EVERYWHERE: list[Check] = [
    errors,
    noise,
    widget_state,
    long_cells,
    large_pictures,
    lost_pictures,
    pictures_without_words,
    controls_as_code,
    empty_dashboards,
    dead_links,
    machine_paths,
]
STORED_EXECUTED: list[Check] = [*EVERYWHERE, not_executed_in_order]


def name(path: Path) -> str:
    return path.relative_to(FOLDER).with_suffix("").as_posix()


def faults(notebook: Notebook, path: Path, checks: list[Check]) -> list[str]:
    return [fault for check in checks for fault in check(notebook, path)]


@pytest.mark.parametrize("path", COURSE, ids=name)
def test_a_notebook_of_the_course_reads_well_without_running(path: Path) -> None:
    assert faults(nbformat.read(path, as_version=4), path, STORED_EXECUTED) == []


@pytest.mark.parametrize("path", SOLUTIONS + STUBS, ids=name)
def test_an_exercise_reads_well(path: Path) -> None:
    assert faults(nbformat.read(path, as_version=4), path, EVERYWHERE) == []


@pytest.mark.parametrize("path", STUBS, ids=name)
def test_a_stub_gives_nothing_away(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert [*outputs(notebook)] == []
    assert "SOLUTION" not in "\n".join(cell.source for cell in notebook.cells)


@pytest.mark.parametrize("path", COURSE + SOLUTIONS + STUBS, ids=name)
def test_a_notebook_is_valid_small_and_runs_anywhere(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size <= LARGEST_FILE


def test_a_link_to_a_heading_needs_that_heading(tmp_path: Path) -> None:
    v4 = nbformat.v4
    page = v4.new_notebook(cells=[v4.new_markdown_cell("# Title\n\n## Why this? Because")])
    nbformat.write(page, tmp_path / "a.ipynb")
    for heading, dead in (("Why-this%3F-Because", 0), ("why-this%3F-because", 1), ("Title", 0)):
        assert len([*dead_links_in_markdown(f"[x](a.ipynb#{heading})", tmp_path)]) == dead


def test_a_page_links_to_the_task() -> None:
    box = "00_start_here.ipynb#The-task-and-its-reward"
    for path in COURSE[1:]:
        assert box in "".join(c.source for c in nbformat.read(path, as_version=4).cells), path.name


def test_the_course_is_here() -> None:
    stems = [path.stem for path in COURSE]
    assert {"00_start_here", "06_grpo", "07_grpo_biases"} <= set(stems)
    assert [path.stem for path in STUBS] == [path.stem for path in SOLUTIONS]


def test_the_readme_shows_pictures_with_words_and_links_that_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert [*words_missing_in_markdown(text), *dead_links_in_markdown(text, ROOT)] == []


# ------------------------------------------------------------------- the checks, themselves checked

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 8 + struct.pack(">I", 640)).decode()


def flawless() -> Notebook:
    v4 = nbformat.v4
    picture = v4.new_output("display_data", {"image/png": PNG, "text/plain": "<Image>"})
    picture.metadata = nbformat.from_dict({"image/png": {"alt": "Reward rises from 0.2 to 0.9."}})
    printed = v4.new_output("stream", name="stdout", text="7+5+8 = 20, see data/runs/a.json\n")
    text = "![a curve](a.png) [web](https://example.org/home/x) [this](test_notebooks.py#top)"
    return v4.new_notebook(
        cells=[
            v4.new_markdown_cell(text),
            v4.new_code_cell("1 + 1", execution_count=1, outputs=[printed, picture]),
        ]
    )


def plant(change: str, notebook: Notebook) -> None:
    """Make the one mistake called ``change``."""
    v4 = nbformat.v4
    text, cell = notebook.cells
    match change:
        case "not_executed_in_order":
            cell.execution_count = 7
        case "errors":
            cell.outputs.append(v4.new_output("error", ename="KeyError", evalue="x", traceback=[]))
        case "noise":
            cell.outputs.append(v4.new_output("stream", name="stderr", text="UserWarning"))
        case "widget_state":
            notebook.metadata["widgets"] = {}
        case "long_cells":
            cell.source = "x = 1\n" * 36
        case "large_pictures":
            wide = base64.b64encode(base64.b64decode(PNG)[:16] + struct.pack(">I", 4000))
            cell.outputs[1].data["image/png"] = wide.decode()
        case "lost_pictures":
            cell.source = "pictures.show(figure, 'Reward rises.')\nprint('more')"
        case "pictures_without_words":
            cell.outputs[1].metadata = nbformat.from_dict({"image/png": {}})
        case "controls_as_code":
            cell.outputs[1].data["text/plain"] = "HBox(children=(Button(description='Run')"
        case "empty_dashboards":
            alt = {"alt": "Four empty panels for reward and length: no step yet."}
            cell.outputs[1].metadata = nbformat.from_dict({"image/png": alt})
        case "dead_links":
            text.source += " [more](no_such_file.ipynb)"
        case "machine_paths":
            cell.outputs[0].text = "loaded /home/me/course/data"


@pytest.mark.parametrize("check", STORED_EXECUTED, ids=lambda check: check.__name__)
def test_each_check_sees_its_planted_mistake_and_no_other_does(
    check: Check, tmp_path: Path
) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "test_notebooks.py").touch()
    good = flawless()
    assert faults(good, tmp_path / "n.ipynb", STORED_EXECUTED) == []
    bad = copy.deepcopy(good)
    plant(check.__name__, bad)
    seen = [c.__name__ for c in STORED_EXECUTED if [*c(bad, tmp_path / "n.ipynb")]]
    assert seen == [check.__name__]


@pytest.mark.parametrize("text", ["![](a.png)", "<img src='a.png'>", '<IMG alt="" src="a.png">'])
def test_a_picture_in_text_needs_words(text: str) -> None:
    assert [*words_missing_in_markdown(text)]
