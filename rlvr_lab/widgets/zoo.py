"""The dashboard of notebook 07 that is a table: change a cell of an algorithm, and its exact numbers move."""

import math
from dataclasses import fields, replace
from functools import cache
from typing import Any

import ipywidgets as W
from matplotlib.figure import Figure

from rlvr_lab.exact.zoo import DRIFTS, ROWS, Cells, Numbers, Zoo
from rlvr_lab.pictures.zoo import plot_zoo
from rlvr_lab.widgets.live_figures import ExactDashboard

__all__ = ["ZooDashboard", "cell_words", "draw_zoo"]

STARTS = ROWS | {
    "SAPO": Cells(ratio="sapo"),
    "VESPO": Cells(ratio="vespo", average="token"),
    "LUSPO": replace(ROWS["GSPO"], average="constant"),
    "exact importance weights": Cells("leave_one_out", False, "answer", 1.0, math.inf, "constant"),
}
"""What the drop-down loads into the cells: the eight rows, and four more."""

BASELINES = {
    "r": "none",
    "r − batch mean": "batch",
    "r − group mean": "group",
    "r − mean of the others": "leave_one_out",
    "r / group mean − 1": "maxrl",
}
RATIOS = {
    "none": "none",
    "token": "token",
    "token, detached": "cispo",
    "answer: mean (GSPO)": "sequence",
    "answer: product, detached": "answer",
    "soft gate (SAPO)": "sapo",
    "soft, answer (VESPO)": "vespo",
}
AVERAGES = {"1/|o|": "sequence", "all tokens": "token", "sum": "constant"}
LOWS = {"none": 1.0, "0.5": 0.5, "0.2": 0.2, "0.1": 0.1, "0.0003": 3e-4}
HIGHS = {"none": math.inf, "1": 1.0, "0.28": 0.28, "0.2": 0.2, "0.1": 0.1, "0.0004": 4e-4}
_CLIPS = {
    "token": ("clip_low", "clip_high"),
    "sequence": ("clip_low", "clip_high"),
    "cispo": ("clip_high",),
    "answer": ("clip_high",),
}
"""Which sides of the clip a ratio has."""

_DRIFT_WORDS = {"updates": "updates behind π", "noise": "noise in the weights"}


def cell_words(cells: Cells) -> tuple[str, str, str, str]:
    """Advantage, ratio, clip and average of a row, in words.

    >>> cell_words(Cells())
    ('r − group mean, ÷ std', 'token', '0.8 … 1.2', '1/|o|')
    """
    named = [
        {value: word for word, value in known.items()} for known in (BASELINES, RATIOS, AVERAGES)
    ]
    advantage = named[0][cells.baseline] + (", ÷ std" if cells.divide_by_std else "")
    sides = _CLIPS.get(cells.ratio, ())
    low = f"{1 - cells.clip_low:g}" if cells.clip_low < 1 else "0"
    high = f"{1 + cells.clip_high:g}" if math.isfinite(cells.clip_high) else "∞"
    clip = {0: "none", 1: f"≤ {high}", 2: f"{low} … {high}"}[len(sides)]
    open_ended = (not math.isfinite(cells.clip_high)) and (len(sides) == 1 or cells.clip_low >= 1)
    ratio = {"sequence": "answer, mean", "answer": "answer, product"}.get(cells.ratio)
    return (
        advantage,
        ratio or named[1][cells.ratio].replace("token, detached", "token*"),
        "none" if open_ended else clip,
        named[2][cells.average],
    )


@cache
def _zoo() -> Zoo:
    return Zoo()


def _said(found: Numbers) -> str:
    hard, medium, easy = found.shares
    return (
        f"bias {found.bias:.2f}, cosine {found.cosine:.2f}, variance {found.noise:.2f} times the squared "
        f"length of the expected gradient, shares of the hard, medium and easy prompt {hard:.0%}, {medium:.0%} "
        f"and {easy:.0%}, pull on length {1000 * found.length:+.1f} thousandths of a token, "
        f"{found.clipped:.0%} of the tokens clipped"
    )


def draw_zoo(
    start: str,
    baseline: str,
    divide_by_std: bool,
    ratio: str,
    clip_low: float,
    clip_high: float,
    average: str,
    distance: int,
    drift: str,
    group_size: int,
) -> tuple[Figure, str]:
    """The table for these cells and dials: the reader's row, and the eight rows below it."""
    zoo = _zoo()
    std = divide_by_std and baseline in ("group", "batch")
    cells = Cells(baseline, std, ratio, clip_low, clip_high, average)
    named = {"yours": cells} | ROWS
    rows = {
        name: (cell_words(row), zoo.numbers(row, distance, drift, group_size))
        for name, row in named.items()
    }
    exact, yours = zoo.exact(), rows["yours"][1]
    figure = plot_zoo(rows, exact)
    equal = [name for name, row in STARTS.items() if row == cells]
    far = zoo.far(distance, drift)
    where = f"π_old: {distance} {_DRIFT_WORDS[drift]}" if distance else "on-policy"
    if drift == "noise" and distance:
        where = f"π_old: noise of {0.005 * distance:g} in each weight"
    known = f" ({equal[0]})" if equal else f" ({start}, changed)"
    figure.suptitle(
        f"{where}; ratio outside 0.8 … 1.2 for {far:.0%} of the tokens; G = {group_size}. "
        f"Dashed: ∇J itself",
        fontsize=9.5,
        x=0.006,
        y=0.995,
        ha="left",
        va="top",
    )
    words = (
        f"Exact numbers of nine losses, {where}, G = {group_size}. Your row{known}, "
        f"{', '.join(cell_words(cells))}: {_said(yours)}. For comparison, cosines: "
        + ", ".join(f"{name} {rows[name][1].cosine:.2f}" for name in ROWS)
        + "."
    )
    return figure, words


def _control(kind: type[W.ValueWidget], name: str, tip: str, **options: Any) -> W.ValueWidget:
    return kind(
        description=name,
        tooltip=tip,
        layout=W.Layout(width="310px"),
        style={"description_width": "110px"},
        **options,
    )


class ZooDashboard(ExactDashboard):
    """A drop-down for each cell of a row, one that loads a known row into them, and dials for π_old and G."""

    def __init__(self) -> None:
        cells = Cells()
        super().__init__(
            draw_zoo,
            start=_control(
                W.Dropdown, "start from", "Loads a known row into the cells.",
                options=list(STARTS), value="GRPO",
            ),
            baseline=_control(
                W.Dropdown, "advantage", "What a reward is compared with.",
                options=BASELINES, value=cells.baseline,
            ),
            divide_by_std=_control(
                W.Checkbox, "divide by std", "Divide the advantage by the standard deviation.",
                value=cells.divide_by_std, indent=True,
            ),
            ratio=_control(
                W.Dropdown, "ratio", "How π/π_old enters.", options=RATIOS, value=cells.ratio
            ),
            clip_low=_control(
                W.Dropdown, "clip: ε low", "The clip begins at 1 − ε low.",
                options=LOWS, value=cells.clip_low,
            ),
            clip_high=_control(
                W.Dropdown, "clip: ε high", "The clip begins at 1 + ε high.",
                options=HIGHS, value=cells.clip_high,
            ),
            average=_control(
                W.Dropdown, "average", "How tokens and answers are added up.",
                options=AVERAGES, value=cells.average,
            ),
            distance=_control(
                W.SelectionSlider, "distance of π_old", "0 is on-policy.",
                options=[0, 1, 2, 4, 8, 16], value=4,
            ),
            drift=_control(
                W.Dropdown, "π_old differs by", "Where the difference comes from.",
                options={_DRIFT_WORDS[name]: name for name in DRIFTS}, value="updates",
            ),
            group_size=_control(
                W.SelectionSlider, "answers G", "Answers to each of the three prompts.",
                options=[2, 4, 8], value=8,
            ),
        )  # fmt: skip
        self.controls["start"].observe(self._load, "value")
        for name in ("baseline", "ratio"):
            self.controls[name].observe(self._enable, "value")
        self._enable()

    def _load(self, _: Any) -> None:
        """Put the cells of the chosen row into the controls."""
        row = STARTS[self.controls["start"].value]
        for field in fields(Cells):
            self.controls[field.name].value = getattr(row, field.name)

    def _enable(self, _: Any = None) -> None:
        """Switch off what the row has no place for."""
        std = self.controls["divide_by_std"]
        std.disabled = self.controls["baseline"].value not in ("group", "batch")
        if std.disabled:
            std.value = False
        sides = _CLIPS.get(self.controls["ratio"].value, ())
        for name in ("clip_low", "clip_high"):
            self.controls[name].disabled = name not in sides
