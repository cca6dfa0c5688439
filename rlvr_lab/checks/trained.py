"""Checks of the exercises of the kind "train": settings are trained on fresh seeds and compared with a bar.

The learner's function returns the settings of a run as plain data. A ``TrainCheck`` refuses what breaks the rules,
trains the rest within a budget of sampled tokens, from seeds that the learner has not seen, and measures the
policy on held-out problems. The trainers are those of the package; there is no second loop.

Each bar lies between at least twenty runs of a solution and five of the defaults (seeds from 4,000,000 on). Where
one run in thirty to sixty of a solution ends far below the others, the mean over three seeds is judged. Some bars
were moved after the first ten or twenty runs.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args, get_origin

import numpy as np
import torch

from rlvr_lab.checks.calls import Mistake, call, function_name
from rlvr_lab.checks.kit import drawing
from rlvr_lab.rewards.registry import Reward
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.loop import train
from rlvr_lab.training.optimise import NonFiniteLossError
from rlvr_lab.training.state import TrainState

__all__ = ["Advice", "Bar", "Meter", "TrainCheck", "Trial"]

ANSWERS = 1024
"""Most answers in one step, so that a step fits into the memory of a laptop."""
NEAR = (
    "That is close: on other seeds the same settings could pass, or miss by more. Look for settings that leave a "
    "margin, and try them on several seeds."
)
NO_UPDATE = "Not a single update was made: the budget did not cover the first batch after what was spent before."


class BudgetSpent(Exception):
    """The next update would need more tokens than the budget has left."""


class Meter:
    """A reward that counts the tokens of the answers it is given, and ends the run when the budget is spent.

    It is asked once for each batch, before the update. So a batch that the budget does not cover is not
    trained on.

    Attributes:
        budget: sampled tokens of the run.
        tokens: how many were spent.
        prompts: that the run has seen.
    """

    def __init__(self, reward: Reward, budget: int) -> None:
        self.reward, self.budget, self.tokens = reward, budget, 0
        self.prompts: set[str] = set()

    def __call__(self, answers: Any) -> torch.Tensor:
        """The reward, once the tokens are paid."""
        batch = getattr(answers, "batch", answers)
        cost = int(batch.completion_mask.sum())
        if self.tokens + cost > self.budget:
            raise BudgetSpent
        self.tokens += cost
        self.prompts |= {problem.prompt for problem in getattr(answers, "problems", [])}
        return self.reward(answers)


@dataclass(frozen=True)
class Trial:
    """One run and what was measured at its end.

    Attributes:
        seed: of the run.
        records: of ``train``, one for each step.
        tokens: sampled in training.
        numbers: what was measured, by name.
        ended: why the run ended: ``the budget was spent`` or ``all its steps were made``.
    """

    seed: int
    records: list[dict[str, Any]]
    tokens: int
    numbers: dict[str, float]
    ended: str

    @property
    def steps(self) -> int:
        """Number of finished steps."""
        return self.records[-1]["step"] if self.records else 0

    def __str__(self) -> str:
        measured = ", ".join(f"{name} {value:.3g}" for name, value in self.numbers.items())
        return f"seed {self.seed}: {measured}; {self.steps} steps, {self.tokens:,} tokens"


@dataclass(frozen=True)
class Bar:
    """What a number has to reach.

    Attributes:
        name: of the number in ``Trial.numbers``.
        level: the bar.
        least: whether the number must be at least the level, or at most.
        mean: whether the mean over the seeds is judged, or each seed.
        close: a miss by less than this is close: another draw of seeds could reach the level.
    """

    name: str
    level: float
    least: bool = True
    mean: bool = False
    close: float = 0.02

    def found(self, trials: Sequence[Trial]) -> list[float]:
        """What is judged: the number of each trial, or their mean."""
        values = [trial.numbers[self.name] for trial in trials]
        return [sum(values) / len(values)] if self.mean else values

    def gaps(self, trials: Sequence[Trial]) -> list[float]:
        """How much is missing each time; negative where there is a margin."""
        sign = 1 if self.least else -1
        return [sign * (self.level - value) for value in self.found(trials)]

    def met(self, trials: Sequence[Trial]) -> bool:
        """Whether all the trials reach it, or their mean does."""
        return max(self.gaps(trials)) <= 0

    def nearly(self, trials: Sequence[Trial]) -> bool:
        """Whether the mean, or the worst trial where others reach it, is closer than ``close``."""
        gaps = self.gaps(trials)
        return max(gaps) < self.close and (self.mean or min(gaps) <= 0)

    def __str__(self) -> str:
        mean = "mean " if self.mean else ""
        return f"{mean}{self.name} {'≥' if self.least else '≤'} {self.level:g}"


Advice = tuple[Callable[[Any, Trial], bool], str]
"""(config, worst trial) → whether the sentence applies; and the sentence, which names no setting that passes."""


@dataclass(frozen=True)
class TrainCheck:
    """A check that trains what the learner's function returns.

    Attributes:
        title: printed after the ✓.
        config: the defaults of the run; a setting that the learner does not name keeps its value here.
        allowed: fields that may be set.
        bars: what every run has to reach, or their mean.
        budget: sampled tokens of a run.
        measure: (config, state, prompts seen in training, seed) → numbers by name.
        advice: sentences about a run that misses a bar; the first that applies is shown.
        base: (config, seed) → the state before step 1; by default ``config.begin()``.
        rewards: names of rewards that may be used; empty where the field is not allowed.
        most: field → largest value, so that the check ends within about a minute.
        seeds: how many runs.
        choices: field → the words that it may be set to, where these are not all that the field takes.
        paid: config → what is paid from the budget before the first token is sampled.
    """

    title: str
    config: RunConfig
    allowed: tuple[str, ...]
    bars: tuple[Bar, ...]
    budget: int
    measure: Callable[[Any, TrainState, set[str], int], dict[str, float]]
    advice: tuple[Advice, ...] = ()
    base: Callable[[Any, int], TrainState] = lambda config, seed: config.begin()
    rewards: tuple[str, ...] = ()
    most: Mapping[str, float] = field(default_factory=dict)
    seeds: int = 2
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paid: Callable[[Any], int] = lambda config: 0
    cache: dict[str, Trial] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, fn: Any, seed: int | None = None) -> None:
        """Train the settings that ``fn`` returns on fresh seeds, or on those that belong to ``seed``.

        Raises:
            Mistake: when they break a rule, or when a run misses a bar.
        """
        with drawing(seed) as rng:
            config = self.configuration(fn)
            # The seeds of trials are small, so that no run of this check can have been tried before.
            fresh = [int(x) for x in rng.integers(1_000_000, 2_000_000, self.seeds)]
            trials = [self.run(config, one) for one in fresh]
            self.judge(function_name(fn), config, trials)
        found = [
            f"{bar.name} " + ", ".join(f"{trial.numbers[bar.name]:.3g}" for trial in trials)
            for bar in self.bars
        ]
        found += [f"mean {bar.found(trials)[0]:.3g}" for bar in self.bars if bar.mean]
        print(f"✓ {self.title}: {'; '.join(found)} ({self.seeds} fresh seeds)")

    def trial(self, fn: Any, seed: int = 0) -> Trial:
        """One run with a seed of your choice, to try settings out.

        Raises:
            ValueError: for a seed outside 0 … 999,999.
            Mistake: when the settings break a rule.
        """
        if not 0 <= seed < 1_000_000:
            raise ValueError(f"seed: must lie between 0 and 999,999, got {seed}")
        return self.run(self.configuration(fn), seed)

    # ---- the rules

    def configuration(self, fn: Any) -> Any:
        """The run that ``fn`` describes.

        Raises:
            Mistake: when it does not return allowed settings.
        """
        settings, _ = call(fn)
        name = function_name(fn)
        if not isinstance(settings, dict):
            kind = type(settings).__name__
            raise Mistake(f"{name} must return a dictionary of settings, not a {kind}")
        for key in settings:
            if key not in self.allowed:
                known = ", ".join(self.allowed)
                raise Mistake(f"{name}: {key!r} may not be set here. You may set: {known}")
        types = {one.name: one.type for one in fields(self.config)}
        plain = {key: self.plain(name, key, x, types[key]) for key, x in settings.items()}
        try:
            config = replace(self.config, **plain)
        except (ValueError, TypeError) as error:
            raise Mistake(f"{name}: the configuration refuses this. {error}") from None
        size = getattr(config, "prompts_per_step", 1) * getattr(config, "group_size", 1)
        if size > ANSWERS:
            raise Mistake(f"{name}: {size:,} answers per step; at most {ANSWERS:,} are allowed")
        if (paid := self.paid(config)) >= self.budget:
            raise Mistake(
                f"{name}: {paid:,} of {self.budget:,} tokens are paid before the run begins; nothing is left"
            )
        return config

    def plain(self, name: str, key: str, value: Any, kind: Any) -> Any:
        """``value`` as what the field ``key`` takes.

        Raises:
            Mistake: for another type, a number that is not finite or too large, or an unknown reward.
        """
        value = value.item() if isinstance(value, np.generic) else value
        if get_origin(kind) is dict:
            return self.weights(name, key, value)
        kinds = get_args(kind) or (kind,)
        literal = all(isinstance(one, str) for one in kinds)
        kinds = (str,) if literal else kinds
        fits = any(type(value) is one or (one is float and type(value) is int) for one in kinds)
        if not fits:
            words = " or ".join("None" if one is type(None) else one.__name__ for one in kinds)
            raise Mistake(f"{name}: {key} must be of type {words}, got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise Mistake(f"{name}: {key} must be finite, got {value}")
        if key in self.choices and value not in self.choices[key]:
            known = " or ".join(map(repr, self.choices[key]))
            raise Mistake(f"{name}: {key} must be {known} here, got {value!r}")
        if key in self.most and value is not None and value > self.most[key]:
            most = f"{self.most[key]:g}"
            raise Mistake(f"{name}: {key} may be at most {most} here, got {value:g}")
        return value

    def weights(self, name: str, key: str, value: Any) -> dict[str, float]:
        """``value`` as weights of rewards."""
        if not isinstance(value, dict) or not value:
            raise Mistake(f"{name}: {key} must be a dictionary, name of a reward → weight")
        for reward, weight in value.items():
            if reward not in self.rewards:
                known = ", ".join(self.rewards)
                raise Mistake(f"{name}: the reward {reward!r} may not be used here, only {known}")
            if type(weight) not in (int, float) or not math.isfinite(weight):
                raise Mistake(f"{name}: the weight of {reward!r} must be finite, got {weight!r}")
        return {reward: float(weight) for reward, weight in value.items()}

    # ---- the run

    def run(self, config: Any, seed: int) -> Trial:
        """Train ``config`` with ``seed`` until the budget is spent, and measure the policy.

        Equal runs are made once in a process.

        Raises:
            Mistake: when training breaks.
        """
        config = replace(config, seed=seed)
        key = repr(config)
        if key not in self.cache:
            self.cache[key] = self._run(config, seed)
        return self.cache[key]

    def _run(self, config: Any, seed: int) -> Trial:
        state = self.base(config, seed)
        first = next(iter(state.rewards))
        meter = state.rewards[first] = Meter(state.rewards[first], self.budget)
        meter.tokens = self.paid(config)
        records, ended = [], "all its steps were made"
        with _told_if_broken():
            try:
                for record in train(config, state=state):
                    records.append({**record, "spent": meter.tokens})  # noqa: PERF401  a run may end in between
            except BudgetSpent:
                ended = "the budget was spent"
            state.rewards[first] = meter.reward  # measuring is free
            numbers = self.measure(config, state, meter.prompts, seed)
        return Trial(seed, records, meter.tokens, numbers, ended)

    def judge(self, name: str, config: Any, trials: list[Trial]) -> None:
        """Compare the runs with the bars.

        Raises:
            Mistake: with the numbers of each run, and what to look at.
        """
        if not (missed := [bar for bar in self.bars if not bar.met(trials)]):
            return
        bad = [one for one in trials if not all(bar.met([one]) for bar in self.bars)] or trials
        means = [f"mean {bar.name} {bar.found(trials)[0]:.3f}" for bar in missed if bar.mean]
        each = "" if means else f" on {len(bad)} of {len(trials)} seeds"
        goal = f"Goal{' on each seed' if each else ''}: " + " and ".join(map(str, self.bars))
        lines = [
            ", ".join(f"{bar.name} {trial.numbers[bar.name]:.3g}" for bar in self.bars)
            + f" after {trial.steps} steps and {trial.tokens:,} tokens"
            for trial in trials
        ]
        found = "\n  ".join(lines + means)
        raise Mistake(
            f"{name}: the goal is missed{each}. {goal}.\n  {found}\n"
            f"The run ended when {bad[0].ended}. {self.advise(config, missed, trials, bad[0])}".rstrip()
        )

    def advise(self, config: Any, missed: list[Bar], trials: list[Trial], worst: Trial) -> str:
        """What to look at after a miss."""
        if not worst.steps:
            return NO_UPDATE
        if all(bar.nearly(trials) for bar in missed):
            return NEAR
        return next((words for applies, words in self.advice if applies(config, worst)), "")


@contextmanager
def _told_if_broken() -> Iterator[None]:
    """Turn a training that breaks, or a policy that samples from nan, into a message."""
    try:
        yield
    except (NonFiniteLossError, RuntimeError) as error:
        raise Mistake(f"training broke: {error}") from None
