"""The papers' numbers that lie in ``data/papers``: rows, tables of models and curves read off figures."""

import csv
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from rlvr_lab.policy.data import data_folder

__all__ = ["Pair", "above", "comparison", "figure_series", "paper_rows", "scores"]


class Pair(NamedTuple):
    """One benchmark and the values of two models; ``other`` is None where the paper prints no value."""

    group: str
    benchmark: str
    metric: str
    value: float
    other: float | None


def paper_rows(name: str, **where: str) -> list[dict[str, str]]:
    """The rows of ``data/papers/<name>.csv`` in which each named column holds the given text.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a column that the file does not have, or when no row is left.

    >>> paper_rows("dr_grpo", subject="GRPO, 1.5B", metric="tokens")[0]["value"]
    '990'
    """
    with (data_folder() / "papers" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for column in where:
        if column not in rows[0]:
            raise ValueError(f"{column}: {name} has no such column, only {', '.join(rows[0])}")
    rows = [row for row in rows if all(row[column] == text for column, text in where.items())]
    if not rows:
        raise ValueError(f"where: no row of {name} has {where}")
    return rows


def scores(name: str, table: str, model: str) -> dict[tuple[str, str], float]:
    """(benchmark, metric) → the value of one model in a table of a paper.

    Args:
        name: a file with the columns ``table``, ``benchmark``, ``metric``, ``model`` and ``value``.
        table: as the file names it.
        model: as the paper names it.

    Raises:
        ValueError: for a table or a model that the file does not hold.

    >>> scores("kimi_k15", "2", "OpenAI o1")["AIME 2024", "pass@1"]
    74.4
    """
    rows = paper_rows(name, table=table, model=model)
    return {(row["benchmark"], row["metric"]): float(row["value"]) for row in rows}


def comparison(name: str, table: str, model: str, other: str) -> list[Pair]:
    """Each row of a table in which ``model`` has a value, for two models, in the paper's order."""
    theirs = scores(name, table, other)
    return [
        Pair(
            row["group"],
            row["benchmark"],
            row["metric"],
            float(row["value"]),
            theirs.get((row["benchmark"], row["metric"])),
        )
        for row in paper_rows(name, table=table, model=model)
    ]


def above(pairs: Iterable[Pair]) -> tuple[int, int]:
    """(rows in which the first model has the larger value, rows in which both have a value).

    >>> above([Pair("", "a", "%", 2, 1), Pair("", "b", "%", 2, 3), Pair("", "c", "%", 2, None)])
    (1, 2)
    """
    known = [(pair.value, pair.other) for pair in pairs if pair.other is not None]
    return sum(value > other for value, other in known), len(known)


def figure_series(name: str, figure: str, series: str) -> np.ndarray:
    """[2, n]: the x and y of one series of a figure, in the file's order.

    Args:
        name: a file with the columns ``figure``, ``series``, ``x`` and ``y``.
        figure: as the file names it.
        series: as the file names it.

    >>> figure_series("kimi_k15_figures", "kimi_fig9", "uniform sampling (baseline)")[:, -1].tolist()
    [42.0, 0.554]
    """
    rows = paper_rows(name, figure=figure, series=series)
    return np.array([(float(row["x"]), float(row["y"])) for row in rows]).T
