"""Pictures of what a step costs: memory against the size of the batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rlvr_lab.pictures.style import COLOURS, axes_or_new, dark

__all__ = ["plot_memory"]

GIB = 2**30
WAYS = {
    "whole": ("everything stored", COLOURS["wrong"], "-", "o"),
    "logits": ("logits in parts", COLOURS["reward"], "--", "s"),
    "parts": ("rows in parts too", COLOURS["policy"], "-.", "^"),
}


def plot_memory(result: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """Peak growth of memory in one update against N·G·T, with the fitted lines; ``parts`` joins its medians.

    Args:
        result: of ``tests.benchmarks.memory``; every single measurement is a marker.
        ax: axes to draw in; new ones by default.
    """
    ax = axes_or_new(ax)
    ends = []
    for way, (name, colour, style, marker) in WAYS.items():
        rows = [row for row in result["rows"] if row["way"] == way]
        if not rows:
            continue
        points = [(row["tokens"], growth / GIB) for row in rows for growth in row["growth"]]
        ax.plot(*zip(*points, strict=True), marker, color=colour, markersize=5, alpha=0.8)
        last = max(row["tokens"] for row in rows)
        line = result["lines"].get(way)
        if way == "parts":  # no line: it bends where the rows are split
            sizes = [row["tokens"] for row in rows]
            heights = np.array([np.median(row["growth"]) for row in rows]) / GIB
        elif line:
            sizes = [0, last]
            heights = (line["per_token"] * np.array(sizes) + line["fixed"]) / GIB
        else:
            continue
        ax.plot(sizes, heights, color=colour, linestyle=style)
        ends.append((last, float(heights[-1]), name, colour))
    ax.set_xlabel("answer tokens in the batch, N·G·T")
    ax.set_ylabel("peak growth in one update (GiB)")
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    for x, y, name, colour in ends:
        place = (6, -14 if name == WAYS["logits"][0] else 4)  # below the line that bends there
        ax.annotate(name, (x, y), place, textcoords="offset points", color=dark(colour), fontsize=9)
    return ax
