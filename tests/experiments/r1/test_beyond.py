"""How newly solved problems are solved: the counts, the deep test, and what is read from them."""

import random
from dataclasses import fields, replace

import numpy as np
import pytest

from rlvr_lab.experiments import coverage
from rlvr_lab.experiments.r1 import beyond
from rlvr_lab.experiments.r1.beyond import (
    STUDY,
    VARIANTS,
    BeyondConfig,
    count_ways,
    deep_curve,
    how_solved,
)
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import load_policy
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.tasks.codes import Codes, FactTable
from rlvr_lab.tasks.task import Verdict
from rlvr_lab.training.loop import train

SMALL = {"steps": 2, "every": 1, "test_problems": 12, "test_samples": 6, "deep_samples": 5}
SMALL |= {"prompts_per_step": 4, "group_size": 4, "device": "cpu"}


def test_correct_answers_are_counted_by_way() -> None:
    right, wrong = Verdict("right"), Verdict("wrong")
    texts = [
        *("<think>1</think>=012", "<think>one</think>=012", "=012"),
        *("<think>1one</think>=777", "=777", "<think>=777"),
    ]
    shares, by_way = count_ways(texts, [right, right, wrong, right, right, wrong], 2)
    assert by_way.tolist() == [[0, 1], [1, 0], [1, 0], [0, 1], [0, 0]]
    assert shares == {
        "direct": 2 / 6,
        "digits": 1 / 6,
        "words": 1 / 6,
        "mixed": 1 / 6,
        "malformed": 1 / 6,
    }


def test_samples_are_chains_that_solve_what_neither_language_does() -> None:
    problems = Codes().problems(60, random.Random(1))
    kinds = [FactTable(0).solved_in(problem) for problem in problems]
    right, wrong = Verdict("right"), Verdict("wrong")

    class Batch(RolloutBatch):
        def __init__(self) -> None: ...

    batch = Batch()
    for name, value in (("group_size", 3), ("texts", ["=1", "<think>1</think>=001", "x"] * 60)):
        object.__setattr__(batch, name, value)
    found = beyond._samples(problems, kinds, batch, [right, right, wrong] * 60)
    neither = [p.prompt for p, kind in zip(problems, kinds, strict=True) if kind == "neither"]
    assert found == [[prompt, "<think>1</think>=001"] for prompt in neither[:3]]
    assert beyond._samples(problems, kinds, batch, [right, wrong, wrong] * 60) == []


def test_a_run_says_how_and_looks_deep_at_both_ends() -> None:
    config = BeyondConfig(**SMALL)
    state = config.begin(load_policy("codes", "cpu"))
    records = list(train(config, state=state))
    problems = state.task.problems(12, random.Random("coverage 0"))
    kinds = [FactTable(0).solved_in(problem) for problem in problems]
    assert [record["step"] for record in records] == [0, 1, 2]
    for record in records:
        by_way = [record[f"correct_{way}"] for way in coverage.WAYS]
        assert np.sum(by_way, axis=0).tolist() == record["correct"]
        assert record["solved_in"] == kinds and record["correct_malformed"] == [0] * 12
        assert record["pass@1"] == pytest.approx(sum(record["correct"]) / 72, abs=1e-4)
    hard = sum(kind in ("words", "neither") for kind in kinds)
    assert records[1]["deep_correct"] is None and records[1]["deep_chains"] is None
    for record in (records[0], records[2]):
        assert len(record["deep_correct"]) == len(record["deep_chains"]) == hard > 0
        pairs = zip(record["deep_chains"], record["deep_correct"], strict=True)
        assert all(0 <= chains <= correct <= 5 for chains, correct in pairs)


def test_the_deep_test_can_be_left_out() -> None:
    config = BeyondConfig(**{**SMALL, "test_problems": 2, "deep_samples": 0})
    record = config.test(config.begin(load_policy("codes", "cpu")))
    assert record["deep_correct"] is None and record["deep_chains"] is None


def test_the_deep_test_reaches_the_problems_of_its_classes() -> None:
    """The base solves the words-only problems by chains, and those of no language hardly ever."""
    config = BeyondConfig(deep_samples=64, test_problems=24, device="cpu")
    state = config.begin(load_policy("codes", "cpu"))
    record = {"step": 0, **config.test(state)}
    run = Run(config, [record])
    words, neither = (deep_curve([run], 0, [64], where)[0, 0] for where in ("words", "neither"))
    assert words == 1.0 and neither < 0.1


def test_the_runs_are_those_of_coverage() -> None:
    for name, config in coverage.VARIANTS.items():
        mine = VARIANTS[name]
        for field in (one.name for one in fields(config)):
            assert getattr(mine, field) == getattr(config, field), (name, field)
        assert mine.deep_samples == (256 if name == "grpo" else 0)
    assert (STUDY.first, STUDY.seeds) == (6, 5), "tables that nobody looked at"


def made_up() -> Run:
    config = BeyondConfig(test_problems=4, test_samples=4, deep_samples=4, steps=20)
    kinds = ["neither", "digits", "neither", "words"]
    none = [0, 0, 0, 0]
    ways = {
        "correct_direct": [0, 0, 1, 0],
        "correct_digits": [1, 4, 0, 0],
        "correct_words": none,
        "correct_mixed": [3, 0, 0, 2],
    }
    deep = {"deep_correct": [2, 1, 4], "deep_chains": [2, 0, 3]}
    last = {"step": 20, "solved_in": kinds, "correct": [4, 4, 1, 2], **ways, **deep}
    nothing = dict.fromkeys(ways, none)
    first = {"step": 0, "solved_in": kinds, "correct": none, **nothing}
    return Run(config, [{**first, "deep_correct": None, "deep_chains": None}, last])


def test_shares_leave_out_lucky_guesses() -> None:
    found = how_solved([made_up()], 20)
    assert {name: values.tolist() for name, values in found.items()} == {
        "direct": [0.0],
        "digits": [0.25],
        "words": [0.0],
        "mixed": [0.75],
        "problems": [0.5],
    }
    assert how_solved([made_up()], 20, "words")["mixed"].tolist() == [1.0]
    base = how_solved([made_up()], 0)
    assert np.isnan(base["mixed"]).all() and base["problems"].tolist() == [0.0]


def test_deep_curves_read_their_class() -> None:
    run = made_up()
    np.testing.assert_allclose(deep_curve([run], 20, [1, 4], "neither"), [[0.25, 0.5]])
    np.testing.assert_allclose(deep_curve([run], 20, [1], "neither", chains=False), [[0.375]])
    np.testing.assert_allclose(deep_curve([run], 20, [1], "words"), [[0.75]])
    with pytest.raises(ValueError, match="where"):
        deep_curve([run], 20, [1], "digits")
    with pytest.raises(ValueError, match=r"step: .*0, 20.* not 7"):
        deep_curve([run], 7, [1], "words")
    with pytest.raises(ValueError, match="no such answers at step 0"):
        deep_curve([run], 0, [1], "words")


def test_each_variant_gets_its_own_runs() -> None:
    runs = [
        Run(replace(config, table=table, seed=table), [])
        for table in (8, 7)
        for config in VARIANTS.values()
    ]
    found = beyond.runs_of_variants(Recording(runs, "command"))
    assert list(found) == list(VARIANTS) and found["kl"].command == "command"
    for name, own in found.items():
        assert [run.config.table for run in own.runs] == [7, 8]
        assert {(run.config.kl_coef, run.config.baseline) for run in own.runs} == {
            (VARIANTS[name].kl_coef, VARIANTS[name].baseline)
        }
    with pytest.raises(ValueError, match="runs: none"):
        beyond.runs_of_variants(Recording(runs[:1]))


def test_each_table_has_its_own_base(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def base(table: int):
        asked.append(table)
        return load_policy("codes", "cpu")

    monkeypatch.setattr(beyond, "codes_base", base)
    tiny = replace(BeyondConfig(**SMALL), steps=1, test_problems=4)
    runs = list(beyond.measure_beyond(2, {"grpo": tiny}, 6))
    assert asked == [6, 7] and [run.config.table for run in runs] == [6, 7]
    assert runs[0].records[0]["solved_in"] != runs[1].records[0]["solved_in"]


def test_a_mistake_is_named() -> None:
    with pytest.raises(ValueError, match="deep_samples"):
        BeyondConfig(deep_samples=-1)
    with pytest.raises(ValueError, match="seeds"):
        next(beyond.measure_beyond(0, VARIANTS, 6))
