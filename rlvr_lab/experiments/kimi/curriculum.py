"""Which problems to ask: curriculum, prioritised sampling and filters, at equal tokens (notebook 09, section 4).

The world is that of the long sums: 2 to 12 digits, the answer is the last two running sums, and a blind guess is
correct once in 100 times. In the *hard pool* 85 % of the problems have 9 to 12 digits. Two bases differ in how often
their additions slip (``long_bases``): in world A some answers to hard problems are correct, in world B hardly any
with a correct chain.

A run ends with the step that spends its budget of sampled tokens. Discarded answers are paid.

Recorded by ``python -m rlvr_lab record kimi/curriculum``.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rlvr_lab.experiments.evaluated import EvaluatedConfig, short_record
from rlvr_lab.experiments.kimi.long_bases import long_base
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.long_sums import LongSums, digits_of, running_sums
from rlvr_lab.tasks.task import Problem, Verdict
from rlvr_lab.training.curriculum import (
    Strategy,
    band,
    in_order,
    prioritised,
    reversed_order,
    tracked,
    uniform,
    variance,
    warm_up,
    without_order,
)
from rlvr_lab.training.filtering import in_band, joined, pass_rates, restricted
from rlvr_lab.training.loop import train
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = [
    "GUESS",
    "LEVELS",
    "STUDY",
    "TERMS",
    "VARIANTS",
    "CurriculumConfig",
    "measure_curriculum",
    "pool_of",
    "sound",
]

GUESS = 0.01
"""Probability that a blind guess at two digits is correct."""
TERMS = range(2, 13)
"""The classes of difficulty: numbers of terms, from easy to hard."""
LEVELS = {"easy": (2, 5), "middle": (6, 8), "hard": (9, 12)}
"""Level → fewest and most terms."""
HARDEST = 4
"""Classes of the level ``hard``."""
EVEN = HARDEST / len(TERMS)
"""The share of hard problems in a pool in which all numbers of terms are equally frequent."""
START, RAMP = 3, 0.5
"""Easy to hard begins with 2 to 4 terms, and asks the whole pool from half of the budget on."""
SWITCH = 24 / 42
"""Kimi's Figure 9 changes to hard problems at iteration 24; its two curves are last compared at 42."""
LOW, HIGH, FLOOR = 0.2, 0.8, 0.1
ORDERED = in_order(START, RAMP)
STRATEGIES: dict[str, Strategy] = {
    "uniform": uniform,
    "easy_to_hard": ORDERED,
    "hard_to_easy": reversed_order(ORDERED),
    "no_order": without_order(ORDERED),
    "warm_up": warm_up(SWITCH, HARDEST),
    "one_minus_s": prioritised,
    "variance": variance(FLOOR),
    "band": band(LOW, HIGH, FLOOR),
    "filter": uniform,  # and its groups are filtered after sampling
}
"""Name → how the classes of the next step are chosen."""
ROUND = 100_000
"""A later round of the filter draws its problems and answers as a step this much later would."""


def pool_of(hard_share: float) -> Float[ndarray, " K"]:
    """How often each number of terms occurs: ``hard_share`` is spread evenly over 9–12 terms, the rest over 2–8."""
    easier = len(TERMS) - HARDEST
    return np.array([(1 - hard_share) / easier] * easier + [hard_share / HARDEST] * HARDEST)


@dataclass(frozen=True)
class Asked(LongSums):
    """The long sums in which each number of terms has a given probability.

    Attributes:
        probabilities: of the classes ``TERMS``.
    """

    probabilities: tuple[float, ...] = tuple(pool_of(EVEN))

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """Draw the numbers of terms, then the digits."""
        terms = rng.choices(TERMS, self.probabilities, k=count)
        return [self.problem([rng.randrange(10) for _ in range(n)]) for n in terms]


@dataclass(frozen=True)
class Test(LongSums):
    """The test: ``count`` problems of each level, level by level."""

    __test__: ClassVar[bool] = False

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """``len(LEVELS)`` · count problems; within a level the numbers of terms are equally frequent."""
        each = [LongSums(*terms).problems(count, rng) for terms in LEVELS.values()]
        return [problem for level in each for problem in level]


def sound(problem: Problem, text: str) -> bool:
    """Whether an answer contains the whole flawless chain.

    >>> problem = LongSums().problem([7, 5, 8])
    >>> sound(problem, "<think>720</think>=20"), sound(problem, "<think>420</think>=20")
    (True, False)
    """
    chain = "".join(map(str, running_sums(digits_of(problem.prompt))))
    return text.startswith(f"<think>{chain}</think>")


@dataclass(frozen=True)
class CurriculumConfig(EvaluatedConfig, kind="kimi-curriculum"):
    """GRPO on the long sums with one strategy, until a budget of sampled tokens is spent.

    Attributes:
        slips: the base, see ``long_bases.SLIPS``.
        strategy: a name in ``STRATEGIES``. ``filter`` draws from the pool, discards groups whose pass rate lies
            outside .2–.8, and samples again, at most ``rounds`` times a step.
        hard_share: of the pool.
        budget: sampled tokens after which the run ends.
        rounds: most rounds of sampling in a step of ``filter``.
        memory: of the running success rates; each group of a class moves its rate by 1 − memory.
        every: sampled tokens from one test to the next.
        test_problems: of each of the three levels.

    A record holds ``sampled_tokens``, ``updates``, ``groups`` (sampled), ``none`` and ``all`` (of them: groups
    without a correct answer, with correct answers only), ``kept`` (groups that were trained on) and
    ``asked_<level>`` (groups), each cumulated over the run; ``rates``, the running rates of the classes; and of
    the test, for each level, ``<level>`` (accuracy), ``accuracy`` over all levels, ``length``, ``entropy``, and
    ``sound_hard``: the share of hard answers that are correct and have a flawless chain.

    Raises:
        ValueError: naming the field.
    """

    world: str = "long_sums"
    max_new_tokens: int = 24
    steps: int = field(default=1000, kw_only=True)
    every: int = 12_000
    test_problems: int = 64
    test_samples: int = 4
    slips: Literal["A", "B"] = "A"
    strategy: Literal[
        "uniform",
        "easy_to_hard",
        "hard_to_easy",
        "no_order",
        "warm_up",
        "one_minus_s",
        "variance",
        "band",
        "filter",
    ] = "uniform"
    hard_share: float = 0.85
    budget: int = 72_000
    rounds: int = 8
    memory: float = 0.8

    FIXED = (*EvaluatedConfig.FIXED, "slips", "strategy", "hard_share", "budget", "memory")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "long_sums", "long_sums")
        self.require("world_options", not self.world_options, "empty: the pool says what is asked")
        self.require("hard_share", 0 <= self.hard_share <= 1, "between 0 and 1")
        self.require("memory", 0 <= self.memory < 1, "in [0, 1)")
        self.require_at_least(1, "budget", "rounds")

    def begin(self, policy: Policy | None = None, *given: Any, **named: Any) -> TrainState:
        """The state before step 1; by default from the base of this replicate. All running rates begin at .5."""
        policy = policy or long_base(self.slips, self.table, self.device)[0]
        state = super().begin(policy, *given, **named)
        counted = ("sampled_tokens", "updates", "groups", "none", "all", "kept", "tested")
        state.numbers = dict.fromkeys((*counted, *(f"asked_{level}" for level in LEVELS)), 0)
        state.numbers |= {f"rate_{terms}": 0.5 for terms in TERMS}
        return state

    def probabilities(self, state: TrainState) -> Float[ndarray, " K"]:
        """Of the classes of the next step."""
        progress = min(1.0, state.numbers["sampled_tokens"] / self.budget)
        rates = np.array([state.numbers[f"rate_{terms}"] for terms in TERMS])
        return STRATEGIES[self.strategy](pool_of(self.hard_share), progress, rates)

    def collect(self, state: TrainState) -> Experience | None:
        """The next step's answers; None when the filter kept no group."""
        task, parts, missing = Asked(probabilities=tuple(self.probabilities(state))), [], 0
        for turn in range(self.rounds if self.strategy == "filter" else 1):
            asked = replace(state, task=task, step=state.step + turn * ROUND)
            sampled = super().collect(asked)
            rates = pass_rates(sampled)
            self._count(state, sampled, rates.tolist())
            if self.strategy != "filter":
                parts = [sampled]
                break
            missing = self.prompts_per_step - sum(len(one.answers.problems) for one in parts)
            good = in_band(rates, LOW, HIGH).nonzero()[:missing, 0].tolist()
            if good:
                parts.append(restricted(sampled, good))
            if len(good) == missing or state.numbers["sampled_tokens"] >= self.budget:
                break
        state.numbers["kept"] += sum(len(one.answers.problems) for one in parts)
        return joined(parts) if parts else None

    def _count(self, state: TrainState, sampled: Experience, rates: list[float]) -> None:
        numbers = state.numbers
        numbers["sampled_tokens"] += int(sampled.batch.lengths.sum())
        numbers["groups"] += len(rates)
        numbers["none"] += rates.count(0.0)
        numbers["all"] += rates.count(1.0)
        for problem, rate in zip(sampled.answers.problems, rates, strict=True):
            terms = problem.difficulty + 1
            name = f"rate_{terms}"
            numbers[name] = tracked(numbers[name], rate, self.memory)
            level = next(one for one, (low, high) in LEVELS.items() if low <= terms <= high)
            numbers[f"asked_{level}"] += 1

    def update(self, state: TrainState, experience: Experience | None) -> dict[str, float]:
        """One step of GRPO, if there is anything to learn from."""
        if experience is not None:
            super().update(state, experience)
            state.numbers["updates"] += 1
        return {}

    def after(self, state: TrainState) -> dict[str, Any] | None:
        """The test, when the tokens have passed a multiple of ``every`` or the budget."""
        numbers = state.numbers
        passed = numbers["sampled_tokens"] // self.every
        if passed == numbers["tested"] and numbers["sampled_tokens"] < self.budget:
            return None
        numbers["tested"] = passed
        return self.test(state)

    def test(self, state: TrainState) -> dict[str, Any]:
        """The test, and what the run has used so far."""
        found = super().test(replace(state, task=Test()))
        numbers = {
            name: value
            for name, value in state.numbers.items()
            if name != "tested" and not name.startswith("rate_")
        }
        rates = [round(state.numbers[f"rate_{terms}"], 3) for terms in TERMS]
        return {**found, **numbers, "rates": rates}

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """Accuracy of each level, and how much of the hardest level's has a flawless chain."""
        correct = np.array([verdict.correct for verdict in verdicts]).reshape(len(LEVELS), -1)
        size = batch.group_size
        flawless = [sound(problems[row // size], text) for row, text in enumerate(batch.texts)]
        hard = np.array(flawless).reshape(len(LEVELS), -1)[-1] & correct[-1]
        return {
            **super().describe(problems, batch, verdicts),
            **dict(zip(LEVELS, correct.mean(axis=1).tolist(), strict=True)),
            "sound_hard": float(hard.mean()),
        }


# ------------------------------------------------------------------------------------ the study

_HARD_POOL = CurriculumConfig()
_FORMS: dict[str, CurriculumConfig] = {
    "uniform": _HARD_POOL,
    **{
        name: replace(_HARD_POOL, strategy=name)
        for name in ("easy_to_hard", "hard_to_easy", "no_order", "one_minus_s", "variance")
    },
    "band": replace(_HARD_POOL, strategy="band"),
    "filter": replace(_HARD_POOL, strategy="filter"),
    "more_updates": replace(_HARD_POOL, prompts_per_step=8),
    "even": replace(_HARD_POOL, hard_share=EVEN),
    "warm_up": replace(_HARD_POOL, hard_share=EVEN, strategy="warm_up"),
}
_ONLY_B = ("hard_to_easy", "no_order", "variance", "band")
VARIANTS: dict[str, CurriculumConfig] = {
    f"{world}-{name}": replace(config, slips=world)
    for world in ("A", "B")
    for name, config in _FORMS.items()
    if world == "B" or name not in _ONLY_B
}
"""World and form. ``more_updates``: uniform with 8 problems a step, so nearly twice the updates per token. ``even``:
uniform over 2–12 terms. ``warm_up``: the same pool, then only 9–12 terms (the curriculum of Kimi's Figure 9)."""


def until_spent(config: CurriculumConfig, state: TrainState) -> Iterator[dict[str, Any]]:
    """The records of a run, up to the one in which the budget is spent."""
    for record in train(config, state=state):
        yield short_record(record)
        if record["sampled_tokens"] >= config.budget:
            return


def measure_curriculum(
    seeds: int, variants: Mapping[str, CurriculumConfig], first: int
) -> Iterator[Run]:
    """Each variant from the base of its world, paired by seed. Record 0 names the base's own seed, ``base_seed``.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        for config in variants.values():
            one = replace(config, seed=seed, table=seed)
            policy, used = long_base(one.slips, seed, one.device)
            records = list(until_spent(one, one.begin(policy)))
            records[0]["base_seed"] = used
            yield Run(one, records)


STUDY = Study(
    "which problems to ask: curriculum, 1 - s, filters, at equal sampled tokens",
    VARIANTS,
    measure_curriculum,
    5,
    "kimi/curriculum",
    first=1,
)
