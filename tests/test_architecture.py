"""The package is a house of floors: a module imports from below, never from above."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rlvr_lab"
MODULES = sorted(PACKAGE.glob("*.py"))
ROOM = sorted((PACKAGE / "checks").glob("*.py"))  # one name on its floor
LONGEST = 350

FLOORS = [
    {
        *("batch", "masking", "advantages", "ratios", "kl", "losses", "metrics", "verifiers"),
        *("preferences", "optimal_policy", "scaling_laws", "calibration", "gae"),
    },
    {
        *("tasks", "length_lab", "policy", "scalar_head"),
        *("oracle", "estimators", "binary_groups", "trust_region", "mdp"),
    },
    {
        "config",
        "decoding",
        "rollouts",
        "rewards",
        "reward_model",
        "preference_world",
        "proxy_rewards",
        "setup_check",
    },
    {
        "experience",
        "training",
        "trpo",
        "ppo",
        "ppo_details",
        "runs",
        "pretraining",
        "recordings",
        "overoptimisation",
        "dpo_training",
    },
    {
        *("plots", "run_plots", "gradient_plots", "preference_plots", "checks"),
    },
    {"controls", "live", "dashboards", "__main__"},
]
FLOOR = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}


def imported_modules(source: str) -> set[str]:
    """The package's own modules that ``source`` imports, anywhere in it, in any spelling."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, _, rest = alias.name.partition(".")
                if top == "rlvr_lab" and rest:
                    found.add(rest.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level == 0 and module.split(".")[0] != "rlvr_lab":
                continue
            rest = module if node.level else module.partition(".")[2]
            if rest:
                found.add(rest.split(".")[0])
            else:
                found.update(alias.name for alias in node.names)
    return found - {"__version__"}


def upward(module: str, source: str) -> list[str]:
    """Imports of ``module`` that lead to a higher floor."""
    listed = imported_modules(source) & set(FLOOR)
    return sorted(name for name in listed if FLOOR[name] > FLOOR[module])


def test_the_reader_of_imports_knows_every_spelling() -> None:
    source = (
        "import rlvr_lab.plots as p\n"
        "from rlvr_lab import training, __version__\n"
        "from rlvr_lab.kl import k1\n"
        "def f():\n    from . import runs\n    from .tasks import Sums\n"
        "import numpy.kl\nfrom torch import losses\n"
    )
    assert imported_modules(source) == {"plots", "training", "kl", "runs", "tasks"}
    assert upward("rollouts", source) == ["plots", "runs", "training"]


def test_every_module_has_a_floor_and_every_floor_holds_modules_that_exist() -> None:
    assert {path.stem for path in MODULES} - {"__init__"} | {"checks"} == set(FLOOR)
    assert len(FLOOR) == sum(len(floor) for floor in FLOORS), "a module stands on two floors"


@pytest.mark.parametrize("module", sorted(FLOOR))
def test_imports_go_down(module: str) -> None:
    paths = ROOM if module == "checks" else [PACKAGE / f"{module}.py"]
    assert [name for path in paths for name in upward(module, path.read_text("utf-8"))] == []


def test_imports_within_a_floor_make_no_circle() -> None:
    graph = {path.stem: imported_modules(path.read_text("utf-8")) for path in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("modules import each other in a circle: " + " <- ".join(error.args[1]))


def test_init_only_states_the_version() -> None:
    statements = ast.parse((PACKAGE / "__init__.py").read_text("utf-8")).body
    docstring, version = statements
    assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    assert ast.unparse(version) == "__version__ = '0.1.0'"


@pytest.mark.parametrize("path", MODULES + ROOM, ids=lambda path: path.stem)
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST
