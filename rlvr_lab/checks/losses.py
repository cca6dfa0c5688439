"""Checks of the exercises on whole losses: GRPO (notebook 06) and Dr. GRPO (notebook 07)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlvr_lab.checks.kit import Case, Mistake, call, checking, function_name, judge, tensor

__all__ = ["check_dr_grpo_loss", "check_grpo_loss"]


@dataclass(frozen=True)
class Batch:
    """A batch as the oracles and the mistakes see it: numpy, float64."""

    logprobs: np.ndarray
    old: np.ndarray
    mask: np.ndarray
    advantages: np.ndarray
    clip: float

    @property
    def lengths(self) -> np.ndarray:
        return self.mask.sum(axis=1)

    @property
    def ratio(self) -> np.ndarray:
        return np.exp(self.logprobs - self.old)

    def clipped(self, ratio: np.ndarray | None = None, clip: float | None = None) -> np.ndarray:
        ratio, clip = self.ratio if ratio is None else ratio, self.clip if clip is None else clip
        column = self.advantages[:, None]
        return np.minimum(ratio * column, np.clip(ratio, 1 - clip, 1 + clip) * column)

    def per_answer(self, x: np.ndarray, mask: np.ndarray | None = None) -> float:
        """−mean over answers of each answer's mean over the tokens of ``mask``."""
        mask = self.mask if mask is None else mask
        return float(-((x * mask).sum(axis=1) / mask.sum(axis=1)).mean())


def _batch(rng: np.random.Generator, rows: int, width: int, clip: float) -> Batch:
    lengths = rng.permutation([2, width - 1, *rng.integers(2, width, rows - 2)])
    old = rng.uniform(-3, -0.7, (rows, width))
    return Batch(
        logprobs=old + rng.uniform(-0.6, 0.6, (rows, width)),
        old=old,
        mask=np.arange(width) < lengths[:, None],
        advantages=rng.permutation(np.linspace(-1.5, 1.4, rows)) + rng.uniform(-0.1, 0.1, rows),
        clip=clip,
    )


def _grpo(batch: Batch) -> tuple[float, np.ndarray]:
    """The loss and its gradient by logprobs, token by token, case by case."""
    rows, width = batch.mask.shape
    loss, gradient = 0.0, np.zeros((rows, width))
    for i in range(rows):
        weight, advantage = 1 / (rows * batch.lengths[i]), batch.advantages[i]
        for t in np.flatnonzero(batch.mask[i]):
            ratio = float(np.exp(batch.logprobs[i, t] - batch.old[i, t]))
            bound = 1 + batch.clip if advantage > 0 else 1 - batch.clip
            beyond = ratio > bound if advantage > 0 else ratio < bound
            loss -= weight * advantage * (bound if beyond else ratio)
            gradient[i, t] = 0.0 if beyond else -weight * advantage * ratio
    return loss, gradient


def _without_last(mask: np.ndarray) -> np.ndarray:
    """The mask without each answer's last token, its end of sequence."""
    return mask & (np.arange(mask.shape[1]) < mask.sum(axis=1, keepdims=True) - 1)


def _along_tokens(b: Batch) -> float:
    """Advantages broadcast along the tokens, which goes unnoticed where B = T."""
    if b.mask.shape[0] != b.mask.shape[1]:
        return np.nan
    row = b.advantages[None, :]
    return b.per_answer(np.minimum(b.ratio * row, np.clip(b.ratio, 1 - b.clip, 1 + b.clip) * row))


def _bounded(b: Batch, low: float, high: float) -> np.ndarray:
    column = b.advantages[:, None]
    return np.minimum(b.ratio * column, np.clip(b.ratio, low, high) * column)


TOKEN_AVERAGE = "all tokens are averaged together (DAPO's average); each answer should be averaged "
GRPO_MISTAKES = {
    "the sign is flipped: this is an objective to maximise, and a loss is minimised": (
        lambda b: -b.per_answer(b.clipped())
    ),
    "the advantages are multiplied along the tokens instead of the answers. This goes unnoticed only "
    "because B = T here: [B] against [B, T] lines up with the wrong axis": _along_tokens,
    "padding is averaged in": lambda b: -b.clipped().mean(),
    "padding is kept out of the sum, but is counted in the length": (
        lambda b: -(b.clipped() * b.mask).mean()
    ),
    "padding is counted out of the length, but is still in the sum": (
        lambda b: -(b.clipped().sum(axis=1) / b.lengths).mean()
    ),
    TOKEN_AVERAGE + "by its own length first, 1/|o|": (
        lambda b: -(b.clipped() * b.mask).sum() / b.mask.sum()
    ),
    "1/|o| is missing: each answer's tokens are added up, not averaged": (
        lambda b: -(b.clipped() * b.mask).sum(axis=1).mean()
    ),
    "the answers are added up; they should be averaged": (
        lambda b: b.per_answer(b.clipped()) * len(b.mask)
    ),
    "the end-of-sequence token is masked out: the last token of each answer does not count": (
        lambda b: b.per_answer(b.clipped(), _without_last(b.mask))
    ),
    "the first token of each answer does not count: nothing has to be shifted here": (
        lambda b: b.per_answer(b.clipped(), b.mask & (np.arange(b.mask.shape[1]) > 0))
    ),
    "there is no clip: only the plain ratio is used": (
        lambda b: b.per_answer(b.ratio * b.advantages[:, None])
    ),
    "only the clipped ratio is used. The objective takes the more pessimistic of clipped and plain": (
        lambda b: b.per_answer(np.clip(b.ratio, 1 - b.clip, 1 + b.clip) * b.advantages[:, None])
    ),
    "of the two terms the more optimistic one is taken (max in place of min, or the sign was flipped "
    "before they were compared)": lambda b: b.per_answer(
        np.maximum(
            b.ratio * b.advantages[:, None],
            np.clip(b.ratio, 1 - b.clip, 1 + b.clip) * b.advantages[:, None],
        )
    ),
    "the smaller ratio is chosen first and then multiplied by the advantage. With a negative advantage "
    "that is the wrong one of the two": (
        lambda b: b.per_answer(np.minimum(b.ratio, 1 + b.clip) * b.advantages[:, None])
    ),
    "the ratio is clipped from above only": lambda b: b.per_answer(_bounded(b, 0, 1 + b.clip)),
    "the ratio is clipped from below only": lambda b: b.per_answer(_bounded(b, 1 - b.clip, np.inf)),
    "the clip range is fixed at 0.2; use the argument `clip`": (
        lambda b: b.per_answer(b.clipped(clip=0.2))
    ),
    "the ratio is upside down: the new policy belongs on top": (
        lambda b: b.per_answer(b.clipped(1 / b.ratio))
    ),
    "the difference of log-probabilities is used as if it were the ratio of probabilities": (
        lambda b: b.per_answer(b.clipped(b.logprobs - b.old))
    ),
    "the log-probabilities are divided by each other; the ratio is one of probabilities": (
        lambda b: b.per_answer(b.clipped(b.logprobs / b.old))
    ),
    "this is the plain policy gradient, −A·log π: there is no ratio in it": (
        lambda b: b.per_answer(b.logprobs * b.advantages[:, None])
    ),
}


def check_grpo_loss(fn: Any, seed: int | None = None) -> None:
    """Check ``grpo_loss(logprobs, old_logprobs, advantages, mask, clip) -> []`` and its gradient."""
    with checking("grpo_loss: ratio, clip, mask, 1/|o|, and every token's gradient", seed) as rng:
        name = function_name(fn)
        # Square batches first: only there does a wrong broadcast pass in silence.
        for sizes in (((4, 4), (5, 5), (6, 6)), ((3, 6), (6, 4), (2, 9))):
            cases, slopes = [], []
            for (rows, width), clip in zip(sizes, (0.1, 0.3, 0.25), strict=True):
                batch = _batch(rng, rows, width, clip)
                result, given = call(
                    fn,
                    logprobs=torch.tensor(batch.logprobs, requires_grad=True),
                    old_logprobs=torch.tensor(batch.old, requires_grad=True),
                    advantages=torch.tensor(batch.advantages, requires_grad=True),
                    mask=torch.tensor(batch.mask),
                    clip=clip,
                )
                value = _scalar(name, result, rows, width)
                right, gradient = _grpo(batch)
                named = {sentence: wrong(batch) for sentence, wrong in GRPO_MISTAKES.items()}
                words = f"a batch of {rows} answers, {width} tokens wide, clip {clip}"
                cases.append(Case(words, value, right, named))
                slopes.append((value, given, gradient, batch))
            judge(name, cases)
            for value, given, gradient, batch in slopes:
                _check_gradient(name, value, given, gradient, batch)


def _scalar(name: str, result: Any, rows: int, width: int) -> Tensor:
    return tensor(
        name,
        result,
        [],
        {
            (width,): "the sum ran over the wrong axis",
            (rows,): "this is still one number an answer",  # also where rows == width
            (rows, width): "this is still one number a token",
        },
    )


def _check_gradient(
    name: str, value: Tensor, given: dict[str, Any], right: np.ndarray, batch: Batch
) -> None:
    if not value.requires_grad:
        raise Mistake(
            f"{name}: the value is right, but no gradient flows to logprobs; something cuts it off "
            "(detach, no_grad, item, numpy)"
        )
    leaves = [given[key] for key in ("logprobs", "old_logprobs", "advantages")]
    slope, *others = torch.autograd.grad(value, leaves, allow_unused=True)
    for key, other in zip(("old_logprobs", "advantages"), others, strict=True):
        if other is not None and bool((other != 0).any()):
            raise Mistake(
                f"{name}: the value is right, but a detach is missing: gradient flows through `{key}`, "
                "which is data recorded when the answers were sampled and graded"
            )
    free = -batch.ratio * batch.advantages[:, None] * batch.mask
    unclipped = free / batch.lengths[:, None] / len(batch.mask)
    named = {
        "the value is right, but the gradient also flows where the clip is active": unclipped,
        "the value is right, but the gradient is zero: a detach too many": 0 * right,
    }
    slope = torch.zeros_like(leaves[0]) if slope is None else slope
    judge(name, [Case("the gradient by logprobs", slope, right, named)])


# ----------------------------------------------------------------------------------------- Dr. GRPO


@dataclass(frozen=True)
class Graded:
    """A batch with raw rewards [N, G], and the constant L."""

    batch: Batch
    rewards: np.ndarray
    length: int

    def surrogate(self, advantages: np.ndarray) -> np.ndarray:
        b = self.batch
        full = Batch(b.logprobs, b.old, b.mask, advantages.ravel(), b.clip)
        return full.clipped() * b.mask

    @property
    def centred(self) -> np.ndarray:
        return self.rewards - self.rewards.mean(axis=1, keepdims=True)

    @property
    def scored(self) -> np.ndarray:
        return self.centred / self.rewards.std(axis=1, keepdims=True)


def _dr_grpo(g: Graded) -> float:
    """Token by token."""
    size, loss = g.rewards.shape[1], 0.0
    for i, reward in enumerate(g.rewards.ravel()):
        advantage = reward - sum(g.rewards[i // size]) / size
        for t in range(g.batch.lengths[i]):
            ratio = float(np.exp(g.batch.logprobs[i, t] - g.batch.old[i, t]))
            low, high = 1 - g.batch.clip, 1 + g.batch.clip
            bounded = min(ratio, high) if advantage > 0 else max(ratio, low)
            loss -= advantage * bounded / (g.length * g.rewards.size)
    return loss


def _by(g: Graded, advantages: np.ndarray, divisor: Any) -> float:
    """−mean over answers of the sum over tokens divided by ``divisor``."""
    return float(-(g.surrogate(advantages).sum(axis=1) / divisor).mean())


DR_GRPO_MISTAKES = {
    "nothing has changed: this is still GRPO, with both its divisions": (
        lambda g: _by(g, g.scored, g.batch.lengths)
    ),
    "a leftover 1/|o|: the std is gone, but each answer is still divided by its own length": (
        lambda g: _by(g, g.centred, g.batch.lengths)
    ),
    "a leftover std: the length is right, but the advantages are still divided by the group's std": (
        lambda g: _by(g, g.scored, g.length)
    ),
    "the sum over tokens is divided by the width of the padded batch, not by the constant "
    "max_length": lambda g: _by(g, g.centred, g.batch.mask.shape[1]),
    "the divisor is the longest answer of this batch. That is no constant: it changes with what was "
    "sampled": lambda g: _by(g, g.centred, g.batch.lengths.max()),
    "the divisor is the mean length of this batch (the token average). It still depends on what was "
    "sampled": lambda g: _by(g, g.centred, g.batch.lengths.mean()),
    "the answers' tokens are summed and divided by nothing: max_length is missing": (
        lambda g: _by(g, g.centred, 1)
    ),
    "the answers are added up; they should be averaged": (
        lambda g: _by(g, g.centred, g.length) * g.rewards.size
    ),
    "a leftover 1/|o|: max_length has come in addition to it, not in its place": (
        lambda g: _by(g, g.centred, g.length * g.batch.lengths)
    ),
    "the raw rewards are used: subtracting the group's mean stays": (
        lambda g: _by(g, g.rewards, g.length)
    ),
    "the sign is flipped": lambda g: -_by(g, g.centred, g.length),
    "the mean is taken over the whole batch; the baseline of a question is its own group": (
        lambda g: _by(g, g.rewards - g.rewards.mean(), g.length)
    ),
}


def check_dr_grpo_loss(fn: Any, seed: int | None = None) -> None:
    """Check ``dr_grpo_loss(logprobs, old_logprobs, rewards, mask, group_size, max_length, clip)``."""
    with checking("dr_grpo_loss: no std, no 1/|o|, everything else as in GRPO", seed) as rng:
        name, cases = function_name(fn), []
        for questions, size, width in ((2, 3, 7), (3, 2, 5), (2, 4, 8)):
            rows = questions * size
            batch = _batch(rng, rows, width, clip=float(rng.choice([0.15, 0.25])))
            rewards = rng.permuted(
                np.arange(size) + rng.uniform(0, 0.5, (questions, size)), axis=1
            ) + rng.uniform(0, 2, (questions, 1))
            graded = Graded(batch, rewards, int(width + rng.integers(2, 20)))
            result, _ = call(
                fn,
                logprobs=torch.tensor(batch.logprobs, requires_grad=True),
                old_logprobs=torch.tensor(batch.old),
                rewards=torch.tensor(rewards.ravel()),
                mask=torch.tensor(batch.mask),
                group_size=size,
                max_length=graded.length,
                clip=batch.clip,
            )
            value = _scalar(name, result, rows, width)
            if not value.requires_grad:
                raise Mistake(f"{name}: no gradient flows to logprobs; something cuts it off")
            named = {sentence: wrong(graded) for sentence, wrong in DR_GRPO_MISTAKES.items()}
            words = f"{questions} questions × {size} answers, max_length {graded.length}"
            cases.append(Case(words, value, _dr_grpo(graded), named))
        judge(name, cases)
