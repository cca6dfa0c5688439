"""Checks of the exercises on whole losses: GRPO (notebook 06) and Dr. GRPO (notebook 07)."""

from typing import Any, NamedTuple

import numpy as np

from rlvr_lab.checks.kit import Check, Rule, seen


class Batch(NamedTuple):
    """A batch, with the quantities that the mistakes use."""

    logprobs: np.ndarray
    old: np.ndarray
    advantages: np.ndarray
    mask: np.ndarray
    clip: float

    @property
    def lengths(self) -> np.ndarray:
        return self.mask.sum(axis=1)

    @property
    def ratio(self) -> np.ndarray:
        return np.exp(self.logprobs - self.old)

    @property
    def plain(self) -> np.ndarray:
        """The surrogate without a clip."""
        return self.ratio * self.advantages[:, None]

    def bounded(self, low: float | None = None, high: float | None = None) -> np.ndarray:
        """The surrogate of the ratio between two bounds, 1 − clip and 1 + clip if not given."""
        low = 1 - self.clip if low is None else low
        high = 1 + self.clip if high is None else high
        return np.clip(self.ratio, low, high) * self.advantages[:, None]

    def clipped(self, ratio: np.ndarray | None = None) -> np.ndarray:
        """The clipped surrogate, optionally with another ratio."""
        ratio, column = self.ratio if ratio is None else ratio, self.advantages[:, None]
        return np.minimum(ratio * column, np.clip(ratio, 1 - self.clip, 1 + self.clip) * column)

    def per_answer(self, x: np.ndarray, mask: np.ndarray | None = None) -> float:
        """−mean over answers of each answer's mean over the tokens of ``mask``."""
        mask = self.mask if mask is None else mask
        return float(-((x * mask).sum(axis=1) / mask.sum(axis=1)).mean())

    @property
    def free_gradient(self) -> np.ndarray:
        """The gradient that flows although the clip is active."""
        return -self.plain * self.mask / self.lengths[:, None] / len(self.mask)


def _draw_batch(rng: np.random.Generator, rows: int, width: int) -> tuple[np.ndarray, ...]:
    """New and old log-probabilities and a mask whose answers have at least two tokens."""
    lengths = rng.permutation([2, width - 1, *rng.integers(2, width, rows - 2)])
    old = rng.uniform(-3, -0.7, (rows, width))
    new = old + rng.uniform(-0.6, 0.6, (rows, width))
    return new, old, np.arange(width) < lengths[:, None]


def _shapes(logprobs: np.ndarray, *rest: Any) -> dict[tuple[int, ...], str]:
    rows, width = logprobs.shape
    return {
        (width,): "the sum ran over the wrong axis",
        (rows,): "this is still one number per answer",  # also where rows == width
        (rows, width): "this is still one number per token",
    }


# --------------------------------------------------------------------------------------------- GRPO


def _draw_grpo(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Square batches first: only with them does a wrong broadcast raise no error."""
    rows, width = ((4, 4), (5, 5), (6, 6), (3, 6), (6, 4), (2, 9))[turn]
    new, old, mask = _draw_batch(rng, rows, width)
    return {
        "logprobs": new,
        "old_logprobs": old,
        "advantages": rng.permutation(np.linspace(-1.5, 1.4, rows)) + rng.uniform(-0.1, 0.1, rows),
        "mask": mask,
        "clip": (0.1, 0.3, 0.25)[turn % 3],
    }


def _grpo(logprobs: Any, old: Any, advantages: Any, mask: Any, clip: float) -> float:
    """Token by token, case by case."""
    loss = 0.0
    for i, t in np.argwhere(mask):
        ratio, bound = np.exp(logprobs[i, t] - old[i, t]), 1 + clip * np.sign(advantages[i])
        beyond = ratio > bound if advantages[i] > 0 else ratio < bound
        loss -= advantages[i] * (bound if beyond else ratio) / (len(mask) * mask[i].sum())
    return loss


def _without_last(mask: np.ndarray) -> np.ndarray:
    """The mask without each answer's last token, its end of sequence."""
    return mask & (np.arange(mask.shape[1]) < mask.sum(axis=1, keepdims=True) - 1)


def _along_tokens(b: Batch) -> float:
    """Advantages broadcast along the tokens, which raises no error if B = T."""
    row, square = b.advantages[None, :], b.mask.shape[0] == b.mask.shape[1]
    bounded = np.clip(b.ratio, 1 - b.clip, 1 + b.clip)
    return b.per_answer(np.minimum(b.ratio * row, bounded * row)) if square else np.nan


GRPO_MISTAKES = {
    "the sign is flipped: this is an objective to maximise, and a loss is minimised": lambda b: (
        -b.per_answer(b.clipped())
    ),
    "the advantages are multiplied along the tokens instead of the answers. This goes unnoticed only "
    "because B = T here: [B] against [B, T] lines up with the wrong axis": _along_tokens,
    "padding is averaged in": lambda b: -b.clipped().mean(),
    "padding is not in the sum, but it is counted in the length": lambda b: (
        -(b.clipped() * b.mask).mean()
    ),
    "padding is not counted in the length, but it is still in the sum": lambda b: (
        -(b.clipped().sum(axis=1) / b.lengths).mean()
    ),
    "all tokens are averaged together (DAPO's average); each answer should be averaged by its own "
    "length first, 1/|o|": lambda b: -(b.clipped() * b.mask).sum() / b.mask.sum(),
    "1/|o| is missing: each answer's tokens are added up, not averaged": lambda b: (
        -(b.clipped() * b.mask).sum(axis=1).mean()
    ),
    "the answers are added up; they should be averaged": lambda b: (
        b.per_answer(b.clipped()) * len(b.mask)
    ),
    "the end-of-sequence token is masked out: the last token of "
    "each answer does not count": lambda b: b.per_answer(b.clipped(), _without_last(b.mask)),
    "the first token of each answer does not count: no shift is needed here": lambda b: (
        b.per_answer(b.clipped(), b.mask & (np.arange(b.mask.shape[1]) > 0))
    ),
    "there is no clip: only the plain ratio is used": lambda b: b.per_answer(b.plain),
    "only the clipped ratio is used. The objective "
    "takes the more pessimistic of clipped and plain": lambda b: b.per_answer(b.bounded()),
    "the more optimistic of the two terms is taken (max instead of min, or the sign was flipped before "
    "they were compared)": lambda b: b.per_answer(np.maximum(b.plain, b.bounded())),
    "the smaller ratio is chosen first and then multiplied by the advantage. With a negative advantage "
    "this is the wrong choice": lambda b: b.per_answer(b.bounded(low=0)),
    "the ratio is clipped from above only": lambda b: b.per_answer(
        np.minimum(b.plain, b.bounded(low=0))
    ),
    "the ratio is clipped from below only": lambda b: b.per_answer(
        np.minimum(b.plain, b.bounded(high=np.inf))
    ),
    "the clip range is fixed at 0.2; use the argument `clip`": lambda b: b.per_answer(
        b._replace(clip=0.2).clipped()
    ),
    "the ratio is upside down: the new policy belongs in the numerator": lambda b: b.per_answer(
        b.clipped(1 / b.ratio)
    ),
    "the difference of log-probabilities is used as if it were "
    "the ratio of probabilities": lambda b: b.per_answer(b.clipped(b.logprobs - b.old)),
    "the log-probabilities are divided by each other; the ratio "
    "is one of probabilities": lambda b: b.per_answer(b.clipped(b.logprobs / b.old)),
    "this is the plain policy gradient, −A·log π: there is no ratio in it": lambda b: b.per_answer(
        b.logprobs * b.advantages[:, None]
    ),
}

check_grpo_loss = Check(
    "grpo_loss: ratio, clip, mask, 1/|o|, and every token's gradient",
    draw=_draw_grpo,
    right=_grpo,
    calls=6,
    through="logprobs",
    data=("old_logprobs", "advantages"),
    instead=_shapes,
    mistakes=seen(lambda *inputs: (Batch(*inputs),), GRPO_MISTAKES),
    slopes={
        "the value is correct, but the gradient also flows "
        "where the clip is active": lambda *inputs: Batch(*inputs).free_gradient
    },
)


# ----------------------------------------------------------------------------------------- Dr. GRPO


def _draw_dr_grpo(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    questions, size, width = ((2, 3, 7), (3, 2, 5), (2, 4, 8))[turn]
    new, old, mask = _draw_batch(rng, questions * size, width)
    apart = np.arange(size) + rng.uniform(0, 0.5, (questions, size))
    return {
        "logprobs": new,
        "old_logprobs": old,
        "rewards": (rng.permuted(apart, axis=1) + rng.uniform(0, 2, (questions, 1))).ravel(),
        "mask": mask,
        "group_size": size,
        "max_length": int(width + rng.integers(2, 20)),
        "clip": float(rng.choice([0.15, 0.25])),
    }


def _dr_grpo(new: Any, old: Any, rewards: Any, mask: Any, size: int, n: int, clip: float) -> float:
    """Token by token."""
    loss = 0.0
    for i, t in np.argwhere(mask):
        group = rewards[i // size * size :][:size]
        advantage, ratio = rewards[i] - sum(group) / size, np.exp(new[i, t] - old[i, t])
        bounded = min(ratio, 1 + clip) if advantage > 0 else max(ratio, 1 - clip)
        loss -= advantage * bounded / (n * len(rewards))
    return loss


def _dr(advantages: Rule, divisor: Rule) -> Rule:
    """−mean over answers of Σ surrogate / divisor(mask, max_length); advantages of rewards [N, G]."""

    def loss(new: Any, old: Any, rewards: Any, mask: Any, size: int, n: int, clip: float) -> float:
        scores = advantages(rewards.reshape(-1, size)).ravel()
        surrogate = Batch(new, old, scores, mask, clip).clipped() * mask
        return float(-(surrogate.sum(axis=1) / divisor(mask, n)).mean())

    return loss


def _centred(rewards: np.ndarray) -> np.ndarray:
    return rewards - rewards.mean(axis=1, keepdims=True)


def _scored(rewards: np.ndarray) -> np.ndarray:
    return _centred(rewards) / rewards.std(axis=1, keepdims=True)


check_dr_grpo_loss = Check(
    "dr_grpo_loss: no std, no 1/|o|, everything else as in GRPO",
    draw=_draw_dr_grpo,
    right=_dr_grpo,
    near=1e-3,  # whatever ε a learner adds to the std
    through="logprobs",
    instead=_shapes,
    mistakes={
        "nothing has changed: this is still GRPO, with both its divisions": (
            _dr(_scored, lambda m, n: m.sum(axis=1))
        ),
        "a leftover 1/|o|: the std is gone, but each answer is still divided by its own length": (
            _dr(_centred, lambda m, n: m.sum(axis=1))
        ),
        "a leftover std: the length is right, but the advantages are still divided by the group's std": (
            _dr(_scored, lambda m, n: n)
        ),
        "the sum over tokens is divided by the width of the padded batch, not by the constant "
        "max_length": _dr(_centred, lambda m, n: m.shape[1]),
        "the divisor is the longest answer of this batch. This is not a constant: it depends on the "
        "sampled answers": _dr(_centred, lambda m, n: m.sum(axis=1).max()),
        "the divisor is the mean length of this batch (the token average). It still depends on the "
        "sampled answers": _dr(_centred, lambda m, n: m.sum(axis=1).mean()),
        "the tokens of each answer are summed, but not divided by anything: max_length is missing": (
            _dr(_centred, lambda m, n: 1)
        ),
        "the answers are added up; they should be averaged": _dr(_centred, lambda m, n: n / len(m)),
        "a leftover 1/|o|: max_length is there in addition to it, not instead of it": (
            _dr(_centred, lambda m, n: n * m.sum(axis=1))
        ),
        "the raw rewards are used: Dr. GRPO still subtracts the group's mean": (
            _dr(lambda rewards: rewards, lambda m, n: n)
        ),
        "the sign is flipped": _dr(_centred, lambda m, n: -n),
        "the mean is taken over the whole batch; the baseline of a question is its own group": (
            _dr(lambda rewards: rewards - rewards.mean(), lambda m, n: n)
        ),
    },
)
