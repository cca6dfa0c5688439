"""A check says the same, word for word, whether a function runs here or in another process."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rlvr_lab import checks
from rlvr_lab.checks.calls import Mistake
from rlvr_lab.checks.trained import TrainCheck
from tests.grading.forked import forked
from tests.seeded_mistakes import BANK
from tests.sheets import functions_of


def unwritten() -> dict[str, Any]:
    raise NotImplementedError


def nothing() -> None:
    pass


def no_settings() -> list[int]:
    return [1, 2]


def unknown_settings() -> dict[str, Any]:
    return {"seed": 3, "nonsense": [1.5, None]}


REFUSED_AT_ONCE = [unwritten, nothing, no_settings, unknown_settings]
SOLVED, _ = functions_of("solutions")
TRAINS = [name for name in checks.__all__ if isinstance(getattr(checks, name), TrainCheck)]
QUICK = [name for name in checks.__all__ if name not in TRAINS]
FUNCTIONS = [fn for name in QUICK for fn in SOLVED.get(name, ())]
FUNCTIONS += [fn for name in QUICK for mistake in BANK[name] for fn in mistake.functions]
FUNCTIONS += REFUSED_AT_ONCE


@pytest.fixture(scope="module")
def remote() -> Iterator[Callable[[Any], Any]]:
    """A forked process that knows all functions; gives the one that calls a function there."""
    with forked(FUNCTIONS, seconds=60, memory=16 << 30) as found:
        yield found


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
