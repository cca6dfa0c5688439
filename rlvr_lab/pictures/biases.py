"""Pictures of the two biases of GRPO: learning curves of single questions, lengths, kinds, token weights."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import (
    COLOURS,
    INK,
    axes_or_new,
    dark,
    label_ends,
    new_figure,
    plot_band,
)

__all__ = [
    "plot_labelled_bands",
    "plot_length_path",
    "plot_question_curves",
    "plot_reward_and_length",
    "plot_token_weights",
]

_LINES = ["-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2))]
_HUES = ["policy", "reward", "kl", "entropy"]


def plot_question_curves(panels: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """Pass rates of single questions over steps: a panel for each setting, a labelled curve for each question.

    Args:
        panels: title → name of the question → pass rate at steps 0, 1, ….
    """
    figure, axes = new_figure(1, len(panels), width=max(5.5, 3.4 * len(panels)), height=3.1)
    for i, (ax, (title, curves)) in enumerate(zip(np.ravel(axes), panels.items(), strict=True)):
        for (name, curve), hue, line in zip(curves.items(), _HUES, _LINES, strict=False):
            ax.plot(curve, color=COLOURS[hue], linestyle=line, linewidth=2, label=name)
        ax.set(xlabel="step", ylabel="" if i else "pass rate", ylim=(0, 1.02))
        ax.set_title(title, fontsize=10, color=INK)
    handles, names = np.ravel(axes)[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def plot_labelled_bands(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    unit: str,
    looks: Mapping[str, tuple[str, str]] | None = None,
    ylim: tuple[float, float] | None = None,
) -> Figure:
    """Mean over seeds with a 95 % bootstrap band; each curve bears its name at its right end.

    Args:
        panels: title → label → [S, T].
        unit: of the y axis.
        looks: label → (meaning, line style); by default one hue and one style after the other.
        ylim: the same for all panels.
    """
    figure, axes = new_figure(1, len(panels), width=max(6.0, 4.3 * len(panels)), height=3.4)
    for i, (ax, (title, bands)) in enumerate(zip(np.ravel(axes), panels.items(), strict=True)):
        usual = {name: (_HUES[k % 4], _LINES[k % 4]) for k, name in enumerate(bands)}
        ends = []
        for name, curves in bands.items():
            hue, line = (looks or usual)[name]
            plot_band(curves, ax, name, hue, style=line)
            curves = np.asarray(curves, dtype=float)
            ends.append((curves.shape[1], float(np.nanmean(curves[:, -1])), name, COLOURS[hue]))
        ax.set_title(f"{title} (n = {len(curves)} seeds)", fontsize=10, color=INK)
        ax.set(ylabel="" if i else unit)
        if ylim:
            ax.set_ylim(ylim)
        ax.get_legend().remove()
        steps = curves.shape[1]
        ax.set_xlim(1, steps * 1.0)
        figure.canvas.draw()
        label_ends(ax, ends, size=8.5)
    return figure


def plot_length_path(path: Sequence[ArrayLike], ax: Axes | None = None) -> Axes:
    """Expected lengths of the two-stage toy over steps: correct, incorrect, and their mean.

    Args:
        path: an ``exact.paths.LengthPath``: right, wrong, mean.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    looks = [
        ("correct", "right", "-"),
        ("incorrect", "wrong", "-"),
        ("mean", "length", (0, (2, 1))),
    ]
    ends = []
    for values, (name, hue, line) in zip(path, looks, strict=True):
        values = np.asarray(values, dtype=float)
        ax.plot(values, color=COLOURS[hue], linestyle=line, linewidth=2.2)
        ends.append((len(values) - 1, float(values[-1]), name, COLOURS[hue]))
    ax.set(xlabel="step", ylabel="expected length (tokens)", ylim=(0, 110))
    ax.set_xlim(0, len(values) - 1)
    label_ends(ax, ends)
    return ax


def plot_token_weights(
    panels: Mapping[str, Mapping[str, ArrayLike]], answers: Mapping[str, int]
) -> Figure:
    """What one token of each answer counts for: a row for each algorithm, a cell for each token.

    Each row is divided by its largest absolute value of the first panel, so that only the proportions count.
    A cell marked × has weight 0.

    Args:
        panels: title → algorithm → [B, T], the derivative of the objective with respect to log π.
        answers: name → number of tokens, in the order of the rows B.
    """
    first = next(iter(panels.values()))
    scale = {name: np.abs(np.asarray(weights)).max() for name, weights in first.items()}
    lengths = list(answers.values())
    figure, axes = new_figure(
        1, len(panels), width=4.9 * len(panels), height=0.5 + 0.38 * len(first)
    )
    for i, (ax, (title, rows)) in enumerate(zip(np.ravel(axes), panels.items(), strict=True)):
        table = np.array(
            [
                np.concatenate([np.asarray(w)[b, :n] for b, n in enumerate(lengths)]) / scale[name]
                for name, w in rows.items()
            ]
        )
        ax.imshow(table, cmap="PuOr_r", vmin=-1.6, vmax=1.6, aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            text = "×" if abs(value) < 1e-9 else f"{value:+.1f}"
            ink = "white" if abs(value) > 1.15 else "black"
            ax.text(column, row, text, ha="center", va="center", fontsize=6.8, color=ink)
        edges = np.cumsum(lengths) - 0.5
        for edge in edges[:-1]:
            ax.axvline(edge, color="black", linewidth=1.5)
        ax.set_xticks(edges - np.array(lengths) / 2, list(answers), fontsize=8)
        ax.set_yticks(range(len(rows)), list(rows) if i == 0 else [""] * len(rows))
        ax.tick_params(length=0)
        ax.grid(False)
        ax.set_title(title, fontsize=10, color=INK)
    return figure


def plot_reward_and_length(
    points: Mapping[str, Mapping[str, tuple[float, float]]], units: Mapping[str, tuple[str, str]]
) -> Figure:
    """Reward against length, a panel for each study and an arrow from GRPO to Dr. GRPO.

    Args:
        points: title → name (the first is GRPO) → (length, reward).
        units: title → (what is on x, what is on y).
    """
    figure, axes = new_figure(1, len(points), width=4.3 * len(points), height=3.2)
    for ax, (title, named) in zip(np.ravel(axes), points.items(), strict=True):
        places = list(named.values())
        looks = (("wrong", "X", -18), ("right", "o", 10))
        for (name, (x, y)), (hue, mark, above) in zip(named.items(), looks, strict=True):
            ax.plot(x, y, mark, color=COLOURS[hue], markersize=9)
            ax.annotate(name, (x, y), xytext=(0, above), textcoords="offset points", ha="center",
                        color=dark(COLOURS[hue]), fontsize=9)  # fmt: skip
        arrow = {"arrowstyle": "->", "color": INK, "shrinkA": 8, "shrinkB": 8}
        ax.annotate("", places[1], places[0], arrowprops=arrow)
        ax.set(xlabel=units[title][0], ylabel=units[title][1], ylim=(0, 1))
        ax.set_xlim(0, 1.3 * max(x for x, _ in places))
        ax.set_title(title, fontsize=10, color=INK)
    return figure
