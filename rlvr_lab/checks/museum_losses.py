"""The museum's mended ratios and losses: oracles, and what other mends would give (exhibits 2, 4, 5, 6, 7, 12)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, ragged

Rules = dict[str, Callable[..., Any]]
UNCHANGED = "nothing has changed: this is still the broken version"


def mend(
    name: str, draw: Callable[..., dict[str, Any]], right: Any, said: Rules, **more: Any
) -> Check:
    """The check of a mended function; the rule "" of ``said`` is the broken version."""
    named = {sentence or UNCHANGED: rule for sentence, rule in said.items()}
    return Check(f"{name}: mended", draw=draw, right=right, mistakes=named, **more)


# --------------------------------------------------------------------------------- 2, 6, 12 losses


def _draw_loss(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    mask = ragged(rng, 4, 5 + turn)
    new = rng.uniform(-2, -0.1, mask.shape)
    return {
        "logprobs": new,
        "old_logprobs": new + rng.uniform(-0.4, 0.4, mask.shape),
        "advantages": rng.permutation([-1.5, -0.5, 0.7, 1.3]) + rng.normal(0, 0.2, 4),
        "mask": mask,
    }


def _draw_plain(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    drawn = _draw_loss(rng, turn)
    del drawn["old_logprobs"]
    return drawn


def _mean(x: np.ndarray, mask: np.ndarray) -> float:
    """Over each answer's own tokens, and then over the answers."""
    return float(np.mean([row[kept].mean() for row, kept in zip(x, mask, strict=True)]))


def _over_tokens(x: np.ndarray, mask: np.ndarray) -> float:
    return float(x[mask].sum() / mask.sum())


def _with_padding(x: np.ndarray, mask: np.ndarray) -> float:
    return float(np.mean(x))


def _by_width(x: np.ndarray, mask: np.ndarray) -> float:
    return float((x * mask).mean())


def _ratio_loss(new: Any, old: Any, a: Any, mask: Any, mean: Any = _mean) -> float:
    return -mean(np.exp(new - old) * a[:, None], mask)


def _log_loss(new: Any, a: Any, mask: Any, mean: Any = _mean) -> float:
    return -mean(a[:, None] * new, mask)


def _clipped_loss(new: Any, old: Any, a: Any, mask: Any) -> float:
    ratio, a = np.exp(new - old), a[:, None]
    return -_mean(np.minimum(ratio * a, np.clip(ratio, 0.8, 1.2) * a), mask)


_AVERAGES = {
    "this is one mean over all tokens of the batch; the run takes the mean over each answer's own tokens, and "
    "then over the answers": _over_tokens,
    "padding is counted: only masked tokens belong in the sum and in the count": _with_padding,
    "padding is counted in the length: divide by the number of an answer's own tokens, not by T": _by_width,
}
"""Message → another mean."""

_RATIO: Rules = {
    "the ratio is upside down: it is π over π_old": lambda n, o, a, m: _ratio_loss(o, n, a, m),
    "the sign is reversed: the loss is minimised, so a positive advantage needs a minus": (
        lambda n, o, a, m: -_ratio_loss(n, o, a, m)
    ),
    "a clip is left in; here the surrogate has none": _clipped_loss,
} | {
    said: lambda n, o, a, m, mean=mean: _ratio_loss(n, o, a, m, mean)
    for said, mean in _AVERAGES.items()
}

# ------------------------------------------------------------------------------------- 4 a stale π_old


def _draw_inner(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    steps, inner, words, tokens = 6 + turn, 3, 4, 5
    drift = np.cumsum(rng.normal(0, 0.3, (steps * inner, words)), axis=0)
    return {
        "logits": drift.reshape(steps, inner, words),
        "tokens": rng.integers(0, words, (steps, tokens)),
    }


def _inner_ratios(
    logits: np.ndarray, tokens: np.ndarray, old: Callable[[int, int], Any]
) -> np.ndarray:
    """ρ [S, K, T]; ``old``: (step, inner step) → the (step, inner step) of π_old."""
    scores = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    found = np.zeros((*logits.shape[:2], tokens.shape[1]))
    for s, k in np.ndindex(logits.shape[:2]):
        found[s, k] = np.exp((scores[s, k] - scores[old(s, k)])[tokens[s]])
    return found


def _old(rule: Callable[[int, int], Any]) -> Callable[..., np.ndarray]:
    return lambda logits, tokens: _inner_ratios(logits, tokens, rule)


_INNER: Rules = {
    "": _old(lambda s, k: (s - s % 4, 0)),
    "π_old is now the current policy at every inner step, so ρ is always 1 and the clip can never act": _old(
        lambda s, k: (s, k)
    ),
    "π_old is renewed too early: it is the policy of the last inner step, which did not sample": _old(
        lambda s, k: (s, 2)
    ),
    "π_old is the policy of the step before, which did not sample these tokens": _old(
        lambda s, k: (max(s - 1, 0), 0)
    ),
    "π_old is the policy of the very first step; that would be a reference": _old(
        lambda s, k: (0, 0)
    ),
    "the ratio is upside down: it is π over π_old": lambda logits, tokens: (
        1 / _inner_ratios(logits, tokens, lambda s, k: (s, 0))
    ),
}

# --------------------------------------------------------------------------- 5 another temperature


def _draw_tempered(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    logits, temperature = rng.normal(0, 1, (5, 4)), (0.6, 1.4, 0.8)[turn]
    tokens = rng.integers(0, 4, 5)
    moved = logits + rng.normal(0, 0.1, logits.shape) * (turn > 0)
    old = _scores(moved, temperature)[np.arange(5), tokens]
    return {"logits": logits, "tokens": tokens, "old_logprobs": old, "temperature": temperature}


def _scores(logits: np.ndarray, temperature: float) -> np.ndarray:
    scaled = logits / temperature
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def _taken(scores: np.ndarray, tokens: np.ndarray, old: np.ndarray) -> np.ndarray:
    return np.exp(scores[np.arange(len(tokens)), tokens] - old)


_TEMPERED: Rules = {
    "": lambda x, y, old, t: _taken(_scores(x, 1), y, old),
    "the logits are multiplied by the temperature; the sampler divides by it": lambda x, y, old, t: (
        _taken(_scores(x, 1 / t), y, old)
    ),
    "the log-probabilities are divided by the temperature, and not the logits: they no longer belong to "
    "probabilities that add up to 1": lambda x, y, old, t: _taken(_scores(x, 1) / t, y, old),
    "the old log-probabilities are rescaled; they are correct as they are": lambda x, y, old, t: (
        _taken(_scores(x, 1), y, old / t)
    ),
    "the ratio is upside down: it is π over π_old": lambda x, y, old, t: (
        1 / _taken(_scores(x, t), y, old)
    ),
    "the log of the ratio is returned": lambda x, y, old, t: np.log(_taken(_scores(x, t), y, old)),
    "the ratio is set to 1; it has to leave 1 once π has moved": lambda x, y, old, t: np.ones(
        len(y)
    ),
}

# ------------------------------------------------------------------------------- 7 the sign of the KL


def _draw_kl(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    drawn = _draw_plain(rng, turn)
    ref = drawn["logprobs"] + rng.uniform(-0.5, 0.5, drawn["mask"].shape)
    rows = {"logprobs": drawn["logprobs"], "ref_logprobs": ref, "advantages": drawn["advantages"]}
    return rows | {"mask": drawn["mask"], "beta": (0.5, 0.1, 1.5)[turn]}


def _with_kl(
    new: Any, ref: Any, a: Any, mask: Any, beta: float, of: Any = None, mean: Any = _mean
) -> float:
    k1 = new - ref
    kl = np.exp(-k1) - 1 + k1 if of is None else of(k1)
    return -mean(a[:, None] * new, mask) + beta * mean(kl, mask)


_KL: Rules = {
    "": lambda n, ref, a, m, b: _with_kl(n, ref, a, m, -b),
    "the KL is gone; it has to hold the policy near the reference": lambda n, ref, a, m, b: (
        _with_kl(n, ref, a, m, 0)
    ),
    "the policies are swapped in k3: this is the estimator of the other direction": lambda n, ref, a, m, b: (
        _with_kl(n, ref, a, m, b, lambda k1: np.exp(k1) - 1 - k1)
    ),
    "the policy gradient has changed its sign too; it was correct": lambda n, ref, a, m, b: (
        -_with_kl(n, ref, a, m, -b)
    ),
    "β is not used": lambda n, ref, a, m, b: _with_kl(n, ref, a, m, 1),
    "β is squared: it stands in two places": lambda n, ref, a, m, b: _with_kl(n, ref, a, m, b * b),
} | {
    said: lambda n, ref, a, m, b, mean=mean: _with_kl(n, ref, a, m, b, mean=mean)
    for said, mean in _AVERAGES.items()
}

# ------------------------------------------------------------------------------------------ the table

_LOSS = {"through": "logprobs"}

LOSS_MENDS: dict[int, Check] = {
    2: mend(
        "policy_loss",
        _draw_plain,
        _log_loss,
        {
            "the sign is reversed: the loss is minimised, so a positive advantage needs a minus": lambda n, a, m: (
                -_log_loss(n, a, m)
            ),
            "the advantages are gone from the loss": lambda n, a, m: -_mean(n, m),
            "the probabilities are used, and not their logarithms": lambda n, a, m: _log_loss(
                np.exp(n), a, m
            ),
        }
        | {
            said: lambda n, a, m, mean=mean: _log_loss(n, a, m, mean)
            for said, mean in _AVERAGES.items()
        },
        through="logprobs",
        data=("advantages",),
    ),
    4: mend(
        "inner_ratios", _draw_inner, lambda x, y: _inner_ratios(x, y, lambda s, k: (s, 0)), _INNER
    ),
    5: mend(
        "first_ratio", _draw_tempered, lambda x, y, old, t: _taken(_scores(x, t), y, old), _TEMPERED
    ),
    6: mend(
        "surrogate_loss",
        _draw_loss,
        _ratio_loss,
        {"": lambda n, o, a, m: _ratio_loss(n, o, np.abs(a), m)}
        | _RATIO
        | {
            "the surrogate's absolute value is used: an answer with a negative advantage would still be "
            "pushed the wrong way": lambda n, o, a, m: _mean(np.abs(np.exp(n - o) * a[:, None]), m),
            "incorrect answers are left out: a negative advantage has to push as well": lambda n, o, a, m: (
                _ratio_loss(n, o, np.maximum(a, 0), m)
            ),
            "the ratio is missing: −A log π has the same gradient where ρ = 1, but another value": (
                lambda n, o, a, m: _log_loss(n, a, m)
            ),
        },
        **_LOSS,
    ),
    7: mend(
        "penalised_loss",
        _draw_kl,
        _with_kl,
        _KL,
        through="logprobs",
    ),
    12: mend(
        "off_policy_loss",
        _draw_loss,
        _ratio_loss,
        {"": lambda n, o, a, m: _log_loss(n, a, m)}
        | _RATIO
        | {
            "the ratio multiplies log π: that is neither the surrogate nor its gradient": lambda n, o, a, m: (
                -_mean(np.exp(n - o) * a[:, None] * n, m)
            ),
            "the log of the ratio is used, and not the ratio": lambda n, o, a, m: (
                -_mean((n - o) * a[:, None], m)
            ),
        },
        **_LOSS,
    ),
}
"""Exhibit → the check of its mended function."""
