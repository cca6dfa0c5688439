"""The papers' numbers: rows by their columns, tables of two models in the paper's order, curves of figures."""

import numpy as np
import pytest

from rlvr_lab.experiments.papers import (
    Pair,
    above,
    comparison,
    figure_series,
    paper_rows,
    scores,
)
from rlvr_lab.experiments.r1 import tables as r1


def test_every_number_of_a_case_study_has_its_source() -> None:
    for name, paper in (("kimi_k15", "2501.12599"), ("qwen3", "2505.09388")):
        for file in (name, f"{name}_figures"):
            rows = paper_rows(file)
            assert all(f"arXiv:{paper}, " in row["source"] for row in rows)
            values = [row.get("value") or row["y"] for row in rows]
            assert np.isfinite(np.array(values, dtype=float)).all()
        cells = [
            tuple(row[c] for c in ("table", "benchmark", "metric", "model"))
            for row in paper_rows(name)
        ]
        assert len(set(cells)) == len(cells)


def test_scores_belong_to_one_model_of_one_table() -> None:
    long, short = (
        scores("kimi_k15", table, f"Kimi k1.5 {kind}-CoT")
        for table, kind in (("2", "long"), ("3", "short"))
    )
    assert long["AIME 2024", "pass@1"] == 77.5 and short["AIME 2024", "pass@1"] == 60.8
    assert (len(long), len(short)) == (7, 11)
    with pytest.raises(ValueError, match="no row of kimi_k15"):
        scores("kimi_k15", "2", "Kimi k1.5 short-CoT")


def test_a_comparison_keeps_the_rows_without_a_second_value() -> None:
    pairs = comparison("kimi_k15", "2", "Kimi k1.5 long-CoT", "OpenAI o1")
    assert pairs[0] == Pair("Reasoning", "MATH-500", "EM", 96.2, 94.8)
    assert pairs[-1] == Pair("Vision", "MathVision-Full", "pass@1", 38.6, None)
    assert above(pairs) == (3, 6)


def test_the_r1_tables_read_their_own_file() -> None:
    assert r1.scores("4", "DeepSeek-R1") == scores("deepseek_r1", "4", "DeepSeek-R1")
    two = ("4", "DeepSeek-R1", "OpenAI-o1-mini")
    assert r1.comparison(*two) == comparison("deepseek_r1", *two)


def test_a_series_is_x_and_y_in_order() -> None:
    found = figure_series("kimi_k15_figures", "kimi_fig9", "uniform sampling (baseline)")
    assert found.shape == (2, 14) and found[:, 0].tolist() == [0, 0.304]
    with pytest.raises(ValueError, match="no row of kimi_k15_figures"):
        figure_series("kimi_k15_figures", "kimi_fig9", "uniform")
    with pytest.raises(ValueError, match="no row of kimi_k15_figures"):  # it is in another figure
        figure_series("kimi_k15_figures", "kimi_fig7", "uniform sampling (baseline)")
