"""Pictures of estimates of a gradient, component by component (notebook 03)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import COLOURS, INK, new_figure, plain_legend

__all__ = ["plot_estimates"]


def plot_estimates(
    panels: Mapping[str, ArrayLike], exact: ArrayLike, names: Sequence[str], seed: int = 0
) -> Figure:
    """A panel for each baseline: every component of every estimate as a dot, on a column of its own.

    Args:
        panels: baseline → estimates [n, K].
        exact: the gradient that they estimate, [K].
        names: of the K components.
        seed: of the sideways shifts, which carry no meaning.
    """
    figure, axes = new_figure(1, len(panels), width=9.5, height=3.4)
    values = {name: np.asarray(found, dtype=float) for name, found in panels.items()}
    reach = 1.08 * max(np.abs(found).max() for found in values.values())
    rng = np.random.default_rng(seed)
    places = np.arange(len(names))
    for ax, (name, found) in zip(np.atleast_1d(axes), values.items(), strict=True):
        sideways = places + rng.uniform(-0.3, 0.3, size=found.shape)
        ax.scatter(sideways, found, s=10, color=COLOURS["policy"], alpha=0.35, linewidth=0)
        ax.hlines(exact, places - 0.38, places + 0.38, color="black", linewidth=2, zorder=4)
        ax.axhline(0, color=COLOURS["reference"], linewidth=0.8)
        ax.set(title=f"baseline: {name}", ylim=(-reach, reach), xlim=(-0.6, len(names) - 0.4))
        ax.set_xticks(places, names)
        ax.grid(axis="x", visible=False)
        total = found.var(axis=0).sum()
        ax.text(
            0.03, 0.97, f"variance {total:.2f}", transform=ax.transAxes, va="top", fontsize=9, color=INK
        )  # fmt: skip
    first = np.atleast_1d(axes)[0]
    first.set_ylabel("component of the estimate")
    first.plot([], [], color="black", linewidth=2, label="exact gradient")
    plain_legend(first, loc="lower left")
    return figure
