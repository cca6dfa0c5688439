"""The paper's tables: read whole, compared in the paper's order, counted where both have a value."""

import pytest

from rlvr_lab.experiments.papers import paper_rows
from rlvr_lab.experiments.r1.tables import AIME_QUESTIONS, Pair, above, comparison, scores


def test_rows_are_chosen_by_their_columns() -> None:
    (row,) = paper_rows("dr_grpo", subject="Dr. GRPO, 1.5B", metric="tokens")
    assert row["value"] == "525" and "2503.20783" in row["source"]
    assert len(paper_rows("dr_grpo")) == 8
    with pytest.raises(ValueError, match="model: dr_grpo has no such column"):
        paper_rows("dr_grpo", model="x")
    with pytest.raises(ValueError, match="where: no row"):
        paper_rows("dr_grpo", subject="x")


def test_every_number_has_a_source() -> None:
    for name in ("deepseek_r1", "deepseek_r1_figures"):
        assert all("arXiv:2501.12948v1" in row["source"] for row in paper_rows(name))


def test_table_4_is_whole() -> None:
    pairs = comparison("4", "DeepSeek-R1", "OpenAI-o1-1217")
    groups = [pair.group for pair in pairs]
    counts = {group: groups.count(group) for group in dict.fromkeys(groups)}
    assert counts == {"English": 10, "Code": 5, "Math": 3, "Chinese": 3}
    assert pairs[0] == Pair("English", "MMLU", "pass@1", 90.8, 91.8)
    assert sum(pair.other is None for pair in pairs) == 10
    assert above(pairs) == (5, 11)


def test_only_rows_with_both_values_count() -> None:
    pairs = [Pair("", "a", "", *two) for two in ((2.0, 1.0), (1.0, 1.0), (0.0, 1.0), (5.0, None))]
    assert above(pairs) == (1, 3)


def test_scores_keep_the_metrics_apart() -> None:
    zero = scores("2", "DeepSeek-R1-Zero")
    assert zero["AIME 2024", "pass@1"] == 71.0 and zero["AIME 2024", "cons@64"] == 86.7
    assert scores("6", "DeepSeek-R1-Distill-Qwen-32B")["AIME 2024", "pass@1"] == 72.6
    assert AIME_QUESTIONS == 30
    with pytest.raises(ValueError, match="no row of deepseek_r1"):
        scores("2", "DeepSeek-R1")
