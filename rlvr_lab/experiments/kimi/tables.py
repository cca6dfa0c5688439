"""The tables and figures of the Kimi k1.5 report (arXiv:2501.12599) as notebook 09 redraws them."""

from typing import NamedTuple

from rlvr_lab.experiments.papers import paper_rows, scores

__all__ = ["LONG", "SHORTENED", "Point", "accuracy_per_token", "long2short", "trade"]

LONG = "k1.5-long"
"""The long-CoT model from which Fig. 7 starts."""

SHORTENED = {
    "merge": "k1.5-short w/ merge",
    "merge + shortest rejection sampling": "k1.5-short w/ merge + rs",
    "DPO": "k1.5-short w/ dpo",
    "RL with the length penalty": "k1.5-short w/ rl",
    "shortest model": "k1.5-shortest",
}
"""Method → the label of its model in Fig. 7."""


class Point(NamedTuple):
    """Mean tokens per answer and accuracy in %."""

    tokens: float
    accuracy: float


def long2short(benchmark: str) -> dict[str, Point]:
    """Model → its point in Fig. 7 (§3.4): the markers as they were read off.

    Args:
        benchmark: "MATH500" or "AIME2024".

    Raises:
        ValueError: for another benchmark.

    >>> long2short("MATH500")["k1.5-long"]
    Point(tokens=1320.0, accuracy=94.1)
    """
    rows = {
        row["series"].removeprefix(f"{benchmark}: "): Point(float(row["x"]), float(row["y"]))
        for row in paper_rows("kimi_k15_figures", figure="kimi_fig7")
        if row["series"].startswith(f"{benchmark}: ")
    }
    if not rows:
        raise ValueError(f"benchmark: Fig. 7 shows MATH500 and AIME2024, got {benchmark!r}")
    return rows


def trade(start: Point, end: Point) -> tuple[float, float]:
    """(share of the start's tokens that are saved, points of accuracy lost); negative: more, gained.

    >>> trade(Point(1000, 90), Point(750, 88))
    (0.25, 2)
    """
    return 1 - end.tokens / start.tokens, start.accuracy - end.accuracy


def accuracy_per_token(figure: str, model: str) -> dict[str, float]:
    """Benchmark → slope of accuracy on length, in points of accuracy per 1,000 tokens.

    The figures plot accuracy (0 … 1) against the mean length of the answers (in Fig. 8 a dot for each
    checkpoint of a run) and print the slope of a straight line through the dots.

    Args:
        figure: "6" (one model, §3.3) or "8" (two sizes, §3.5).
        model: "mid-sized k1.5" in Fig. 6; "small model" or "large model" in Fig. 8.

    >>> round(accuracy_per_token("6", "mid-sized k1.5")["GPQA"], 2)
    4.24
    """
    found = scores("kimi_k15", f"Fig {figure}", model)
    return {benchmark: 100 * 1000 * slope for (benchmark, _), slope in found.items()}
