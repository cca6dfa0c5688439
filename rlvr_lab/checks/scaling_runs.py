"""Checks of two diagnoses: a large run from its log, and a sampler that is not the trainer (notebook 11)."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.kit import Check, ragged

# ------------------------------------------------------------------------------- a sick run, from its log

VERDICTS = (
    *("answers cut off", "solved", "silent groups", "steps too large", "entropy collapse"),
    *("length runs away", "healthy"),
)
ORDER = VERDICTS[:-1]
Curve = list[float]


def _sick(
    reward: Curve,
    silent: Curve,
    clipped: Curve,
    length: Curve,
    entropy: Curve,
    clip_ratio: Curve,
    kl: Curve,
    grad_norm: Curve,
    *,
    over: int = 3,
    middle: Callable[[Curve], Any] = np.median,
    order: tuple[str, ...] = ORDER,
    cut: Callable[[Curve], bool] | None = None,
    silent_at: slice = slice(-3, None),
    gained: bool | None = None,
    clips: bool = True,
    norms: bool = True,
    drift: bool = False,
    which: str = "",
) -> str:
    """By the rules of the exercise, in their order; the keywords are options for mistakes."""

    def start(curve: Curve) -> float:
        return float(middle(curve[:over]))

    def end(curve: Curve) -> float:
        return float(middle(curve[-over:]))

    quiet = float(middle(silent[silent_at])) > 0.8 if over == 3 else end(silent) > 0.8
    better = end(reward) - start(reward) > 0.05
    steps = (clips and end(clip_ratio) > 0.2) or (norms and end(grad_norm) > 10 * start(grad_norm))
    fits = {
        "answers cut off": cut(clipped) if cut else end(clipped) > 0.3,
        "solved": quiet and end(reward) > 0.9,
        "silent groups": quiet,
        "steps too large": steps or (drift and end(kl) > 0.5),
        "entropy collapse": end(entropy) < start(entropy) / 10
        and not (better and which != "entropy"),
        "length runs away": end(length) > 2 * start(length) and not (better and which != "length"),
    }
    return next((verdict for verdict in order if fits[verdict]), "healthy")


_RUNS: tuple[tuple[str, dict[str, tuple[float, float]], str], ...] = (
    # What happens; the curves that change, from where to where; and how: late, or with an outlier.
    ("healthy", {"reward": (0.2, 0.6), "length": (300, 420), "entropy": (0.8, 0.4)}, ""),
    ("answers cut off", {"clipped": (0.03, 0.5), "reward": (0.4, 0.08), "silent": (0.3, 0.9)}, ""),
    ("answers cut off", {"clipped": (0.03, 0.5), "length": (300, 500)}, "late"),
    ("silent groups", {"reward": (0.02, 0.02), "silent": (0.92, 0.93)}, ""),
    ("solved", {"reward": (0.5, 0.98), "silent": (0.3, 0.93), "entropy": (0.7, 0.05)}, ""),
    ("healthy", {"reward": (0.03, 0.5), "silent": (0.92, 0.4)}, ""),
    ("entropy collapse", {"entropy": (0.9, 0.02), "length": (300, 250)}, ""),
    ("healthy", {"entropy": (0.9, 0.04), "reward": (0.3, 0.8), "clip_ratio": (0.02, 0.04)}, ""),
    ("length runs away", {"length": (300, 900), "clipped": (0.02, 0.15)}, ""),
    ("healthy", {"length": (300, 900), "reward": (0.2, 0.6)}, ""),
    ("steps too large", {"clip_ratio": (0.05, 0.45), "kl": (0.0, 0.9), "reward": (0.4, 0.1)}, ""),
    ("steps too large", {"grad_norm": (0.3, 9.0), "entropy": (0.8, 0.6)}, ""),
    ("steps too large", {"clip_ratio": (0.05, 0.4), "entropy": (0.8, 0.02)}, ""),
    ("healthy", {"reward": (0.3, 0.32)}, "last"),
    ("healthy", {"reward": (0.3, 0.32)}, "before the last"),
    ("healthy", {"kl": (0.0, 0.9), "reward": (0.2, 0.7)}, ""),
    ("healthy", {"clipped": (0.7, 0.04), "reward": (0.1, 0.5)}, ""),
)
_USUAL = {"reward": 0.4, "silent": 0.3, "clipped": 0.03, "length": 300.0, "entropy": 0.8}
_USUAL |= {"clip_ratio": 0.0, "kl": 0.05, "grad_norm": 0.3}
RECORDS = 12


def _draw_log(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Eight curves of 12 records each."""
    _, changes, how = _RUNS[turn]
    rise = 1 / (1 + np.exp(-np.linspace(-6, 6, RECORDS)))
    if how == "late":
        rise = (np.arange(RECORDS) >= RECORDS - 3) * 1.0
    curves: dict[str, Any] = {}
    for name, usual in _USUAL.items():
        a, b = changes.get(name, (usual, usual))
        # One update for each batch clips nothing: such a curve is exactly 0.
        noise = 0.0 if a == b == 0 else 0.03 * min(a, b) + (0.004 if name != "entropy" else 0.0)
        curve = np.abs(a + (b - a) * rise + rng.normal(0, noise, RECORDS))
        curves[name] = np.round(curve, 1 if name == "length" else 3).tolist()
    if how in ("last", "before the last"):
        place = -1 if how == "last" else -2
        curves["length"][place], curves["grad_norm"][place] = 4000.0, 95.0
    return curves


check_sick_run = Check(
    "diagnose_run: seventeen logs, seven verdicts",
    draw=_draw_log,
    right=_sick,
    calls=len(_RUNS),
    words=VERDICTS,
    mistakes={
        "means are taken. One record far from the others moves a mean of three; take the median": partial(
            _sick, middle=np.mean
        ),
        "single records are compared, the first and the last. Any one of them may be an outlier": partial(
            _sick, over=1
        ),
        "half of the run is taken for its end. A fault may begin late: take the last three records": partial(
            _sick, over=6
        ),
        "cut answers are judged by their highest share. They may have been there at the start": partial(
            _sick, cut=lambda curve: max(curve) > 0.3
        ),
        "cut answers are not looked for": partial(_sick, cut=lambda curve: False),
        "silent groups come before cut answers here. A cut answer has reward 0, so the cut is the cause": (
            partial(_sick, order=("solved", "silent groups", *ORDER[:1], *ORDER[3:]))
        ),
        "groups may be silent because all their answers are correct: look at the reward": partial(
            _sick, order=tuple(verdict for verdict in ORDER if verdict != "solved")
        ),
        "silent groups are judged at the start of the run, and not at its end": partial(
            _sick, silent_at=slice(0, 3)
        ),
        "a low entropy is fine while the reward rises: the policy has become sure": partial(
            _sick, which="entropy"
        ),
        "long answers are fine while the reward rises": partial(_sick, which="length"),
        "the entropy comes before the steps: a step that is too large makes the policy sharp as well": partial(
            _sick, order=(*ORDER[:3], ORDER[4], ORDER[3], ORDER[5])
        ),
        "the clip ratio is not used": partial(_sick, clips=False),
        "the norm of the gradient is not used": partial(_sick, norms=False),
        "the KL is used. No rule mentions it: a policy that learns leaves its start": partial(
            _sick, drift=True
        ),
    },
)


# --------------------------------------------------------------------------------- sampler or trainer?

CAUSES = (
    *("same policy", "rounding", "end dropped", "shifted by one", "rows exchanged"),
    *("another temperature", "older policy"),
)
TEMPERATURES = tuple(round(0.5 + 0.1 * k, 1) for k in range(11))
CLOSE, EQUAL = 0.02, 1e-6
Table = np.ndarray


def _scored(logits: Table, tokens: Table, temperature: float = 1.0, total: bool = True) -> Table:
    """log π of each token, one by one; ``total=False`` divides log π itself by the temperature."""
    out = np.zeros(tokens.shape)
    for i, t in np.ndindex(tokens.shape):
        x = logits[i, t] / (temperature if total else 1.0)
        out[i, t] = x[tokens[i, t]] - x.max() - np.log(np.exp(x - x.max()).sum())
    return out if total else out / temperature


def _pairs(mask: Table, shift: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Places of the sampler and of the trainer that are compared, both on real tokens."""
    for i, t in np.argwhere(mask):
        if 0 <= t + shift < mask.shape[1] and mask[i, t + shift]:
            yield (i, t), (i, t + shift)


def _cause(
    sampler: Table,
    logits: Table,
    tokens: Table,
    mask: Table,
    *,
    use_mask: bool = True,
    close: float = CLOSE,
    shifts: tuple[int, ...] = (-1, 1),
    last: Callable[[Table], Table] = lambda mask: mask.sum(axis=1) - 1,
    partners: Callable[[int, int], list[int]] = lambda i, rows: [*range(rows)],
    total: bool = True,
    skip: tuple[str, ...] = (),
    typical: bool = False,
) -> str:
    """By the rules of the exercise, in their order; the keywords are options for mistakes."""
    real = mask if use_mask else np.ones_like(mask)
    mine = np.where(real, _scored(logits, tokens), 0.0)
    gap = np.abs(sampler - mine) * real
    worst = gap.sum() / real.sum() if typical else gap.max()
    if worst <= EQUAL and "same policy" not in skip:
        return "same policy"
    if worst <= close:
        return "rounding"
    ends = np.arange(mask.shape[1]) == last(mask)[:, None]
    if (gap * ~ends).max() <= close:
        return "end dropped"
    for shift in shifts:
        if all(abs(sampler[a] - mine[b]) <= close for a, b in _pairs(real, shift)):
            return "shifted by one"
    rows = len(mask)
    found = [
        any(np.abs(sampler[i] - mine[j]).max() <= close for j in partners(i, rows))
        for i in range(rows)
    ]
    if all(found) and "rows exchanged" not in skip:
        return "rows exchanged"
    for temperature in TEMPERATURES:
        other = _scored(logits, tokens, temperature, total)
        if (np.abs(sampler - other) * real).max() <= close:
            return "another temperature"
    return "older policy"


_TURNS = (
    *("same policy", "rounding", "another temperature", "older policy", "end dropped"),
    *("shifted by one", "rows exchanged", "another temperature", "shifted back", "rows turned"),
    *("older policy", "rounding", "one token"),
)


def _draw_logprobs(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """A policy of random logits, answers sampled from it, and what a sampler reports of them."""
    rows, width, words = 6, 7, 8
    kind = _TURNS[turn]
    mask = ragged(rng, rows, width)
    short = np.flatnonzero(mask.sum(axis=1) == 1)
    mask[short, :3] = True  # an answer of one token has nothing to be shifted
    logits = rng.normal(0, 1.5, (rows, width, words))
    noise = rng.normal(0, 0.4, logits.shape)
    # Rare tokens are taken more often than the policy would: they show another temperature best.
    tokens = np.argmax(logits / 1.5 + rng.gumbel(size=logits.shape), axis=2)
    temperature = float(rng.choice((0.7, 0.8) if turn == 2 else (1.2, 1.3)))
    if kind == "another temperature":
        said = _scored(logits, tokens, temperature)
    else:
        said = _scored(logits + noise if kind == "older policy" else logits, tokens)
    if kind != "same policy":
        said = said + rng.uniform(-0.008, 0.008, said.shape)
    said = np.where(mask, said, 0.0)
    if kind == "end dropped":
        said[np.arange(rows), mask.sum(axis=1) - 1] = 0.0
    if kind == "one token":  # no pattern, and hardly to be seen in a mean
        said[np.argmax(mask.sum(axis=1)), 1] -= 0.25
    if kind.startswith("shifted"):
        said = np.where(mask, np.roll(said, 1 if kind == "shifted by one" else -1, axis=1), 0.0)
    if kind == "rows exchanged":
        said = said[[1, 0, 3, 2, 5, 4]]
    if kind == "rows turned":
        said = np.roll(said, 2, axis=0)
    return {"sampler": said, "logits": logits, "tokens": tokens, "mask": mask}


check_sampler = Check(
    "sampler_fault: thirteen comparisons, seven causes",
    draw=_draw_logprobs,
    right=_cause,
    calls=len(_TURNS),
    words=CAUSES,
    mistakes={
        "padding is compared. The sampler writes 0 there, and the trainer something else": partial(
            _cause, use_mask=False
        ),
        "the mean difference is judged. 'Agree' is said of every real token": partial(
            _cause, typical=True
        ),
        "equality is asked for where rounding should be allowed: 'agree' means to within 0.02": partial(
            _cause, close=EQUAL
        ),
        "'same policy' is returned for what is rounding: the difference is not 0": lambda *given: (
            "same policy" if (said := _cause(*given)) == "rounding" else said
        ),
        "'rounding' is returned where there is no difference at all": partial(
            _cause, skip=("same policy",)
        ),
        "the sampler's values are compared with one neighbour only; look both ways": partial(
            _cause, shifts=(-1,)
        ),
        "the sampler's values are compared with one neighbour only, and it may be the other one": partial(
            _cause, shifts=(1,)
        ),
        "shifted values are not looked for": partial(_cause, shifts=()),
        "'end dropped' is not found: it concerns the last token of each answer, which is not in the last "
        "column": partial(_cause, last=lambda mask: np.full(len(mask), mask.shape[1] - 1)),
        "rows are compared with the next and the previous one only; any row may have moved anywhere": partial(
            _cause, partners=lambda i, rows: [i, *(j for j in (i - 1, i + 1) if 0 <= j < rows)]
        ),
        "exchanged rows are not looked for": partial(_cause, skip=("rows exchanged",)),
        "'another temperature' is not found. The logits are divided by it, and log_softmax is taken again": partial(
            _cause, total=False
        ),
        "an older policy is another temperature here: no temperature explains all its tokens": lambda *given: (
            "another temperature" if (said := _cause(*given)) == "older policy" else said
        ),
    },
)
