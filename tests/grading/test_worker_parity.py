"""A check says the same, word for word, whether a function runs here or in another process."""

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlvr_lab import checks
from rlvr_lab.checks import stubs
from rlvr_lab.checks.calls import Mistake
from rlvr_lab.checks.trained import TrainCheck
from rlvr_lab.grading import confine
from rlvr_lab.grading.link import Link
from rlvr_lab.grading.messages import receive
from tests.seeded_mistakes import BANK

SOLUTIONS = Path(__file__).parents[2] / "notebooks" / "solutions"


def solutions() -> dict[str, tuple[Callable[..., Any], ...]]:
    """check -> the functions that the solution notebooks hand to it."""
    import ast

    found = {}
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        cells = [c for c in stubs.read(path)["cells"] if c["cell_type"] == "code"]
        space: dict[str, Any] = {}
        for cell in cells:
            grading, source = cell["metadata"].get("nbgrader", {}), "".join(cell["source"])
            if (
                not grading
                and "def " not in source
                and "import " not in source
                and "kinds =" not in source
            ):
                continue
            if not grading.get("grade"):
                exec(compile(source, path.name, "exec"), space)
            else:
                call = ast.parse(source).body[0].value
                found[call.func.attr] = tuple(space[a.id] for a in call.args)
    return found


def unwritten() -> dict[str, Any]:
    raise NotImplementedError


def nothing() -> None:
    pass


def no_settings() -> list[int]:
    return [1, 2]


def unknown_settings() -> dict[str, Any]:
    return {"seed": 3, "nonsense": [1.5, None]}


REFUSED_AT_ONCE = [unwritten, nothing, no_settings, unknown_settings]
SOLVED = solutions()
TRAINS = [name for name in checks.__all__ if isinstance(getattr(checks, name), TrainCheck)]
QUICK = [name for name in checks.__all__ if name not in TRAINS]
FUNCTIONS = [fn for name in QUICK for fn in SOLVED.get(name, ())]
FUNCTIONS += [fn for name in QUICK for mistake in BANK[name] for fn in mistake.functions]
FUNCTIONS += REFUSED_AT_ONCE


@pytest.fixture(scope="module")
def remote() -> Iterator[Callable[[Any], Any]]:
    """A forked process that knows all functions; gives the one that calls a function there."""
    here, there = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            here.close()
            resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
            link = Link(there, untrusted=True)
            link.functions = list(FUNCTIONS)
            while True:
                link.serve(*receive(there))
        except BaseException:
            os._exit(0)
    there.close()
    link = Link(here, seconds=60)
    link.squeeze = lambda memory: confine.squeeze(pid, memory)
    numbers = {id(fn): number for number, fn in enumerate(FUNCTIONS)}
    yield lambda fn: link._proxy(numbers[id(fn)], getattr(fn, "__name__", ""))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def said(check: str, functions: tuple[Any, ...], seed: int) -> str:
    try:
        getattr(checks, check)(*functions, seed=seed)
    except Mistake as mistake:
        return str(mistake)
    return "✓"


@pytest.mark.parametrize("check", QUICK)
def test_a_solution_passes_from_afar(check: str, remote: Callable, capsys: Any) -> None:
    for seed in range(2):
        getattr(checks, check)(*map(remote, SOLVED[check]), seed=seed)


@pytest.mark.parametrize("check", QUICK)
def test_a_seeded_mistake_is_told_in_the_same_words(check: str, remote: Callable) -> None:
    for number, mistake in enumerate(BANK[check]):
        seed = number % 3
        far = said(check, tuple(map(remote, mistake.functions)), seed)
        assert far == said(check, mistake.functions, seed), mistake.keyword
        assert mistake.keyword in far


@pytest.mark.parametrize("check", TRAINS)
def test_settings_that_are_refused_at_once(check: str, remote: Callable) -> None:
    for fn in REFUSED_AT_ONCE:
        far = said(check, (remote(fn),), 0)
        assert far == said(check, (fn,), 0) != "✓"
