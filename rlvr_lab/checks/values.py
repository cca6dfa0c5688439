"""Checks of the exercises on values and advantages (notebook 05)."""

from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, ragged, seen

# ------------------------------------------------------------------------------------------------ GAE


def _gae(rewards: Any, values: Any, mask: Any, gamma: float, lam: float) -> np.ndarray:
    """From the definition: A_t = Σ_l (γλ)^l δ_{t+l}."""
    out = np.zeros_like(rewards)
    for i, t in np.argwhere(mask):
        end = int(mask[i].sum())
        for s in range(t, end):
            after = values[i, s + 1] if s + 1 < end else 0.0
            out[i, t] += (gamma * lam) ** (s - t) * (rewards[i, s] + gamma * after - values[i, s])
    return out


def _sweep(
    rewards: Any,
    values: Any,
    mask: Any,
    decay: float,
    gamma: float,
    behind: str = "zero",
    keep: bool = True,
    value_now: bool = True,
    forwards: bool = False,
) -> np.ndarray:
    """The backward recursion, with options for mistakes."""
    after = np.c_[values[:, 1:], np.zeros(len(values))]
    inside = np.c_[mask[:, 1:], np.zeros(len(mask), bool)]
    if behind != "padding":
        after = np.where(inside, after, values if behind == "itself" else 0.0)
    delta = rewards + gamma * after - value_now * values
    delta = delta * mask if keep else delta
    out, running = np.zeros_like(rewards), np.zeros(len(rewards))
    for t in range(rewards.shape[1])[:: 1 if forwards else -1]:
        out[:, t] = running = delta[:, t] + decay * running
    return out * mask


check_gae = Check(
    "gae: the discounted sum of the later δ, without padding",
    draw=lambda rng, turn: {
        "rewards": rng.normal(0, 1, (4, 5)),
        "values": rng.normal(0.5, 1, (4, 5)),
        "mask": ragged(rng, 4, 5),
        "gamma": float(rng.uniform(0.7, 0.9)),
        "lam": float(rng.uniform(0.5, 0.65)),
    },
    right=_gae,
    mistakes={
        "the recursion decays with γ alone; λ is missing": lambda r, v, m, g, lam: _sweep(
            r, v, m, g, g
        ),
        "the recursion decays with λ alone; γ is missing": lambda r, v, m, g, lam: _sweep(
            r, v, m, lam, g
        ),
        "in δ the next value is not discounted: γ·V(s′)": lambda r, v, m, g, lam: _sweep(
            r, v, m, g * lam, 1.0
        ),
        "padding is in the recursion: values after the end of an answer flow back into "
        "it": lambda r, v, m, g, lam: _sweep(r, v, m, g * lam, g, behind="padding", keep=False),
        "the last token bootstraps from a value on padding. No reward follows after the end: V = 0 "
        "there": lambda r, v, m, g, lam: _sweep(r, v, m, g * lam, g, behind="padding"),
        "the last token bootstraps from its own value. No reward follows "
        "after the end: V = 0 there": lambda r, v, m, g, lam: _sweep(
            r, v, m, g * lam, g, behind="itself"
        ),
        "these are the returns A + V; subtract the value": lambda r, v, m, g, lam: (
            (_gae(r, v, m, g, lam) + v) * m
        ),
        "this is δ of one step: the later δ are missing (as if λ = 0)": lambda r, v, m, g, lam: (
            _sweep(r, v, m, 0.0, g)
        ),
        "the value of the state itself is not subtracted": lambda r, v, m, g, lam: _sweep(
            r, v, m, g * lam, g, value_now=False
        ),
        "the recursion runs forwards: a token gets the δ from before it": lambda r, v, m, g, lam: (
            _sweep(r, v, m, g * lam, g, forwards=True)
        ),
        "this is the discounted reward-to-go: the values are missing": lambda r, v, m, g, lam: (
            _sweep(r, 0 * v, m, g, g)
        ),
    },
)


# ----------------------------------------------------------------------------------------- value loss


def _draw_values(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    rows, width = ((4, 5), (3, 6), (5, 4))[turn]
    old = rng.normal(0, 1, (rows, width))
    return {
        "values": old + rng.choice([-1, 1], (rows, width)) * rng.uniform(0.05, 0.9, (rows, width)),
        "old_values": old,
        "returns": old + rng.normal(0, 1, (rows, width)),
        "mask": ragged(rng, rows, width),
        "clip": float(rng.uniform(0.25, 0.4)),
    }


def _value_loss(values: Any, old_values: Any, returns: Any, mask: Any, clip: float) -> float:
    """Token by token."""
    total = 0.0
    for place in map(tuple, np.argwhere(mask)):
        moved = min(max(values[place] - old_values[place], -clip), clip)
        errors = values[place] - returns[place], old_values[place] + moved - returns[place]
        total += 0.5 * max(errors[0] ** 2, errors[1] ** 2)
    return total / mask.sum()


def _squares(values: Any, old: Any, returns: Any, mask: Any, clip: float) -> tuple[Any, Any, Any]:
    """The squared errors without a clip and with one, and the mask."""
    bounded = old + np.clip(values - old, -clip, clip)
    return (values - returns) ** 2, (bounded - returns) ** 2, mask


VALUE_MISTAKES = {
    "the smaller of the two errors is taken: the pessimistic choice "
    "for a *loss* is the larger": lambda free, bound, m: 0.5 * np.minimum(free, bound)[m].mean(),
    "the clip is missing": lambda free, bound, m: 0.5 * free[m].mean(),
    "only the clipped error is used": lambda free, bound, m: 0.5 * bound[m].mean(),
    "the ½ is missing": lambda free, bound, m: np.maximum(free, bound)[m].mean(),
    "padding is averaged in": lambda free, bound, m: 0.5 * np.maximum(free, bound).mean(),
    "padding is not in the sum, but it is still counted in the denominator": lambda free, bound, m: (
        0.5 * (np.maximum(free, bound) * m).mean()
    ),
    "each answer is averaged separately first; here all tokens of the batch have equal "
    "weights": lambda free, bound, m: (
        0.5 * ((np.maximum(free, bound) * m).sum(axis=1) / m.sum(axis=1)).mean()
    ),
    "the tokens are added up; average them": lambda free, bound, m: (
        0.5 * np.maximum(free, bound)[m].sum()
    ),
    "the errors are absolute, not squared": lambda free, bound, m: (
        0.5 * np.sqrt(np.maximum(free, bound))[m].mean()
    ),
}

check_value_loss = Check(
    "value_loss: the larger of two errors, and its gradient",
    draw=_draw_values,
    right=_value_loss,
    through="values",
    data=("old_values", "returns"),
    instead=lambda values, old, returns, mask, clip: {
        (len(mask),): "this is still one number per answer",
        mask.shape: "this is still one number per token",
    },
    mistakes=seen(_squares, VALUE_MISTAKES)
    | {
        "the clip keeps the value near 0; it should stay "
        "near the *old value*": lambda v, old, ret, m, clip: _value_loss(v, 0 * old, ret, m, clip),
        "the clip range is fixed at 0.2; use the argument": lambda v, old, ret, m, clip: (
            _value_loss(v, old, ret, m, 0.2)
        ),
    },
)
