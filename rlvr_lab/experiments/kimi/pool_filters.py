"""Which items of a mixed pool a filter keeps, and how difficult they are (notebook 09, section 1).

Kimi k1.5 (arXiv:2501.12599, section 2.1) excludes formats whose answers are easily guessed (multiple choice,
true/false, proofs). It then lets a model guess each answer *without* a chain of thought and removes an item when one
of N = 8 guesses is correct. The difficulty of an item is the pass rate of 10 answers of an SFT model.

The lecture's notes describe the test as "select only examples that fail best-of-8": eight ordinary answers. That is
a statement about difficulty, so it is measured here beside the other one.
"""

import random
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from rlvr_lab.experiments.base_models import REPLACEMENT, sums_base
from rlvr_lab.experiments.evaluated import short_record
from rlvr_lab.experiments.kept_bases import kept_base
from rlvr_lab.experiments.pretraining import PretrainingFailed, fit, learn_chains
from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.words import word_tokenizer
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.evaluation import evaluate
from rlvr_lab.tasks.mixed_pool import KINDS, POOL_WORDS, Kind, MixedPool, PoolMixture, kind_of
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Problem, Task, grade
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.optimise import adamw, trained

__all__ = [
    "EXCLUDED",
    "GATES",
    "SHARES",
    "SLIPS",
    "Attempts",
    "Curated",
    "FiltersConfig",
    "Skill",
    "attempts_at",
    "curate",
    "measure_filters",
    "pool_base",
    "pool_items",
]

SHARES: dict[Kind, float] = {
    "sums": 0.13,
    "differences": 0.13,
    "comparisons": 0.14,
    "true_false": 0.20,
    "options": 0.20,
    "tricks": 0.20,
}
"""Share of each kind in the pool. About a quarter passes the filters."""
EXCLUDED: tuple[Kind, ...] = ("true_false", "options")
"""Formats that are excluded before any model is asked."""
LESSONS = {"sums": 0.25, "differences": 0.25, "comparisons": 0.15}
LESSONS |= {"true_false": 0.15, "options": 0.15, "tricks": 0.05}
"""Share of each kind while the base learns chains."""
MIXTURE_STEPS = 80
Skill = Literal["able", "weak"]
SLIPS: dict[Skill, float] = {"able": 0.08, "weak": 0.30}
"""Probability of a wrong step in the chains that a base is taught in the end."""
GATES: dict[Skill, tuple[float, float]] = {"able": (0.12, 0.40), "weak": (0.02, 0.25)}
"""Bounds on a base's pass@1 on sums, fixed before the recorded seeds."""
LONGEST = 24


def pool_base(seed: int, skill: Skill = "weak", device: str = "cpu") -> tuple[Policy, int]:
    """A base of one seed, made once and kept, and the seed that its pretraining used.

    Flawless chains until 95 % of the answers are correct, then ``MIXTURE_STEPS`` steps on ``PoolMixture`` with the
    slips of its skill. Both skills share the first stage. A base that misses its gate, or does not learn the chains,
    is replaced by that of the seed plus 1,000, and so on.

    Raises:
        PretrainingFailed: when five bases in a row fail.
    """
    for used in range(seed, seed + 5 * REPLACEMENT, REPLACEMENT):
        name = f"mixed_pool_{skill}_{used}"
        try:
            return kept_base(name, lambda used=used: _taught(used, skill, device), device), used
        except PretrainingFailed:
            continue
    raise PretrainingFailed(f"seed {seed}: five bases in a row missed the gate")


def _chains(seed: int, device: str) -> Policy:
    """The first stage: flawless chains."""
    policy = new_policy(word_tokenizer(POOL_WORDS), seed, device=device)
    optimizer, rng = adamw(trained(policy.model), 1e-3), random.Random(f"pool chains {seed}")
    solve = PoolMixture.clean().solve
    learn_chains(policy, MixedPool(LESSONS), solve, optimizer, rng, seed, log=lambda line: None)
    return policy


def _taught(seed: int, skill: Skill, device: str) -> Policy:
    policy = kept_base(f"mixed_pool_chains_{seed}", lambda: _chains(seed, device), device)
    optimizer, rng = adamw(trained(policy.model), 1e-3), random.Random(f"mixed pool {seed}")
    solve = PoolMixture(slip=SLIPS[skill]).solve
    fit(policy, MixedPool(), solve, MIXTURE_STEPS, 1.5e-3, optimizer, rng)
    measured = evaluate(policy, MixedPool({"sums": 1}), 128, 8, max_new_tokens=LONGEST)["pass@1"]
    low, high = GATES[skill]
    if not low <= measured <= high:
        raise PretrainingFailed(
            f"seed {seed}: {skill} has pass@1 {measured:.3f} on sums, not in [{low}, {high}]"
        )
    return policy


def pool_items(count: int, seed: int) -> list[Problem]:
    """The pool: ``count`` items of ``SHARES``."""
    return MixedPool(SHARES).problems(count, random.Random(f"pool {seed}"))


@dataclass(frozen=True)
class Attempts:
    """Several answers to each of M items.

    Attributes:
        texts: [M][K].
        correct: [M, K].
    """

    texts: list[list[str]]
    correct: Bool[Tensor, "M K"]


def attempts_at(
    policy: Policy,
    items: list[Problem],
    count: int,
    seed: int,
    first_word: Literal["", "=", "<think>"] = "",
    task: Task | None = None,
) -> Attempts:
    """``count`` answers to each item at temperature 1.

    Args:
        policy: answers.
        items: M.
        count: K.
        seed: of the sampling.
        first_word: ``=`` leaves no room for a chain, ``<think>`` begins one; "" leaves it to the policy.
        task: verifies; by default the mixed pool.
    """
    generator = torch.Generator(policy.device).manual_seed(seed)
    forced = [first_word] * (len(items) * count) if first_word else None
    prompts = [item.prompt for item in items]
    batch = sample(policy, prompts, count, LONGEST, generator, forced_words=forced)
    verdicts = grade(task or MixedPool(), items, batch.texts, batch.truncated.tolist())
    correct = torch.tensor([verdict.correct for verdict in verdicts]).reshape(-1, count)
    texts = [batch.texts[i : i + count] for i in range(0, len(batch.texts), count)]
    return Attempts(texts, correct)


@dataclass(frozen=True)
class Curated:
    """A pool and what was found about each item.

    Attributes:
        items: M.
        guesses: N answers without a chain.
        answers: N ordinary answers.
    """

    items: list[Problem]
    guesses: Attempts
    answers: Attempts

    @property
    def format_ok(self) -> Bool[Tensor, " M"]:
        """Whether the format of the item is allowed."""
        return torch.tensor([kind_of(item.prompt) not in EXCLUDED for item in self.items])

    @property
    def guessable(self) -> Bool[Tensor, " M"]:
        """Whether one of the guesses without a chain is correct: the paper's test removes the item."""
        return self.guesses.correct.any(dim=1)

    @property
    def solved(self) -> Bool[Tensor, " M"]:
        """Whether one of the ordinary answers is correct: "fails best-of-8" removes the item."""
        return self.answers.correct.any(dim=1)

    def split(self, reading: str) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
        """The items that are kept and those that are removed.

        Args:
            reading: ``paper``: allowed format and not guessable; ``notes``: allowed format and not solved.
        """
        keep = self.format_ok & ~(self.guessable if reading == "paper" else self.solved)
        pairs = list(zip(self.items, keep.tolist(), strict=True))
        return tuple(i for i, k in pairs if k), tuple(i for i, k in pairs if not k)


def curate(policy: Policy, items: list[Problem], attempts: int, seed: int) -> Curated:
    """Ask the policy ``attempts`` times for each item, without a chain and as it likes."""
    guesses = attempts_at(policy, items, attempts, 10 * seed, "=")
    return Curated(items, guesses, attempts_at(policy, items, attempts, 10 * seed + 1))


@dataclass(frozen=True)
class FiltersConfig(RunConfig, kind="kimi-pool-filters"):
    """The filters on one pool, and the difficulty of sums.

    Attributes:
        skill: of the base that answers: ``able``, taught chains with 8 % slips, or ``weak``, with 30 %.
        items: M, size of the pool.
        attempts: N.
        answers: answers for one estimate of a pass rate.
        rated: sums of which the pass rate is estimated, twice.

    There is one record. For each kind: ``items_<kind>``; ``guess_<kind>``, the share of correct guesses without a
    chain; ``answer_<kind>``, the share of correct ordinary answers; ``guessable_<kind>`` and ``solved_<kind>``, the
    shares of items with a correct guess among N, and with a correct ordinary answer among N. ``kept_paper`` and
    ``kept_notes``: numbers of items that each reading keeps. ``terms``, ``first`` and ``second``: for each rated sum
    its number of terms and the number of correct ones among ``answers`` chains, drawn twice. ``one_digit`` and
    ``guess_one_digit``: on the course's sums and its base, the share of problems with a correct guess among N,
    and the share of correct guesses. ``shown``: two items of each kind, as [kind, prompt, answer, N guesses, number
    of correct ones]. ``base``: the seed that the base was made with.

    Raises:
        ValueError: naming the field.
    """

    skill: Skill = "weak"
    items: int = 1000
    attempts: int = 8
    answers: int = 10
    rated: int = 240

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "items", "attempts", "answers", "rated")


def measure_filters(config: FiltersConfig, policy: Policy, used: int) -> tuple[Run, Curated]:
    """The run of ``config``, and the curated pool."""
    pool = curate(policy, pool_items(config.items, config.seed), config.attempts, config.seed)
    found: dict[str, Any] = {"step": 0, "base": used}
    kinds = [kind_of(item.prompt) for item in pool.items]
    for kind in KINDS:
        own = torch.tensor([k == kind for k in kinds])
        found |= {
            f"items_{kind}": int(own.sum()),
            f"guess_{kind}": _mean(pool.guesses.correct[own]),
            f"guessable_{kind}": _mean(pool.guessable[own]),
            f"answer_{kind}": _mean(pool.answers.correct[own]),
            f"solved_{kind}": _mean(pool.solved[own]),
        }
    found |= {f"kept_{name}": len(pool.split(name)[0]) for name in ("paper", "notes")}
    found |= _rated(config, policy) | _one_digit(config)
    found["shown"] = [
        [
            kind,
            pool.items[i].prompt,
            pool.items[i].answer,
            [text.removeprefix("=") for text in pool.guesses.texts[i]],
            int(pool.guesses.correct[i].sum()),
        ]
        for kind in KINDS
        for i in [j for j, k in enumerate(kinds) if k == kind][:2]
    ]
    return Run(config, [short_record(found)]), pool


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if values.numel() else None


def _rated(config: FiltersConfig, policy: Policy) -> dict[str, Any]:
    """Two estimates of the pass rate of each of some sums, with a chain."""
    rng = random.Random(f"rated {config.seed}")
    sums = MixedPool({"sums": 1}).problems(config.rated, rng)
    counts = {
        name: attempts_at(policy, sums, config.answers, 10 * config.seed + k, "<think>")
        .correct.sum(dim=1)
        .tolist()
        for k, name in ((2, "first"), (3, "second"))
    }
    return {"terms": [problem.difficulty + 1 for problem in sums], **counts}


def _one_digit(config: FiltersConfig) -> dict[str, Any]:
    """The same test on the course's sums, which have one digit for an answer."""
    policy, _ = sums_base(config.seed, "cpu")
    sums = Sums().problems(config.rated, random.Random(f"one digit {config.seed}"))
    tries = attempts_at(policy, sums, config.attempts, 10 * config.seed + 4, "=", Sums())
    return {
        "guess_one_digit": _mean(tries.correct),
        "one_digit": _mean(tries.correct.any(dim=1)),
    }
