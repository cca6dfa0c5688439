"""The benchmark tables of the DeepSeek-R1 paper, and how often one model is above another (notebook 08)."""

from collections.abc import Iterable
from typing import NamedTuple

from rlvr_lab.experiments.papers import paper_rows

__all__ = ["AIME_QUESTIONS", "Pair", "above", "comparison", "scores"]

AIME_QUESTIONS = 30
"""Questions in AIME 2024: one question is 3.3 points."""


class Pair(NamedTuple):
    """One benchmark and the values of two models; ``other`` is None where the paper prints no value."""

    group: str
    benchmark: str
    metric: str
    value: float
    other: float | None


def scores(table: str, model: str) -> dict[tuple[str, str], float]:
    """(benchmark, metric) → the value of one model in a table of arXiv:2501.12948v1.

    Args:
        table: "2", "4", "5" or "6".
        model: as the paper names it.

    Raises:
        ValueError: for a table or a model that ``data/papers/deepseek_r1.csv`` does not hold.

    >>> scores("2", "DeepSeek-R1-Zero")["AIME 2024", "pass@1"]
    71.0
    """
    rows = paper_rows("deepseek_r1", table=table, model=model)
    return {(row["benchmark"], row["metric"]): float(row["value"]) for row in rows}


def comparison(table: str, model: str, other: str) -> list[Pair]:
    """Each row of a table for two models, in the paper's order."""
    theirs = scores(table, other)
    return [
        Pair(
            row["group"],
            row["benchmark"],
            row["metric"],
            float(row["value"]),
            theirs.get((row["benchmark"], row["metric"])),
        )
        for row in paper_rows("deepseek_r1", table=table, model=model)
    ]


def above(pairs: Iterable[Pair]) -> tuple[int, int]:
    """(rows in which the first model has the larger value, rows in which both have a value).

    >>> above([Pair("", "a", "%", 2, 1), Pair("", "b", "%", 2, 3), Pair("", "c", "%", 2, None)])
    (1, 2)
    """
    known = [(pair.value, pair.other) for pair in pairs if pair.other is not None]
    return sum(value > other for value, other in known), len(known)
