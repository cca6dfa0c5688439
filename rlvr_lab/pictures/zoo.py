"""Pictures of the algorithms' table: its exact numbers, and the weight of a token against its ratio."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

from rlvr_lab.exact.zoo import KINDS, Numbers
from rlvr_lab.pictures.style import COLOURS, INK, legend_below, new_figure

__all__ = ["plot_weight_by_ratio", "plot_zoo"]

_KIND_COLOURS = {"hard": "#F4B183", "medium": "#D9D9D9", "easy": "#A8DCC4"}
_COLUMNS = (
    ("bias", "bias\n‖E[ĝ] − ∇J‖ / ‖∇J‖", "{:.2f}"),
    ("cosine", "cosine\nto ∇J", "{:.2f}"),
    ("noise", "variance\n/ ‖E[ĝ]‖²", "{:.2f}"),
    ("length", "pull on length\n(1/1000 tokens)", "{:+.1f}"),
    ("clipped", "clipped\ntokens (%)", "{:.0f}"),
)
# Numbers stay readable where the mark of ∇J crosses them.
_HALO = [withStroke(linewidth=2.5, foreground="white")]
_SCALE = {"length": 1000.0, "clipped": 100.0}


def plot_zoo(rows: Mapping[str, tuple[Sequence[str], Numbers]], exact: Numbers) -> Figure:
    """A line for each algorithm: its cells in words, then its exact numbers as bars.

    Args:
        rows: name → (words of its cells, numbers); the first row is the reader's own and stands out.
        exact: the numbers of ∇J, drawn as a dashed line where they are not 0 or 1 by definition.
    """
    names = list(rows)
    height = 0.85 + 0.47 * len(names)
    # Fixed places: a layout that is computed would take as long as all the rest.
    figure = Figure(figsize=(11, height), dpi=100)
    FigureCanvasAgg(figure)
    places = {"left": 0.006, "right": 0.995, "bottom": 0.012, "top": 1 - 0.72 / height}
    widths = [4.35, 1.2, 1.2, 1.2, 2.2, 1.3, 0.9]
    axes = figure.subplots(
        1, len(widths), sharey=True, width_ratios=widths, gridspec_kw={**places, "wspace": 0.09}
    )
    numbers = [found for _, found in rows.values()]
    _words(axes[0], rows)
    for ax, (key, title, form) in zip((*axes[1:4], *axes[5:]), _COLUMNS, strict=True):
        values = [_SCALE.get(key, 1.0) * getattr(found, key) for found in numbers]
        _bars(ax, values, form)
        ax.set_title(title, fontsize=8.5, color=INK)
        if key == "length":
            _mark(ax, _SCALE[key] * exact.length)
    _shares(axes[4], numbers, exact)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _words(ax: Axes, rows: Mapping[str, tuple[Sequence[str], Numbers]]) -> None:
    """The table of cells: a name, and below it what makes it."""
    ax.set(xlim=(0, 1), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title("advantage · ratio · clip · average", fontsize=8.5, color=INK, loc="left")
    for y, (name, (cells, _)) in enumerate(rows.items()):
        ink = COLOURS["policy"] if y == 0 else INK
        ax.text(0, y - 0.05, name, fontsize=9.5, va="bottom", color=ink, fontweight="bold")
        ax.text(0, y + 0.05, " · ".join(cells), fontsize=7.8, va="top", color=ink)


def _mark(ax: Axes, place: float) -> None:
    """Where ∇J itself stands: faint, so that numbers on it can be read."""
    ax.axvline(place, color="black", linestyle=(0, (4, 2)), linewidth=1.2, alpha=0.45, zorder=1.5)


def _bars(ax: Axes, values: Sequence[float], form: str) -> None:
    shown = [value if math.isfinite(value) else 0.0 for value in values]
    colours = [COLOURS["policy"]] + [COLOURS["entropy"]] * (len(values) - 1)
    ax.barh(range(len(values)), shown, height=0.62, color=colours)
    ax.axvline(0, color="#999999", linewidth=0.8)
    low, high = min(0.0, *shown), max(0.0, *shown)
    span = (high - low) or 1.0
    # Numbers stand at the outer end of the bars, so there is room on the side of the bars.
    ax.set_xlim(
        low - (0.55 * span if low < 0 else 0.02 * span), high + (0.55 * span if high > 0 else 0)
    )
    for y, (value, end) in enumerate(zip(values, shown, strict=True)):
        text = form.format(value).replace("-", "−") if math.isfinite(value) else "–"
        side = -1 if end < 0 else 1
        ax.annotate(
            text, (end, y), (3 * side, 0), textcoords="offset points", va="center",
            ha="left" if side > 0 else "right", fontsize=8, color=INK, path_effects=_HALO, zorder=5,
        )  # fmt: skip
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    ax.tick_params(left=False)


def _shares(ax: Axes, numbers: Sequence[Numbers], exact: Numbers) -> None:
    left = [0.0] * len(numbers)
    for k, kind in enumerate(KINDS):
        parts = [
            found.shares[k] if found.shares[k] == found.shares[k] else 0.0 for found in numbers
        ]
        ax.barh(range(len(parts)), parts, left=left, height=0.62, color=_KIND_COLOURS[kind])
        for y, part in enumerate(parts):
            if part >= 0.06:
                ax.text(
                    left[y] + part / 2, y, f"{100 * part:.0f}", ha="center", va="center", fontsize=8, zorder=5,
                    path_effects=_HALO,
                )  # fmt: skip
        left = [start + part for start, part in zip(left, parts, strict=True)]
    edge = 0.0
    for share in exact.shares[:-1]:
        edge += share
        _mark(ax, edge)
    ax.set(xlim=(0, 1), xticks=[])
    ax.set_title("share of the gradient (%)\nhard | medium | easy prompt", fontsize=8.5, color=INK)
    ax.spines[:].set_visible(False)
    ax.tick_params(left=False)
    ax.grid(False)


_LOOKS = {
    "REINFORCE, RLOO": ("#707070", (0, (1, 1.2)), 2.0),
    "GRPO, Dr. GRPO, MaxRL": ("#A6CBE3", "-", 6.0),
    "DAPO": ("#0072B2", (0, (5, 2)), 3.0),
    "GSPO, LUSPO": ("#D55E00", "-", 1.6),
    "CISPO": ("#009E73", (0, (6, 2, 1, 2)), 2.0),
    "SAPO": ("#CC79A7", "-", 2.0),
    "VESPO": ("#000000", (0, (3, 1.5)), 2.0),
}
"""Where curves lie on each other, the wide ones show below the narrow ones."""


def plot_weight_by_ratio(ratio: ArrayLike, curves: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """Gradient weight of a token against its ratio ρ: a panel for each sign of the advantage.

    Args:
        ratio: [n], ρ.
        curves: title → algorithms → weight [n].
    """
    figure, axes = new_figure(1, len(curves), width=10, height=4.2)
    for ax, (title, lines) in zip(axes, curves.items(), strict=True):
        for name, weights in lines.items():
            colour, style, width = _LOOKS[name]
            ax.plot(ratio, weights, color=colour, linestyle=style, linewidth=width, label=name)
        ax.axvline(1, color="#999999", linewidth=0.8)
        ax.set(xlabel="ratio ρ = π/π_old", ylabel="gradient weight  −∂loss/∂log π / A")
        ax.set_title(title, fontsize=10, color=INK)
        ax.legend()
    legend_below(figure, ncols=4, fontsize=9)
    return figure
