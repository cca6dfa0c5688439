"""Planted faults: a flipped comparison, or another metric, in any rule turns the tests of the recorded runs red."""

import ast
import inspect
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from rlvr_lab.experiments.museum import VARIANTS as MUSEUM
from rlvr_lab.experiments.sick_runs import CASES, MUSEUM_CASES, VARIANTS
from rlvr_lab.records.doctor import RULES
from rlvr_lab.records.doctor_log import RunLog
from rlvr_lab.records.doctor_rule import Rule
from tests.records.test_doctor import EXPECTED, ILLNESSES, NOT_RECORDED, runs_in, variant_of

FLIPPED = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
OTHERS = ("length", "entropy", "clip_fraction", "zero_spread")
"""What stands in a metric's place, one after another."""
METRICS = {m for rule in RULES for m in rule.reads} | {"reward", "length_right", "length_wrong"}
RECORDED = [rule for rule in RULES if rule.name in ILLNESSES and rule.name not in NOT_RECORDED]


def logs() -> Iterator[tuple[str, RunLog]]:
    """Every recorded run with the name of its variant."""
    for run in runs_in("sick"):
        yield variant_of(run, VARIANTS), RunLog(run.records, run.config.settings())
    for name in ("museum", "sick_museum"):
        for run in runs_in(name):
            variant = f"museum: {variant_of(run, MUSEUM)}"
            yield variant, RunLog(run.records, run.config.settings())


@pytest.fixture(scope="module")
def every() -> list[tuple[str, RunLog]]:
    return list(logs())


def red(rule: Rule, every: list[tuple[str, RunLog]]) -> bool:
    """Whether a recorded run of the rule's own case is missed, or a healthy run is named."""
    seen = {"sick": 0, "missed": 0}
    for variant, log in every:
        try:
            found = rule(log) is not None
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return True
        if EXPECTED.get(variant) == rule.name:
            seen["sick"] += 1
            seen["missed"] += not found
        elif variant not in EXPECTED and found:
            return True
    return seen["missed"] > ALLOWED.get(rule.name, 0)


ALLOWED = {"policy destroyed": 1, "moves without learning": 1}
"""Rule → recorded seeds that it misses."""


def mutants(rule: Rule) -> Iterator[tuple[str, list[Rule]]]:
    """The rule with one comparison flipped, or with another metric in one place: several others, one by one."""
    source = textwrap.dedent(inspect.getsource(rule.test))
    spots = places(ast.parse(source))
    for place, spot in enumerate(spots):
        if isinstance(spot, ast.Compare):
            others: list[Any] = [FLIPPED.get(type(spot.ops[0]))]
        else:
            others = [other for other in OTHERS if other != spot.value]
        made = []
        for other in filter(None, others):
            fresh = ast.parse(source)
            node = places(fresh)[place]
            if isinstance(node, ast.Compare):
                node.ops[0] = other()
            else:
                node.value = other
            space = dict(inspect.unwrap(rule.test).__globals__)
            exec(compile(fresh, "<mutant>", "exec"), space)
            made.append(replace(rule, test=space[rule.test.__name__]))
        if made:
            yield ast.unparse(spot), made


def places(tree: ast.AST) -> list[Any]:
    """The comparisons and the metrics of a function, but for those of the sentence that it returns."""
    said = {id(n) for f in ast.walk(tree) if isinstance(f, ast.JoinedStr) for n in ast.walk(f)}
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Compare)]
    found += [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and n.value in METRICS]
    return [node for node in found if id(node) not in said]


SURVIVE: dict[str, set[str]] = {
    "learning rate too high": {"step <= 5"},
    "reward too rare": {"'reward'"},
    "reward hacked": {"'reward'"},
}
"""Rule → faults that no recorded run shows; ``test_doctor`` has a log made up for each."""


@pytest.mark.parametrize("rule", RECORDED, ids=lambda rule: rule.name)
def test_a_planted_fault_turns_the_recorded_runs_red(rule: Rule, every) -> None:
    assert not red(rule, every)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        left = [what for what, made in mutants(rule) if not any(red(one, every) for one in made)]
    assert set(left) == SURVIVE.get(rule.name, set())


def test_every_rule_has_a_case() -> None:
    assert {*MUSEUM_CASES.values(), *(case.rule for case in CASES.values())} == {
        r.name for r in RECORDED
    }
