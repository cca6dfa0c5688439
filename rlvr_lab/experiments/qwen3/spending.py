"""Ways to spend tokens at test time: votes, a verifier, a budget for the chain, forced ``wait`` (notebook 10).

Each policy answers 96 problems 64 times. From these answers n are taken: *best-of-n* hands in a correct one if there
is one (a verifier finds it), so its accuracy is pass@n; the *vote* hands in the commonest answer. Against them
stand two ways to make one answer longer or shorter: a *budget* halts the chain after b words (``</think>`` is
inserted, and the model writes its answer), and a forced ``wait`` takes the place of ``</think>`` where the chain
ends by itself, so that the model goes on (s1's budget forcing, arXiv:2501.19393).

Where do errors come from?

- ``sums``: the chains of the base have random slips, and some stop early with a guess;
- ``codes``: the base believes wrong facts, so its errors are systematic;
- ``codes_rl``: the same after 40 steps of GRPO.

The first word is forced: ``<think>`` for a chain, ``=`` for a direct answer, which is a guess in both worlds.

Recorded by ``python -m rlvr_lab record qwen3/test_time``.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from rlvr_lab.experiments.base_models import codes_base, sums_base
from rlvr_lab.experiments.evaluated import short_record
from rlvr_lab.experiments.qwen3.votes import ballots, vote_curve
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.codes import Codes
from rlvr_lab.tasks.evaluation import pass_at_k
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Problem, Task, grade
from rlvr_lab.training.config import RunConfig
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS

__all__ = [
    "GUESS",
    "NS",
    "STUDY",
    "VARIANTS",
    "Desk",
    "SpendingConfig",
    "at_tokens",
    "cut_chain",
    "go_on",
    "measure",
    "of_variant",
    "wait_for",
]

GUESS = {"sums": 0.1, "codes": 1e-3}
"""Probability that a blind guess is correct."""
NS = (1, 2, 4, 8, 16, 32, 64)
LIMITS = {"sums": 40, "codes": 24}
"""Cap on an answer, in tokens."""
_CHAIN = re.compile(r"<think>((?:[0-9]|wait)*)")
_WORD = re.compile(r"[0-9]|wait")


# ------------------------------------------------------------------------- longer and shorter chains


def cut_chain(text: str, budget: int) -> str | None:
    """The beginning of an answer to a sum whose chain is halted after ``budget`` words; None where it is shorter.

    >>> cut_chain("<think>7203</think>=3", 2), cut_chain("<think>72</think>=2", 2), cut_chain("=3", 2)
    ('<think>72</think>', None, None)
    """
    match = _CHAIN.match(text)
    words = _WORD.findall(match[1]) if match else []
    return f"<think>{''.join(words[:budget])}</think>" if len(words) > budget else None


def wait_for(text: str) -> str | None:
    """The beginning of an answer with ``wait`` in place of its first ``</think>``; None where there is none.

    >>> wait_for("<think>7203</think>=3"), wait_for("<think>72=2")
    ('<think>7203wait', None)
    """
    head, tag, _ = text.partition("</think>")
    return f"{head}wait" if tag and head.startswith("<think>") else None


class Drawn(NamedTuple):
    """B = M·S answers, groups contiguous."""

    texts: list[str]
    truncated: list[bool]


def go_on(
    policy: Policy,
    problems: list[Problem],
    drawn: Drawn,
    start: Callable[[str], str | None],
    limit: int,
    generator: torch.Generator,
    chunk: int = 1024,
) -> Drawn:
    """Where ``start`` gives a beginning, the policy writes the answer on from there; the others stay as they are."""
    texts, truncated = list(drawn.texts), list(drawn.truncated)
    size = len(texts) // len(problems)
    begun = [(row, one) for row, text in enumerate(texts) if (one := start(text)) is not None]
    for first in range(0, len(begun), chunk):
        part = begun[first : first + chunk]
        prompts = [problems[row // size].prompt + one for row, one in part]
        rest = sample(policy, prompts, 1, limit, generator)
        ends = zip(part, rest.texts, rest.truncated.tolist(), strict=True)
        for (row, one), tail, cut in ends:
            texts[row], truncated[row] = one + tail, cut
    return Drawn(texts, truncated)


# ------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class SpendingConfig(RunConfig, kind="qwen3-test-time"):
    """One way to answer, S times for each of M problems, and what n of the answers are worth.

    Attributes:
        policy: ``sums``, ``codes``, or ``codes_rl``; see the module.
        way: ``chain`` or ``direct``: the first word.
        budget: words after which the chain of a sum is halted; None for no limit.
        waits: so often ``wait`` takes the place of ``</think>``.
        problems: M.
        samples: S.
        orders: random orders of the answers for the vote.
        rl_steps: of GRPO, for ``codes_rl``.

    There is a record for each n, with ``step`` = n: ``best_of`` (unbiased), ``vote``, ``tokens`` (of n answers). The
    first one also has, for each problem, counts among all S answers: ``correct``, ``valid`` (well-formed, so they
    have a vote), ``rival`` (the commonest incorrect answer); ``lost`` and ``won``, the shares of all answers that a
    budget or a wait made incorrect and correct; and ``samples``, the first problem and some of its answers.

    Raises:
        ValueError: naming the field.
    """

    policy: Literal["sums", "codes", "codes_rl"] = "sums"
    way: Literal["chain", "direct"] = "chain"
    budget: int | None = None
    waits: int = 0
    problems: int = 96
    samples: int = 64
    orders: int = 64
    rl_steps: int = 40

    FIXED = (*RunConfig.FIXED, "policy", "way", "budget", "waits", "problems", "samples")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "problems", "samples", "orders", "rl_steps")
        self.require_at_least(0, "waits")
        longer = self.budget is not None or self.waits > 0
        fits = self.policy == "sums" and self.way == "chain"
        self.require("policy", fits or not longer, "sums with chains, for a budget or waits")
        self.require("budget", self.budget is None or self.budget >= 1, "at least 1 or None")
        self.require("waits", self.budget is None or not self.waits, "0 with a budget")

    @property
    def world(self) -> str:
        """``sums`` or ``codes``."""
        return self.policy.removesuffix("_rl")

    @property
    def task(self) -> Task:
        """The world's task."""
        return Sums() if self.world == "sums" else Codes()


class Desk:
    """One seed: its policies, its problems, and the answers without budget and waits, each made once."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.policy, self.drawn = cache(self._policy), cache(self._drawn)

    def _policy(self, name: str, rl_steps: int) -> Policy:
        if name == "sums":
            return sums_base(self.seed, "cpu")[0]
        policy = codes_base(self.seed, "cpu")
        if name == "codes_rl":
            grpo = replace(PRESETS["grpo"], world="codes", max_new_tokens=LIMITS["codes"])
            config = replace(grpo, steps=rl_steps, seed=self.seed, device="cpu")
            for _ in train(config, state=config.begin(policy)):
                pass
        return policy

    def problems(self, config: SpendingConfig) -> list[Problem]:
        """The same for each policy of a world."""
        rng = random.Random(f"test time {config.world} {self.seed}")
        return config.task.problems(config.problems, rng)

    def _drawn(self, config: SpendingConfig) -> Drawn:
        policy, problems = self.policy(config.policy, config.rl_steps), self.problems(config)
        generator = torch.Generator().manual_seed(self.seed)
        words = ["<think>" if config.way == "chain" else "="] * (config.problems * config.samples)
        prompts = [problem.prompt for problem in problems]
        batch = sample(
            policy,
            prompts,
            config.samples,
            LIMITS[config.world],
            generator,
            forced_words=words,
        )
        return Drawn(batch.texts, batch.truncated.tolist())

    def answers(self, config: SpendingConfig) -> Drawn:
        """The answers of ``config``; those with a budget or a wait begin as those without."""
        policy, problems = self.policy(config.policy, config.rl_steps), self.problems(config)
        drawn = self.drawn(_plain(config))
        generator, limit = torch.Generator().manual_seed(1000 + self.seed), LIMITS[config.world]
        if (budget := config.budget) is not None:
            return go_on(
                policy, problems, drawn, lambda text: cut_chain(text, budget), limit, generator
            )
        for _ in range(config.waits):
            drawn = go_on(policy, problems, drawn, wait_for, limit, generator)
        return drawn

    def run(self, config: SpendingConfig) -> Run:
        """What n of the answers are worth, and what they cost."""
        config = replace(config, seed=self.seed)
        problems, drawn = self.problems(config), self.answers(config)
        tokenizer = self.policy(config.policy, config.rl_steps).tokenizer
        lengths = [
            len(tokenizer.encode(text, add_special_tokens=False)) + (not cut)
            for text, cut in zip(*drawn, strict=True)
        ]
        verdicts = grade(config.task, problems, *drawn)
        before = grade(config.task, problems, *self.drawn(_plain(config)))
        plain = np.array([v.correct for v in before]).reshape(config.problems, -1)
        given = [v.answer if v.reason in ("right", "wrong") else None for v in verdicts]
        correct = np.array([v.correct for v in verdicts]).reshape(config.problems, -1)
        votes = np.stack(
            [
                ballots(given[i * config.samples : (i + 1) * config.samples], _written(problem))
                for i, problem in enumerate(problems)
            ]
        )
        ns = [n for n in NS if n <= config.samples]
        voted = vote_curve(votes, ns, config.orders, self.seed)
        counts = correct.sum(axis=1).tolist()
        records: list[dict[str, Any]] = [
            {
                "step": n,
                "best_of": float(np.mean([pass_at_k(config.samples, c, n) for c in counts])),
                "vote": float(vote),
                "tokens": n * float(np.mean(lengths)),
            }
            for n, vote in zip(ns, voted, strict=True)
        ]
        records[0] |= {
            "correct": counts,
            "valid": (votes >= 0).sum(axis=1).tolist(),
            "rival": [int(max(np.bincount(one[one > 0]), default=0)) for one in votes],
            "lost": float((plain & ~correct).mean()),
            "won": float((correct & ~plain).mean()),
            "samples": [problems[0].prompt, *drawn.texts[: min(6, config.samples)]],
        }
        return Run(config, [short_record(record) for record in records])


def _plain(config: SpendingConfig) -> SpendingConfig:
    """The same without budget and waits."""
    return replace(config, budget=None, waits=0)


def _written(problem: Problem) -> str:
    """The correct answer as it is written."""
    width = 3 if "," in problem.prompt else 1
    return f"{problem.answer:0{width}d}"


VARIANTS: dict[str, SpendingConfig] = {
    "sums": SpendingConfig(),
    "sums, direct": SpendingConfig(way="direct"),
    **{f"sums, budget {b}": SpendingConfig(budget=b) for b in (2, 4, 6)},
    **{f"sums, wait × {w}": SpendingConfig(waits=w) for w in (1, 2, 4)},
    "codes": SpendingConfig("codes"),
    "codes, direct": SpendingConfig("codes", way="direct"),
    "codes after GRPO": SpendingConfig("codes_rl"),
}
"""What is recorded. Chains, without a budget and without ``wait`` unless the name says otherwise."""


def measure(seeds: int, variants: Mapping[str, SpendingConfig], first: int) -> Iterator[Run]:
    """Each variant on each seed; a seed has its own bases, wrong facts and problems.

    Raises:
        ValueError: for no seeds.
    """
    for seed in replicates(seeds, first):
        desk = Desk(seed)
        for config in variants.values():
            yield desk.run(config)


STUDY = Study("ways to spend tokens at test time", VARIANTS, measure, 5, "qwen3/test_time", first=1)


# ---------------------------------------------------------------------------------- reading them


def of_variant(runs: Iterable[Run], config: SpendingConfig) -> list[Run]:
    """The runs of one variant, in the order of their seeds.

    Raises:
        ValueError: when there is none.
    """
    same = [run for run in runs if replace(run.config, seed=config.seed) == config]
    if not same:
        raise ValueError(f"runs: none has the settings {config}")
    return sorted(same, key=lambda run: run.config.seed)


def at_tokens(runs: Iterable[Run], key: str, tokens: float) -> Float[np.ndarray, " S"]:
    """One metric of each run at a number of tokens per problem, linear in log tokens between the recorded n.

    Raises:
        ValueError: when a run did not spend so few or so many.
    """
    found = []
    for run in runs:
        spent = run.curve("tokens")
        if not spent[0] <= tokens <= spent[-1]:
            raise ValueError(f"tokens: from {spent[0]:.1f} to {spent[-1]:.0f}, not {tokens}")
        found.append(np.interp(np.log(tokens), np.log(spent), run.curve(key)))
    return np.array(found)
