"""The Qwen3 report's tables: each mode and stage at its place, costs apart from scores."""

from rlvr_lab.experiments.papers import paper_rows
from rlvr_lab.experiments.qwen3.tables import (
    METHODS,
    MODES,
    STAGES,
    budgets,
    composition,
    distillation_vs_rl,
)


def test_table_22_is_whole_and_in_order() -> None:
    found = composition()
    assert len(found) == 12 and "ThinkFollow*" not in found
    assert MODES == ("thinking", "non-thinking")
    assert all(label.lower() in stage.lower() for label, stage in STAGES.items())
    assert all(tuple(modes) == MODES for modes in found.values())
    assert found["CounterFactQA*"] == {
        "thinking": [50.4, 61.3, 68.1],
        "non-thinking": [None, 64.3, 66.4],
    }
    assert list(found)[:2] == ["LiveBench 2024-11-25", "Arena-Hard"]
    for benchmark, modes in found.items():
        for mode, values in modes.items():
            for stage, value in zip(STAGES.values(), values, strict=True):
                rows = [
                    row
                    for row in paper_rows("qwen3", table="22", benchmark=benchmark, model=stage)
                    if row["metric"] == mode
                ]
                assert [float(row["value"]) for row in rows] == [v for v in [value] if v]


def test_a_group_is_a_part_of_the_table() -> None:
    groups = ["General", "Instruction and format", "Agent", "Knowledge and STEM", "Math and coding"]
    parts = [composition(group) for group in groups]
    assert [len(part) for part in parts] == [3, 3, 2, 2, 2]
    assert {name: modes for part in parts for name, modes in part.items()} == composition()


def test_the_costs_are_apart_from_the_scores() -> None:
    rows, hours = distillation_vs_rl()
    assert len(rows) == 8 and all(tuple(values) == tuple(METHODS) for values in rows.values())
    assert list(rows["AIME'24 pass@64"].values()) == [90.0, 90.0, 93.3]
    assert list(rows["MMLU-Redux accuracy"].values()) == [86.4, 86.9, 88.3]
    assert hours == {"then RL": 17920, "then on-policy distillation": 1800}


def test_each_benchmark_has_its_curve_and_its_level() -> None:
    found = budgets()
    assert list(found) == ["AIME'24", "AIME'25", "LiveCodeBench v5", "GPQA Diamond"]
    assert all(curve.budget.tolist() == [1, 2, 4, 8, 16, 32] for curve in found.values())
    assert found["AIME'25"].accuracy.tolist() == [30.6, 35.6, 42.7, 59.6, 76.7, 81.7]
    assert [curve.non_thinking for curve in found.values()] == [40.1, 24.7, 35.3, 62.9]
