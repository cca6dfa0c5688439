"""Checks of the exercises on the length reward of Kimi k1.5 (notebook 09)."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rlvr_lab.checks.calls import Mistake, call
from rlvr_lab.checks.kit import Check, Series

# --------------------------------------------------------------------------------- the length reward


def _length(
    lengths: Any,
    correct: Any,
    size: int,
    *,
    low_of: str = "group",
    high_of: str = "group",
    side: Callable[[float, float], float] = min,
    middle: float = 0.5,
    equal: float = 0.0,
) -> np.ndarray:
    """Group by group, by the published rule; the keywords are options for mistakes."""
    found: list[float] = []
    for start in range(0, len(lengths), size):
        own = range(start, start + size)
        over = {"group": [lengths[i] for i in own], "batch": list(lengths)}
        over["correct"] = [lengths[i] for i in own if correct[i]] or [0.0]
        low, high = min(over[low_of]), max(over[high_of])
        for i in own:
            reward = middle - (lengths[i] - low) / max(high - low, 1e-9)
            reward = reward if correct[i] else side(0.0, reward)
            found.append(equal if high == low else reward)
    return np.array(found)


_BUGS: dict[str, dict[str, Any]] = {
    "the longest answer is that of the whole batch; each group has its own": {"high_of": "batch"},
    "the shortest answer is looked for among the correct ones; all answers of the group count": {
        "low_of": "correct"
    },
    "an incorrect answer that is short is paid, and a long one is not punished": {"side": max},
}
REPAIRS: dict[str, Callable[..., Any]] = {
    "; ".join(names): partial(
        _length, **{key: x for name in names for key, x in _BUGS[name].items()}
    )
    for count in (1, 2, 3)
    for names in itertools.combinations(_BUGS, count)
}


def _draw_lengths(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Three groups of four; from the second turn on one group has equal lengths, then one no correct answer."""
    lengths = np.stack([rng.permutation([3, 7, 10, 14]) + rng.integers(0, 3, 4) for _ in range(3)])
    correct = np.array(
        [[True, False, True, False], [False, True, False, True], [True, True, False, False]]
    )
    correct = rng.permuted(correct, axis=1)
    # The shortest and the longest answer of the first group are incorrect, and so is one in between.
    order = np.argsort(lengths[0])
    correct[0, order] = [False, True, False, False]
    lengths[1] += 20
    if turn:
        lengths[2] = lengths[2, 0]
    if turn == 2:
        correct[1] = False
    return {
        "lengths": lengths.reshape(-1).astype(float),
        "correct": correct.reshape(-1),
        "group_size": 4,
    }


check_length_repair = Check(
    "length_reward: repaired",
    draw=_draw_lengths,
    right=_length,
    tolerance=1e-6,
    mistakes={
        **REPAIRS,
        "an incorrect answer earns λ whatever its length: where λ is positive it should earn 0": partial(
            _length, side=lambda zero, reward: reward
        ),
        "an incorrect answer earns 0 whatever its length: beyond the middle it should lose": partial(
            _length, side=lambda zero, reward: 0.0
        ),
        "where all lengths are equal, an answer earns ½; it should earn 0": partial(
            _length, equal=0.5
        ),
        "shortest and longest answer are those of the whole batch; each group has its own": partial(
            _length, low_of="batch", high_of="batch"
        ),
        "the ½ is missing: the shortest answer earns +½, the longest −½": partial(
            _length, middle=0.0
        ),
        "the sign is reversed: longer answers earn more": lambda *given: -_length(*given),
    },
)


# -------------------------------------------------------------------------------- the break-even weight


def _gap(p_direct: float, p_chain: float, weight: float) -> float:
    """Chain minus direct answer in a group of these two, over the four outcomes."""
    total = 0.0
    for direct, chain in itertools.product((True, False), repeat=2):
        chance = (p_direct if direct else 1 - p_direct) * (p_chain if chain else 1 - p_chain)
        first, second = _length([3.0, 11.0], [direct, chain], 2)
        total += chance * (chain + weight * second - direct - weight * first)
    return total


def _break_even(p_direct: float, p_chain: float) -> float:
    """By bisection: the gap falls with the weight."""
    low, high = 0.0, 4.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _gap(p_direct, p_chain, middle) > 0 else (low, middle)
    return low


def _draw_gap(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    return {"p_direct": float(rng.uniform(0.05, 0.3)), "p_chain": float(rng.uniform(0.45, 0.95))}


check_break_even = Series(
    "gap and break_even: agree with the published rule in all four outcomes",
    (
        Check(
            "gap",
            draw=lambda rng, turn: {
                **_draw_gap(rng, turn),
                "weight": float((0.4, 1.5, 0.7)[turn] * rng.uniform(0.9, 1.1)),
            },
            right=_gap,
            tolerance=1e-6,
            label=" (first function)",
            mistakes={
                "the sign is reversed: chain minus direct answer": lambda *given: -_gap(*given),
                "an incorrect direct answer is paid +½; min(0, ½) is 0": lambda d, c, w: c - d - w,
                "an incorrect chain loses nothing; min(0, −½) is −½": lambda d, c, w: (
                    c - w * c / 2 - d - w * d / 2
                ),
                "the accuracy is missing: this is the length reward alone": lambda d, c, w: (
                    _gap(d, c, w) - (c - d)
                ),
                "the weight is not used": lambda d, c, w: _gap(d, c, 1.0),
                "the length reward is missing": lambda d, c, w: c - d,
                "λ is ±½ at the two ends, and not ±1": lambda d, c, w: _gap(d, c, 2 * w),
                "λ is exchanged: the shorter answer has +½": lambda d, c, w: (
                    c + w * c / 2 - d + w / 2
                ),
                "the direct answer earns no length reward; when it is correct it earns +½": (
                    lambda d, c, w: c - w / 2 - d
                ),
            },
        ),
        Check(
            "break_even",
            draw=_draw_gap,
            right=_break_even,
            tolerance=1e-6,
            label=" (second function)",
            mistakes={
                "an incorrect direct answer is paid +½ here; min(0, ½) is 0": lambda d, c: c - d,
                "an incorrect chain loses nothing here; min(0, −½) is −½": lambda d, c: (
                    2 * (c - d) / (c + d)
                ),
                "the direct answer earns no length reward here; when it is correct it earns +½": (
                    lambda d, c: 2 * (c - d)
                ),
                "the sign is reversed": lambda d, c: -_break_even(d, c),
                "this is 1/weight": lambda d, c: 1 / _break_even(d, c),
                "λ is ±½ at the two ends, and not ±1": lambda d, c: _break_even(d, c) / 2,
                "1 − p_direct stands where 1 + p_direct should: its bonus adds to the chain's loss": (
                    lambda d, c: 2 * (c - d) / (1 - d)
                ),
            },
        ),
    ),
    functions=2,
)


# ------------------------------------------------------------------------------- selecting, reporting

Train = Callable[[float, int], list[dict[str, float]]]


_PLANS = (
    # Ratio of the lengths, loss of accuracy on the development seeds, further loss on the test seeds.
    *((1.0, 0.0, 0.0), (0.9, 0.025, 0.0), (0.8, 0.012, 0.0), (0.76, 0.03, 0.03)),
    *((0.95, 0.0, 0.0), (0.72, 0.02, 0.2), (0.85, 0.03, 0.0), (0.4, 0.5, 0.0)),
)


def _draw_trainer(rng: np.random.Generator, turn: int) -> dict[str, Any]:
    """Seven weights and the run without a length reward; the shortest runs lose too much accuracy."""
    weights = [0.0, *np.round(np.cumsum(rng.uniform(0.2, 0.6, 7)), 2).tolist()]
    plans = dict(zip(weights, _PLANS, strict=True))
    noise = {(weight, seed): rng.uniform(-1, 1, 3) for weight in weights for seed in range(6)}

    def train(weight: float, seed: int) -> list[dict[str, float]]:
        ratio, loss, more = plans[weight]
        a, b, c = noise[weight, seed]
        more = more if seed >= 3 else 0.0
        scale, level = 10 + 4 * seed, 0.85 + 0.01 * seed
        ends = (
            (0, 0.3, 7.0),
            (10, 0.94 + 0.01 * c, scale * (ratio + 0.2)),
            (20, level - loss - more + 0.002 * a, scale * (ratio + more / 2 + 0.012 * b)),
        )
        return [{"step": step, "accuracy": x, "length": n} for step, x, n in ends]

    seeds = 2 + turn % 2
    return {
        "train": train,
        "weights": [weights[place] for place in (5, 3, 1, 7, 2, 6, 4)],
        "dev_seeds": [0, 1, 2][:seeds],
        "test_seeds": [3, 4, 5][:seeds],
        "loss": 0.05,
    }


def _select(
    train: Train,
    weights: list[float],
    dev_seeds: list[int],
    test_seeds: list[int],
    loss: float,
    *,
    read: Callable[[list[dict[str, float]], str], float] = lambda records, key: records[-1][key],
    chosen_on: Callable[[list[int], list[int]], list[int]] = lambda dev, test: dev,
    told_of: Callable[[list[int], list[int]], list[int]] = lambda dev, test: test,
    pick: Callable[[list[tuple[float, float, float]]], tuple[float, float, float]] = lambda found: (
        min(found, key=lambda one: one[2])
    ),
    strict: bool = True,
    base: Callable[[Train, float, int], list[dict[str, float]]] = lambda train, weight, seed: train(
        0.0, seed
    ),
    mean: Callable[[list[float], list[float]], float] = lambda own, plain: float(
        np.mean([a / b for a, b in zip(own, plain, strict=True)])
    ),
    sign: float = 1.0,
) -> tuple[float, float, float]:
    """(weight, change of the accuracy, ratio of the lengths); the keywords are options for mistakes."""

    def result(weight: float, seeds: list[int]) -> tuple[float, float, float]:
        runs = [(train(weight, seed), base(train, weight, seed)) for seed in seeds]
        change = np.mean([read(a, "accuracy") - read(b, "accuracy") for a, b in runs])
        lengths = [[read(run, "length") for run in side] for side in zip(*runs, strict=True)]
        return weight, float(change), mean(*lengths)

    found = [result(weight, chosen_on(dev_seeds, test_seeds)) for weight in weights]
    weight, *_ = pick([one for one in found if one[1] >= -loss or not strict] or found)
    weight, change, ratio = result(weight, told_of(dev_seeds, test_seeds))
    return weight, sign * change, ratio


def _looks_only_once(fn: Callable[..., Any], rng: np.random.Generator) -> None:
    """The test seeds are for the chosen weight and for the run without length reward only."""
    inputs, asked = _draw_trainer(rng, 1), set()
    train = inputs["train"]

    def watched(weight: float, seed: int) -> list[dict[str, float]]:
        asked.add((weight, seed))
        return train(weight, seed)

    (weight, *_), _ = call(fn, **{**inputs, "train": watched})
    seen = {w for w, seed in asked if seed in inputs["test_seeds"]}
    if seen - {0.0, weight}:
        raise Mistake(
            "the result is correct, but other weights were trained on the test seeds too. A test that is "
            "looked at for every weight is no test of the chosen one"
        )


check_length_report = Check(
    "select_and_report: chosen on some seeds, reported on others",
    draw=_draw_trainer,
    right=_select,
    tolerance=1e-6,
    last=_looks_only_once,
    mistakes={
        "the numbers come from the seeds on which the weight was chosen. The choice makes them too good": (
            partial(_select, told_of=lambda dev, test: dev)
        ),
        "the weight is chosen on the test seeds": partial(
            _select, chosen_on=lambda dev, test: test
        ),
        "the weight is chosen on all seeds; the test seeds have to stay unseen": partial(
            _select, chosen_on=lambda dev, test: dev + test
        ),
        "the accuracy is not part of the choice: the shortest answers may be wrong ones": partial(
            _select, strict=False
        ),
        "the largest weight that meets the goal is taken; the shortest answers are wanted": partial(
            _select, pick=max
        ),
        "the smallest weight that meets the goal is taken; the shortest answers are wanted": partial(
            _select, pick=min
        ),
        "the most accurate weight is taken; among those that meet the goal the shortest is wanted": partial(
            _select, pick=lambda found: max(found, key=lambda one: one[1])
        ),
        "the best record of each run is read; the last one counts": partial(
            _select,
            read=lambda records, key: (
                max(r[key] for r in records) if key == "accuracy" else records[-1][key]
            ),
        ),
        "the run is compared with its own step 0; the reward's effect is the difference from the run "
        "with weight 0": partial(_select, base=lambda train, weight, seed: train(weight, seed)[:1]),
        "only the first seed of each list is used": lambda train, weights, dev, test, loss: _select(
            train, weights, dev[:1], test[:1], loss
        ),
        "the ratio of the mean lengths is returned, and not the mean of the ratios": partial(
            _select, mean=lambda own, plain: float(np.mean(own) / np.mean(plain))
        ),
        "the sign of the change is reversed: a loss is negative": partial(_select, sign=-1.0),
    },
)
