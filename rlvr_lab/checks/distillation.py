"""Checks of the exercises on distillation (notebook 10): two gradients of the reverse KL, and what it costs."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, Series, softmax

# ------------------------------------------------------------------------------------- two gradients


def _slope(f: Callable[[np.ndarray], float], logits: np.ndarray) -> np.ndarray:
    """Central differences with respect to the logits."""
    h, found = 1e-5, np.zeros_like(logits)
    for i in range(len(logits)):
        step = np.where(np.arange(len(logits)) == i, h, 0.0)
        found[i] = (f(logits + step) - f(logits - step)) / (2 * h)
    return found


def _log_ratio(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    return np.log(softmax(student)) - np.log(softmax(teacher))


def _full(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    return _slope(lambda x: float(softmax(x) @ _log_ratio(x, teacher)), student)


def _score(student: np.ndarray, token: int) -> np.ndarray:
    return _slope(lambda x: float(np.log(softmax(x)[token])), student)


def _sampled(student: np.ndarray, teacher: np.ndarray, token: int) -> np.ndarray:
    return _log_ratio(student, teacher)[token] * _score(student, token)


def _one(student: np.ndarray, token: int) -> np.ndarray:
    return np.where(np.arange(len(student)) == token, 1.0, 0.0)


def _draw_logits(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    return {"student": rng.normal(0, 1, 5), "teacher": rng.normal(0, 1, 5)}


check_distillation_gradients = Series(
    "full_gradient and sampled_gradient: agree with finite differences",
    (
        Check(
            "full_gradient",
            draw=_draw_logits,
            right=_full,
            label=" (first function)",
            mistakes={
                "the sign is reversed: the KL is to fall, but its gradient points upwards": (
                    lambda s, t: -_full(s, t)
                ),
                "this is the gradient of the forward KL, KL(teacher‖student)": lambda s, t: (
                    softmax(s) - softmax(t)
                ),
                "the mean over the tokens is not subtracted: the logits also move the normaliser": (
                    lambda s, t: softmax(s) * _log_ratio(s, t)
                ),
                "the probability of each token is missing in front": lambda s, t: (
                    _log_ratio(s, t) - softmax(s) @ _log_ratio(s, t)
                ),
                "this is the derivative with respect to the probabilities; go on to the logits": (
                    lambda s, t: _log_ratio(s, t) + 1
                ),
                "the mean is taken under the teacher; the student samples": lambda s, t: (
                    softmax(s) * (_log_ratio(s, t) - softmax(t) @ _log_ratio(s, t))
                ),
                "logits are used as log-probabilities: their normalisers are missing": lambda s, t: (
                    softmax(s) * (s - t - (softmax(s) @ _log_ratio(s, t)))
                ),
                "student and teacher are exchanged": lambda s, t: _full(t, s),
            },
        ),
        Check(
            "sampled_gradient",
            draw=lambda rng, turn: {**_draw_logits(rng, turn), "token": int((3, 0, 2)[turn])},
            right=_sampled,
            label=" (second function)",
            mistakes={
                "this is what automatic differentiation makes of log π − log π_T. Its expectation is zero: "
                "the log-ratio belongs in front, as a weight": lambda s, t, k: _score(s, k),
                "the sign is reversed: this is the ascent direction": lambda *given: (
                    -_sampled(*given)
                ),
                "only the logit of the sampled token moves here; the others lose what it gains": (
                    lambda s, t, k: _log_ratio(s, t)[k] * _one(s, k)
                ),
                "the probability of the token is one factor too many: sampling takes care of it": (
                    lambda s, t, k: softmax(s)[k] * _sampled(s, t, k)
                ),
                "this is the full gradient; the teacher gives the probability of one token only": (
                    lambda s, t, k: _full(s, t)
                ),
                "the weight has a further + 1. It changes nothing in expectation, and makes the estimate "
                "noisier: leave it out": lambda s, t, k: (_log_ratio(s, t)[k] + 1) * _score(s, k),
                "the weight is the ratio, and not its logarithm": lambda s, t, k: (
                    np.exp(_log_ratio(s, t)[k]) * _score(s, k)
                ),
                "the student's probabilities are missing: this pushes towards uniform": lambda s, t, k: (
                    _log_ratio(s, t)[k] * (_one(s, k) - 1 / len(s))
                ),
                "the token is ignored: this is that of token 0": lambda s, t, k: _sampled(s, t, 0),
            },
        ),
    ),
    functions=2,
)


# ------------------------------------------------------------------------------------------- the cost


def _per_token(
    method: str,
    student: float,
    teacher: float,
    kept: float,
    *,
    forward: float = 2.0,
    backward: float = 4.0,
    parts: dict[str, tuple[tuple[str, str], ...]] | None = None,
    rejected: bool = True,
) -> float:
    """A list of what is done with a token, and by whom; the keywords are options for mistakes."""
    learns = (("student", "forward"), ("student", "backward"))
    plan = {
        "rl": (("student", "forward"), *learns),
        "on-policy": (("student", "forward"), ("teacher", "forward"), *learns),
        "off-policy": (("writer", "forward"), *learns),
    } | (parts or {})
    sizes = {"student": student, "teacher": teacher}
    sizes["writer"] = teacher / kept if rejected else teacher
    work = {"forward": forward, "backward": backward}
    return sum(sizes[who] * work[what] for who, what in plan[method])


def _fewer(hours: float, student: float, teacher: float) -> float:
    """RL's tokens for one token of on-policy distillation, by bisection on the ratio of the costs."""
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        ratio = middle * _per_token("rl", student, teacher, 1.0)
        low, high = (
            (middle, high)
            if ratio < hours * _per_token("on-policy", student, teacher, 1.0)
            else (low, middle)
        )
    return low


_SIZES = ((8.0, 32.0), (1.7, 8.0), (4.0, 235.0), (0.6, 14.0))

check_distillation_cost = Series(
    "flops_per_token and fewer_tokens: every pass of student and teacher counted",
    (
        Check(
            "flops_per_token",
            draw=lambda rng, turn: {
                "method": ("rl", "on-policy", "off-policy", "off-policy")[turn],
                "student": _SIZES[turn][0],
                "teacher": _SIZES[turn][1],
                "kept": float(rng.uniform(0.3, 0.7)),
            },
            right=_per_token,
            calls=4,
            label=" (first function)",
            mistakes={
                "the backward pass is counted like one forward pass; it costs about two": partial(
                    _per_token, backward=2.0
                ),
                "the student's sampling is missing": partial(
                    _per_token,
                    parts={
                        "rl": (("student", "forward"), ("student", "backward")),
                        "on-policy": (
                            ("teacher", "forward"),
                            *(("student", "forward"), ("student", "backward")),
                        ),
                    },
                ),
                "the teacher is missing": lambda m, s, t, k: _per_token(m, s, 0.0, k),
                "the teacher is trained, too; it only reads or writes": lambda m, s, t, k: (
                    _per_token(m, s, t, k) + (4 * t if m != "rl" else 0.0)
                ),
                "rejected traces are free here. The teacher has to write 1/kept tokens for each one kept": (
                    partial(_per_token, rejected=False)
                ),
                "a rejected trace makes it cheaper here: divide by `kept`": lambda m, s, t, k: (
                    _per_token(m, s, t, 1 / k)
                ),
                "off-policy, the student learns from the teacher's traces and samples nothing": partial(
                    _per_token,
                    parts={
                        "off-policy": (
                            *(("writer", "forward"), ("student", "forward")),
                            *(("student", "forward"), ("student", "backward")),
                        )
                    },
                ),
                "RL has no teacher; a verifier grades": partial(
                    _per_token,
                    parts={
                        "rl": (
                            *(("teacher", "forward"), ("student", "forward")),
                            *(("student", "forward"), ("student", "backward")),
                        )
                    },
                ),
                "the factor 2 of a forward pass is missing, in all terms": lambda *given: (
                    _per_token(*given) / 2
                ),
            },
        ),
        Check(
            "fewer_tokens",
            draw=lambda rng, turn: {
                "hours": float(rng.uniform(5, 12)),
                "student": _SIZES[turn][0],
                "teacher": _SIZES[turn][1],
            },
            right=_fewer,
            label=" (second function)",
            mistakes={
                "the teacher is missing: then the ratio of the tokens is that of the hours": (
                    lambda hours, s, t: hours
                ),
                "divided where it should be multiplied: a token of distillation costs more than one of RL": (
                    lambda hours, s, t: hours * 8 * s / (8 * s + 2 * t)
                ),
                "this is the ratio of the costs per token; the hours are missing": lambda hours, s, t: (
                    (8 * s + 2 * t) / (8 * s)
                ),
                "this is distillation's tokens per token of RL, turned over": lambda *given: (
                    1 / _fewer(*given)
                ),
                "the teacher is trained, too; it only reads": lambda hours, s, t: (
                    hours * (8 * s + 6 * t) / (8 * s)
                ),
                "the student's sampling is missing": lambda hours, s, t: (
                    hours * (6 * s + 2 * t) / (6 * s)
                ),
                "the cost is taken to be that of the teacher alone": lambda hours, s, t: (
                    hours * 2 * t / (8 * s)
                ),
            },
        ),
    ),
    functions=2,
)
