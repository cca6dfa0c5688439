"""Checks of the exercises on PPO (notebook 05)."""

from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, ragged, seen

# ------------------------------------------------------------------------------------------- the clip


def _slope(ratio: Any, advantages: Any, clip: float) -> np.ndarray:
    """Case by case, as in the picture."""
    out = np.empty_like(ratio)
    for i, (rho, a) in enumerate(zip(ratio, advantages, strict=True)):
        past = rho > 1 + clip if a > 0 else rho < 1 - clip
        out[i] = 0.0 if past else a
    return out


SLOPE_MISTAKES = {  # of the ratio, the advantages, the clip and the correct slope
    "the slope is 0 everywhere outside the range. The minimum keeps it where the ratio has moved in the "
    "*wrong* direction, so that a mistake can still be corrected": lambda rho, a, e, s: np.where(
        abs(rho - 1) > e, 0.0, a
    ),
    "the clip is missing: the slope is A everywhere": lambda rho, a, e, s: a,
    "the cases are exchanged: flat where the ratio has moved in the wrong direction": lambda rho, a, e, s: (
        np.where((abs(rho - 1) > e) & (s != 0), 0.0, a)
    ),
    "only the upper bound is used: with a negative "
    "advantage the lower bound applies": lambda rho, a, e, s: np.where(rho > 1 + e, 0.0, a),
    "only the lower bound is used: with a positive "
    "advantage the upper bound applies": lambda rho, a, e, s: np.where(rho < 1 - e, 0.0, a),
    "this is the value of the objective, not its slope": lambda rho, a, e, s: np.minimum(
        rho * a, np.clip(rho, 1 - e, 1 + e) * a
    ),
    "the slope is multiplied by the ratio. That is the derivative "
    "with respect to log π; here it is with respect to the ratio": lambda rho, a, e, s: rho * s,
    "the sign is flipped: this is the slope of the loss": lambda rho, a, e, s: -s,
    "the slope is 1 or 0; it is A or 0": lambda rho, a, e, s: (s != 0) * 1.0,
    "answers with a negative advantage get a slope of 0": lambda rho, a, e, s: np.where(
        a > 0, s, 0.0
    ),
}

check_clip_slope = Check(
    "clip_slope: 0 exactly where the clip is active",
    draw=lambda rng, turn: {
        "ratio": rng.permutation(
            np.r_[rng.uniform(0.4, 0.65, 4), rng.uniform(0.95, 1.05, 4), rng.uniform(1.35, 1.8, 4)]
        ),
        "advantages": rng.choice([-1.0, 1.0], 12) * rng.uniform(0.5, 2, 12),
        "clip": float(rng.uniform(0.15, 0.3)),
    },
    right=_slope,
    mistakes=seen(lambda rho, a, e: (rho, a, e, _slope(rho, a, e)), SLOPE_MISTAKES),
)


# -------------------------------------------------------------------------------------- token rewards


def _draw_rewards(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    rows, width = ((4, 5), (4, 4), (5, 6))[turn]
    old = rng.uniform(-3, -0.3, (rows, width))
    return {
        "rewards": rng.uniform(0.5, 1.5, rows),
        "logprobs": old + rng.uniform(-0.8, 0.8, (rows, width)),
        "ref_logprobs": old,
        "mask": ragged(rng, rows, width),
        "beta": float(rng.uniform(0.05, 0.3)),
    }


def _rewards(rewards: Any, logprobs: Any, ref_logprobs: Any, mask: Any, beta: float) -> Any:
    """Token by token."""
    out = np.zeros_like(logprobs)
    for i, t in np.argwhere(mask):
        out[i, t] = -beta * (logprobs[i, t] - ref_logprobs[i, t])
        if t == np.flatnonzero(mask[i])[-1]:
            out[i, t] += rewards[i]
    return out


def _at_end(rewards: np.ndarray, mask: np.ndarray, shift: int = 0) -> np.ndarray:
    """Each answer's reward on its last token, or ``shift`` places after it; 0 elsewhere."""
    end = np.arange(mask.shape[1]) == mask.sum(axis=1, keepdims=True) - 1
    return rewards[:, None] * np.roll(end, shift, axis=1)


TOKEN_REWARD_MISTAKES = {  # of the rewards, the log-ratios, the mask and β
    "the sign of the KL is flipped: the policy is "
    "rewarded for leaving the reference": lambda r, k1, m, b: b * k1 * m + _at_end(r, m),
    "the reward is in the last column, which is padding for short answers": lambda r, k1, m, b: (
        -b * k1 * m + r[:, None] * (np.arange(m.shape[1]) == m.shape[1] - 1)
    ),
    "every token gets the reward: long answers would earn more": lambda r, k1, m, b: (
        (-b * k1 + r[:, None]) * m
    ),
    "the reward is on the first token": lambda r, k1, m, b: (
        -b * k1 * m + r[:, None] * (np.arange(m.shape[1]) == 0)
    ),
    "the reward is one place before the last token": lambda r, k1, m, b: (
        -b * k1 * m + _at_end(r, m, -1)
    ),
    "the KL penalty is also on padding": lambda r, k1, m, b: -b * k1 + _at_end(r, m),
    "β is not used": lambda r, k1, m, b: -k1 * m + _at_end(r, m),
    "β also multiplies the reward": lambda r, k1, m, b: b * (_at_end(r, m) - k1 * m),
    "the last token has no KL penalty": lambda r, k1, m, b: (
        _at_end(r, m) - b * k1 * m * (_at_end(1 + 0 * r, m) == 0)
    ),
    "the KL of the whole answer is subtracted on the last token. The sum is correct, but it does not say "
    "which token caused it": lambda r, k1, m, b: _at_end(r - b * (k1 * m).sum(axis=1), m),
    "the KL penalty is missing": lambda r, k1, m, b: _at_end(r, m),
    "negative log-ratios are set to 0. That is AlpacaFarm's clamp, which "
    "overestimates the KL": lambda r, k1, m, b: -b * np.maximum(k1, 0) * m + _at_end(r, m),
}

check_token_rewards = Check(
    "token_rewards: a KL penalty on every token, the reward on the last",
    draw=_draw_rewards,
    right=_rewards,
    instead=lambda rewards, *rest: {
        rewards.shape: "this is one number per answer; each token gets its own reward"
    },
    mistakes=seen(lambda r, new, ref, m, b: (r, new - ref, m, b), TOKEN_REWARD_MISTAKES),
)


# ------------------------------------------------------------------------------------- find the bug


def _columns(values: Any, prompt_length: int) -> np.ndarray:
    """V(s_t) is read before token t: at position P − 1 + t."""
    answer = values.shape[1] - prompt_length
    return np.stack([values[:, prompt_length - 1 + t] for t in range(answer)], axis=1)


check_state_columns = Check(
    "state_columns: each value is read before its token",
    draw=lambda rng, turn: {
        "values": rng.normal(0, 1, (3, 7 + turn)),
        "prompt_length": int(rng.integers(3, 5)),
    },
    right=_columns,
    instead=lambda v, p: {
        v.shape: "this is the whole row; most positions of the prompt belong to no token of the answer",
        (
            len(v),
            v.shape[1] - p - 1,
        ): "one token of the answer has no value: the first or the last is missing",
        (
            len(v),
            v.shape[1] - p + 1,
        ): "this is one column too many: no token is chosen after the last one",
    },
    mistakes={
        "the values are shifted by one: each is read at its token's own position, where the network has "
        "already read that token": lambda v, p: v[:, p:],
        "the values are shifted by one in the other direction: "
        "each is read one token too early": lambda v, p: v[:, p - 2 : -2],
        "the columns are correct, but their order is reversed": lambda v, p: _columns(v, p)[
            :, ::-1
        ],
        "these are the prompt's columns": lambda v, p: v[:, : v.shape[1] - p],
        "every token gets the value of the prompt": lambda v, p: np.repeat(
            v[:, p - 1 : p], v.shape[1] - p, axis=1
        ),
        "the shift is correct, but the first value is wrong: the row was rolled, and its last value has "
        "moved to the front": lambda v, p: np.roll(v[:, p:], 1, axis=1),
    },
)
