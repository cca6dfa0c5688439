"""Language mixing: the bases and their wrong facts, what is counted, which base a variant starts from."""

import random
from dataclasses import replace

import pytest

from rlvr_lab.experiments.r1 import language
from rlvr_lab.experiments.r1.language import (
    VARIANTS,
    LanguageConfig,
    facts_of,
    in_words,
    mixture,
    repaired,
)
from rlvr_lab.experiments.studies import STUDIES
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.tasks.code_chains import Addition
from rlvr_lab.tasks.codes import Codes, way_of

SMALL = {"steps": 2, "every": 2, "test_problems": 3, "test_samples": 4}
SMALL |= {"prompts_per_step": 2, "group_size": 4, "device": "cpu"}


def test_the_two_tables_of_wrong_facts() -> None:
    apart, shared = (facts_of(kind, 3) for kind in ("apart", "shared"))
    for table in (apart, shared):
        assert [len(table.wrong[name]) for name in ("digits", "words")] == [12, 12]
    assert not set(apart.wrong["digits"]) & set(apart.wrong["words"])
    assert shared.wrong["digits"] == shared.wrong["words"]
    assert facts_of("apart", 3).wrong != facts_of("apart", 4).wrong


@pytest.mark.parametrize("kind", ["apart", "shared"])
def test_the_bases_differ_in_their_facts_only(kind) -> None:
    taught, rng, n = mixture(kind, 1), random.Random(0), 3000
    assert taught.table == facts_of(kind, 1)
    assert replace(taught, table=mixture("apart", 1).table) == mixture("apart", 1)
    ways = [way_of(taught.solve(problem, rng)) for problem in Codes().problems(n, rng)]
    for way, share in {"direct": 0.5, "malformed": 0.0}.items():
        assert ways.count(way) / n == pytest.approx(share, abs=0.03)
    # A mixed chain of nine numbers changes its language with probability 1 − .7⁸ = .94.
    assert ways.count("mixed") / n == pytest.approx(0.094, abs=0.02)
    assert ways.count("words") / n == pytest.approx(0.203, abs=0.03)


def test_languages_are_counted_by_where_the_fact_is_wrong() -> None:
    table = facts_of("apart", 0)
    (digit_fact, *_), (word_fact, *_) = table.wrong["digits"], table.wrong["words"]
    both = next(iter(facts_of("shared", 0).wrong["words"]))
    fine = next(
        (t, a) for t in range(10) for a in range(1, 10) if table.wrong_in(t, a) == "neither"
    )
    made = [
        *(Addition(*digit_fact, 0, name, "digits") for name in ("words", "words", "digits")),
        *(Addition(*word_fact, 0, name, "words") for name in ("digits", "digits")),
        Addition(*fine, 0, "words", "digits"),
    ]
    found = in_words(made, table)
    assert found["words_digits"] == 2 / 3 and found["count_digits"] == 3
    assert found["words_words"] == 0 and found["count_words"] == 2
    assert found["words_neither"] == 1 and found["count_neither"] == 1
    assert found["words_both"] is None and found["count_both"] == 0
    shared = in_words([Addition(*both, 0, "words", "words")], facts_of("shared", 0))
    assert shared["words_both"] == 1 and shared["count_digits"] == 0


def test_a_fact_is_repaired_in_the_language_in_which_it_was_wrong() -> None:
    table = facts_of("apart", 0)
    (total, addend), wrong = next(iter(table.wrong["digits"].items()))
    true = (total + addend) % 10
    by_language = [
        Addition(total, addend, wrong, "digits", "digits"),
        Addition(total, addend, true, "digits", "words"),
        Addition(total, addend, true, "words", "digits"),  # not wrong there
    ]
    assert repaired(by_language, table) == 1 / 2
    assert repaired(by_language[2:], table) is None
    assert repaired(by_language[:1], table) == 0


TEXTS = [
    "=083",
    "<think>720,378,913</think>=083",
    "<think>seventwozero,threeseveneight,nineonethree</think>=084",
    "<think>7twozero,378,913</think>=083",
]


def test_a_record_counts_the_languages_of_the_chains(monkeypatch) -> None:
    config = LanguageConfig(**SMALL)
    state = config.begin(load_policy("codes", "cpu"))
    problems = state.task.problems(3, random.Random("test 0"))
    batch = config.collect(state).batch  # any batch: its texts are replaced
    batch = replace(batch, texts=[*TEXTS, *TEXTS[:1] * 4])
    right = [language.Verdict("right" if row in (1, 3) else "wrong") for row in range(8)]
    found = config.describe(problems[:2], batch, right)
    assert found["chains"] == 3 / 8
    assert [found[way] for way in ("mixed", "digits", "words")] == [1 / 3] * 3
    assert (found["right_mixed"], found["right_pure"], found["accuracy"]) == (1.0, 0.5, 2 / 8)
    assert sum(found[f"count_{name}"] for name in language.CLASSES) == 3 * 6
    shared = replace(config, facts="shared").describe(problems[:2], batch, right)
    assert shared["count_digits"] == shared["count_words"] == 0


def test_each_variant_starts_from_the_base_of_its_facts(monkeypatch) -> None:
    made = []

    def base(kind: str, seed: int) -> Policy:
        made.append((kind, seed))
        return load_policy("codes", "cpu")

    monkeypatch.setattr(language, "base", base)
    variants = {kind: LanguageConfig(**SMALL, facts=kind) for kind in ("shared", "apart")}
    runs = list(language.measure(2, variants, 5))
    assert made == [(kind, seed) for seed in (5, 6) for kind in variants]
    assert [(run.config.facts, run.config.seed, run.config.table) for run in runs] == [
        (kind, seed, seed) for seed in (5, 6) for kind in variants
    ]
    with pytest.raises(ValueError, match="seeds"):
        next(language.measure(0, variants, 1))


def test_a_base_is_kept_under_its_facts_and_seed(monkeypatch) -> None:
    kept, taught, policy = [], [], load_policy("codes", "cpu")
    monkeypatch.setattr(language, "kept_base", lambda name, make: kept.append(name) or make())
    monkeypatch.setattr(language, "taught_codes", lambda *given: taught.append(given) or policy)
    for kind, seed in (("apart", 1), ("shared", 1), ("apart", 2)):
        assert language.base(kind, seed) is policy
    assert len(set(kept)) == 3
    assert [given[0].table for given in taught] == [
        *(facts_of("apart", 1), facts_of("shared", 1), facts_of("apart", 2))
    ]
    assert [given[1:] for given in taught] == [(130, 1), (130, 1), (130, 2)]


def test_what_is_recorded_is_what_it_says() -> None:
    plain = {"accuracy": 1.0, "format": 0.1}
    study = STUDIES["r1/language"]
    assert (study.first, dict(study.variants)) == (6, VARIANTS)
    assert VARIANTS["accuracy"].rewards == plain
    assert VARIANTS["consistency 0.3"].rewards == plain | {"language": 0.3}
    assert VARIANTS["digits 0.3"].rewards == plain | {"language_digits": 0.3}
    for config in VARIANTS.values():
        assert (config.baseline, config.divide_by_std, config.steps) == ("group", True, 60)
    for bad in ({"facts": "x"}, {"world": "sums"}):
        with pytest.raises(ValueError, match=f"^{next(iter(bad))}"):
            LanguageConfig(**bad)
