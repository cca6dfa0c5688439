"""Language mixing under RL and the language consistency reward of DeepSeek-R1, run small (notebook 08).

The base model knows the additions of the codes in two languages. In this experiment 12 of the 90 additions are wrong
in digits and 12 others in words (``facts="apart"``). A chain in one language fails where it meets a wrong fact
of that language; a chain that changes the language at the right place does not.

A control removes this advantage: with ``facts="shared"`` the *same* 12 additions are wrong in both languages. Both
bases are taught the same shares of chains: 40 % in digits, 40 % in words and 20 % that change the language at random
places.

Recorded by ``python -m rlvr_lab record r1/language``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rlvr_lab.experiments.base_models import MIXED_STEPS
from rlvr_lab.experiments.evaluated import EvaluatedConfig, runs_from
from rlvr_lab.experiments.kept_bases import kept_base, taught_codes
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.code_chains import Addition, additions
from rlvr_lab.tasks.codes import CodesMixture, FactTable, way_of
from rlvr_lab.tasks.task import Problem, Verdict

__all__ = [
    "STUDY",
    "VARIANTS",
    "LanguageConfig",
    "facts_of",
    "in_words",
    "mixture",
    "repaired",
]

Facts = Literal["apart", "shared"]
CLASSES = ("digits", "words", "both", "neither")
WRONG = 12
"""Wrong facts in each language."""
PLAIN = {"accuracy": 1.0, "format": 0.1}


def facts_of(kind: Facts, seed: int) -> FactTable:
    """The wrong facts of a base."""
    apart, shared = {"apart": (WRONG, 0), "shared": (0, WRONG)}[kind]
    return FactTable(seed, apart, apart, shared)


def mixture(kind: Facts, seed: int) -> CodesMixture:
    """What a base was taught."""
    return CodesMixture.two_languages(facts_of(kind, seed))


def base(kind: Facts, seed: int) -> Policy:
    """The policy that RL starts from."""
    name = f"r1_mixed_languages_{kind}_{seed}"
    return kept_base(name, lambda: taught_codes(mixture(kind, seed), MIXED_STEPS, seed))


def in_words(made: Iterable[Addition], facts: FactTable) -> dict[str, Any]:
    """How often the result of an addition is written in words, by where its fact is wrong.

    Returns:
        ``words_<class>``, the share of results in words, and ``count_<class>``, the number of additions, for
        the classes ``digits`` (wrong in digits only), ``words``, ``both`` and ``neither``. A share is None
        where there is no addition.
    """
    results: dict[str, list[bool]] = {name: [] for name in CLASSES}
    for one in made:
        results[facts.wrong_in(one.total, one.addend)].append(one.language == "words")
    shares = {f"words_{n}": sum(x) / len(x) if x else None for n, x in results.items()}
    return {**shares, **{f"count_{name}": len(x) for name, x in results.items()}}


def repaired(made: Iterable[Addition], facts: FactTable) -> float | None:
    """Share of correct results where a chain uses the language in which the fact was taught wrongly.

    None where there is no such addition.
    """
    results = [
        one.result == (one.total + one.addend) % 10
        for one in made
        if (one.total, one.addend) in facts.wrong[one.language]
    ]
    return sum(results) / len(results) if results else None


@dataclass(frozen=True)
class LanguageConfig(EvaluatedConfig, kind="r1-language"):
    """GRPO on the codes from a base with two languages.

    Attributes:
        facts: which wrong facts the base was taught.

    A record holds, over all answers to the test problems, ``accuracy``, ``length``, ``entropy``; ``chains``, the
    share of well-formed answers with a chain; over these chains, ``mixed`` (share that uses both languages),
    ``digits`` and ``words`` (share in that language alone), and ``right_mixed`` and ``right_pure`` (their
    accuracy); over the additions of whole chains, ``repaired`` and what ``in_words`` returns.
    """

    world: str = "codes"
    max_new_tokens: int = 24
    test_samples: int = 8
    facts: Literal["apart", "shared"] = "apart"
    rewards: dict[str, float] = field(default_factory=lambda: dict(PLAIN))

    FIXED = (*EvaluatedConfig.FIXED, "facts")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "codes", "codes")

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """The languages of the chains and of single additions."""
        ways = [way_of(text) for text in batch.texts]
        right = [verdict.correct for verdict in verdicts]
        chains = sum(way not in ("direct", "malformed") for way in ways)
        made = [
            one
            for row, text in enumerate(batch.texts)
            for one in additions(problems[row // batch.group_size], text)
        ]
        classes = facts_of(self.facts, self.table)
        return {
            **super().describe(problems, batch, verdicts),
            "chains": chains / len(ways),
            **{way: ways.count(way) / max(1, chains) for way in ("mixed", "digits", "words")},
            "right_mixed": _share(right, [way == "mixed" for way in ways]),
            "right_pure": _share(right, [way in ("digits", "words") for way in ways]),
            "repaired": repaired(made, classes),
            **in_words(made, classes),
            "samples": batch.texts[: 3 * batch.group_size : batch.group_size],
        }


def _share(right: list[bool], of: list[bool]) -> float | None:
    chosen = [one for one, there in zip(right, of, strict=True) if there]
    return sum(chosen) / len(chosen) if chosen else None


VARIANTS = {
    "accuracy": LanguageConfig(),
    **{
        f"consistency {weight:g}": LanguageConfig(rewards={**PLAIN, "language": weight})
        for weight in (0.1, 0.3)
    },
    "digits 0.3": LanguageConfig(rewards={**PLAIN, "language_digits": 0.3}),
    "shared facts": LanguageConfig(facts="shared"),
}
"""Accuracy and format alone; with a consistency reward; with digits as the target language; the control."""


def measure(seeds: int, variants: Mapping[str, LanguageConfig], first: int) -> Iterator[Run]:
    """Each variant from the base of its facts; ``ValueError`` for no seeds."""
    for seed in replicates(seeds, first):
        for name, config in variants.items():
            yield from runs_from(lambda s, c=config: base(c.facts, s), {name: config}, 1, seed)


STUDY = Study("language mixing and its reward", VARIANTS, measure, 5, "r1/language", first=6)
