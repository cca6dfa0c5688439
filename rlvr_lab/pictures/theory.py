"""Pictures of exact results: multipliers, drifts, shares of the gradient, estimators of the KL."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from rlvr_lab.pictures.style import COLOURS, INK, STYLES, axes_or_new, dark, plain_legend

__all__ = [
    "plot_gradient_share",
    "plot_kl_estimators",
    "plot_length_drift",
    "plot_std_multiplier",
]


def plot_std_multiplier(
    p: ArrayLike,
    multipliers: Mapping[int, ArrayLike],
    limit: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """What dividing by the std multiplies the gradient by, against the pass rate of the prompt.

    Args:
        p: pass rates, the x axis.
        multipliers: group size G → multiplier at each ``p``.
        limit: the curve for G → ∞.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    p = np.asarray(p, dtype=float)
    curves = {f"G = {g}": np.asarray(multipliers[g], dtype=float) for g in sorted(multipliers)}
    highest = max((float(np.nanmax(values)) for values in curves.values()), default=1.0)
    for i, values in enumerate(curves.values(), start=1):
        shade = 0.25 + 0.75 * i / len(curves)
        ax.plot(p, values, color=COLOURS["policy"], alpha=shade, linewidth=1 + 1.2 * shade)
    if limit is not None:
        curves["G → ∞"] = np.asarray(limit, dtype=float)
        style = STYLES["reference"]
        ax.plot(p, limit, color=COLOURS["reference"], linestyle=style, linewidth=1.6)
    ax.set_ylim(0, 1.15 * highest)
    ax.set_xlim(float(p[0]), float(p[-1]))
    ax.set_xlabel("pass rate p of the prompt")
    ax.set_ylabel("multiplier of the gradient ∇p")
    _label_inside(ax, p, curves, 1.1 * highest)
    return ax


def _label_inside(ax: Axes, x: np.ndarray, curves: Mapping[str, np.ndarray], top: float) -> None:
    """Write each name on its curve, at the x where the curves lie furthest apart."""
    heights = np.sort(np.minimum(list(curves.values()), top), axis=0)
    apart = np.diff(heights, axis=0).min(axis=0) if len(heights) > 1 else np.zeros(len(x))
    margin = 0.04 * (x[-1] - x[0])
    apart[(x < x[0] + margin) | (x > x[-1] - margin)] = -1
    place = int(apart.argmax())
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    for name, values in curves.items():
        colour = COLOURS["reference" if "∞" in name else "policy"]
        at = (x[place], min(values[place], top))
        ax.annotate(
            name, at, ha="center", va="center", fontsize=8.5, color=dark(colour), bbox=white
        )


def plot_length_drift(
    p: ArrayLike, drifts: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    """Exact drift of the mean length against the pass rate, one curve for each average.

    Args:
        p: pass rates, the x axis.
        drifts: name of the average → drift at each ``p``, in tokens per unit of learning rate.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    p = np.asarray(p, dtype=float)
    colours = [COLOURS["wrong"], COLOURS["policy"], COLOURS["right"], COLOURS["kl"]]
    styles = ["-", (0, (5, 2)), (0, (1, 1)), (0, (6, 2, 1, 2))]
    for i, (name, drift) in enumerate(drifts.items()):
        ax.plot(p, drift, color=colours[i % 4], linestyle=styles[i % 4], linewidth=2.2, label=name)
    ax.axhline(0, color=INK, linewidth=0.8, zorder=1)
    ax.set_xlim(float(p[0]), float(p[-1]))
    ax.set_xlabel("pass rate p of the prompt")
    ax.set_ylabel("drift of the mean length,\ntokens per unit of learning rate")
    for height, text in ((0.97, "answers grow longer ↑"), (0.03, "answers grow shorter ↓")):
        side = "top" if height > 0.5 else "bottom"
        ax.text(0.01, height, text, transform=ax.transAxes, va=side, fontsize=8.5, color="#666666")
    ax.margins(y=0.18)
    plain_legend(ax, loc="upper right")
    return ax


def plot_gradient_share(shares: Mapping[str, Mapping[str, float]], ax: Axes | None = None) -> Axes:
    """Share of the gradient that each kind of prompt gets, in groups of bars.

    Args:
        shares: setting (one colour) → kind of prompt (one group) → share between 0 and 1.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    kinds = list(next(iter(shares.values())))
    width = 0.8 / len(shares)
    looks = [("policy", ""), ("reward", "//"), ("kl", ".."), ("right", "xx")]
    for i, (setting, by_kind) in enumerate(shares.items()):
        places = np.arange(len(kinds)) + (i - (len(shares) - 1) / 2) * width
        meaning, hatch = looks[i % len(looks)]
        bars = ax.bar(
            places,
            [by_kind[kind] for kind in kinds],
            width=0.94 * width,
            color=COLOURS[meaning],
            hatch=hatch,
            edgecolor="white",
            label=setting,
        )
        ax.bar_label(bars, fmt=lambda share: f"{100 * share:.0f} %", fontsize=9, color=INK)
    ax.set_xticks(range(len(kinds)), kinds)
    ax.grid(axis="x", visible=False)
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    ax.set_ylabel("share of the gradient")
    ax.margins(y=0.12)
    plain_legend(ax)
    return ax


def plot_kl_estimators(
    log_ratio: ArrayLike, estimates: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    """The estimators k1, k2, k3 of the KL as functions of the log-ratio of one token.

    Args:
        log_ratio: log π − log π_ref, the x axis, in nats.
        estimates: name → value of the estimator at each ``log_ratio``, in nats.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    x = np.asarray(log_ratio, dtype=float)
    looks = [("reference", (0, (5, 2))), ("policy", "-"), ("kl", (0, (6, 2, 1, 2)))]
    for i, (name, values) in enumerate(estimates.items()):
        meaning, style = looks[i % len(looks)]
        ax.plot(x, values, color=COLOURS[meaning], linestyle=style, linewidth=2.2, label=name)
    ax.axhline(0, color=INK, linewidth=0.8, zorder=1)
    ax.set_xlabel("log π − log π_ref of the sampled token (nats)")
    ax.set_ylabel("estimate (nats)")
    ax.set_xlim(float(x.min()), float(x.max()))
    plain_legend(ax)
    return ax
