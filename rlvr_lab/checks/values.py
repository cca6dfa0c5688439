"""Checks of the exercises on values and advantages (notebook 05)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, ragged

__all__ = ["check_gae", "check_value_loss"]


# ------------------------------------------------------------------------------------------------ GAE


def _draw_gae(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    return {
        "rewards": rng.normal(0, 1, (4, 5)),
        "values": rng.normal(0.5, 1, (4, 5)),
        "mask": ragged(rng, 4, 5),
        "gamma": float(rng.uniform(0.7, 0.9)),
        "lam": float(rng.uniform(0.5, 0.65)),
    }


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
    rewards: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray,
    decay: float,
    gamma: float,
    behind: str = "zero",
    keep: bool = True,
    value_now: bool = True,
) -> np.ndarray:
    """The backward recursion with ways to go wrong."""
    after = np.c_[values[:, 1:], np.zeros(len(values))]
    if behind == "zero":
        after = after * np.c_[mask[:, 1:], np.zeros(len(mask), bool)]
    elif behind == "itself":
        after = np.where(np.c_[mask[:, 1:], np.zeros(len(mask), bool)], after, values)
    delta = rewards + gamma * after - value_now * values
    delta = delta * mask if keep else delta
    out = np.zeros_like(rewards)
    running = np.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        running = delta[:, t] + decay * running
        out[:, t] = running
    return out * mask


check_gae = Check(
    "gae: the discounted sum of the surprises that follow, padding kept out",
    draw=_draw_gae,
    right=_gae,
    mistakes={
        "the recursion decays with γ alone; λ is missing": (
            lambda rewards, values, mask, gamma, lam: _sweep(rewards, values, mask, gamma, gamma)
        ),
        "the recursion decays with λ alone; γ is missing": (
            lambda rewards, values, mask, gamma, lam: _sweep(rewards, values, mask, lam, gamma)
        ),
        "in δ the next value is not discounted: γ·V(s′)": (
            lambda rewards, values, mask, gamma, lam: _sweep(
                rewards, values, mask, gamma * lam, 1.0
            )
        ),
        "padding is in the recursion: values that stand behind the end flow back into the answer": (
            lambda rewards, values, mask, gamma, lam: _sweep(
                rewards, values, mask, gamma * lam, gamma, behind="padding", keep=False
            )
        ),
        "the last token bootstraps from the value that stands on padding. Behind the end nothing is "
        "left to earn: V = 0": lambda rewards, values, mask, gamma, lam: _sweep(
            rewards, values, mask, gamma * lam, gamma, behind="padding"
        ),
        "the last token bootstraps from its own value. Behind the end nothing is left to earn": (
            lambda rewards, values, mask, gamma, lam: _sweep(
                rewards, values, mask, gamma * lam, gamma, behind="itself"
            )
        ),
        "these are the returns A + V; the value still has to be taken off": (
            lambda rewards, values, mask, gamma, lam: (
                (_gae(rewards, values, mask, gamma, lam) + values) * mask
            )
        ),
        "this is δ, the surprise of one step: nothing flows back from later ones (λ = 0)": (
            lambda rewards, values, mask, gamma, lam: _sweep(rewards, values, mask, 0.0, gamma)
        ),
        "the value of the state itself is not taken off": (
            lambda rewards, values, mask, gamma, lam: _sweep(
                rewards, values, mask, gamma * lam, gamma, value_now=False
            )
        ),
        "the recursion runs forwards: a token is judged by what came before it": (
            lambda rewards, values, mask, gamma, lam: _forwards(
                rewards, values, mask, gamma, gamma * lam
            )
        ),
        "this is the discounted reward-to-go: the values are not in it": (
            lambda rewards, values, mask, gamma, lam: _sweep(
                rewards, 0 * values, mask, gamma, gamma
            )
        ),
    },
)


def _forwards(
    rewards: np.ndarray, values: np.ndarray, mask: np.ndarray, gamma: float, decay: float
) -> np.ndarray:
    delta = _sweep(rewards, values, mask, 0.0, gamma)
    out, running = np.zeros_like(delta), np.zeros(len(delta))
    for t in range(delta.shape[1]):
        running = delta[:, t] + decay * running
        out[:, t] = running
    return out * mask


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


def _squares(values: Any, old_values: Any, returns: Any, clip: float) -> tuple[Any, Any]:
    bounded = old_values + np.clip(values - old_values, -clip, clip)
    return (values - returns) ** 2, (bounded - returns) ** 2


def _value_slip(rule: Callable[..., float]) -> Callable[..., float]:
    def mistaken(values: Any, old_values: Any, returns: Any, mask: Any, clip: float) -> float:
        return float(rule(*_squares(values, old_values, returns, clip), mask))

    return mistaken


check_value_loss = Check(
    "value_loss: the larger of two errors, and its gradient",
    draw=_draw_values,
    right=_value_loss,
    through="values",
    data=("old_values", "returns"),
    instead=lambda values, mask, **rest: {
        (len(mask),): "this is still one number an answer",
        mask.shape: "this is still one number a token",
    },
    mistakes={
        "the smaller of the two errors is taken: the pessimistic choice for a *loss* is the larger": (
            _value_slip(lambda free, bound, m: 0.5 * (np.minimum(free, bound) * m).sum() / m.sum())
        ),
        "there is no clip": _value_slip(lambda free, bound, m: 0.5 * (free * m).sum() / m.sum()),
        "only the clipped error is there": _value_slip(
            lambda free, bound, m: 0.5 * (bound * m).sum() / m.sum()
        ),
        "the ½ is missing": _value_slip(
            lambda free, bound, m: (np.maximum(free, bound) * m).sum() / m.sum()
        ),
        "padding is averaged in": _value_slip(
            lambda free, bound, m: 0.5 * np.maximum(free, bound).mean()
        ),
        "padding is out of the sum, but still counted below the line": _value_slip(
            lambda free, bound, m: 0.5 * (np.maximum(free, bound) * m).mean()
        ),
        "each answer is averaged by itself first; here all tokens of the batch count the same": (
            _value_slip(
                lambda free, bound, m: (
                    0.5 * ((np.maximum(free, bound) * m).sum(axis=1) / m.sum(axis=1)).mean()
                )
            )
        ),
        "the tokens are added up; average them": _value_slip(
            lambda free, bound, m: 0.5 * (np.maximum(free, bound) * m).sum()
        ),
        "the errors are absolute, not squared": _value_slip(
            lambda free, bound, m: 0.5 * (np.sqrt(np.maximum(free, bound)) * m).sum() / m.sum()
        ),
        "the clip keeps the value near 0; it should stay near the *old value*": (
            lambda values, old_values, returns, mask, clip: _value_loss(
                values, 0 * old_values, returns, mask, clip
            )
        ),
        "the clip range is fixed at 0.2; use the argument": (
            lambda values, old_values, returns, mask, clip: _value_loss(
                values, old_values, returns, mask, 0.2
            )
        ),
    },
)
