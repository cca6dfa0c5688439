"""The papers' numbers that lie in ``data/papers``."""

import csv

from rlvr_lab.policy.data import data_folder

__all__ = ["paper_rows"]


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
