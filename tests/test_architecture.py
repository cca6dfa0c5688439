"""The package is a house of floors: a module imports from below, never from above."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rlvr_lab"
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 350

FLOORS = [
    {"objectives"},
    {"policy"},
    {"tasks"},
    {"rewards", "exact"},
    {"training"},
    {"records", "machine"},
    {"experiments", "pictures", "checks"},
    {"widgets", "grading", "__main__"},
]
"""The rooms, from the ground up; ``__main__`` is a room of one file."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def name_of(path: Path) -> str:
    """``rlvr_lab/policy/batch.py`` → ``policy.batch``; a room's ``__init__`` is the room itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


BY_NAME = {"grading.marking": {"checks"}}
"""Modules that look something up by the name that it has in a room: a sheet says ``checks.check_k3(k3)``."""

MODULES = {name_of(path): path for path in FILES}


def imported(source: str) -> set[str]:
    """The package's own modules that ``source`` imports, anywhere in it, in any spelling."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, _, rest = alias.name.partition(".")
                if top == "rlvr_lab" and rest:
                    found.add(rest)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                found.add(f"relative import of {module}")
            elif module.split(".")[0] == "rlvr_lab":
                inside = module.partition(".")[2]
                names = {f"{inside}.{alias.name}".strip(".") for alias in node.names}
                # ``from room import module`` names a module, ``from module import name`` a name.
                found |= {name if name in MODULES else inside for name in names} - {""}
    return found


def upward(module: str, source: str) -> list[str]:
    """Imports of ``module`` that lead to a higher floor, or to no floor at all."""
    own = FLOOR[module.split(".")[0]]
    return sorted(m for m in imported(source) if FLOOR.get(m.split(".")[0], 99) > own)


def test_the_reader_of_imports_knows_every_spelling() -> None:
    source = (
        "import rlvr_lab.pictures.style as p\n"
        "from rlvr_lab import widgets, __version__\n"
        "from rlvr_lab.objectives.kl import k1\n"
        "from rlvr_lab.training import loop, train\n"
        "def f():\n    from rlvr_lab.records import runs\n"
        "import numpy.kl\nfrom torch import losses\n"
    )
    assert imported(source) == {
        *("pictures.style", "widgets", "objectives.kl", "training.loop", "training"),
        "records.runs",
    }
    above = ["pictures.style", "records.runs", "training", "training.loop", "widgets"]
    assert upward("policy.sampling", source) == above
    assert upward("policy.sampling", "from ..records import runs") == ["relative import of records"]
    assert upward("rewards.verifiable", "import rlvr_lab.nowhere.x") == ["nowhere.x"]


def test_every_room_has_a_floor_and_every_file_a_room() -> None:
    assert {name.split(".")[0] for name in MODULES} - {""} == set(FLOOR)
    loose = {path.name for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__.py", "__main__.py"}
    assert len(FLOOR) == sum(map(len, FLOORS)), "a room stands on two floors"


@pytest.mark.parametrize("module", sorted(set(MODULES) - {""}))
def test_imports_go_down(module: str) -> None:
    assert upward(module, MODULES[module].read_text("utf-8")) == []


def test_modules_make_no_circle() -> None:
    """A room's ``__init__`` only passes names on; inside the package nobody imports from it."""
    graph = {name: imported(path.read_text("utf-8")) - {""} for name, path in MODULES.items()}
    rooms = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    for name, found in graph.items():
        named = found & rooms - BY_NAME.get(name, set())
        assert name in rooms or not named, f"{name} imports from a room: name the module"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("modules import each other in a circle: " + " <- ".join(error.args[1]))


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py"], ids=name_of)
def test_an_init_is_a_sentence_and_a_few_names(path: Path) -> None:
    sentence, *rest = ast.parse(path.read_text("utf-8")).body
    assert isinstance(sentence, ast.Expr) and isinstance(sentence.value, ast.Constant)
    if path.parent == PACKAGE:
        assert [ast.unparse(statement) for statement in rest] == ["__version__ = '0.1.0'"]
    for statement in rest:
        named = isinstance(statement, ast.Assign) and statement.targets[0].id.startswith("__")
        assert isinstance(statement, ast.ImportFrom) or named


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


def test_the_algorithm_of_the_lecture_can_be_read_in_five_short_files() -> None:
    """From the loop to a gradient, each at most 250 lines."""
    for name in (
        "training.loop",
        "policy.sampling",
        "rewards.verifiable",
        "objectives.advantages",
        "objectives.losses",
    ):
        assert len(MODULES[name].read_text("utf-8").splitlines()) <= 250, name


def test_tests_mirror_the_rooms() -> None:
    tests = Path(__file__).parent
    assert {path.name for path in tests.iterdir() if path.is_dir()} >= set(FLOOR) - {"__main__"}
