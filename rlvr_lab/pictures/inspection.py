"""One group of one step, seen from inside: what every token adds to the gradient."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rlvr_lab.pictures.style import COLOURS, INK, axes_or_new, new_figure
from rlvr_lab.training.group_reading import choices, places, read_group
from rlvr_lab.training.group_weights import GroupWeights, signed

__all__ = ["describe_inspection", "plot_inspection", "plot_places", "plot_strips"]

UP, DOWN = COLOURS["policy"], COLOURS["wrong"]
MOST_WORDS = 16
"""Longer answers are shown without their middle."""


def tint(weight: float, largest: float) -> tuple[float, float, float]:
    """White for 0, blue for what is pushed up, orange for what is pushed down."""
    share = min(1.0, abs(weight) / largest)
    strength = 0.0 if weight == 0 else 0.08 + 0.62 * share
    return tuple(1 - strength * (1 - part) for part in to_rgb(UP if weight > 0 else DOWN))


def folded(count: int, most: int) -> list[int | None]:
    """The places of a strip; None stands for the middle that is left out.

    >>> folded(6, 5)
    [0, 1, 2, None, 5]
    """
    if count <= most:
        return list(range(count))
    return [*range(most - 2), None, count - 1]


def plot_strips(
    group: GroupWeights,
    ax: Axes | None = None,
    largest: float | None = None,
    most: int = MOST_WORDS,
) -> Axes:
    """The answers of a group as rows of tokens; colour, sign and number say what each adds to the gradient.

    Args:
        group: the answers, with weights.
        ax: where to draw.
        largest: the |weight| of full colour; by default the group's own.
        most: words shown of an answer.
    """
    ax = axes_or_new(ax)
    largest = largest or group.largest
    strips = [folded(len(answer.words), most) for answer in group.answers]
    width = max(map(len, strips))
    for y, (answer, strip) in enumerate(zip(group.answers, strips, strict=True)):
        for x, place in enumerate(strip):
            if place is None:
                ax.text(
                    x + 0.5,
                    y,
                    f"+{len(answer.words) - most + 1}",
                    ha="center",
                    va="center",
                    fontsize=6.5,
                )
                continue
            weight, trained = answer.weights[place], answer.trained[place]
            look = {"facecolor": tint(weight, largest) if trained else "#EEEEEE"}
            look |= {"edgecolor": INK if answer.ends[place] else "#BBBBBB"}
            look |= {"linewidth": 1.2 if answer.ends[place] else 0.4}
            ax.add_patch(Rectangle((x + 0.03, y - 0.45), 0.94, 0.9, **look))
            word = answer.words[place].replace("$", r"\$")
            number = signed(weight, largest) if trained else "given"
            number = "clipped" if answer.clipped[place] and weight == 0 else number
            # Inside the axes: the layout of the figure need not measure them, which would take seconds.
            look = {"ha": "center", "va": "center", "color": "black", "in_layout": False}
            ax.text(x + 0.5, y - 0.18, word[:8], fontsize=6.8, **look)
            ax.text(x + 0.5, y + 0.22, number, fontsize=6, **look)
        mark = "✓" if answer.good else "✗"
        a = "" if np.isnan(answer.advantage) else f"   A {signed(answer.advantage)}"
        label = f"{mark} {answer.verdict}   r {answer.reward:g}{a}   |o| {answer.length}"
        ax.text(-0.15, y, label, ha="right", va="center", fontsize=7.5, color=INK)
        right = f"{signed(answer.per_token, largest)}"
        ax.text(width + 0.15, y, right, ha="left", va="center", fontsize=7.5, color=INK)
        ax.text(
            width + 1.5,
            y,
            signed(answer.whole, largest),
            ha="left",
            va="center",
            fontsize=7.5,
            color=INK,
        )
    top = -0.85
    ax.text(width + 0.15, top, "per\ntoken", fontsize=7, color=INK, va="bottom")
    ax.text(width + 1.5, top, "whole\nanswer", fontsize=7, color=INK, va="bottom")
    ax.set(xlim=(0, width + 2.6), ylim=(len(group.answers) - 0.4, -0.6))
    ax.set_title(group.title, loc="left", fontsize=9.5, color=INK, pad=9)
    ax.axis("off")
    return ax


def plot_places(groups: Sequence[GroupWeights], good: bool, ax: Axes | None = None) -> Axes:
    """At each place of an answer: the weight of stopping there (squares) and of going on (rings).

    Args:
        groups: the same group under one or two losses.
        good: of the correct answers, or of the others.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    hue = COLOURS["right" if good else "wrong"]
    for group, colour, nudge in zip(groups, (hue, COLOURS["reference"]), (0, 0.2), strict=False):
        points: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        there = places([answer for answer in group.answers if answer.good is good])
        for place, (stops, goes_on) in enumerate(there, start=1):
            points[True] += [(place + nudge, weight) for weight in stops]
            points[False] += [(place + nudge, weight) for weight in goes_on]
        for ends, marker in ((False, "o"), (True, "s")):
            if points[ends]:
                x, y = zip(*points[ends], strict=True)
                face = colour if ends else "none"
                word = "stops here" if ends else "goes on"
                name = f"{word}, {group.title}" if len(groups) > 1 else word
                ax.scatter(
                    x,
                    y,
                    s=26,
                    marker=marker,
                    facecolor=face,
                    edgecolor=colour,
                    label=name,
                    zorder=3,
                )
    ax.axhline(0, color=INK, linewidth=0.8)
    noun = groups[0].named(good)
    ax.set_title(f"{noun} answers: stop or go on?", fontsize=9, color=INK, loc="left")
    ax.set_xlabel("place of the token in the answer", fontsize=8.5, color=INK)
    ax.set_ylabel("weight × B", fontsize=8.5, color=INK)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=7, labelcolor=INK, handletextpad=0.2)
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax


def plot_inspection(
    group: GroupWeights, other: GroupWeights | None = None, most: int = 8
) -> Figure:
    """A group under one loss, or under two with the difference; below, stopping against going on, if it was a choice.

    Args:
        group: the answers under the first loss.
        other: the same answers under another loss, on the same scale.
        most: answers shown in each strip; stopping and going on are those of all answers.
    """
    shown = [group.some(most)] if other is None else [group.some(most), other.some(most)]
    if other is not None:
        shown.append(shown[0].minus(shown[1]))
    rows = len(shown[0].answers)
    kinds = [
        good
        for good in (False, True)
        if group.at == "before" and choices([a for a in group.answers if a.good is good])
    ]
    heights = [0.42 + 0.3 * rows] * len(shown) + [2.1] * bool(kinds)
    figure, axes = new_figure(len(shown) + 1, 2, height=sum(heights) + 0.3)
    for ax in axes.flat:
        ax.remove()
    grid = figure.add_gridspec(len(heights), len(kinds) or 1, height_ratios=heights)
    scale = max(one.largest for one in shown[:2])
    for i, one in enumerate(shown):
        plot_strips(one, figure.add_subplot(grid[i, :]), scale)
    both = [group] if other is None else [group, other]
    for i, good in enumerate(kinds):
        ax = figure.add_subplot(grid[-1, i])
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8, colors=INK)
        plot_places(both, good, ax)
    return figure


def describe_inspection(group: GroupWeights, other: GroupWeights | None = None) -> str:
    """The picture in words, with the numbers that it shows."""
    said = f"What each token adds to the gradient of {group.title}. {' '.join(read_group(group))}"
    if other is None:
        return said
    if group.same_as(other):
        return f"{said} {other.title}: the same weights."
    return f"{said} Beside it {other.title}. {' '.join(read_group(other)[1:])}"
